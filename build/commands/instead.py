"""Commands with a flag that stands instead of their words: `invoke bump --anchors`."""

from __future__ import annotations

from typing import Any

from invoke import Task
from invoke.parser import Argument


class _Unneeded(Argument):
    """A word that is demanded unless a flag is given."""

    def __init__(self, word: Argument, flag: Argument) -> None:
        super().__init__(names=word.names, kind=word.kind, help=word.help, positional=True)
        self._flag = flag

    @property
    def value(self) -> Any:
        given = super().value
        return "" if given is None and self._flag.value else given

    @value.setter
    def value(self, given: Any) -> None:
        self.set_value(given, cast=True)


class OrFlag(Task):  # type: ignore[type-arg]
    """A task whose positional words are not needed with its flag `anchors`."""

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        """Return the arguments, as invoke wants them."""
        found = super().get_arguments(ignore_unknown_help)
        (flag,) = (one for one in found if one.name == "anchors")
        return [_Unneeded(one, flag) if one.positional else one for one in found]
