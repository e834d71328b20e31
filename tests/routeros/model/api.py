"""A router's binary API in front of the model: sentences of words, as its clients speak them.

Source: MikroTik's manual, "API": the length before each word, login (the way since 6.43),
`!re`, `!done`, `!trap`, `!fatal`, `!empty` (since 7.18), `.tag`, `.proplist`, and queries, which
are a stack. What a command does is REST's (rest.py): routers have one set of commands for both.
A command answers once it is through, so `/cancel` finds nothing to stop.
"""

from __future__ import annotations

import base64
import json
import operator
import re
import socketserver
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

from tests.routeros.model.rest import Rest
from tests.routeros.model.served import served

VERBS = {"print": "GET", "getall": "GET", "add": "PUT", "set": "PATCH", "remove": "DELETE"}
SIZES = ((0x80, 1, 0), (0x4000, 2, 0x80), (0x200000, 3, 0xC0), (0x10000000, 4, 0xE0))
"""Lengths below, in so many bytes, of which the first has these bits."""
COMPARED: Mapping[str, Callable[[Any, Any], bool]] = {
    "": operator.eq,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}

Row = Mapping[str, str]


class Trap(Exception):
    """An error answer."""


def encoded(words: Sequence[str]) -> bytes:
    """A sentence as it goes over the wire."""
    found = b""
    for word in words:
        data = word.encode()
        for below, size, bits in SIZES:
            if len(data) < below:
                found += (len(data) | bits << 8 * (size - 1)).to_bytes(size, "big")
                break
        else:
            found += b"\xf0" + len(data).to_bytes(4, "big")
        found += data
    return found + b"\0"


def read(wire: BinaryIO) -> list[str]:
    """The next sentence, [] at the end. Raises ConnectionAbortedError within one."""
    words: list[str] = []
    while first := wire.read(1):
        if first == b"\0":
            if words:
                return words
            continue
        if first[0] > 0xF0:  # reserved control bytes
            raise ConnectionAbortedError
        more = next((n for n, mark in enumerate((0x80, 0xC0, 0xE0, 0xF0)) if first[0] < mark), 4)
        rest = _whole(wire, more)
        length = int.from_bytes(first + rest, "big") & ((1 << (7 * more + 7)) - 1)
        words.append(_whole(wire, int.from_bytes(rest, "big") if more == 4 else length).decode())
    if words:
        raise ConnectionAbortedError
    return []


def _whole(wire: BinaryIO, size: int) -> bytes:
    data = wire.read(size)
    if len(data) < size:
        raise ConnectionAbortedError
    return data


def matches(row: Row, queries: Sequence[str]) -> bool:
    """Whether a row is one that the query words, without their "?", ask for."""
    stack: list[bool] = []
    for word in queries:
        if word.startswith("#"):
            for sign in word[1:]:
                if sign == "!":
                    stack.append(not stack.pop())
                elif sign in "&|":
                    right, left = stack.pop(), stack.pop()
                    stack.append(left and right if sign == "&" else left or right)
                else:
                    raise Trap(f"unknown query operation {sign}")
            continue
        parts = re.fullmatch(r"([-=<>]?)([^=]+)(?:=(.*))?", word, re.DOTALL)
        if not parts:
            raise Trap(f"bad query {word}")
        sign, name, value = parts.groups()
        if value is None:
            stack.append((name in row) != (sign == "-"))
        else:
            stack.append(name in row and COMPARED[sign](*_alike(row[name], value)))
    return all(stack)


def _alike(one: str, other: str) -> tuple[Any, Any]:
    """Two values as they compare: yes and true are one, numbers are numbers."""
    one, other = ({"yes": "true", "no": "false"}.get(text, text) for text in (one, other))
    return (int(one), int(other)) if one.isdigit() and other.isdigit() else (one, other)


class Session:
    """One connection: who has not logged in gets nothing."""

    def __init__(self, rest: Rest) -> None:
        self.rest = rest
        self.login = ""

    def answer(self, sentence: Sequence[str]) -> list[list[str]]:
        """The sentences that answer one."""
        command, words = sentence[0], sentence[1:]
        tag = [word for word in words if word.startswith(".tag=")]
        values = dict(word[1:].split("=", 1) for word in words if word.startswith("="))
        queries = [word[1:] for word in words if word.startswith("?")]
        if command == "/quit":
            return [["!fatal", "session terminated on request", *tag]]
        try:
            if command == "/login":
                return [["!done", *self._login(values), *tag]]
            if not self.login:
                return [["!fatal", "not logged in", *tag]]
            if command == "/cancel":
                return [["!done", *tag]]
            rows, last = self._run(command.strip("/").split("/"), values, queries)
        except Trap as problem:
            return [["!trap", f"=message={problem}", *tag], ["!done", *tag]]
        shown = [["!re", *_attributes(row), *tag] for row in rows]
        if not shown and command.endswith(("/print", "/getall")):
            shown = [["!empty", *tag]]
        return [*shown, ["!done", *_attributes(last), *tag]]

    def _login(self, values: Row) -> list[str]:
        pair = f"{values.get('name', '')}:{values.get('password', '')}"
        self.login = "Basic " + base64.b64encode(pair.encode()).decode()
        if self.login != self.rest.credentials:
            self.login = ""
            raise Trap("invalid user name or password (6)")
        return []

    def _run(
        self, path: Sequence[str], values: dict[str, str], queries: Sequence[str]
    ) -> tuple[list[Row], Row]:
        menu, verb = "/".join(path[:-1]), path[-1]
        if verb not in VERBS:
            return [], self._asked("POST", "/".join(path), values)
        if verb in ("print", "getall"):
            found = self._asked("GET", menu, {})
            rows = found if isinstance(found, list) else [found]
            wanted = [name for name in values.get(".proplist", "").split(",") if name]
            return [
                {name: row[name] for name in wanted or row if name in row}
                for row in rows
                if matches(row, queries)
            ], {}
        if verb == "add":
            return [], {"ret": self._asked("PUT", menu, values)[".id"]}
        keys = values.pop("numbers", values.pop(".id", ""))
        if not keys:
            raise Trap("no such item")
        for key in keys.split(","):
            self._asked(VERBS[verb], f"{menu}/{key}", values)
        return [], {}

    def _asked(self, method: str, path: str, values: Row) -> Any:
        body = json.dumps(values).encode() if values else b""
        status, found = self.rest.answer(method, f"/rest/{path}", self.login, body)
        if status != 200:
            raise Trap(found.get("detail") or found["message"])
        return found


def _attributes(row: Any) -> list[str]:
    return [f"={name}={value}" for name, value in row.items()] if isinstance(row, Mapping) else []


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64


@contextmanager
def serve(rest: Rest) -> Iterator[int]:
    """The API on loopback, without TLS; gives its port."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            session = Session(rest)
            try:
                while sentence := read(self.rfile):  # type: ignore[arg-type]
                    for words in session.answer(sentence):
                        self.wfile.write(encoded(words))
                        if words[0] == "!fatal":
                            return
            except ConnectionError:
                return  # no power, no words

    with served(_Server(("127.0.0.1", 0), Handler)) as port:
        yield port
