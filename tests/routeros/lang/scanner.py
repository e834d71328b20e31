"""Characters to words: blanks, line continuations, comments, names, quoted strings."""

from __future__ import annotations

from tests.routeros.lang.errors import ParseError

NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
ARGUMENT = NAME | frozenset("-.")
WORD_END = frozenset(' \t\r\n;]})"')
ESCAPES = {
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "_": " ",
    '"': '"',
    "\\": "\\",
    "$": "$",
    "?": "?",
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "v": "\v",
}
HEX = frozenset("0123456789ABCDEF")


class Scanner:
    """A cursor over the source text; the parser is built on top of it."""

    def __init__(self, source: str) -> None:
        self.source = source.replace("\r\n", "\n")
        self.at = 0
        self.end = len(self.source)

    @property
    def line(self) -> int:
        """The line under the cursor, counted from 1."""
        return self.source.count("\n", 0, self.at) + 1

    def error(self, message: str) -> ParseError:
        """A ParseError at the cursor."""
        return ParseError(f"syntax error: {message}", self.line)

    def peek(self, offset: int = 0) -> str:
        """The character at the cursor, or the empty string at the end."""
        at = self.at + offset
        return self.source[at] if at < self.end else ""

    def starts(self, text: str) -> bool:
        """True if the text is next."""
        return self.source.startswith(text, self.at)

    def take(self, text: str) -> bool:
        """Step over the text if it is next."""
        if not self.starts(text):
            return False
        self.at += len(text)
        return True

    def expect(self, text: str, what: str) -> None:
        """Step over the text. Raises ParseError if something else is next."""
        if not self.take(text):
            found = self.peek() or "end of script"
            raise self.error(f"expected {text!r} {what}, found {found!r}")

    def blanks(self, newlines: bool = False) -> None:
        """Step over blanks and continued lines; over line ends too if asked."""
        while self.at < self.end:
            char = self.source[self.at]
            if char in " \t\r" or (newlines and char == "\n"):
                self.at += 1
            elif char == "\\" and self._continuation():
                continue
            else:
                return

    def _continuation(self) -> bool:
        at = self.at + 1
        while at < self.end and self.source[at] in " \t\r":
            at += 1
        if at < self.end and self.source[at] == "\n":
            self.at = at + 1
            return True
        return False

    def separators(self) -> None:
        """Step over everything between statements: blanks, line ends, semicolons, comments."""
        while self.at < self.end:
            self.blanks(newlines=True)
            if self.peek() == ";":
                self.at += 1
            elif self.peek() == "#":
                while self.at < self.end and self.source[self.at] != "\n":
                    self.at += 1
            else:
                return

    def name(self, extra: frozenset[str] = frozenset()) -> str:
        """Letters and digits (and the extra characters); may be empty."""
        start = self.at
        while self.at < self.end and (
            self.source[self.at] in NAME or self.source[self.at] in extra
        ):
            self.at += 1
        return self.source[start : self.at]

    def argument_name(self) -> str | None:
        """``name`` of a following ``name=``, cursor after the sign; None if there is none."""
        at = self.at
        while at < self.end and self.source[at] in ARGUMENT:
            at += 1
        if at == self.at or at >= self.end or self.source[at] != "=":
            return None
        name = self.source[self.at : at]
        self.at = at + 1
        return name

    def bare_word(self) -> str:
        """An unquoted word up to a blank, a bracket that closes, or the end of the command.

        Raises ParseError for a variable, a bracket or a quote glued into the word.
        """
        start = self.at
        while self.at < self.end and self.source[self.at] not in WORD_END:
            char = self.source[self.at]
            if char in "$[{(":
                raise self.error(f"{char!r} inside an unquoted word")
            if char == "\\":
                break
            self.at += 1
        if self.at == start:
            raise self.error(f"expected a value, found {self.peek() or 'end of script'!r}")
        if self.peek() == '"':
            raise self.error("a quote inside an unquoted word")
        return self.source[start : self.at]

    def escape(self) -> str:
        """The text of an escape sequence; the cursor is after the backslash."""
        char = self.peek()
        if char in ESCAPES:
            self.at += 1
            return ESCAPES[char]
        pair = self.source[self.at : self.at + 2]
        if len(pair) == 2 and set(pair) <= HEX:
            self.at += 2
            return bytes([int(pair, 16)]).decode("latin-1")
        raise self.error(f"bad escape \\{pair} in a string (hex digits are upper case)")

    def string_continuation(self) -> bool:
        """Inside a string: step over backslash, line end and the blanks that follow."""
        if not self._continuation():
            return False
        while self.peek() in (" ", "\t") and self.peek():
            self.at += 1
        return True
