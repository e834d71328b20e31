"""The parser takes the constructs of real scripts and refuses what a router refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.routeros.lang import CommandSpec, ParseError, Schema, parse
from tests.routeros.lang.catalogue import available

CORPUS = Path(__file__).parent / "routeros" / "corpus"
VERBS = (
    "add",
    "set",
    "get",
    "find",
    "print",
    "remove",
    "enable",
    "disable",
    "start",
    "stop",
    "fetch",
    "ping",
    "info",
    "warning",
    "error",
    "debug",
)


class Everything(frozenset[str]):
    """A set that has every word in it."""

    def __contains__(self, item: object) -> bool:
        return bool(item)


class OpenSchema(Schema):
    """Knows every menu and every argument: only the grammar is under test."""

    def is_submenu(self, path: tuple[str, ...], word: str) -> str | None:
        return None if word in VERBS or word == "warn" or word in self.builtins else word

    def command(self, path: tuple[str, ...], word: str) -> CommandSpec:
        if word in self.builtins and word not in VERBS:
            return super().command((), word)
        positional = ("number", "value-name", "more")
        return CommandSpec(
            word, Everything(), positional, Everything(), word in ("find", "print"), Everything()
        )


SCHEMA = OpenSchema("7.24", available((7, 24)))


def test_there_is_a_corpus() -> None:
    assert len(list(CORPUS.glob("accept-*.rsc"))) >= 5
    assert len(list(CORPUS.glob("refuse-*.rsc"))) >= 6


@pytest.mark.parametrize("path", sorted(CORPUS.glob("accept-*.rsc")), ids=lambda path: path.name)
def test_accepted(path: Path) -> None:
    assert parse(path.read_text(), SCHEMA).block.statements


@pytest.mark.parametrize("path", sorted(CORPUS.glob("refuse-*.rsc")), ids=lambda path: path.name)
def test_refused(path: Path) -> None:
    with pytest.raises(ParseError):
        parse(path.read_text(), SCHEMA)


@pytest.mark.parametrize("path", sorted(CORPUS.glob("accept-*.rsc")), ids=lambda path: path.name)
def test_a_damaged_script_is_refused(path: Path) -> None:
    """Negative control: losing one closing bracket must not go unnoticed."""
    text = path.read_text()
    at = max(text.rfind("}"), text.rfind(")"), text.rfind("]"))
    with pytest.raises(ParseError):
        parse(text[:at] + text[at + 1 :], SCHEMA)
