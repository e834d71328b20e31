"""Values of the RouterOS scripting language and how they turn into one another.

The type names and conversions follow ``references/types.rsc`` of
tarikin/routeros-7-llm-safe-reference (measured on 7.21 by its author).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import total_ordering
from typing import Any, TypeAlias

NS = 1_000_000_000


class Nothing:
    """The value of a variable that was never set."""

    def __repr__(self) -> str:
        return "nothing"


class Nil:
    """The value of a failed conversion, of ``[:find]`` without a match, of ``[]``."""

    def __repr__(self) -> str:
        return "nil"


NOTHING = Nothing()
NIL = Nil()


@total_ordering
@dataclass(frozen=True)
class Duration:
    """A ``time`` value; ``ns`` is its length in nanoseconds."""

    ns: int

    def __lt__(self, other: Duration) -> bool:
        return self.ns < other.ns


@dataclass(frozen=True)
class Prefix:
    """An address with a prefix length, host bits kept (``10.0.0.1/24``)."""

    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    length: int

    @property
    def network(self) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
        """The network without its host bits."""
        return ipaddress.ip_network(f"{self.address}/{self.length}", strict=False)

    def __str__(self) -> str:
        return f"{self.address}/{self.length}"


class Id(str):
    """An internal item id such as ``*1F``; its type name is ``id``."""


@dataclass
class Array:
    """A list part (positional) and a keyed part; keys come out sorted, as the router does."""

    items: list[Value] = field(default_factory=list)
    keyed: dict[str, Value] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.items) + len(self.keyed)

    def pairs(self) -> Iterator[tuple[int | str, Value]]:
        """Every (key, value): positions first, then names in order."""
        yield from enumerate(self.items)
        for key in sorted(self.keyed):
            yield key, self.keyed[key]

    def get(self, key: Value) -> Value:
        """The element at a position or name; a miss is ``nothing``, never an error."""
        if type(key) is str:
            return self.keyed.get(key, NOTHING)
        if isinstance(key, bool):
            return NOTHING
        if isinstance(key, int):
            return self.items[key] if 0 <= key < len(self.items) else NOTHING
        return self.keyed.get(to_str(key), NOTHING)

    def put(self, key: Value, value: Value) -> None:
        """Set an element; a position past the end grows the list with ``nothing``."""
        if isinstance(key, int) and not isinstance(key, bool):
            while len(self.items) <= key:
                self.items.append(NOTHING)
            self.items[key] = value
        elif isinstance(value, Nothing):
            self.keyed.pop(to_str(key), None)
        else:
            self.keyed[to_str(key)] = value


@dataclass(frozen=True)
class Function:
    """``do={…}``: a block that can be called; ``[:typeof]`` calls it an array."""

    block: Any


@dataclass(frozen=True)
class Code:
    """What ``:parse`` gives: a script that can be called."""

    block: Any
    source: str


Value: TypeAlias = (
    Nothing
    | Nil
    | bool
    | int
    | str
    | Duration
    | ipaddress.IPv4Address
    | ipaddress.IPv6Address
    | Prefix
    | Array
    | Function
    | Code
)

_TIME_WORD = re.compile(
    r"(?=\d)(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?"
    r"(?:(\d+)(?:\.(\d+))?s)?(?:(\d+)ms)?(?:(\d+)us)?(?:(\d+)ns)?$"
)
_TIME_CLOCK = re.compile(r"(?:(\d+)w)?(?:(\d+)d)?(\d+):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?$")
_NUMBER = re.compile(r"-?\d+$")
_HEX = re.compile(r"0[xX][0-9a-fA-F]+$")


def wrap64(number: int) -> int:
    """Two's complement of 64 bits: arithmetic wraps silently (types.rsc 5.4)."""
    number &= (1 << 64) - 1
    return number - (1 << 64) if number >> 63 else number


def parse_time(text: str) -> Duration | None:
    """``1h30m``, ``00:00:05.5``, ``2w3d04:05:06`` -> Duration; None if it is not one."""
    match = _TIME_CLOCK.match(text)
    if match:
        weeks, days, hours, minutes, seconds, fraction = match.groups()
        total = (
            int(weeks or 0) * 604800
            + int(days or 0) * 86400
            + int(hours) * 3600
            + int(minutes) * 60
            + int(seconds or 0)
        ) * NS
        return Duration(total + int((fraction or "0").ljust(9, "0")))
    match = _TIME_WORD.match(text)
    if not match or not any(match.groups()):
        return None
    weeks, days, hours, minutes, seconds, fraction, millis, micros, nanos = match.groups()
    total = (
        int(weeks or 0) * 604800
        + int(days or 0) * 86400
        + int(hours or 0) * 3600
        + int(minutes or 0) * 60
        + int(seconds or 0)
    ) * NS
    total += int((fraction or "0").ljust(9, "0")[:9])
    total += int(millis or 0) * 1_000_000 + int(micros or 0) * 1000 + int(nanos or 0)
    return Duration(total)


def to_num(value: Value) -> int | Nil:
    """``:tonum``: integers only; anything else is nil (types.rsc 2.1)."""
    if isinstance(value, bool):
        return NIL
    if isinstance(value, int):
        return value
    if isinstance(value, Duration):
        return value.ns // NS
    if isinstance(value, ipaddress.IPv4Address):
        return int(value)
    text = value if isinstance(value, str) else ""
    if _NUMBER.match(text):
        return wrap64(int(text))
    if _HEX.match(text):
        return wrap64(int(text, 16))
    return NIL


def to_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address of either family, or None."""
    if "." not in text and ":" not in text:
        return None
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def to_prefix(text: str) -> Prefix | None:
    """``address/length`` of either family, or None."""
    head, slash, tail = text.partition("/")
    if not slash or not tail.isdigit():
        return None
    address = to_address(head)
    if address is None or int(tail) > address.max_prefixlen:
        return None
    return Prefix(address, int(tail))


def literal(text: str) -> Value:
    """The value of an unquoted word: number, bool, time, address, prefix, id or string."""
    if text in ("true", "yes"):
        return True
    if text in ("false", "no"):
        return False
    if _NUMBER.match(text):
        return wrap64(int(text))
    if _HEX.match(text):
        return wrap64(int(text, 16))
    if text.startswith("*") and re.fullmatch(r"\*[0-9A-Fa-f]+", text):
        return Id(text)
    if text[:1].isdigit() or ":" in text:
        for convert in (parse_time, to_prefix, to_address):
            value = convert(text)
            if value is not None:
                return value
    return text


def time_str(value: Duration) -> str:
    """``1w2d03:04:05.123``: the router's way to print a time."""
    negative, left = ("-", -value.ns) if value.ns < 0 else ("", value.ns)
    weeks, left = divmod(left, 604800 * NS)
    days, left = divmod(left, 86400 * NS)
    hours, left = divmod(left, 3600 * NS)
    minutes, left = divmod(left, 60 * NS)
    seconds, fraction = divmod(left, NS)
    text = negative + (f"{weeks}w" if weeks else "") + (f"{days}d" if days else "")
    text += f"{hours:02}:{minutes:02}:{seconds:02}"
    return text + (f".{fraction:09}".rstrip("0") if fraction else "")


def to_str(value: Value) -> str:
    """``:tostr``: works for every value."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (Nothing, Nil)):
        return ""
    if isinstance(value, Duration):
        return time_str(value)
    if isinstance(value, Array):
        return ";".join(
            to_str(item) if isinstance(key, int) else f"{key}={to_str(item)}"
            for key, item in value.pairs()
        )
    if isinstance(value, Code):
        return f"(evl {value.source})"
    if isinstance(value, Function):
        return "(code)"
    return str(value)


def type_of(value: Value) -> str:
    """``:typeof``; a ``do={}`` function says array, a parsed one code (types.rsc 1.2)."""
    for kind, name in _TYPES:
        if isinstance(value, kind):
            return name
    if isinstance(value, Prefix):
        return "ip-prefix" if value.address.version == 4 else "ip6-prefix"
    raise TypeError(f"not a RouterOS value: {value!r}")


_TYPES: tuple[tuple[type, str], ...] = (
    (Nothing, "nothing"),
    (Nil, "nil"),
    (bool, "bool"),
    (int, "num"),
    (Id, "id"),
    (str, "str"),
    (Duration, "time"),
    (ipaddress.IPv4Address, "ip"),
    (ipaddress.IPv6Address, "ip6"),
    (Array, "array"),
    (Function, "array"),
    (Code, "code"),
)


def length(value: Value) -> int:
    """``:len``: elements of an array, bytes of the text of anything else."""
    if type(value) is str:
        return len(value) if value.isascii() else len(value.encode())
    if isinstance(value, Array):
        return len(value)
    return len(to_str(value).encode())
