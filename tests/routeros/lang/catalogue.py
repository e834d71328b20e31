"""The ``:commands``: their arguments and the version they came with (facts 3.2, "Arrival")."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BuiltinSpec:
    """Arguments of one ``:command``.

    positional: names in order of what may be given unnamed; named: all argument names;
    blocks: arguments that are code; flags: words without a value; required: what must be
    given; declares: arguments that are variable names, not values.
    """

    positional: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    since: tuple[int, int] = (7, 0)


def _one(**extra: tuple[str, ...]) -> BuiltinSpec:
    return BuiltinSpec(("value",), ("value", *extra.get("more", ())), required=("value",))


BUILTINS: dict[str, BuiltinSpec] = {
    "local": BuiltinSpec(
        ("name", "value"), ("name", "value", "do"), ("do",), required=("name",), names=("name",)
    ),
    "global": BuiltinSpec(
        ("name", "value"), ("name", "value", "do"), ("do",), required=("name",), names=("name",)
    ),
    "set": BuiltinSpec(
        ("name", "value"), ("name", "value", "do"), ("do",), required=("name",), names=("name",)
    ),
    "if": BuiltinSpec(
        ("condition", "do"), ("condition", "do", "else"), ("do", "else"), required=("condition",)
    ),
    "for": BuiltinSpec(
        ("counter",),
        ("counter", "from", "to", "step", "do"),
        ("do",),
        required=("counter", "from", "to", "do"),
        names=("counter",),
    ),
    "foreach": BuiltinSpec(
        ("counter",),
        ("counter", "in", "do"),
        ("do",),
        required=("counter", "in", "do"),
        names=("counter",),
    ),
    "while": BuiltinSpec(
        ("condition", "do"), ("condition", "do"), ("do",), required=("condition", "do")
    ),
    "do": BuiltinSpec(
        ("command",),
        ("command", "while", "on-error"),
        ("command", "on-error"),
        required=("command",),
    ),
    "onerror": BuiltinSpec(
        ("error", "in", "do"),
        ("error", "in", "do"),
        ("in", "do"),
        required=("error", "in", "do"),
        names=("error",),
        since=(7, 13),
    ),
    "retry": BuiltinSpec(
        ("command", "delay", "max"),
        ("command", "delay", "max", "on-error"),
        ("command", "on-error"),
        required=("command", "max"),
    ),
    "parse": _one(),
    "execute": BuiltinSpec(
        ("script",), ("script", "file"), ("script",), ("as-string",), required=("script",)
    ),
    "put": BuiltinSpec(("message",), ("message",), required=("message",)),
    "error": BuiltinSpec(("message",), ("message",), required=("message",)),
    "return": BuiltinSpec(("value",), ("value",), required=("value",)),
    "delay": BuiltinSpec(("delay-time",), ("delay-time",), required=()),
    "time": BuiltinSpec(("command",), ("command",), ("command",), required=("command",)),
    "timestamp": BuiltinSpec(),
    "jobname": BuiltinSpec(since=(7, 12)),
    "nothing": BuiltinSpec(),
    "quit": BuiltinSpec(),
    "beep": BuiltinSpec(("frequency", "length"), ("frequency", "length", "as-value")),
    "environment": BuiltinSpec(),
    "break": BuiltinSpec(since=(7, 22)),
    "continue": BuiltinSpec(since=(7, 22)),
    "exit": BuiltinSpec(since=(7, 22)),
    "len": _one(),
    "typeof": _one(),
    "tostr": _one(),
    "tonum": _one(),
    "tobool": _one(),
    "toip": _one(),
    "toip6": _one(),
    "totime": _one(),
    "toid": _one(),
    "tonsec": _one(),
    "tolf": BuiltinSpec(("value",), ("value",), required=("value",), since=(7, 14)),
    "tocrlf": BuiltinSpec(("value",), ("value",), required=("value",), since=(7, 14)),
    "toarray": _one(more=("delimiter",)),
    "pick": BuiltinSpec(
        ("counter", "begin", "end"), ("counter", "begin", "end"), required=("counter", "begin")
    ),
    "find": BuiltinSpec(("in", "key", "start"), ("in", "key", "start"), required=("in", "key")),
    "rndnum": BuiltinSpec(("from", "to"), ("from", "to"), required=("from", "to")),
    "rndstr": BuiltinSpec(("length", "from"), ("length", "from")),
    "resolve": BuiltinSpec(
        ("domain-name",),
        ("domain-name", "type", "server", "server-port"),
        required=("domain-name",),
    ),
    "convert": BuiltinSpec(
        ("value",),
        ("value", "from", "to", "transform", "options"),
        required=("value",),
        since=(7, 11),
    ),
    "serialize": BuiltinSpec(
        ("value",),
        ("value", "to", "options", "delimiter", "order", "file-name"),
        required=("value", "to"),
        since=(7, 13),
    ),
    "deserialize": BuiltinSpec(
        ("value",),
        ("value", "from", "options", "delimiter", "file-name"),
        required=("from",),
        since=(7, 13),
    ),
    "grep": BuiltinSpec(
        ("script", "pattern"), ("script", "pattern", "as-string", "before", "after"), since=(7, 13)
    ),
    "range": BuiltinSpec(("from", "to", "step"), ("from", "to", "step"), since=(7, 17)),
}


def available(version: tuple[int, ...]) -> frozenset[str]:
    """The names of the ``:commands`` that a version has."""
    return frozenset(name for name, spec in BUILTINS.items() if spec.since <= version[:2])
