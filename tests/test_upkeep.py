"""Looking after the cache: what pruning removes, and that it takes nothing in use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from build.core import cache, inuse, upkeep
from build.core.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
INPUTS = {"name": "thing", "target": "arm64"}
DAY = 86400.0


def obtain(size: int = 7, **more: Any) -> cache.Entry:
    def build(out: Path, scratch: Path) -> None:
        (out / "file").write_bytes(bytes(size))

    return cache.obtain("stage", "arm64", INPUTS | more, build)


def aged(path: Path, days: float) -> Path:
    then = time.time() - days * DAY
    os.utime(path, (then, then))
    return path


def file(path: Path, size: int, days: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    return aged(path, days)


@pytest.fixture(autouse=True)
def idle(places: Path) -> Iterator[None]:
    """Let go of the test's cache, which this process would share until it ends."""
    yield
    inuse._release()


@pytest.fixture
def whole(places: Path) -> dict[str, Path]:
    """A cache with something in each part; {name: path}, the name's number is its age in days."""
    root = cache.prepare()
    entry = obtain(100_000)
    aged(entry.data.parent / "meta.json", 5)
    found = {
        "object 5": entry.data.parent,
        "gocache 1": file(root / "gocache" / "00" / "00aa-d", 100_000, 1),
        "gocache 9": file(root / "gocache" / "00" / "00bb-d", 100_000, 9),
        "program 8": root / "gocache" / "01" / "01cc-d",
    }
    file(found["program 8"] / "tool", 100_000, 20)
    aged(found["program 8"], 8)
    file(root / "gocache" / "trim.txt", 10, 99)
    for name, part, days in (("zig 3", "zig", 3), ("gomod 7", "gomod", 7)):
        file(root / part / "deep" / "file", 100_000, 99)
        found[name] = aged(root / part, days)
    download = file(root / "downloads" / "ab" / "file.tar", 100_000, 99)
    found["download 6"] = aged(download.parent, 6)
    file(root / "toolpath" / "cd" / "sh", 10, 99)
    found["toolpath 4"] = aged(root / "toolpath" / "cd", 4)
    inuse._release()  # as if another process had made it
    return found


def there(whole: dict[str, Path]) -> set[str]:
    return {name for name, path in whole.items() if path.exists()}


@pytest.mark.parametrize("days", [0.5, 2, 5.5, 6.5, 8.5, 30])
def test_age_bounds_every_part(whole: dict[str, Path], days: float) -> None:
    done = upkeep.prune(days=days)
    assert there(whole) == {name for name in whole if float(name.split()[1]) < days}
    assert sum(done.removed.values()) == len(whole) - len(there(whole))


def test_size_takes_the_longest_unused_first(whole: dict[str, Path]) -> None:
    total = sum(unit.size for unit in upkeep.units())
    done = upkeep.prune(size=total - 250_000)
    assert whole.keys() - there(whole) == {"gocache 9", "program 8", "gomod 7"}
    assert done.freed == 300_000
    assert done.left == total - done.freed <= total - 250_000
    assert done.left == sum(unit.size for unit in upkeep.units())


def test_both_bounds(whole: dict[str, Path]) -> None:
    upkeep.prune(days=5.5, size=250_000)
    assert there(whole) <= {"object 5", "toolpath 4", "zig 3", "gocache 1"}
    assert sum(unit.size for unit in upkeep.units()) <= 250_000
    assert "gocache 1" in there(whole)


def test_no_bound_removes_nothing(whole: dict[str, Path]) -> None:
    assert upkeep.prune().freed == 0
    assert there(whole) == whole.keys()


@pytest.mark.parametrize("bound", [{"days": 0}, {"size": 0}])
def test_nothing_stays_if_that_is_asked(whole: dict[str, Path], bound: dict[str, float]) -> None:
    (cache.prepare() / "locks" / "0123.lock").touch()
    done = upkeep.prune(**bound)
    assert there(whole) == set() or bound == {"size": 0}
    assert done.left == 0
    root = cache.prepare()
    assert not list((root / "locks").iterdir())
    assert not list((root / "tmp").iterdir())
    assert obtain().hit is False


def test_use_keeps_an_object(places: Path) -> None:
    meta = obtain().data.parent / "meta.json"
    aged(meta, 20)
    assert obtain().hit
    assert upkeep.prune(14).removed == {}
    aged(meta, 20)
    cache.touch("stage", meta.parent.name)
    assert upkeep.prune(14).removed == {}
    aged(meta, 20)
    assert upkeep.prune(14).removed == {"objects": 1}


def test_use_of_a_part_is_noted(places: Path) -> None:
    folder = cache.prepare() / "zig"
    assert cache.part("zig") == folder
    (folder / "file").write_text("")
    aged(folder, 20)
    cache.part("zig")
    assert upkeep.prune(14).removed == {}
    aged(folder, 20)
    assert upkeep.prune(14).removed == {"zig": 1}


@pytest.mark.parametrize("text", ["[]", None])
def test_a_damaged_object_is_listed_and_pruned(text: str | None) -> None:
    entry = obtain()
    meta = entry.data.parent / "meta.json"
    meta.write_text(text) if text else meta.unlink()
    assert [row[4] for row in upkeep.listing()] == ["damaged"]
    assert upkeep.prune(0).removed == {"objects": 1}
    assert not entry.data.parent.exists()


def test_the_listing_has_every_part(whole: dict[str, Path]) -> None:
    rows = upkeep.listing()
    assert [row[0] for row in rows] == ["stage", "downloads", "gocache", "gomod", "toolpath", "zig"]
    assert rows[0][4] == "thing, arm64"
    sizes = {row[0]: row[2] for row in rows}
    assert sizes["gocache"] == 300_000
    assert sizes["stage"] > 100_000
    assert 0.9 < {row[0]: row[3] for row in rows}["gocache"] / DAY < 1.1


def test_no_pruning_without_the_tag(places: Path) -> None:
    entry = obtain()
    (places / "cache" / "CACHEDIR.TAG").unlink()
    with pytest.raises(UserError) as caught:
        upkeep.prune(0)
    assert "has no CACHEDIR.TAG" in caught.value.why
    assert entry.data.exists()


def test_pruning_nothing(places: Path) -> None:
    assert upkeep.prune(0) == upkeep.Pruned()
    assert not (places / "cache").exists(), "looking makes no folder"


def test_a_scratch_folder_just_being_made_is_not_swept() -> None:
    folder = cache.prepare() / "tmp" / "young"
    folder.mkdir()
    upkeep.sweep()
    assert folder.exists()
    os.utime(folder, (0, 0))
    upkeep.sweep()
    assert not folder.exists()


# --- numbers that people type -------------------------------------------------------------------


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("0.5", 0.5), ("30", 30), ("1e2", 100)])
def test_sane_numbers(text: str, value: float) -> None:
    assert upkeep.number(text, "days", upkeep.LONGEST_DAYS) == value


BAD = ["nan", "-nan", "inf", "-inf", "-1", "-0.1", "1e99", "99999", "x", "", " ", "1,5", "½", "0x1"]


@pytest.mark.parametrize("text", BAD)
def test_numbers_that_are_none(text: str) -> None:
    with pytest.raises(UserError, match="is not a number of days"):
        upkeep.number(text, "days", upkeep.LONGEST_DAYS)


def invoke(*words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "invoke", "cache", *words]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("option", ["--days", "--size"])
@pytest.mark.parametrize("text", ["nan", "-1", "1e99", "soon"])
def test_the_command_refuses_nonsense(whole: dict[str, Path], option: str, text: str) -> None:
    done = invoke("--prune", f"{option}={text}")
    assert done.returncode == 2, done.stderr
    assert f"'{text}' is not a number of" in done.stderr
    assert "Traceback" not in done.stderr
    assert there(whole) == whole.keys()


def test_the_command_prunes_and_says_what(whole: dict[str, Path]) -> None:
    done = invoke("--prune", "--days", "8.5", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["removed"] == {"gocache": 1}
    assert said["bytes"] == 100_000
    done = invoke("--prune", "--size", "0.0003")
    assert done.returncode == 0, done.stderr
    assert sum(unit.size for unit in upkeep.units()) <= 300_000
    assert "MB stay in" in done.stdout
    done = invoke("--days", "3")
    assert done.returncode == 2
    assert "--prune" in done.stderr


# --- other processes ----------------------------------------------------------------------------

READER = """
import sys, time
from build.core import cache
if {use}:
    cache.find("stage", {key!r})
print("reading", flush=True)
sys.stdin.read()
"""


def reader(key: str, *, use: bool = True) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", READER.format(key=key, use=use)]
    process = subprocess.Popen(
        argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout and process.stdout.readline() == "reading\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.communicate("", timeout=120)


def test_nothing_is_removed_while_another_process_reads(
    whole: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inuse, "PATIENCE", 0.3)
    process = reader(whole["object 5"].name)
    began = time.monotonic()
    with pytest.raises(UserError, match="is in use, nothing was removed"):
        upkeep.prune(0)
    assert time.monotonic() - began < 5
    assert there(whole) == whole.keys()
    process.kill()  # killed, not ended: the kernel lets go
    end(process)
    assert upkeep.prune(0).removed
    assert there(whole) == set()


def test_without_the_lock_it_would_be_removed(whole: dict[str, Path]) -> None:
    """Negative control: a process that does not share the cache keeps nothing from being pruned."""
    process = reader("", use=False)
    assert upkeep.prune(0).removed
    assert there(whole) == set()
    end(process)


def test_pruning_waits_for_a_build_that_ends_soon(
    whole: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    process = reader(whole["object 5"].name)
    pruning = subprocess.Popen(
        [sys.executable, "-m", "invoke", "cache", "--prune", "--days", "0", "--json"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    time.sleep(1.5)
    assert pruning.poll() is None
    assert there(whole) == whole.keys()
    end(process)
    out, _ = pruning.communicate(timeout=120)
    assert pruning.returncode == 0
    assert json.loads(out)["left"] == 0


def test_a_build_waits_for_pruning(whole: dict[str, Path]) -> None:
    with inuse.alone(cache.prepare()):
        process = subprocess.Popen(
            [sys.executable, "-c", READER.format(key="x", use=True)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr
        assert "waiting until the cache is pruned" in process.stderr.readline()
        assert process.poll() is None
    out, _ = process.communicate("", timeout=120)
    assert out == "reading\n"


def test_two_prunings_at_once(whole: dict[str, Path]) -> None:
    argv = [sys.executable, "-m", "invoke", "cache", "--prune", "--days", "0", "--json"]
    both = [subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [json.loads(process.communicate(timeout=60)[0]) for process in both]
    assert sorted(bool(row["removed"]) for row in said) == [False, True]
    assert there(whole) == set()


def test_a_cache_that_was_deleted_and_made_again_is_shared_again(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock of a deleted cache would hold nobody off."""
    obtain()
    (places / "cache").rename(places / "away")
    entry = obtain()
    argv = [sys.executable, "-m", "invoke", "cache", "--prune", "--days", "0"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    code = "from build.core import inuse, upkeep\ninuse.PATIENCE = 0.2\nupkeep.prune(0)\n"
    done = subprocess.run([argv[0], "-c", code], cwd=ROOT, env=env, capture_output=True, text=True)
    assert "is in use" in done.stderr
    assert entry.data.exists()


# --- a cache of somebody else -------------------------------------------------------------------

BECOME = """
        import os, sys
        sys.path.insert(0, {root!r})
        from build.core import cache, code, errors, upkeep
        code.identity("")
        os.setgid(65534); os.setuid(65534)  # with everything read: the checkout may be closed to it
"""

GUEST = """
def get(inputs):
    def build(out, scratch):
        (out / "file").write_text("x")
    try:
        return cache.obtain("stage", "arm64", inputs, build).hit
    except errors.Error as error:
        return f"{{type(error).__name__}} {{error.exit_code}} {{error.what}} | {{error.cure}}"
upkeep.sweep()
print(get({inputs!r}))
print(get({{"another": 1}}))
try:
    upkeep.prune(0)
except errors.Error as error:
    print(type(error).__name__, error.what)
"""


def as_guest(code: str, places: Path) -> list[str]:
    """Run code that becomes the user nobody, who may look at the cache and no more."""
    for path in (places, *places.parents):
        if path != Path("/") and path.stat().st_uid == os.geteuid():
            path.chmod(path.stat().st_mode | 0o055)
    env = {**os.environ, "HOME": "/", "PYTHONDONTWRITEBYTECODE": "1"}
    argv = [
        sys.executable,
        "-c",
        textwrap.dedent(BECOME.format(root=str(ROOT))) + textwrap.dedent(code),
    ]
    done = subprocess.run(argv, cwd="/", env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return str(done.stdout).splitlines()


@pytest.mark.root
def test_another_users_cache_serves_what_it_has(places: Path) -> None:
    entry = obtain()
    lines = as_guest(GUEST.format(inputs=INPUTS), places)
    assert lines[0] == "True"
    assert lines[1].startswith(
        "UserError 2 cannot make stage for arm64: it is not in the cache, which cannot be written |"
    )
    assert "MT_CACHE" in lines[1]
    assert lines[2].startswith("UserError the cache ")
    assert entry.data.exists()


@pytest.mark.root
def test_a_damaged_object_of_another_users_cache_is_told(places: Path) -> None:
    entry = obtain()
    (entry.data / "file").write_bytes(b"other")
    code = f"""
        entry = cache.find("stage", {entry.key!r})
        try:
            cache.intact(entry, lambda: entry)
        except errors.UserError as error:
            print(error.what, "|", error.cure)
    """
    (line,) = as_guest(code, places)
    assert "cannot be removed" in line
    assert "MT_CACHE" in line


def test_a_cache_that_cannot_be_written_stops_no_build(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from build.config import tools

    cache.prepare()
    unwritable: Callable[..., bool] = lambda path, mode: not mode & os.W_OK  # noqa: E731
    monkeypatch.setattr(tools.os, "access", unwritable)
    (row,) = [row for row in tools.examine() if row.name == "cache"]
    assert not row.ok
    tools.require()
