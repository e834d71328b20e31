"""What the tables in `build/data/` may say: one way to state it, to check it, and to tell a fault.

A check is a function of (name of the place, value found there) that returns every fault as
`place: wanted …, got …`. Checks are put together: `row({"size": whole(1)})`.

Why not JSON Schema: the library that is in the lock for CI's files takes 0.9 s to import, which
every command would pay.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from build.core.errors import UserError

Check = Callable[[str, Any], list[str]]

SHOWN = 60
"""Most characters of a wrong value that a message repeats."""

_KINDS = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    list: "a list",
    dict: "a table",
}


def _fault(place: str, wanted: str, got: Any) -> list[str]:
    shown = repr(got) if not isinstance(got, dict | list) else _KINDS[type(got)]
    if len(shown) > SHOWN:
        shown = shown[:SHOWN] + "…"
    return [f"{place}: wanted {wanted}, got {shown}"]


def text(pattern: str = r"[^\x00]+", wanted: str = "a text that is not empty") -> Check:
    """Text that matches a pattern as a whole; `wanted` says in words what that is."""
    compiled = re.compile(pattern, re.DOTALL)

    def check(place: str, value: Any) -> list[str]:
        fine = isinstance(value, str) and compiled.fullmatch(value)
        return [] if fine else _fault(place, wanted, value)

    return check


def whole(low: int, high: int = 1 << 40) -> Check:
    """A whole number from `low` to `high`, both included."""

    def check(place: str, value: Any) -> list[str]:
        fine = type(value) is int and low <= value <= high
        return [] if fine else _fault(place, f"a whole number from {low:,} to {high:,}", value)

    return check


def truth(place: str, value: Any) -> list[str]:
    """True or false."""
    return [] if isinstance(value, bool) else _fault(place, "true or false", value)


def one_of(*choices: str | int) -> Check:
    """One of these values, of the same type."""
    wanted = " or ".join(str(choice) for choice in choices) if choices else "nothing"

    def check(place: str, value: Any) -> list[str]:
        fine = any(type(value) is type(choice) and value == choice for choice in choices)
        return [] if fine else _fault(place, wanted, value)

    return check


def _ip(kind: Callable[[str], Any], wanted: str) -> Check:
    def check(place: str, value: Any) -> list[str]:
        try:
            kind(value if isinstance(value, str) else "")
        except ValueError:
            return _fault(place, wanted, value)
        return []

    return check


ipv4 = _ip(ipaddress.IPv4Address, "an IPv4 address")
ipv6 = _ip(ipaddress.IPv6Address, "an IPv6 address")
ipv4_network = _ip(ipaddress.IPv4Network, "an IPv4 network such as 192.0.2.0/24")
ipv6_network = _ip(ipaddress.IPv6Network, "an IPv6 network such as 2001:db8::/64")
interface = _ip(ipaddress.ip_interface, "an address such as 192.0.2.1/24")


def each(item: Check, least: int = 0) -> Check:
    """A list of at least so many values that each pass `item`."""
    wanted = f"a list of at least {least}" if least else "a list"

    def check(place: str, value: Any) -> list[str]:
        if not isinstance(value, list):
            return _fault(place, wanted, value)
        if len(value) < least:
            return [f"{place}: {wanted.replace('a list', 'wanted a list')}, got {len(value)}"]
        return [fault for n, one in enumerate(value) for fault in item(f"{place}[{n}]", one)]

    return check


def fixed(*items: Check) -> Check:
    """A list of exactly these, in their order."""

    def check(place: str, value: Any) -> list[str]:
        if not isinstance(value, list):
            return _fault(place, f"a list of {len(items)}", value)
        if len(value) != len(items):
            return [f"{place}: wanted a list of {len(items)}, got {len(value)}"]
        pairs = enumerate(zip(items, value, strict=True))
        return [fault for n, (item, one) in pairs for fault in item(f"{place}[{n}]", one)]

    return check


def either(*checks: Check) -> Check:
    """A value that one of the checks has no fault in; the faults told are those of the last."""

    def check(place: str, value: Any) -> list[str]:
        found: list[str] = []
        for one in checks:
            found = one(place, value)
            if not found:
                break
        return found

    return check


def table(item: Check, names: str = r".+", wanted: str = "a name", least: int = 0) -> Check:
    """A table with names of the file's own choice, each value of which passes `item`."""
    compiled = re.compile(names)

    def check(place: str, value: Any) -> list[str]:
        if not isinstance(value, dict):
            return _fault(place, "a table", value)
        faults = [] if len(value) >= least else [f"{place or 'the file'}: wanted rows, got none"]
        for name, one in value.items():
            if not compiled.fullmatch(name):
                faults += _fault(_join(place, repr(name)), wanted, name)
            faults += item(_join(place, name), one)
        return faults

    return check


def row(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """A table with exactly these keys, of which only the optional ones may be missing."""
    known = {**required, **(optional or {})}

    def check(place: str, value: Any) -> list[str]:
        if not isinstance(value, dict):
            return _fault(place, f"a table with {', '.join(required)}", value)
        faults = [
            f"{_join(place, key)}: wanted one of the keys {', '.join(known)}, got an unknown key"
            for key in value
            if key not in known
        ]
        faults += [
            f"{_join(place, key)}: wanted a value, got nothing (the key is missing)"
            for key in required
            if key not in value
        ]
        for key, one in known.items():
            if key in value:
                faults += one(_join(place, key), value[key])
        return faults

    return check


def _join(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def require(faults: list[str], where: str) -> None:
    """Raise UserError that names the file and every fault, if there is one."""
    if faults:
        raise UserError(
            f"{where} is not in order",
            why="".join(f"\n    {fault}" for fault in faults),
            cure="correct the file; the comment at its top says what each key means",
        )


def read(path: Path, check: Check) -> dict[str, Any]:
    """Return a TOML file as it is. Raises UserError with every fault if it is not as it must be."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"cannot read {path}",
            why=error.strerror or str(error),
            cure=f"get the file back: git checkout -- {path}",
        ) from error
    except (ValueError, RecursionError) as error:  # no TOML, or no UTF-8
        raise UserError(
            f"cannot read {path.name}: it is not TOML",
            why=str(error) or "it is nested too deeply",
            cure=f"correct {path}, or get it back: git checkout -- build/data",
        ) from error
    require(check("", found), path.name)
    return found
