"""One exit code per kind of failure, and messages that say what, why and what to do."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from build.core import cache, errors
from build.router import fleet

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.BuildFailed, 1),
        (errors.SourceError, 1),
        (cache.Damaged, 1),
        (errors.UserError, 2),
        (errors.GateFailed, 3),
        (errors.WeightRose, 4),
        (fleet.FleetStopped, 5),
        (fleet.FleetIncomplete, 6),
    ],
)
def test_exit_codes(kind: type[errors.Error], code: int) -> None:
    assert kind.exit_code == code
    assert issubclass(kind, errors.Error)


def test_interrupted_as_the_shells_have_it() -> None:
    assert errors.INTERRUPTED == 130


def test_the_message() -> None:
    error = errors.UserError("it broke", why="because", cure="mend it")
    assert str(error) == "it broke\n  why:  because\n  cure: mend it"
    assert str(errors.UserError("it broke")) == "it broke"


def exits(source: str) -> list[int]:
    """Lines of a module that end the process themselves."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if (
            isinstance(node, ast.Attribute)
            and node.attr in ("exit", "_exit")
            and isinstance(node.value, ast.Name)
            and node.value.id in ("sys", "os")
        )
        or (isinstance(node, ast.Name) and node.id == "SystemExit")
        or (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("exit", "quit")
        )
    ]


@pytest.mark.parametrize("path", sorted((ROOT / "build").rglob("*.py")), ids=str)
def test_nothing_below_tasks_ends_the_process(path: Path) -> None:
    assert exits(path.read_text()) == []


@pytest.mark.parametrize(
    "source", ["import sys\nsys.exit(1)", "raise SystemExit", "import os\nos._exit(0)"]
)
def test_the_check_sees_an_exit(source: str) -> None:
    assert exits(source)
