"""What a canary is, and the list of all of them in the order they are run.

It returns a line about what it saw, or raises Failed with what it did not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from build.lab.world import World


@dataclass(frozen=True)
class Canary:
    """One check. `claim` is what it proves.

    `slow` ones restart the node or wait for timeouts. `tunnels` says in which runs it makes sense:
    `kernel` and `machine` have a tunnel device, the second a kernel of its own; `user` has none.
    """

    name: str
    claim: str
    check: Callable[[World], str]
    slow: bool = False
    tunnels: tuple[str, ...] = ("kernel", "machine")


CANARIES: dict[str, Canary] = {}


def canary(
    name: str,
    claim: str,
    *,
    slow: bool = False,
    user: bool = False,
    tunnels: tuple[str, ...] = ("kernel", "machine"),
) -> Callable[[Callable[[World], str]], Callable[[World], str]]:
    """Register a check under its name; `user` ones need no tunnel device."""

    def register(check: Callable[[World], str]) -> Callable[[World], str]:
        CANARIES[name] = Canary(name, claim, check, slow, (*tunnels, *(["user"] if user else [])))
        return check

    return register
