"""The declarations of a Go source file, by name, in a form that layout and comments do not touch.

What our patches rely on in upstream's source is a declaration, not a file: see
build/data/anchors.toml.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from build.core import digest
from build.core.errors import BuildFailed

# The Go Programming Language Specification, "Lexical elements". A rune may hold a quote or a brace.
_TOKEN = re.compile(
    r"(?P<comment>//[^\n]*|/\*.*?\*/)"
    r"|(?P<text>`[^`]*`|\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)+')"
    r"|(?P<line>\n)|(?P<space>[ \t\r]+)|(?P<word>\w+)|(?P<sign>.)",
    re.DOTALL,
)
_OPEN, _CLOSE = frozenset("([{"), frozenset(")]}")
_KINDS = frozenset({"func", "type", "var", "const"})


def _tokens(source: str) -> Iterator[str]:
    """Yield the tokens without comments and blanks; a line's end is a token too."""
    for match in _TOKEN.finditer(source):
        if match.lastgroup == "comment":
            if "\n" in match[0]:
                yield "\n"
        elif match.lastgroup != "space":
            yield match[0]


def _statements(tokens: list[str]) -> Iterator[list[str]]:
    """Yield what lies between the line ends outside of all brackets."""
    depth = 0
    found: list[str] = []
    for token in tokens:
        depth += (token in _OPEN) - (token in _CLOSE)
        if depth < 0:
            raise ValueError("a bracket closes that was never opened")
        if token == "\n" and depth == 0:
            if found:
                yield found
            found = []
        else:
            found.append(token)
    if depth:
        raise ValueError("a bracket is left open")
    if found:
        yield found


def _method(words: list[str]) -> str:
    """Return `Name`, or `Receiver.Name` of a method, for the tokens after `func`."""
    if words[0] != "(":
        return words[0]
    end = words.index(")")
    receiver = [w for w in words[1:end] if w not in ("*", "\n")]
    if "[" in receiver:  # type parameters
        receiver = receiver[: receiver.index("[")]
    return f"{receiver[-1]}.{words[end + 1]}"


def _names(spec: list[str]) -> list[str]:
    names = [spec[0]]
    for comma, name in zip(spec[1::2], spec[2::2], strict=False):
        if comma != ",":
            break
        names.append(name)
    return names


def declarations(source: str) -> dict[str, str]:
    """Return {name: normalised text} of the declarations outside of functions.

    A method is called `Receiver.Name`. Comments are gone, and every blank and line's end is one
    space. A group of constants that count (iota) is one text for all its names, as each value
    depends on the place. Raises BuildFailed for what is no Go source.
    """
    found: dict[str, str] = {}
    try:
        for statement in _statements(list(_tokens(source))):
            kind, *rest = statement
            if kind not in _KINDS or not rest:
                continue
            if kind == "func":
                found[_method(rest)] = _text(kind, rest)
            elif rest[0] == "(":
                for spec in _statements(rest[1:-1]):
                    counted = kind == "const" and "iota" in rest
                    text = _text(kind, rest if counted else spec)
                    found |= dict.fromkeys(_names(spec), text)
            else:
                found |= dict.fromkeys(_names(rest), _text(kind, rest))
    except (ValueError, IndexError) as error:
        raise BuildFailed("this is no Go source", why=str(error)) from error
    return found


def _text(kind: str, words: list[str]) -> str:
    """Return tokens as one line; a comma before a closing bracket is only how lines are broken."""
    kept: list[str] = []
    for word in words:
        if word == "\n":
            continue
        if word in _CLOSE and kept and kept[-1] == ",":
            kept.pop()
        kept.append(word)
    return " ".join([kind, *kept])


def identity(text: str) -> str:
    """Return what stands for a declaration's normalised text in anchors.toml."""
    return digest.of_bytes(text.encode())
