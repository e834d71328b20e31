"""What the machine must have: everything that is missing, at once, each with its cure."""

from __future__ import annotations

import bz2
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.programs import program

from build.config import toolpath, tools
from build.core.errors import UserError


def programs() -> set[str]:
    return set(toolpath.programs())


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
        toolpath.folder()


def test_one_missing_program(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = places / "bin"
    for name in programs() - {"make"}:
        program(folder, name)
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(UserError) as caught:
        tools.require()
    assert caught.value.why == "make: not found (builds busybox, UPX and xz)"
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


def test_the_tool_path_has_the_listed_programs_and_no_others() -> None:
    folder = toolpath.folder()
    assert {path.name for path in folder.iterdir()} == programs() | {"bzip2"}
    assert "gcc" not in programs()
    assert toolpath.folder() == folder
    for path in folder.iterdir():
        assert os.access(path, os.X_OK)


def test_the_tool_path_follows_the_machine(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = toolpath.folder()
    program(places / "bin", "make")
    monkeypatch.setenv("PATH", f"{places / 'bin'}:{os.environ['PATH']}")
    after = toolpath.folder()
    assert after != before
    assert (after / "make").readlink() == places / "bin" / "make"


def test_a_tool_path_half_made_by_a_killed_build(places: Path) -> None:
    folder = toolpath.folder()
    stale = folder.with_name(f"{folder.name}.{os.getpid()}")
    stale.mkdir()
    (stale / "make").write_text("")
    folder.rename(places / "away")
    assert toolpath.folder() == folder
    assert (folder / "make").is_symlink()


def test_our_bzip2_gives_the_real_ones_bytes() -> None:
    text = b"busybox help text\n" * 1000
    done = subprocess.run([toolpath.folder() / "bzip2", "-1"], input=text, capture_output=True)
    assert done.stdout == bz2.compress(text, 1)


def test_the_tool_paths_identity_is_that_of_the_programs_not_of_their_place(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = toolpath.identity()
    assert before.keys() == programs() | {"bzip2"}
    (places / "bin").mkdir()
    shutil.copy(str(shutil.which("make")), places / "bin" / "make")
    monkeypatch.setenv("PATH", f"{places / 'bin'}:{os.environ['PATH']}")
    assert toolpath.folder() / "make" != places / "bin" / "make"
    assert toolpath.identity() == before, "the same program in another place"
    with (places / "bin" / "make").open("ab") as program_file:
        program_file.write(b"patched")
    toolpath._digests.cache_clear()
    after = toolpath.identity()
    assert {name for name in after if after[name] != before[name]} == {"make"}


def test_a_clean_environment(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CFLAGS", "-march=native")
    env = toolpath.environment(places, "/some/bin")
    assert env == {
        "PATH": "/some/bin",
        "HOME": str(places),
        "TMPDIR": str(places),
        "LANG": "C",
        "LC_ALL": "C",
        "TZ": "UTC",
    }


def test_without_a_path_no_program_is_seen(places: Path) -> None:
    env = toolpath.environment(places)
    for name in ("sh", "make", "python3"):
        assert shutil.which(name, path=env["PATH"]) is None
        # As execvp does it, which without a PATH would look in the system's own folders.
        argv = [sys.executable, "-c", f"import os; os.execvp({name!r}, [{name!r}])"]
        done = subprocess.run(argv, env=env, cwd=places, capture_output=True, text=True)
        assert "FileNotFoundError" in done.stderr
