"""Many routers in one file: groups with defaults, each router's own, and how a change goes out.

The file is docs/USAGE.md's (Fleets). No secret is ever in it: `password_from` names where one is.
A wrong value is told with its place, and is not repeated where it may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.config import schema
from build.config.targets import targets
from build.core.address import origin
from build.core.errors import UserError
from build.router.parts import literal

LARGEST = 4_000_000
"""Bytes of an inventory: some ten thousand routers."""

CURE = "docs/USAGE.md (Fleets) says what each key means"
DEFAULT_FROM = "env:MT_ROUTER_PASSWORD"
RINGS: tuple[int | str, ...] = (1, "10%", "100%")
AT_ONCE = 8
"""Routers that are worked on at a time, unless the file says otherwise."""

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
_SECRET = re.compile(r"pass|pwd|secret|token|credential|login|auth|key", re.IGNORECASE)

Value = str | bool | int


@dataclass(frozen=True)
class Entry:
    """One router, its group's and the file's defaults taken in.

    host: https://… or http://…. password_from: env:NAME or keyring:SERVICE. arch: platform of the
    tar to hand over, "" to let the router pull. settings, ca: paths, or "". disk: slot for the tar.
    serve_on: this machine's address for the router. set: values of settings-tailscale by name.
    """

    name: str
    group: str
    host: str
    user: str
    password_from: str
    arch: str
    settings: str
    disk: str
    serve_on: str
    ca: str
    set: Mapping[str, Value]


@dataclass(frozen=True)
class Inventory:
    """What a file says. rings: how far each ring goes, a number of routers or "N%" of all of them.

    at_once: routers at a time. tolerate: percent of a ring that may fail before the next begins.
    """

    entries: tuple[Entry, ...]
    rings: tuple[int | str, ...]
    at_once: int
    tolerate: int


def _quiet(pattern: str, wanted: str) -> schema.Check:
    """Text that matches; a value that does not is not repeated, since it may be a secret."""
    compiled = re.compile(pattern)

    def check(place: str, value: Any) -> list[str]:
        fine = isinstance(value, str) and compiled.fullmatch(value)
        return [] if fine else [f"{place}: wanted {wanted}, got something else (not shown)"]

    return check


def _host(place: str, value: Any) -> list[str]:
    found = _quiet(
        r"https?://[A-Za-z0-9.:\[\]-]+/?", "an address such as https://192.0.2.1, without a login"
    )(place, value)
    if found or origin(value) != ("", ""):
        return found
    return [f"{place}: wanted an address such as https://192.0.2.1, got one of no server"]


def _without_secrets(check: schema.Check) -> schema.Check:
    """A row as `check` has it, in which no key has the name of a secret."""

    def checked(place: str, value: Any) -> list[str]:
        keys = [*value] if isinstance(value, dict) else []
        odd = [key for key in keys if _SECRET.search(key) and key != "password_from"]
        rest = {key: value[key] for key in keys if key not in odd} if odd else value
        within = f"{place}." if place else ""
        return [
            f"{within}{key}: wanted password_from with env:NAME or keyring:SERVICE, "
            "got a secret in the file (take it out, and change it if others have the file)"
            for key in odd
        ] + check(place, rest)

    return checked


def _check() -> schema.Check:
    path = schema.text(r"[^\x00-\x1f]*", "a path")
    common: dict[str, schema.Check] = {
        "user": schema.text(r"[^\x00-\x1f:]+", "the name of a user"),
        "password_from": _quiet(
            r"env:[A-Za-z_][A-Za-z0-9_]*|keyring:[^\x00-\x1f]+", "env:NAME or keyring:SERVICE"
        ),
        "arch": schema.one_of("", *targets()),
        "settings": path,
        "disk": schema.text(r"([A-Za-z0-9][A-Za-z0-9-]*)?", "a slot such as usb1"),
        "serve_on": schema.text(r"[A-Za-z0-9.:-]*", "an address of this machine"),
        "ca": path,
        "set": schema.table(
            schema.either(
                schema.truth,
                schema.whole(0),
                schema.text(r"[^\x00-\x1f]*", "a text, a whole number, true or false"),
            ),
            r"Ts[A-Za-z0-9]+",
            "a setting such as TsHostname",
        ),
    }
    part = schema.text(r"[1-9][0-9]?%|100%", 'a number of routers, or a part such as "10%"')
    rollout = {
        "rings": schema.each(schema.either(schema.whole(1), part), 1),
        "at_once": schema.whole(1, 64),
        "tolerate": schema.whole(0, 100),
    }
    name = "a name of letters, digits, dots, - and _"
    one = schema.row({"host": _host}, {"group": schema.text(_NAME, name), **common})
    defaults = _without_secrets(schema.row({}, common))
    whole = schema.row(
        {"router": schema.table(_without_secrets(one), _NAME, name, least=1)},
        {
            "defaults": defaults,
            "group": schema.table(defaults, _NAME, name),
            "rollout": schema.row({}, rollout),
        },
    )
    return _without_secrets(whole)


def load(path: Path) -> Inventory:
    """Read an inventory. Raises UserError naming every fault, and never a secret."""
    try:
        if not path.is_file():
            raise UserError(f"there is no inventory {path}", cure=CURE)
        if path.stat().st_size > LARGEST:
            raise UserError(f"{path} has more than {LARGEST:,} B", cure=CURE)
        found = schema.read(path, _check())
        entries = tuple(_entries(found, path.parent))
        schema.require([*_faults(found, entries)], path.name)
    except UserError as error:
        # The schema's cures are for files of this repository.
        raise UserError(error.what, why=error.why, cure=CURE) from None
    rollout = found.get("rollout", {})
    return Inventory(
        entries,
        tuple(rollout.get("rings", RINGS)),
        rollout.get("at_once", AT_ONCE),
        rollout.get("tolerate", 0),
    )


def _entries(found: Mapping[str, Any], folder: Path) -> Iterator[Entry]:
    for name, row in found["router"].items():
        group = row.get("group", "")
        layers = (found.get("defaults", {}), found.get("group", {}).get(group, {}), row)
        said = {key: value for layer in layers for key, value in layer.items()}
        values = {key: value for layer in layers for key, value in layer.get("set", {}).items()}
        file = {key: str(folder / said[key]) if said.get(key) else "" for key in ("settings", "ca")}
        yield Entry(
            name,
            group,
            said["host"].rstrip("/"),
            said.get("user", "admin"),
            said.get("password_from", DEFAULT_FROM),
            said.get("arch", ""),
            file["settings"],
            said.get("disk", ""),
            said.get("serve_on", ""),
            file["ca"],
            values,
        )


def _faults(found: Mapping[str, Any], entries: Sequence[Entry]) -> Iterator[str]:
    groups = found.get("group", {})
    known: dict[tuple[str, str], str] = {}
    for one in entries:
        place = f"router.{one.name}"
        if one.group and one.group not in groups:
            wanted = f"one of the groups {', '.join(groups)}" if groups else "a group of the file"
            yield f"{place}.group: wanted {wanted}, got {one.group}"
        if one.name in groups:
            yield f"{place}: wanted a name of its own, got that of a group"
        if (other := known.setdefault(origin(one.host), one.name)) != one.name:
            yield f"{place}.host: wanted another address than that of {other}, got it"
        if one.arch and not one.serve_on:
            yield (
                f"{place}.serve_on: wanted this machine's address in the router's network, "
                "got nothing (it has an arch, so it fetches the image from here)"
            )


def chosen(entries: Sequence[Entry], names: Sequence[str]) -> tuple[Entry, ...]:
    """Return the routers with these names or of these groups, in the file's order; [] is all.

    Raises UserError for a name that is neither.
    """
    known = {one.name for one in entries} | {one.group for one in entries if one.group}
    if odd := [name for name in names if name not in known]:
        shown = ", ".join(sorted({one.group for one in entries if one.group})) or "none"
        raise UserError(
            f"--only '{odd[0]}' is neither a group with routers nor a router of the inventory",
            cure=f"groups: {shown}",
        )
    wanted = set(names)
    return tuple(one for one in entries if not wanted or wanted & {one.name, one.group})


def settings_of(entry: Entry, text: str) -> str:
    """Return a settings script with the router's own values. Raises UserError for a wrong one."""
    for name, value in entry.set.items():
        place = f"router.{entry.name}.set.{name}"
        line = re.search(rf"^:global {name} (.*);$", text, re.MULTILINE)
        if line is None:
            raise UserError(
                f"{place} is not in order",
                why=f"{place}: wanted a setting that the script has, got an unknown one",
                cure=CURE,
            )
        wanted, shown = _written(line[1], value)
        if not shown:
            why = f"{place}: wanted {wanted}, got {value!r}"
            raise UserError(f"{place} is not in order", why=why, cure=CURE)
        text = f"{text[: line.start(1)]}{shown}{text[line.end(1) :]}"
    return text


def _written(before: str, value: Value) -> tuple[str, str]:
    """Return what a setting takes, told by its value so far, and a value as the script has it."""
    if before.startswith('"'):
        return "a text", f'"{literal(value)}"' if isinstance(value, str) else ""
    if before in ("true", "false"):
        return "true or false", str(value).lower() if isinstance(value, bool) else ""
    if before.isdigit():
        return "a whole number", str(value) if type(value) is int else ""
    fine = isinstance(value, str) and re.fullmatch(r"([0-9]+[wdhms])+", value)
    return "a time such as 12h", str(value) if fine else ""
