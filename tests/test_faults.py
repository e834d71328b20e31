"""Accidents of real builds: afterwards the next run is right, or says exactly what is wrong."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from checkouts import copied
from conftest import SHARED_CACHE
from fakes.real import LIGHT, ROOT, Room, finish, private

from build.config.targets import target
from build.image import dist
from build.pipeline import order

pytestmark = pytest.mark.slow

TAR = dist.archive_name(target("arm64"), order.release_of())
FAST = ("busybox", "compress-busybox", "image")


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Room:
    """Build arm64 in the shared cache, undisturbed."""
    room = Room(tmp_path_factory.mktemp("reference"))
    SHARED_CACHE.mkdir(parents=True, exist_ok=True)
    (room.folder / "cache").symlink_to(SHARED_CACHE)
    code, _, said = room.build()
    assert code in (0, 3), said
    return room


@pytest.fixture
def room(reference: Room, places: Path):
    found = private(reference, places / "room")
    yield found
    found.end_strays()


def right(room: Room, reference: Room) -> dict:
    """Build again; expects the reference's bytes and nothing left over. Returns the result."""
    code, result, said = room.build()
    assert code in (0, 3), said
    wanted = (reference.folder / "dist" / TAR).read_bytes()
    assert (room.folder / "dist" / TAR).read_bytes() == wanted
    assert result["products"][TAR]["size"] == len(wanted)
    assert list((room.folder / "cache" / "tmp").iterdir()) == []
    assert not (room.folder / "dist" / ".fresh").exists()
    code, again, _ = room.build()
    assert code in (0, 3)
    assert again["ran"] == []
    return result | {"said": said}


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def compiling(room: Room) -> bool:
    log = room.folder / "work" / "arm64" / "busybox.log"
    return log.exists() and "  CC " in log.read_text(errors="replace")


def test_a_private_cache_is_complete(room: Room, reference: Room) -> None:
    """Negative control: nothing has to be made, so what later tests see made is of their doing."""
    assert right(room, reference)["ran"] == []


@pytest.mark.parametrize("moment", ["start", pytest.param("compiling", marks=pytest.mark.nightly)])
def test_ctrl_c(room: Room, reference: Room, moment: str) -> None:
    room.forget(*FAST)
    process = room.start()
    if moment == "compiling":
        until(lambda: compiling(room))
        assert len(room.strays()) > 1, "compilers run"
    else:
        until(lambda: (room.folder / "work").exists())
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "interrupted" in errors
    until(lambda: room.strays() == [], seconds=5)
    assert list((room.folder / "cache" / "tmp").iterdir()) == []
    assert not (room.folder / "dist" / TAR).exists()
    assert "busybox arm64" in right(room, reference)["ran"]


def test_kill_9_at_any_moment(room: Room, reference: Room) -> None:
    room.forget(*FAST)
    for seconds in (0.15, 0.4, 0.8, 1.5, 3.0, 5.0):
        process = room.start()
        time.sleep(seconds)
        process.kill()
        process.communicate()
        room.end_strays()
    result = right(room, reference)
    assert "image arm64" in result["ran"]


def test_kill_9_while_dist_is_written(room: Room, reference: Room) -> None:
    for seconds in (0.30, 0.36, 0.42, 0.48, 0.54, 0.60):
        shutil.rmtree(room.folder / "dist", ignore_errors=True)
        process = room.start()
        time.sleep(seconds)
        process.kill()
        process.communicate()
        found = room.folder / "dist" / TAR
        if found.exists():
            assert found.read_bytes() == (reference.folder / "dist" / TAR).read_bytes()
    right(room, reference)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def biggest(folder: Path) -> Path:
    return max(
        (p for p in (folder / "data").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size
    )


@pytest.mark.parametrize("stage", ["image", "compress-busybox"])
def test_a_flipped_byte_in_one_stages_object(room: Room, reference: Room, stage: str) -> None:
    if stage != "image":
        room.forget("image")
    (folder,) = room.objects(stage)
    flip(biggest(folder))
    result = right(room, reference)
    assert "is damaged" in result["said"] or f"{stage} arm64" in result["ran"]
    assert f"{stage} arm64" in result["ran"]


@pytest.mark.nightly
def test_a_flipped_byte_in_every_stages_object(room: Room, reference: Room) -> None:
    """Each damage is found where the bytes are read next, and that stage alone runs again."""
    for folder in room.objects(*LIGHT):
        flip(biggest(folder))
    result = right(room, reference)
    assert result["said"].count("is damaged") == len(LIGHT)


def test_flipped_meta_data_of_every_object(room: Room, reference: Room) -> None:
    for folder in room.objects("image", "compress-busybox", "busybox"):
        flip(folder / "meta.json")
    result = right(room, reference)
    assert {f"{stage} arm64" for stage in ("image", "compress-busybox", "busybox")} <= set(
        result["ran"]
    )


def test_lost_objects(room: Room, reference: Room) -> None:
    for folder in room.objects("image", "compress-busybox"):
        shutil.rmtree(folder / "data")
    right(room, reference)


def test_two_builds_at_once_in_one_checkout(room: Room, reference: Room) -> None:
    room.forget(*FAST)
    outcomes = [finish(process) for process in [room.start(), room.start()]]
    assert all(code in (0, 3) for code, _, _ in outcomes), outcomes
    ran = [stage for _, result, _ in outcomes for stage in result["ran"]]
    assert sorted(set(ran)) == sorted(ran), "each stage ran once"
    assert "busybox arm64" in ran
    right(room, reference)


@pytest.mark.nightly
def test_two_builds_at_once_in_two_clones(room: Room, reference: Room, places: Path) -> None:
    room.forget(*FAST)
    other = Room(places / "other", copied(places / "clone"))
    other.folder.mkdir()
    (other.folder / "cache").symlink_to(room.folder / "cache")
    outcomes = [finish(process) for process in [room.start(), other.start()]]
    assert all(code in (0, 3) for code, _, _ in outcomes), outcomes
    ran = [stage for _, result, _ in outcomes for stage in result["ran"]]
    assert sorted(set(ran)) == sorted(ran), "each stage ran once"
    for place in (room, other):
        right(place, reference)


def test_a_program_that_fails_is_named_with_its_log(room: Room, reference: Room) -> None:
    """A make that gives up: its last words, its log's path, and what was there before stays."""
    right(room, reference)
    before = (room.folder / "dist" / TAR).stat().st_mtime_ns
    room.forget(*FAST)
    fake = room.folder / "bin" / "make"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho 'make: *** I give up' >&2\nexit 2\n")
    fake.chmod(0o755)
    env = room.env | {"PATH": f"{fake.parent}:{os.environ['PATH']}"}
    argv = [sys.executable, "-m", "invoke", "build", "--arch", "arm64"]
    done = subprocess.run(argv, cwd=ROOT, env=env, text=True, capture_output=True)
    assert done.returncode == 1
    assert "make: *** I give up" in done.stderr
    # xz is made first, of which another make may make another program.
    assert str(room.folder / "work" / "tools" / "xz.log") in done.stderr
    assert "busybox: changed: tools make" in done.stderr
    assert (room.folder / "dist" / TAR).stat().st_mtime_ns == before
    right(room, reference)


# --- disks --------------------------------------------------------------------------------------


def mounted(
    room: Room, name: str, options: str, *, fill: bool = False
) -> subprocess.CompletedProcess[str]:
    """Build where one folder of the room is a file system of its own that only the build sees."""
    place = room.folder / name
    place.mkdir(exist_ok=True)
    kept = room.folder / f"{name}.kept"
    copy = f"cp -a {kept}/. {place}/" if kept.exists() else "true"
    script = f"mount -t tmpfs -o {options.partition(',ro')[0]} none {place} && {copy}"
    if ",ro" in options:
        script += f" && mount -o remount,ro {place}"
    script += f" && exec {sys.executable} -m invoke build --arch arm64 --json"
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        cwd=ROOT,
        env=room.env,
        text=True,
        capture_output=True,
    )


@pytest.mark.root
def test_a_full_cache(room: Room, reference: Room) -> None:
    room.forget(*FAST)
    (room.folder / "cache").rename(room.folder / "cache.kept")
    used = sum(
        path.stat().st_size
        for path in (room.folder / "cache.kept").rglob("*")
        if path.is_file() and not path.is_symlink()
    )
    done = mounted(room, "cache", f"size={used + (1 << 20)}")
    assert done.returncode in (1, 2), done.stderr
    assert "No space left on device" in done.stderr or "no space left" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (room.folder / "dist" / TAR).exists()
    (room.folder / "cache").rmdir()
    (room.folder / "cache.kept").rename(room.folder / "cache")
    right(room, reference)


@pytest.mark.root
@pytest.mark.parametrize(
    ("options", "says"), [("size=1m", "No space left"), ("size=9m,ro", "cannot write")]
)
def test_a_dist_that_cannot_take_it(room: Room, reference: Room, options: str, says: str) -> None:
    done = mounted(room, "dist", options)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert "MT_DIST" in done.stderr
    assert "Traceback" not in done.stderr
    right(room, reference)


@pytest.mark.root
def test_a_read_only_cache_is_named(room: Room, reference: Room) -> None:
    (room.folder / "cache").rename(room.folder / "cache.away")
    # Nothing is in it: one that has everything is fine read-only (tests/test_cache.py).
    done = mounted(room, "cache", "size=100m,ro")
    assert done.returncode == 2, done.stderr
    assert "MT_CACHE" in done.stderr
    assert "Traceback" not in done.stderr
    (room.folder / "cache").rmdir()
    (room.folder / "cache.away").rename(room.folder / "cache")
    right(room, reference)
