"""`invoke clean` deletes what the record and the mark say is ours, and nothing else, ever."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from checkouts import copied
from fakes import images
from fakes.images import RELEASE

from build.config import targets
from build.core import marks
from build.core.errors import UserError
from build.image import dist, record


def built(places: Path) -> Path:
    """A dist/ as a build leaves it, and a work/ with a log."""
    made = images.images(places, RELEASE.tag)
    dist.write(made, targets.targets(), RELEASE, lambda path, chosen: None, whole=True)
    marks.make_folder(places / "work" / "arm64")
    (places / "work" / "arm64" / "golang.log").write_text("x")
    return places / "dist"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this checkout that git tracks: what a fault here deletes shall not be the real."""
    copy = copied(tmp_path_factory.mktemp("copy") / "checkout")
    for words in (["init", "-q"], ["add", "--all", "--force"]):
        subprocess.run(["git", *words], cwd=copy, check=True, capture_output=True)
    return copy


def clean(checkout: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "invoke", "clean", *words]
    env = {**os.environ, **env}
    return subprocess.run(argv, cwd=checkout, env=env, text=True, capture_output=True, timeout=60)


def everything(*folders: Path) -> list[str]:
    return sorted(str(path) for folder in folders for path in folder.rglob("*"))


def test_all_that_is_ours_goes(places: Path, checkout: Path) -> None:
    built(places)
    record.keep("runtime-arm64.json", "{}")
    record.keep("figures.html", "x")
    record.keep("site/index.html", "x")
    dist.sign(lambda content: b"signed")
    done = clean(checkout)
    assert done.returncode == 0, done.stderr
    assert not (places / "dist").exists()
    assert not (places / "work").exists()
    assert "deleted" in done.stdout
    again = clean(checkout, "--json")
    assert (again.returncode, json.loads(again.stdout)) == (0, [])


def test_what_is_not_ours_stays(places: Path, checkout: Path) -> None:
    """Beside build.json, in a product's folder, and under a name that a build might have had."""
    folder = built(places)
    foreign = [
        folder / "letters.txt",
        folder / "oci" / "letters.txt",
        folder / "photos" / "a.jpg",
        folder / "mikrotik-tailscale-v0.0.1-mt.1-arm64.tar",
        folder / "runtime-arm64.json",
    ]
    for path in foreign:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    done = clean(checkout)
    assert done.returncode == 0, done.stderr
    assert [path for path in foreign if not path.exists()] == []
    assert "letters.txt" in done.stderr
    left = {path for path in folder.rglob("*") if path.is_file()}
    assert left == set(foreign)


def test_a_report_in_a_folder_beside_somebodys_files(places: Path, checkout: Path) -> None:
    folder = built(places)
    record.keep("site/index.html", "x")
    (folder / "site" / "mine.html").write_text("mine")
    done = clean(checkout)
    assert done.returncode == 0, done.stderr
    assert [*folder.rglob("*.html")] == [folder / "site" / "mine.html"]


def test_a_report_does_not_go_through_a_link(places: Path, checkout: Path) -> None:
    folder = built(places)
    (places / "theirs").mkdir()
    (folder / "site").symlink_to(places / "theirs")
    with pytest.raises(UserError, match="files of somebody else"):
        record.keep("site/index.html", "x")
    (folder / "site").unlink()
    record.keep("site/index.html", "x")
    (folder / "site" / "index.html").rename(places / "theirs" / "index.html")
    (folder / "site").rmdir()
    (folder / "site").symlink_to(places / "theirs")
    done = clean(checkout)
    assert done.returncode == 2
    assert (places / "theirs" / "index.html").exists()


BAD_PLACES: dict[str, Callable[[Path, Path], dict[str, str]]] = {
    "checkout as dist": lambda room, copy: {"MT_DIST": "."},
    "checkout as work": lambda room, copy: {"MT_WORK": str(copy)},
    "above it": lambda room, copy: {"MT_DIST": ".."},
    "tracked work": lambda room, copy: {"MT_WORK": "build"},
    "tracked dist": lambda room, copy: {"MT_DIST": "docs"},
    "tracked below": lambda room, copy: {"MT_WORK": "tests/data"},
    "git": lambda room, copy: {"MT_DIST": ".git", "MT_WORK": ".git/objects"},
    "home as dist": lambda room, copy: {"MT_DIST": str(room), "HOME": str(room)},
    "home as work": lambda room, copy: {"MT_WORK": str(room), "HOME": str(room / "sub")},
    "root": lambda room, copy: {"MT_DIST": "/"},
    "root as work": lambda room, copy: {"MT_WORK": "/"},
    "cache": lambda room, copy: {"MT_WORK": str(room / "cache"), "MT_CACHE": str(room / "cache")},
    "in the cache": lambda room, copy: {"MT_DIST": str(room / "sub"), "MT_CACHE": str(room)},
    "link": lambda room, copy: {"MT_WORK": str(room / "link")},
    "link as dist": lambda room, copy: {"MT_DIST": str(room / "link")},
    "dangling": lambda room, copy: {"MT_DIST": str(room / "nowhere")},
    "file": lambda room, copy: {"MT_DIST": str(room / "letters.txt")},
    "unmarked": lambda room, copy: {"MT_WORK": str(room / "photos")},
    "dots": lambda room, copy: {"MT_DIST": str(copy / "build" / ".." / ".")},
}


@pytest.mark.parametrize("how", BAD_PLACES)
def test_a_place_that_is_never_deleted(places: Path, checkout: Path, how: str) -> None:
    """Not even when mark and record are in it: a build may have been sent there by mistake."""
    built(places)
    room = places / "room"
    for name in ("letters.txt", "sub/a", "photos/a.jpg", "cache/CACHEDIR.TAG"):
        (room / name).parent.mkdir(parents=True, exist_ok=True)
        (room / name).write_text("mine")
    (room / "link").symlink_to(room / "sub")
    (room / "nowhere").symlink_to(room / "absent")
    env = BAD_PLACES[how](room, checkout)
    for place in env.values():
        target = checkout / place
        if how not in ("root", "root as work", "unmarked", "above it") and target.is_dir():
            shutil.copy(places / "work" / marks.MARK, target)
            for name in (dist.RECORD, record.LOCK):
                shutil.copy(places / "dist" / name, target)
    before = everything(places, checkout)
    done = clean(checkout, **env)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "is not deleted, and nothing else is" in done.stderr
    assert "Traceback" not in done.stderr
    assert everything(places, checkout) == before


@pytest.mark.parametrize("name", ["../letters.txt", "/etc/passwd", "a/b", ".git", "src", "..", ""])
@pytest.mark.parametrize("inside", [False, True])
def test_an_edited_record(places: Path, checkout: Path, name: str, inside: bool) -> None:
    folder = built(places)
    (places / "letters.txt").write_text("mine")
    rows = json.loads((folder / dist.RECORD).read_text())
    if inside:
        rows["oci"]["files"][f"../{name}"] = "0644 1 x"
    else:
        rows[name] = dict(rows["oci"])
    (folder / dist.RECORD).write_text(json.dumps(rows))
    before = everything(places)
    done = clean(checkout)
    assert done.returncode == 2, done.stdout
    assert "its build.json is not ours" in done.stderr
    assert everything(places) == before
    assert name not in record.read_record()
    # A build goes on and deletes nothing but its own.
    assert built(places)
    assert (places / "letters.txt").read_text() == "mine"


def test_a_link_where_a_product_was(places: Path, checkout: Path) -> None:
    folder = built(places)
    precious = places / "precious"
    (folder / "oci").rename(precious)
    (folder / "oci").symlink_to(precious)
    before = everything(places)
    done = clean(checkout)
    assert done.returncode == 2
    assert "is a link" in done.stderr
    assert everything(places) == before
    (precious / "index.json").write_text("mine")
    with pytest.raises(UserError, match="somebody else"):
        built(places)
    assert everything(places) == before


def test_a_build_replaces_nothing_of_others(places: Path) -> None:
    """A folder that no build wrote into, with files of the names that ours have."""
    folder = places / "dist"
    (folder / "oci").mkdir(parents=True)
    (folder / "oci" / "letters.txt").write_text("mine")
    (folder / "build.json").write_text('{"scripts": {}}')
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with pytest.raises(UserError) as caught:
        built(places)
    assert "oci, build.json" in caught.value.why
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())


def test_a_lock_that_is_a_link(places: Path, checkout: Path) -> None:
    (places / "dist").mkdir()
    (places / "letters.txt").write_text("mine")
    (places / "dist" / ".lock").symlink_to(places / "letters.txt")
    with pytest.raises(UserError):
        built(places)
    assert (places / "letters.txt").read_text() == "mine"


def test_dist_of_an_older_build_is_known_by_its_record(places: Path, checkout: Path) -> None:
    folder = built(places)
    (folder / ".lock").write_text("")
    assert clean(checkout).returncode == 0
    assert not folder.exists()


def test_dist_inside_work(places: Path, checkout: Path) -> None:
    built(places)
    (places / "dist").rename(places / "work" / "dist")
    (places / "work" / "dist" / "letters.txt").write_text("mine")
    done = clean(checkout, MT_DIST=str(places / "work" / "dist"))
    assert done.returncode == 2
    assert (places / "work" / "dist" / "letters.txt").exists()


def test_a_work_folder_that_had_something_is_never_marked(places: Path) -> None:
    (places / "work").mkdir()
    (places / "work" / "letters.txt").write_text("mine")
    marks.make_folder(places / "work" / "arm64")
    assert not marks.marked(places / "work")
