"""Which menus, commands and arguments a router knows: the parser refuses everything else.

The router's own parser works this way: an argument that a version lacks is a syntax error
of the whole script (facts 3.2). Words may be abbreviated while they stay unambiguous.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


class UnknownWord(Exception):
    """No menu, command or argument of that name, or more than one for an abbreviation."""


@dataclass(frozen=True)
class CommandSpec:
    """One command of a menu.

    args: named arguments; positional: the arguments that may be given without a name, in
    order; flags: words without a value; where: takes a ``where`` clause; properties: what a
    ``where`` clause may name.
    """

    name: str
    args: frozenset[str] = frozenset()
    positional: tuple[str, ...] = ()
    flags: frozenset[str] = frozenset()
    where: bool = False
    properties: frozenset[str] = frozenset()


@dataclass
class Menu:
    """One menu: its commands by name and the names of its submenus."""

    commands: dict[str, CommandSpec] = field(default_factory=dict)
    submenus: set[str] = field(default_factory=set)


def pick_word(word: str, known: Iterable[str], kind: str) -> str:
    """The full name for a word: itself, or the only name that it begins.

    Raises UnknownWord naming what was looked for.
    """
    names = set(known)
    if word in names:
        return word
    matches = sorted(name for name in names if name.startswith(word))
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UnknownWord(f"ambiguous {kind} {word}: {', '.join(matches)}")
    raise UnknownWord(f"bad {kind} name {word}")


class Schema:
    """The menu tree of one RouterOS version; paths are tuples of full menu names."""

    def __init__(self, version: str, builtins: frozenset[str]) -> None:
        self.version = version
        self.builtins = builtins
        self.menus: dict[tuple[str, ...], Menu] = {(): Menu()}

    def menu(self, path: tuple[str, ...]) -> Menu:
        """The menu at a path, made with its parents if it is new."""
        if path not in self.menus:
            self.menu(path[:-1]).submenus.add(path[-1])
            self.menus[path] = Menu()
        return self.menus[path]

    def add(self, path: tuple[str, ...], spec: CommandSpec) -> None:
        """Register a command."""
        self.menu(path).commands[spec.name] = spec

    def is_submenu(self, path: tuple[str, ...], word: str) -> str | None:
        """The full name of a submenu that a word names or abbreviates, or None."""
        menu = self.menus[path]
        if word in menu.submenus:
            return word
        if word in menu.commands:
            return None
        try:
            name = pick_word(word, menu.submenus | set(menu.commands), "command")
        except UnknownWord:
            return None
        return name if name in menu.submenus else None

    def command(self, path: tuple[str, ...], word: str) -> CommandSpec:
        """The command that a word names or abbreviates. Raises UnknownWord."""
        commands = self.menus[path].commands
        return commands[pick_word(word, commands, "command")]
