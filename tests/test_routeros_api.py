"""The model's binary API as the manual writes it; `nox -s fleet` has librouteros speak to it."""

from __future__ import annotations

import io

import pytest

from tests.routeros import bed as beds
from tests.routeros.model.api import Session, encoded, matches, read
from tests.routeros.model.rest import Rest

PREFIXES = {
    0: "00",
    0x7F: "7f",
    0x80: "8080",
    0x3FFF: "bfff",
    0x4000: "c04000",
    0x1FFFFF: "dfffff",
    0x200000: "e0200000",
}
"""Lengths and how they are written (manual, API, API words)."""


@pytest.mark.parametrize("length", [length for length in PREFIXES if length])
def test_a_length_is_written_and_read(length: int) -> None:
    prefix = bytes.fromhex(PREFIXES[length])
    data = encoded(["x" * length])
    assert data[: len(prefix)] == prefix
    assert read(io.BytesIO(data)) == ["x" * length]


def test_an_end_within_a_sentence_is_no_sentence() -> None:
    data = encoded(["/login", "=name=admin"])
    for end in range(1, len(data) - 1):
        with pytest.raises(ConnectionAbortedError):
            read(io.BytesIO(data[:end]))
    assert read(io.BytesIO(b"")) == []


@pytest.mark.parametrize(
    ("queries", "wanted"),
    [
        (["=name=a"], True),
        (["name"], True),
        (["-name"], False),
        (["-comment"], True),
        (["<size=100"], True),
        ([">size=9"], True),
        (["disabled=no"], True),
        (["name=a", "#!"], False),
        (["name=b", "name=a", "#|"], True),
        (["name=b", "name=a", "#&"], False),
        (["name=b", "name=a"], False),
        (["name=b", "size=10", "name=a", "#|&"], False),
    ],
)
def test_queries_are_a_stack(queries: list[str], wanted: bool) -> None:
    assert matches({"name": "a", "size": "10", "disabled": "false"}, queries) is wanted


def test_login_tags_and_errors() -> None:
    session = Session(Rest(beds.empty().router))
    assert session.answer(["/system/resource/print"])[0][0] == "!fatal"
    wrong = session.answer(["/login", "=name=admin", "=password=x", ".tag=1"])
    assert wrong[0] == ["!trap", "=message=invalid user name or password (6)", ".tag=1"]
    assert session.answer(["/system/resource/print"])[0][0] == "!fatal", "still not logged in"
    assert session.answer(["/login", "=name=admin", "=password=secret"]) == [["!done"]]
    words = ["/system/script/print", "=.proplist=name", "?name=nobody", ".tag=7"]
    assert session.answer(words) == [["!empty", ".tag=7"], ["!done", ".tag=7"]]
    ((done, ret, tag),) = session.answer(["/system/script/add", "=name=x", "=source=y", ".tag=8"])
    assert (done, tag) == ("!done", ".tag=8")
    shown = session.answer(["/system/script/print", "=.proplist=name,source", "?name=x"])
    assert shown[0] == ["!re", "=name=x", "=source=y"]
    key = ret.removeprefix("=ret=")
    assert session.answer(["/system/script/remove", f"=.id={key}"]) == [["!done"]]
    gone = session.answer(["/system/script/remove", f"=.id={key}"])
    assert gone[0] == ["!trap", "=message=no such item"]
    assert session.answer(["/quit"]) == [["!fatal", "session terminated on request"]]
