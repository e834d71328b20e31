"""What the language asks of the machine it runs on; the router model implements it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from tests.routeros.lang.schema import CommandSpec
from tests.routeros.lang.values import Value

Predicate = Callable[[Mapping[str, Value]], bool]


@dataclass(frozen=True)
class CommandCall:
    """A menu command with its evaluated arguments; ``where`` tests one item's properties."""

    path: tuple[str, ...]
    spec: CommandSpec
    args: dict[str, Value]
    flags: frozenset[str]
    unset: frozenset[str]
    where: Predicate | None
    line: int


class Host(Protocol):
    """The machine under the language."""

    globals: dict[str, Value]
    error_suffix: bool

    def command(self, call: CommandCall) -> Value:
        """Run a menu command. Raises RuntimeFault if it fails."""

    def delay(self, ns: int) -> None:
        """Let time pass."""

    def now(self) -> int:
        """Nanoseconds since the epoch, by the machine's clock."""

    def output(self, text: str) -> None:
        """A line for the terminal."""

    def resolve(self, name: str, kind: str) -> Value:
        """An address for a name. Raises RuntimeFault if there is none."""

    def execute(self, source: str, wait: bool) -> Value:
        """Run a script as a job of its own; its errors stay there (errors.rsc 9.1)."""

    def random(self, low: int, high: int) -> int:
        """A number between the two, both included."""
