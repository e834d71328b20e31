"""Turns schema.toml and versions.toml into what one RouterOS version knows and does."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.routeros import trees
from tests.routeros.lang.catalogue import available
from tests.routeros.lang.schema import CommandSpec, Schema

HERE = Path(__file__).parent
Version = tuple[int, ...]
LIST_VERBS = ("add", "set", "get", "find", "print", "remove", "enable", "disable")
PRINT_FLAGS = frozenset(
    {
        "as-value",
        "count-only",
        "detail",
        "terse",
        "without-paging",
        "brief",
        "value-list",
        "proplist",
    }
)


def numbers(version: str) -> Version:
    """``7.24.5`` -> (7, 24, 5), ``7.26beta1`` -> (7, 26, 0). Raises ValueError for no version."""
    match = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", version)
    if not match:
        raise ValueError(f"{version!r} is no version")
    return tuple(int(part or 0) for part in match.groups())


def known(version: str) -> str:
    """The release whose tree stands for a version: the newest that is not newer.

    So what is newer than every release of trees.json is treated as the newest of them.
    """
    releases, _ = trees.data()
    older = [release for release in releases if numbers(release) <= numbers(version)]
    return older[-1] if older else releases[0]


def applies(versions: str, version: Version) -> bool:
    """True if ``7.20`` (since), ``-7.19`` (until) or ``7.20-7.22`` holds for a version.

    An end of two numbers takes in its patch releases: ``-7.22`` holds for 7.22.3.
    """
    since, dash, until = versions.partition("-")
    if since and version < numbers(since):
        return False
    if not dash:
        return True
    return version[: until.count(".") + 1] <= numbers(until)[: until.count(".") + 1]


def words(entries: list[str], version: Version) -> frozenset[str]:
    """The words of a list that a version has."""
    found = set()
    for entry in entries:
        word, at, versions = entry.partition("@")
        if not at or applies(versions, version):
            found.add(word)
    return frozenset(found)


# arguments that say which item, not what it holds
SELECTORS = frozenset({"numbers", "number", "copy-from", "place-before", "value-name"})
POSITIONAL = ("number", "numbers", "value-name", "message")
FLAGS = frozenset(
    {"as-value", "no-sh", "as-string", "without-paging", "once", "freeze-frame", "fib"}
)


@dataclass(frozen=True)
class Behaviour:
    """What differs between versions and cannot be seen in the schema; see versions.toml."""

    error_suffix: bool
    lost_command: bool
    default_start_ignored: bool
    startup_with_interval: bool
    set_while_running_refused: bool
    failed_counts_as_stopped: bool
    shared_veth_refused: bool
    half_removed_keeps_entry: bool
    headers_in_array: bool
    status_property: bool
    flags_apart: bool
    slashed_paths: bool
    ampersand_refused: bool
    files_need_ftp: bool
    tag_before_image: bool
    health_flags: bool
    health_replaces: bool
    health_nameless: bool


@dataclass(frozen=True)
class Seconds:
    """How long the router takes; seconds."""

    remove: int
    start: int
    stop: int
    extract: int
    download: int
    durable: int
    listing: int
    health: int


@cache
def _data(name: str) -> dict[str, Any]:
    return tomllib.loads((HERE / name).read_text())


def versions() -> list[str]:
    """The RouterOS versions that are modelled."""
    return [str(version) for version in _data("versions.toml")["versions"]]


def seconds() -> Seconds:
    """The delays of the model."""
    return Seconds(**_data("versions.toml")["seconds"])


def behaviour(version: str) -> Behaviour:
    """The behaviours of a version. Raises KeyError or TypeError for an entry nobody declared."""
    entries = _data("versions.toml")["behaviour"]
    return Behaviour(
        **{
            name.replace("-", "_"): applies(entry["versions"], numbers(version))
            for name, entry in entries.items()
        }
    )


def _menu(schema: Schema, path: tuple[str, ...], entry: dict[str, Any], version: Version) -> None:
    """A menu that the trees lack."""
    settable = words(entry.get("settable", []), version)
    readable = settable | words(entry.get("readable", []), version) | {".id"}
    kind = entry.get("kind", "none")
    schema.menu(path)
    if kind == "list":
        names = LIST_VERBS if settable else ("get", "find", "print", "remove")
        for verb in names:
            schema.add(path, _list_verb(verb, settable, readable))
    elif kind == "single":
        schema.add(path, CommandSpec("get", positional=("value-name",), properties=readable))
        schema.add(path, CommandSpec("print", flags=PRINT_FLAGS))
        if settable:
            schema.add(path, CommandSpec("set", settable))


def _grown(
    schema: Schema,
    path: tuple[str, ...],
    entry: dict[str, Any],
    commands: dict[str, frozenset[str]],
    version: Version,
) -> None:
    """A menu as the trees have it."""
    schema.menu(path)
    settable = (commands.get("add", frozenset()) | commands.get("set", frozenset())) - SELECTORS
    readable = settable | words(entry.get("readable", []), version) | {".id"}
    for name, args in commands.items():
        order = entry.get("command", {}).get(name, {}).get("positional")
        positional = tuple(order) if order else tuple(word for word in POSITIONAL if word in args)
        where = "where" in args
        flags = (args & FLAGS) | (PRINT_FLAGS if name == "print" else frozenset())
        schema.add(
            path,
            CommandSpec(
                name,
                args - {"where"} - flags,
                positional,
                flags,
                where,
                readable if where or name == "get" else frozenset(),
            ),
        )


def _list_verb(verb: str, settable: frozenset[str], readable: frozenset[str]) -> CommandSpec:
    if verb == "add":
        return CommandSpec("add", settable)
    if verb == "set":
        return CommandSpec("set", settable | {"numbers"}, ("numbers",))
    if verb == "get":
        return CommandSpec("get", frozenset({"number", "value-name"}), ("number", "value-name"))
    if verb == "find":
        return CommandSpec("find", where=True, properties=readable)
    if verb == "print":
        return CommandSpec("print", flags=PRINT_FLAGS, where=True, properties=readable)
    return CommandSpec(verb, frozenset({"numbers"}), ("numbers",))


@cache
def schema(version: str, without: frozenset[str] = frozenset()) -> Schema:
    """The menus, commands and arguments of a version, for the parser.

    without: first words of menus that this router lacks (no package container), or an
    architecture that has not all of them.
    """
    number = numbers(version)
    result = Schema(version, available(number))
    tree = trees.tree(known(version))
    for text, entry in _data("schema.toml")["menu"].items():
        path = tuple(part for part in text.split("/") if part)
        if (path[:1] and path[0] in without) or without & set(entry.get("not-on", [])):
            continue
        commands = {
            name.rpartition("/")[2]: args
            for name, args in tree.items()
            if (name.rpartition("/")[0] or "/") == text
        }
        if text == "/":
            # the rest of the root are the :commands, which have a grammar of their own
            commands = {name: args for name, args in commands.items() if name == "import"}
        if commands:
            _grown(result, path, entry, commands, number)
        else:
            _menu(result, path, entry, number)
        for name, command in entry.get("command", {}).items():
            if name not in commands:
                positional = tuple(command.get("positional", []))
                result.add(
                    path,
                    CommandSpec(
                        name,
                        words(command.get("args", []), number) | set(positional),
                        positional,
                        frozenset(command.get("flags", [])),
                    ),
                )
    return result
