"""Turns schema.toml and versions.toml into what one RouterOS version knows and does."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

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
    """``7.24.5`` -> (7, 24, 5)."""
    return tuple(int(part) for part in version.split("."))


def applies(versions: str, version: Version) -> bool:
    """True if ``7.20`` (since), ``-7.19`` (until) or ``7.20-7.22`` holds for a version."""
    since, dash, until = versions.partition("-")
    if since and version[:2] < numbers(since)[:2]:
        return False
    if not dash:
        return True
    return version[:2] <= numbers(until)[:2]


def words(entries: list[str], version: Version) -> frozenset[str]:
    """The words of a list that a version has."""
    found = set()
    for entry in entries:
        word, at, versions = entry.partition("@")
        if not at or applies(versions, version):
            found.add(word)
    return frozenset(found)


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
    settable = words(entry.get("settable", []), version)
    readable = settable | words(entry.get("readable", []), version) | {".id"}
    kind = entry.get("kind", "none")
    schema.menu(path)
    if kind == "list":
        names = LIST_VERBS if settable else ("get", "find", "print", "remove")
        for verb in (*names, *words(entry.get("verbs", []), version)):
            schema.add(path, _list_verb(verb, settable, readable, bool(entry.get("copy-from"))))
    elif kind == "single":
        schema.add(path, CommandSpec("get", positional=("value-name",), properties=readable))
        schema.add(path, CommandSpec("print", flags=PRINT_FLAGS))
        if settable:
            schema.add(path, CommandSpec("set", settable))
    for name, command in entry.get("command", {}).items():
        if applies(command.get("since", "7.0"), version):
            positional = tuple(command.get("positional", []))
            schema.add(
                path,
                CommandSpec(
                    name,
                    words(command.get("args", []), version) | set(positional),
                    positional,
                    frozenset(command.get("flags", [])),
                ),
            )


def _list_verb(
    verb: str, settable: frozenset[str], readable: frozenset[str], copy_from: bool
) -> CommandSpec:
    if verb == "add":
        extra = {"copy-from"} if copy_from else {"place-before"}
        return CommandSpec("add", settable | extra)
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
def schema(version: str) -> Schema:
    """The menus, commands and arguments of a version, for the parser."""
    number = numbers(version)
    result = Schema(version, available(number))
    for text, entry in _data("schema.toml")["menu"].items():
        _menu(result, tuple(part for part in text.split("/") if part), entry, number)
    return result
