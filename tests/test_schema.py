"""The nine tables of build/data/: whatever is wrong in one, the error says where, and what is."""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from build.config import (
    anchors,
    devices,
    features,
    licences,
    pins,
    schema,
    substitutes,
    targets,
    toolpath,
)
from build.core import paths
from build.core.errors import UserError
from build.image import rootfs
from build.lab import topology

LOADERS: dict[str, Callable[[Path], object]] = {
    "anchors.toml": anchors.load,
    "devices.toml": devices.load,
    "features.toml": features.load_verdicts,
    "hosttools.toml": toolpath.load,
    "lab.toml": topology.load,
    "licences.toml": licences.load,
    "machine.toml": pins.load,
    "pins.toml": pins.load,
    "rootfs.toml": rootfs.load,
    "substitutes.toml": substitutes.load,
    "targets.toml": targets.load,
}
WRONG = (1.5, float("nan"), True, -1, 1 << 70, "", "\0", "../..", [], {}, [[]], {"": 1})


def places_of(table: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a table, one row standing for others that look like it."""
    seen: set[str] = set()
    rows = table.items() if isinstance(table, dict) else enumerate(table)
    for name, value in rows:
        like = f"{name if len(seen) < 40 else type(value)}"
        shape = str(sorted(value)) if isinstance(value, dict) else like
        if shape in seen:
            continue
        seen.add(shape)
        yield (*way, name)
        if isinstance(value, dict | list):
            yield from places_of(value, (*way, name))


def table_of(name: str) -> Any:
    """A table of the repository, with a few of its rows where they are many."""

    def few(value: Any) -> Any:
        if isinstance(value, dict):
            long = len(value) > 12 and all(isinstance(row, dict) for row in value.values())
            names = [*value][: 4 if long else None]
            return {name: few(value[name]) for name in names}
        return value

    return few(tomllib.loads((paths.DATA / name).read_text()))


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Any], Path]:
    """Let a file hold a value, without the time that writing and reading TOML takes."""

    def put(name: str, value: Any) -> Path:
        monkeypatch.setattr(schema.tomllib, "loads", lambda text: value)
        (tmp_path / name).touch()
        return tmp_path / name

    return put


def changed(table: Any, way: tuple[Any, ...], change: Callable[[Any, Any], None]) -> Any:
    fresh = copy.deepcopy(table)
    at = fresh
    for name in way[:-1]:
        at = at[name]
    change(at, way[-1])
    return fresh


@pytest.mark.parametrize("name", LOADERS)
def test_the_repositorys_own_table_is_in_order(name: str) -> None:
    LOADERS[name](paths.DATA / name)


def test_each_table_has_its_loader() -> None:
    assert {path.name for path in paths.DATA.glob("*.toml")} == LOADERS.keys()


def test_the_tables_are_read_in_one_way() -> None:
    """No module but the schema's parses a table of build/data; bump reads what Go and pip gave."""
    found = [
        str(path.relative_to(paths.ROOT))
        for path in (paths.ROOT / "build").rglob("*.py")
        if "tomllib.load" in path.read_text()
    ]
    assert found == ["build/config/schema.py"]


@pytest.mark.parametrize("name", LOADERS)
def test_wrong_values(given: Callable[[str, Any], Path], name: str) -> None:
    """A wrong value at every place: refused with file and place, or right; nothing else."""
    table = table_of(name)
    tried = refused = 0
    for way in places_of(table):
        for wrong in WRONG:

            def put(at: Any, key: Any, wrong: Any = wrong) -> None:
                at[key] = wrong

            path = given(name, changed(table, way, put))
            tried += 1
            try:
                LOADERS[name](path)
            except UserError as error:
                refused += 1
                assert name in error.what
                key = next(str(part) for part in reversed(way) if not isinstance(part, int))
                assert key in error.why, (way, wrong, error.why)
                assert "wanted" in error.why
            else:
                # No table has a fraction anywhere.
                assert not isinstance(wrong, float), way
    print(f"{name}: {tried} wrong values tried, {refused} refused, the others are legal")
    assert refused > tried / 2


@pytest.mark.parametrize("name", LOADERS)
def test_missing_and_unknown_keys(given: Callable[[str, Any], Path], name: str) -> None:
    table = table_of(name)
    refused = 0
    for way in places_of(table):
        for change in (lambda at, key: at.pop(key), _unknown):
            path = given(name, changed(table, way, change))
            try:
                LOADERS[name](path)
            except UserError as error:
                refused += 1
                assert name in error.what
                assert re.search(r"wanted .*got ", error.why), error.why
    assert refused > 2


def _unknown(at: Any, key: Any) -> None:
    if isinstance(at, dict):
        at["Nobody knows\n this"] = at[key]
    else:
        at.append(1.5)


@pytest.mark.parametrize("name", LOADERS)
@pytest.mark.parametrize("what", ["absent", "folder", "empty", "half", "latin", "deep", "zero"])
def test_files_that_are_no_table(tmp_path: Path, name: str, what: str) -> None:
    path = tmp_path / name
    content = {
        "empty": b"",
        "half": (paths.DATA / name).read_bytes()[:-40] + b"\n[",
        "latin": "[a]\nwhy = 'ä'".encode("latin-1"),
        "deep": b"a = " + b"[" * 5000,
        "zero": b"\0" * 100,
    }
    if what == "folder":
        path.mkdir()
    elif what != "absent":
        path.write_bytes(content[what])
    with pytest.raises(UserError) as caught:
        LOADERS[name](path)
    assert name in caught.value.what
    assert caught.value.why
    assert caught.value.cure


def test_a_fault_of_the_laboratory_names_both_ends(tmp_path: Path) -> None:
    text = (paths.DATA / "lab.toml").read_text().replace('space = "lan"', 'space = "attic"')
    (tmp_path / "lab.toml").write_text(text)
    with pytest.raises(UserError, match="wanted one of the spaces internet, router"):
        topology.load(tmp_path / "lab.toml")


def test_all_faults_are_told_at_once() -> None:
    check = schema.row({"a": schema.whole(1), "b": schema.truth, "c": schema.text()})
    faults = check("x", {"a": 0, "b": 1, "d": 2})
    assert [fault.split(":")[0] for fault in faults] == ["x.d", "x.c", "x.a", "x.b"]


def test_a_long_value_is_cut() -> None:
    (fault,) = schema.whole(1)("x", "y" * 10_000)
    assert len(fault) < 200
