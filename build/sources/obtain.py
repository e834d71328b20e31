"""Pins to verified files and source trees: fetch, check, unpack, patch.

A file appears in the cache only after size and sha256 were found right.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.config.pins import Pin, pin
from build.core import cache, digest, log
from build.core.errors import SourceError
from build.core.paths import PATCHES, cache_dir
from build.sources import archives, clients, download, patching, substitution

UNKEYED = "what it brings is compared with the pin; what makes a tree of that is keyed"

_checking = threading.RLock()
_checked: dict[str, cache.Entry] = {}
"""Trees whose every file was compared with its list in this process: once is enough."""


def cached(wanted: Pin) -> Path:
    """Return where the pin's file is or will be in the cache."""
    return cache.prepare() / "downloads" / wanted.sha256 / wanted.file


def fetch(wanted: Pin, *, offline: bool = False) -> Path:
    """Return the verified file of a pin, from the cache, $MT_SOURCES or the network, in this order.

    Raises SourceError if it cannot be had or is not what was pinned.
    """
    place = cached(wanted)
    if place.is_file() and not _fault(wanted, place):
        return place
    with cache.locked(f"download-{wanted.sha256}", wanted.title), cache.scratch() as folder:
        # Another process may have fetched or mended it while this one waited.
        if place.is_file() and (fault := _fault(wanted, place)):
            log.warn(f"{place} is damaged ({fault}); it is fetched again")
            place.unlink()
        if not place.is_file():
            fresh = folder / wanted.file
            _obtain(wanted, fresh, offline)
            if fault := _fault(wanted, fresh) or _fault_of_sum(wanted, fresh):
                raise SourceError(
                    f"{wanted.title} is not what was pinned",
                    why=fault,
                    cure="a truncated or altered download: try again; if upstream really changed "
                    "the file, find out why before changing the pin",
                )
            place.parent.mkdir(parents=True, exist_ok=True)
            fresh.rename(place)
    return place


@dataclass(frozen=True)
class Draft:
    """The file of a pin whose sums are not known yet, as its client or server gave it.

    `name` is its file name there, `origin` the archive's address. For a Go module `release` is the
    module proxy's JSON about it, `{"Version": …, "Time": …}`, and `database` what the Go checksum
    database says of it, in the words of go.sum files; empty if it was not asked.
    """

    path: Path
    name: str
    origin: str = ""
    release: str = ""
    database: str = ""


def draft(wanted: Pin, folder: Path, *, database: bool = True) -> Draft:
    """Download the file of a pin without size and sums into `folder`: to work them out.

    With `database` the go command compares a module with the Go checksum database. Raises
    SourceError. Nothing comes from the cache or $MT_SOURCES, and nothing goes there.
    """
    assert not wanted.sha256, "a pin that has its sums is fetched and compared with them"
    out = folder / wanted.file
    with log.step("fetch", wanted.title) as advance:
        if wanted.kind == "archive":
            return Draft(out, wanted.file, origin=download.archive(wanted, out, advance))
        if wanted.kind == "wheel":
            return Draft(out, clients.wheel(wanted, out).name)
        place = clients.gomodule(wanted, out, _go(), database=database)
    # place is <room>/cache/download/<module>/@v/<version>.zip; the database's answers lie beside.
    lookup = place.parents[1 + len(Path(wanted.module).parts)]
    answer = lookup / "sumdb" / "sum.golang.org" / "lookup"
    answer /= f"{wanted.module}@v{wanted.version}"
    said = answer.read_text() if answer.is_file() else ""
    return Draft(out, wanted.file, release=place.with_suffix(".info").read_text(), database=said)


def adopt(wanted: Pin, path: Path) -> None:
    """Move a draft's file into the cache, as that of the pin made from it.

    Raises SourceError if it is not.
    """
    if fault := _fault(wanted, path) or _fault_of_sum(wanted, path):
        raise SourceError(f"{wanted.title} is not what was drafted", why=fault)
    place = cached(wanted)
    place.parent.mkdir(parents=True, exist_ok=True)
    path.rename(place)


def _fault(wanted: Pin, path: Path) -> str:
    if not wanted.sha256:  # of a draft; a pin without sums is not loaded
        return ""
    size, sha256 = path.stat().st_size, digest.of_file(path)
    if (size, sha256) == (wanted.size, wanted.sha256):
        return ""
    return (
        f"{wanted.file}: wanted size={wanted.size} sha256={wanted.sha256}, "
        f"got size={size} sha256={sha256}"
    )


def _fault_of_sum(wanted: Pin, path: Path) -> str:
    """Compare a Go module with its h1 sum, which ties the pin to the Go checksum database."""
    if not wanted.h1 or (got := digest.of_go_module(path)) == wanted.h1:
        return ""
    return f"{wanted.file}: wanted {wanted.h1}, got {got}"


def _obtain(wanted: Pin, out: Path, offline: bool) -> None:
    local = os.environ.get("MT_SOURCES")
    if local and (found := Path(local) / wanted.file).is_file():
        shutil.copyfile(found, out)
        return
    if offline:
        raise SourceError(
            f"{wanted.title} is not in the cache and this build is offline",
            why=f"neither {cached(wanted)} nor $MT_SOURCES has {wanted.file}",
            cure="run `invoke fetch` once with a network, or put the file into $MT_SOURCES",
        )
    with log.step("fetch", wanted.title, wanted.size) as advance:
        if wanted.kind == "archive":
            download.archive(wanted, out, advance)
        elif wanted.kind == "wheel":
            clients.wheel(wanted, out)
        else:
            clients.gomodule(wanted, out, _go())


def _go() -> Path:
    """Return the command that brings Go modules."""
    return tree(pin("go-bootstrap")).data / "go" / "bin" / "go"


def _inputs(wanted: Pin) -> dict[str, Any]:
    others = substitution.identity(wanted)
    return {
        "name": wanted.name,
        "version": wanted.version,
        "sha256": wanted.sha256,
        "strip": wanted.strip,
        "patches": patching.patches_identity(PATCHES / wanted.name),
        **({"substitutes": others} if others else {}),
    }


def _made_by(wanted: Pin) -> str:
    """Return the module whose code decides what the tree of a pin is."""
    return (substitution if wanted.substitutes else patching).__name__


def tree_key(wanted: Pin) -> str:
    """Return what stands for the unpacked and patched tree of a pin in the keys of its users.

    The tree need not be there; if it is, it counts as used now, and so does its file.
    """
    key = cache.key_of("source", cache.with_code(_inputs(wanted), _made_by(wanted)))
    cache.touch("source", key)
    with contextlib.suppress(OSError):
        os.utime(cache_dir() / "downloads" / wanted.sha256)
    return key


def tree(wanted: Pin, *, offline: bool = False) -> cache.Entry:
    """Return the unpacked tree of a pin, its patches from `patches/<name>` applied and its
    substitutes in place.

    The object's files are checked against their list, so that no later stage reads a damaged
    compiler. Raises SourceError or BuildFailed.
    """

    def build(out: Path, scratch: Path) -> dict[str, Any]:
        file = fetch(wanted, offline=offline)
        archives.unpack(file, out, wanted.strip)
        patching.apply_patches(out, PATCHES / wanted.name)
        substitution.apply(out, wanted)
        return {}

    def get() -> cache.Entry:
        return cache.obtain(
            "source",
            wanted.name,
            _inputs(wanted),
            build,
            title=f"unpack {wanted.title}",
            made_by=_made_by(wanted),
        )

    with _checking:
        key = tree_key(wanted)
        if key not in _checked:
            entry = get()
            _checked[key] = cache.intact(entry, get) if entry.hit else entry
        return _checked[key]


def overview(wanted: Pin) -> dict[str, Any]:
    """Return a pin as a row for people and machines, with whether its file is in the cache."""
    row = {key: value for key, value in vars(wanted).items() if value}
    row["cached"] = cached(wanted).is_file()
    return json.loads(json.dumps(row))  # type: ignore[no-any-return]
