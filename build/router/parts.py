"""Templates whose lines are kept or left out by what somebody chose, as data.

A template has lines of its own, each beginning with ``#@``:

    #@ if fetch !disk      kept if the word fetch is chosen and disk is not
    #@ end
    #@ include bootstrap   the lines of bootstrap.rsc from the same folder

and ``{{NAME}}`` for values. What picks and fills them is here, and once more in the page that
`invoke site` makes (build/data/site/page.js); tests compare the two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from build.core.errors import UserError

Part = tuple[str, str]
"""Words, with ! before those that must not be chosen, and the line that is kept then."""


def read(path: Path, fixed: Mapping[str, str]) -> Iterator[Part]:
    """Yield a template's lines with their words; `fixed` are values that no choice changes.

    Raises UserError for a line that cannot be read.
    """
    words: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("#@ if "):
            words.append(line.removeprefix("#@ if "))
        elif line == "#@ end" and words:
            words.pop()
        elif line.startswith("#@ include "):
            within = read(path.with_name(f"{line.removeprefix('#@ include ')}.rsc"), fixed)
            yield from ((" ".join([*words, asked]).strip(), text) for asked, text in within)
        elif line.startswith("#@"):
            raise UserError(f"{path.name}:{number}: cannot read {line!r}")
        else:
            yield " ".join(words), filled(line, fixed)


def filled(text: str, values: Mapping[str, str]) -> str:
    """Return a text with its placeholders filled in, in one pass, so that a value stays text."""
    return re.sub(r"\{\{([A-Z]+)\}\}", lambda found: values.get(found[1], found[0]), text)


def assembled(parts: Sequence[Part], chosen: set[str], values: Mapping[str, str]) -> list[str]:
    """Return the parts whose words are chosen, filled in."""
    return [
        filled(text, values)
        for words, text in parts
        if all((word.lstrip("!") in chosen) != word.startswith("!") for word in words.split())
    ]


def literal(text: str) -> str:
    """Return a text as it stands between quotes, a line of it on a line, as RouterOS exports it."""
    lines = []
    for line in text.split("\n"):
        safe = re.sub(r'(["\\$?])', r"\\\1", line)
        lines.append(f"\\_{safe[1:]}" if safe.startswith(" ") else safe)
    return "\\n\\\n    ".join(lines)
