"""What the machine must have: everything that is missing, at once, each with its cure."""

from __future__ import annotations

import bz2
import os
import subprocess
from pathlib import Path

import pytest
from fakes.programs import program

from build.config import tools
from build.core.errors import UserError


def programs() -> set[str]:
    return set(tools._rows())


def test_this_machine_can_build() -> None:
    lacking = [row for row in tools.examine() if not row.ok and row.name != "disk"]
    assert lacking == []
    tools.require()


def test_an_empty_path_lists_everything_at_once(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (places / "empty").mkdir()
    monkeypatch.setenv("PATH", str(places / "empty"))
    found = {row.name: row for row in tools.examine()}
    assert {"make", "sh", "awk", "sed", "wc"} <= programs()
    for name in programs():
        assert not found[name].ok
        assert "apt install" in found[name].cure
        assert found[name].purpose
    with pytest.raises(UserError) as caught:
        tools.require()
    assert all(f"{name}: not found" in caught.value.why for name in programs())
    assert "apt install make" in caught.value.cure
    assert caught.value.cure.count("apt install coreutils") == 1, "each cure once"
    with pytest.raises(UserError):
        tools.farm()


def test_one_missing_program(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = places / "bin"
    for name in programs() - {"make"}:
        program(folder, name)
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(UserError) as caught:
        tools.require()
    assert caught.value.why == "make: not found (builds busybox and UPX)"
    program(folder, "make")
    tools.require()


def test_a_cache_that_cannot_be_made(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (places / "block").write_text("")
    monkeypatch.setenv("MT_CACHE", str(places / "block" / "cache"))
    (row,) = [row for row in tools.examine() if row.name == "cache"]
    assert not row.ok
    assert "MT_CACHE" in row.cure


def test_too_little_space_is_told_but_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "FREE_BYTES", 10**18)
    (row,) = [row for row in tools.examine() if row.name == "disk"]
    assert not row.ok
    assert row.cure
    tools.require()


def test_the_farm_has_the_listed_programs_and_no_others() -> None:
    farm = tools.farm()
    assert {path.name for path in farm.iterdir()} == programs() | {"bzip2"}
    assert "gcc" not in programs()
    assert tools.farm() == farm
    for path in farm.iterdir():
        assert os.access(path, os.X_OK)


def test_the_farm_follows_the_machine(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tools.farm()
    program(places / "bin", "make")
    monkeypatch.setenv("PATH", f"{places / 'bin'}:{os.environ['PATH']}")
    after = tools.farm()
    assert after != before
    assert (after / "make").readlink() == places / "bin" / "make"


def test_a_farm_half_made_by_a_killed_build(places: Path) -> None:
    farm = tools.farm()
    stale = farm.with_name(f"{farm.name}.{os.getpid()}")
    stale.mkdir()
    (stale / "make").write_text("")
    farm.rename(places / "away")
    assert tools.farm() == farm
    assert (farm / "make").is_symlink()


def test_our_bzip2_gives_the_real_ones_bytes() -> None:
    text = b"busybox help text\n" * 1000
    done = subprocess.run([tools.farm() / "bzip2", "-1"], input=text, capture_output=True)
    assert done.stdout == bz2.compress(text, 1)


def test_a_clean_environment(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CFLAGS", "-march=native")
    env = tools.clean_environment(places)
    assert env == {
        "PATH": str(tools.farm()),
        "HOME": str(places),
        "TMPDIR": str(places),
        "LANG": "C",
        "LC_ALL": "C",
        "TZ": "UTC",
    }
