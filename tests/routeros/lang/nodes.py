"""The syntax tree; every node knows the line it came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from tests.routeros.lang.schema import CommandSpec
from tests.routeros.lang.values import Value


@dataclass(frozen=True)
class Literal:
    value: Value
    line: int


@dataclass(frozen=True)
class Interpolated:
    """A quoted string with ``$x``, ``$(…)`` or ``$[…]`` inside."""

    parts: tuple[Node, ...]
    line: int


@dataclass(frozen=True)
class Variable:
    name: str
    line: int


@dataclass(frozen=True)
class Property:
    """A property of the item under test, inside a ``where`` clause."""

    name: str
    line: int


@dataclass(frozen=True)
class Element:
    """``base->key``."""

    base: Node
    key: Node
    line: int


@dataclass(frozen=True)
class Unary:
    operator: str
    operand: Node
    line: int


@dataclass(frozen=True)
class Binary:
    operator: str
    left: Node
    right: Node
    line: int


@dataclass(frozen=True)
class ArrayLiteral:
    """Items in written order: (key or None, value)."""

    items: tuple[tuple[Node | None, Node], ...]
    line: int


@dataclass(frozen=True)
class Block:
    """Statements with a scope of their own."""

    statements: tuple[Node, ...]
    line: int


@dataclass(frozen=True)
class Substitution:
    """``[…]``: the value of the last command in it."""

    block: Block
    line: int


@dataclass(frozen=True)
class Builtin:
    """A ``:command``; the arguments have their full names."""

    name: str
    args: dict[str, Node]
    line: int


@dataclass(frozen=True)
class Command:
    """A command of a menu, checked against the schema of the router's version."""

    path: tuple[str, ...]
    spec: CommandSpec
    named: dict[str, Node]
    flags: frozenset[str]
    unset: frozenset[str]
    where: Node | None
    line: int


@dataclass(frozen=True)
class Call:
    """``$function value name=value``; a bare ``$x`` in ``[]`` is a call without arguments."""

    target: Node
    positional: tuple[Node, ...]
    named: dict[str, Node]
    line: int


Node: TypeAlias = (
    Literal
    | Interpolated
    | Variable
    | Property
    | Element
    | Unary
    | Binary
    | ArrayLiteral
    | Block
    | Substitution
    | Builtin
    | Command
    | Call
)


@dataclass(frozen=True)
class Script:
    """A parsed script; ``warnings`` are (line, text) of what a router accepts in silence."""

    block: Block
    source: str
    warnings: tuple[tuple[int, str], ...] = field(default=())
