"""The ways in which a RouterOS script stops."""

from __future__ import annotations

from typing import Any


class RscError(Exception):
    """Base of everything that the language itself reports; carries the line it happened on."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(f"{message} (line {line})" if line else message)
        self.message = message
        self.line = line


class ParseError(RscError):
    """The script does not parse: on a router none of it runs and :onerror cannot catch it.

    Facts 3.2: syntax errors, unknown commands and unknown arguments kill the whole script.
    """


class RuntimeFault(RscError):
    """A failure while running: :onerror, on-error= and :retry can catch it.

    ``attributes`` is what ``:onerror e,attr`` binds to its second name.
    """

    def __init__(
        self, message: str, line: int = 0, attributes: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message, line)
        self.attributes = attributes or {}


class ScriptExit(Exception):
    """``:quit`` or ``:exit``: ends the script at once; cannot be caught by :onerror."""


class ReturnValue(Exception):
    """``:return``: unwinds to the nearest function call, substitution or script."""

    def __init__(self, value: Any) -> None:
        super().__init__("return")
        self.value = value


class LoopBreak(Exception):
    """``:break`` (7.22 and newer)."""


class LoopContinue(Exception):
    """``:continue`` (7.22 and newer)."""
