"""What the operators do with each pair of types (types.rsc, sections 4 to 7)."""

from __future__ import annotations

import ipaddress
import operator
import re
from collections.abc import Callable
from functools import lru_cache, partial

from tests.routeros.lang.errors import RuntimeFault
from tests.routeros.lang.values import (
    NIL,
    Array,
    Duration,
    Function,
    Nil,
    Nothing,
    Prefix,
    Value,
    literal,
    to_num,
    to_str,
    type_of,
    wrap64,
)

ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
    "<<": operator.lshift,
    ">>": operator.rshift,
}
ORDER: dict[str, Callable[[int, int], bool]] = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}
CLASSES = {
    "alpha": "a-zA-Z",
    "digit": "0-9",
    "alnum": "a-zA-Z0-9",
    "space": r"\s",
    "upper": "A-Z",
    "lower": "a-z",
    "xdigit": "0-9a-fA-F",
    "punct": r"!-/:-@\[-`{-~",
}


@lru_cache(maxsize=512)
def regex(pattern: str) -> re.Pattern[str]:
    """A POSIX extended expression as Python's. Raises RuntimeFault if it is not one."""
    for name, chars in CLASSES.items():
        pattern = pattern.replace(f"[:{name}:]", chars)
    try:
        return re.compile(pattern)
    except re.error as problem:
        raise RuntimeFault(f"bad regular expression: {problem}") from None


def truth(value: Value) -> bool:
    """A condition: bools and numbers; a string is an error ("conditional is not boolean")."""
    if value is True or value is False:
        return value
    if isinstance(value, int):
        return value != 0
    raise RuntimeFault("conditional not boolean")


def equal(left: Value, right: Value) -> bool:
    """``=``: a string next to a number, address or time is read as one; bool stays bool."""
    if type(left) is type(right) and type(left) in (str, int, bool):
        return left == right
    if isinstance(left, Array) or isinstance(right, Array):
        return _equal_arrays(left, right)
    if isinstance(left, (Nothing, Nil)) or isinstance(right, (Nothing, Nil)):
        return isinstance(left, (Nothing, Nil)) and isinstance(right, (Nothing, Nil))
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if type(left) is type(right) or (isinstance(left, str) and isinstance(right, str)):
        return left == right
    if isinstance(left, str):
        return literal(left) == right
    if isinstance(right, str):
        return left == literal(right)
    return False


def _equal_arrays(left: Value, right: Value) -> bool:
    if isinstance(left, Array) and isinstance(right, Array):
        return len(left) == len(right) and all(
            a[0] == b[0] and equal(a[1], b[1])
            for a, b in zip(left.pairs(), right.pairs(), strict=True)
        )
    array, other = (left, right) if isinstance(left, Array) else (right, left)
    if isinstance(array, Array) and len(array.items) == 1 and not array.keyed:
        return equal(array.items[0], other)
    # scripts test for an empty [find] with = ""
    return isinstance(array, Array) and len(array) == 0 and other == ""


def _number(value: Value) -> int:
    if type(value) is int:
        return value
    if isinstance(value, (Nothing, Nil)):
        return 0
    if isinstance(value, bool):
        raise RuntimeFault("cannot use bool in arithmetic")
    number = to_num(value)
    if isinstance(number, Nil):
        raise RuntimeFault(f"cannot convert {type_of(value)} to number")
    return number


def _scale(value: Value) -> int:
    """Nanoseconds of a time or of a number of seconds."""
    return value.ns if isinstance(value, Duration) else _number(value) * 1_000_000_000


def arithmetic(sign: str, left: Value, right: Value) -> Value:
    """``+ - * / % & | ^ << >>``. Raises RuntimeFault for types that do not go together."""
    if isinstance(left, Duration) or isinstance(right, Duration):
        if sign in "+-":
            return Duration(ARITHMETIC[sign](_scale(left), _scale(right)))
        if sign == "*":
            time, other = (left, right) if isinstance(left, Duration) else (right, left)
            return Duration(_scale(time) * _number(other))
        if sign == "/" and isinstance(left, Duration):
            return Duration(left.ns // _divisor(right))
    address = ipaddress.IPv4Address
    if isinstance(left, address) and isinstance(right, address):
        if sign == "-":
            return int(left) - int(right)
        if sign in "&|^":
            return address(ARITHMETIC[sign](int(left), int(right)))
        raise RuntimeFault("cannot add ip address to ip address")
    if isinstance(left, address) and sign in "+-":
        return address((ARITHMETIC[sign](int(left), _number(right))) & 0xFFFFFFFF)
    if sign in "/%":
        quotient = abs(_number(left)) // abs(_divisor(right))
        quotient = quotient if (_number(left) < 0) == (_number(right) < 0) else -quotient
        return quotient if sign == "/" else _number(left) - quotient * _number(right)
    return wrap64(ARITHMETIC[sign](_number(left), _number(right)))


def _divisor(value: Value) -> int:
    number = _number(value)
    if number == 0:
        raise RuntimeFault("division by zero")
    return number


def order(sign: str, left: Value, right: Value) -> bool:
    """``< > <= >=``: numbers, times and addresses; never strings (types.rsc 6.2)."""
    if type(left) is int and type(right) is int:
        return ORDER[sign](left, right)
    if type(left) is str and type(right) is str:
        raise RuntimeFault(
            f"cannot compare if string is {'less' if '<' in sign else 'more'} than string"
        )
    if isinstance(left, Duration) or isinstance(right, Duration):
        return ORDER[sign](_scale(left), _scale(right))
    return ORDER[sign](_number(left), _number(right))


def contains(left: Value, right: Value) -> bool:
    """``in``: an address or prefix inside a prefix, an element inside an array."""
    if isinstance(right, Array):
        return any(equal(left, item) for _, item in right.pairs())
    if isinstance(left, str):
        left = literal(left)
    if isinstance(right, str):
        right = literal(right)
    if not isinstance(right, Prefix):
        return False
    if isinstance(left, Prefix):
        inner = left.network
        outer = right.network
        return (
            inner.version == outer.version
            and inner.prefixlen >= outer.prefixlen
            and inner.network_address in outer
        )
    if isinstance(left, (ipaddress.IPv4Address, ipaddress.IPv6Address)):
        return left in right.network
    return False


def concatenate(left: Value, right: Value) -> Value:
    """``.``: arrays element by element, everything else as text (types.rsc 4.2)."""
    if type(left) is str and type(right) is str:
        return left + right
    for array, other, before in ((left, right, False), (right, left, True)):
        if isinstance(array, Array):
            if isinstance(other, Array):
                raise RuntimeFault("cannot concatenate arrays")
            return Array(
                [
                    to_str(other) + to_str(item) if before else to_str(item) + to_str(other)
                    for item in array.items
                ]
            )
    return to_str(left) + to_str(right)


def join(left: Value, right: Value) -> Value:
    """``,``: one array out of two values."""
    result = Array()
    for part in (left, right):
        if isinstance(part, Array):
            result.items.extend(part.items)
            result.keyed.update(part.keyed)
        elif not isinstance(part, Nothing):
            result.items.append(part)
    return result


def _unequal(left: Value, right: Value) -> bool:
    return not equal(left, right)


def _both(left: Value, right: Value) -> bool:
    # both sides are already evaluated: there is no short circuit (errors.rsc 11)
    return truth(left) & truth(right)


def _either(left: Value, right: Value) -> bool:
    return truth(left) | truth(right)


def _matches(left: Value, right: Value) -> bool:
    if isinstance(left, (Nothing, Nil)):
        return False
    return regex(to_str(right)).search(to_str(left)) is not None


_BINARY: dict[str, Callable[[Value, Value], Value]] = {
    "=": equal,
    "!=": _unequal,
    "&&": _both,
    "||": _either,
    ".": concatenate,
    "~": _matches,
    "in": contains,
    ",": join,
}


def operator_of(sign: str) -> Callable[[Value, Value], Value]:
    """What an operator with two operands does: RuntimeFault for types that it does not take."""
    return _BINARY.get(sign) or partial(order if sign in ORDER else arithmetic, sign)


def unary(sign: str, value: Value) -> Value:
    """``!``, ``-`` and ``~`` with one operand."""
    if sign == "!":
        return not truth(value)
    if sign == "-":
        if isinstance(value, Duration):
            return Duration(-value.ns)
        return wrap64(-_number(value))
    if isinstance(value, ipaddress.IPv4Address):
        return ipaddress.IPv4Address(int(value) ^ 0xFFFFFFFF)
    return wrap64(~_number(value))


def element(base: Value, key: Value) -> Value:
    """``base->key``; reading from something that is no array gives nothing or an error."""
    if isinstance(base, Array):
        return base.get(key)
    if isinstance(base, (Nothing, Nil, Function)):
        return NIL if isinstance(base, Nil) else Nothing()
    raise RuntimeFault(f"cannot take an element of {type_of(base)}")
