"""The ``:commands`` that only turn values into values; no scope, no machine."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from tests.routeros.lang.errors import RuntimeFault
from tests.routeros.lang.values import (
    NIL,
    NS,
    Array,
    Duration,
    Id,
    Nil,
    Nothing,
    Prefix,
    Value,
    length,
    literal,
    parse_time,
    to_address,
    to_num,
    to_str,
    type_of,
)

Args = Mapping[str, Value]


def pick(args: Args) -> Value:
    """``:pick value begin [end]``; without an end, one element."""
    source, begin, end = args["counter"], args["begin"], args.get("end")
    start = to_num(begin)
    if isinstance(start, Nil):
        raise RuntimeFault("invalid value for argument begin")
    stop: int | Nil
    if end is None:
        stop = start + 1
    elif isinstance(end, (Nothing, Nil)):
        stop = length(source)
    else:
        stop = to_num(end)
        if isinstance(stop, Nil):
            raise RuntimeFault("invalid value for argument end")
    start = max(start, 0)
    if isinstance(source, Array):
        if end is None:
            return source.get(start)
        return Array(source.items[start:stop])
    whole = to_str(source)
    if whole.isascii():
        return whole[start : max(stop, 0)]
    text = whole.encode()[start : max(stop, 0)]
    return text.decode("utf-8", "surrogateescape")


def find(args: Args) -> Value:
    """``:find in key [start]``: a position or nil; start itself is not looked at."""
    source, key = args["in"], args["key"]
    after = args.get("start")
    begin = 0 if after is None else int(to_str(after) or 0) + 1
    if isinstance(source, Array):
        for index, item in source.pairs():
            if to_str(item) == to_str(key) and (isinstance(index, str) or index >= begin):
                return index
        return NIL
    at = to_str(source).encode().find(to_str(key).encode(), begin)
    return NIL if at < 0 else at


def to_array(args: Args) -> Value:
    """``:toarray value [delimiter=]``: text is split, everything else becomes one element."""
    value = args["value"]
    if isinstance(value, Array):
        return value
    if isinstance(value, (Nothing, Nil)) or value == "":
        return Array()
    if isinstance(value, str):
        return Array(list(value.split(to_str(args.get("delimiter", ",")) or ",")))
    return Array([value])


def to_bool(args: Args) -> Value:
    """``:tobool``: numbers only (types.rsc 2.4)."""
    value = args["value"]
    if isinstance(value, bool):
        return value
    return value != 0 if isinstance(value, int) else NIL


def to_ip(version: int) -> Callable[[Args], Value]:
    """``:toip`` and ``:toip6``; a prefix gives its address."""

    def convert(args: Args) -> Value:
        value = args["value"]
        if isinstance(value, Prefix):
            return value.address
        address = to_address(to_str(value))
        return address if address is not None and address.version == version else NIL

    return convert


def to_time(args: Args) -> Value:
    """``:totime``: a time from text or from seconds."""
    value = args["value"]
    if isinstance(value, Duration):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Duration(value * NS)
    return parse_time(to_str(value)) or NIL


def to_nsec(args: Args) -> Value:
    """``:tonsec``."""
    value = args["value"]
    return value.ns if isinstance(value, Duration) else NIL


# all the digests that the manual lists (scripting, convert)
TRANSFORMS = {"md5": hashlib.md5, "sha512": hashlib.sha512}


def convert(args: Args) -> Value:
    """``:convert value from= to= transform=``: hex, base64, digests, letter case."""
    data = to_str(args["value"]).encode("utf-8", "surrogateescape")
    source, target = to_str(args.get("from", "raw")), to_str(args.get("to", "raw"))
    try:
        if source == "hex":
            data = bytes.fromhex(data.decode())
        elif source == "base64":
            data = base64.b64decode(data)
    except ValueError:
        raise RuntimeFault("failed to convert") from None
    change = to_str(args.get("transform", ""))
    if change in TRANSFORMS:
        digest = TRANSFORMS[change](data).digest()
        # raw bytes, as others have seen on 7.24.1: a script has to ask for hex
        data = digest
    elif change == "reverse":
        data = data[::-1]
    elif change == "lc":
        data = data.lower()
    elif change == "uc":
        data = data.upper()
    elif change:
        raise RuntimeFault(f"unknown transform {change}")
    if target == "hex":
        return data.hex()
    if target == "base64":
        return base64.b64encode(data).decode()
    if target == "num":
        return to_num(data.decode("utf-8", "surrogateescape"))
    return data.decode("utf-8", "surrogateescape")


def from_json(data: Any) -> Value:
    """A JSON value as a RouterOS one; numbers with a fraction stay text."""
    if data is None:
        return NIL
    if isinstance(data, dict):
        return Array([], {str(key): from_json(item) for key, item in data.items()})
    if isinstance(data, list):
        return Array([from_json(item) for item in data])
    if isinstance(data, float):
        return str(data)
    if isinstance(data, (bool, int, str)):
        return data
    raise RuntimeFault("unsupported JSON value")


def to_json(value: Value) -> Any:
    """A RouterOS value as what ``json.dumps`` takes."""
    if isinstance(value, Array):
        if value.keyed:
            return {str(key): to_json(item) for key, item in value.pairs()}
        return [to_json(item) for item in value.items]
    if isinstance(value, (Nothing, Nil)):
        return None
    return value if isinstance(value, (bool, int)) else to_str(value)


def converted(value: Value, plain: bool) -> Value:
    """Texts of a document that look like numbers, times or addresses become them, unless plain."""
    if plain:
        return value
    if isinstance(value, Array):
        return Array(
            [converted(item, plain) for item in value.items],
            {key: converted(item, plain) for key, item in value.keyed.items()},
        )
    return literal(value) if isinstance(value, str) else value


def deserialize(args: Args) -> Value:
    """``:deserialize value from=json``."""
    if to_str(args["from"]) != "json":
        raise RuntimeFault("only json is modelled")
    try:
        plain = "json.no-string-conversion" in to_str(args.get("options", ""))
        return converted(from_json(json.loads(to_str(args.get("value", "")))), plain)
    except ValueError:
        raise RuntimeFault("failed to parse JSON value") from None


def serialize(args: Args) -> Value:
    """``:serialize value to=json``."""
    if to_str(args["to"]) != "json":
        raise RuntimeFault("only json is modelled")
    return json.dumps(to_json(args["value"]), separators=(",", ":"))


def number_range(args: Args) -> Value:
    """``:range from to step``: an array of numbers, both ends included."""
    low, high, step = (to_num(args.get(key, 1)) for key in ("from", "to", "step"))
    if isinstance(low, Nil) or isinstance(high, Nil) or isinstance(step, Nil) or step == 0:
        raise RuntimeFault("invalid range")
    return Array(list(range(low, high + (1 if step > 0 else -1), step)))


PURE: dict[str, Callable[[Args], Value]] = {
    "len": lambda args: length(args["value"]),
    "typeof": lambda args: type_of(args["value"]),
    "tostr": lambda args: to_str(args["value"]),
    "tonum": lambda args: to_num(args["value"]),
    "toid": lambda args: Id(to_str(args["value"])),
    "tolf": lambda args: to_str(args["value"]).replace("\r\n", "\n"),
    "tocrlf": lambda args: to_str(args["value"]).replace("\n", "\r\n"),
    "tobool": to_bool,
    "toip": to_ip(4),
    "toip6": to_ip(6),
    "totime": to_time,
    "tonsec": to_nsec,
    "toarray": to_array,
    "pick": pick,
    "find": find,
    "convert": convert,
    "serialize": serialize,
    "deserialize": deserialize,
    "range": number_range,
}
