"""Looking after the cache: what is in it, when it was used last, and removing what is too much.

What can go alone is a unit: an object, a download, an entry of the go command's build cache. Of the
module cache and of zig's nobody outside their commands knows what belongs together, so each is one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from build.core import cache, inuse
from build.core.errors import UserError
from build.core.paths import cache_dir

DAYS = 14.0
"""How long unused things stay when pruning is asked for no other bound."""

LONGEST_DAYS, LARGEST_GB = 36500.0, 1e6
"""A century and a petabyte: beyond these a number is a slip."""

PARTS = {
    "downloads": "sources as downloaded",
    "gocache": "the go command's compiled packages",
    "gomod": "Go modules",
    "zig": "what zig compiled",
    "toolpath": "PATH of build programs",
}


@dataclass(frozen=True)
class Unit:
    """What is kept or removed whole: a `part` of the cache, `used` in seconds since 1970."""

    part: str
    path: Path
    size: int
    used: float


@dataclass
class Pruned:
    """What pruning did: units removed by part of the cache, bytes freed, bytes that stay."""

    removed: dict[str, int] = field(default_factory=dict)
    freed: int = 0
    left: int = 0


def sweep() -> None:
    """Remove scratch folders whose owners are gone, and give an older cache what it lacks."""
    with contextlib.suppress(UserError):  # a cache shared read-only serves what it has
        cache.prepare()
    with contextlib.suppress(OSError):
        for folder in (cache_dir() / "tmp").iterdir():
            if _abandoned(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _abandoned(folder: Path) -> bool:
    lock = folder / "owner.lock"
    try:
        # A folder without its lock is being made by another process at this moment, or was left
        # by one that was killed right then: a minute tells them apart.
        if not lock.exists():
            return time.time() - folder.stat().st_mtime >= 60
        with lock.open() as owner:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _size(path: Path) -> int:
    """Return the bytes of a file, or of the files below a folder."""
    total = 0
    stack = [str(path)]
    with contextlib.suppress(NotADirectoryError, FileNotFoundError):
        while stack:
            with os.scandir(stack.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        stack.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
        return total
    return path.lstat().st_size if path.exists() else 0


def _used(path: Path) -> float:
    """Return when an object or download was used last."""
    times = [path.stat().st_mtime]
    with contextlib.suppress(OSError):
        times = [(path / "meta.json").stat().st_mtime]
    return max(times)


def units() -> Iterator[Unit]:
    """Yield everything in the cache that can be removed alone."""
    root = cache_dir()
    for path in sorted((root / "objects").glob("*/*")):
        yield Unit("objects", path, _size(path), _used(path))
    for part in ("downloads", "toolpath"):
        for path in sorted((root / part).glob("*")):
            yield Unit(part, path, _size(path), _used(path))
    for path in (root / "gocache").glob("??/*"):
        with contextlib.suppress(OSError):
            # The go command renews the time of what it uses, to the hour.
            yield Unit("gocache", path, _size(path), path.lstat().st_mtime)
    for part in ("gomod", "zig"):
        if (root / part).is_dir():
            yield Unit(part, root / part, _size(root / part), (root / part).stat().st_mtime)


def listing() -> list[tuple[str, str, int, float, str]]:
    """Return (stage, key, bytes, seconds since last use, what it was made for) of all objects.

    One row without a key follows for each other part of the cache, with its youngest use.
    """
    rows = []
    now = time.time()
    parts: dict[str, list[Unit]] = {}
    for unit in units():
        if unit.part != "objects":
            parts.setdefault(unit.part, []).append(unit)
            continue
        try:
            inputs = json.loads((unit.path / "meta.json").read_text())["inputs"]
            about = ", ".join(str(inputs[key]) for key in ("name", "target") if key in inputs)
        except (OSError, ValueError, KeyError, TypeError):
            about = "damaged"
        stage, key = unit.path.parent.name, unit.path.name
        rows.append((stage, key, unit.size, now - unit.used, about))
    for part, found in sorted(parts.items()):
        size, used = sum(unit.size for unit in found), max(unit.used for unit in found)
        rows.append((part, "", size, now - used, PARTS[part]))
    return rows


def number(text: str, what: str, largest: float) -> float:
    """Return a number that somebody typed. Raises UserError unless it is from 0 to `largest`."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= largest:
        raise UserError(
            f"'{text}' is not a number of {what}", cure=f"give one from 0 to {largest:,.0f}"
        )
    return value


def prune(days: float | None = None, size: float | None = None) -> Pruned:
    """Remove what was not used for that many days, then the longest unused until `size` bytes stay.

    A bound that is None is none. Raises UserError if the folder lacks its CACHEDIR.TAG (then it may
    not be ours), cannot be written, or is in use by another process.
    """
    root = cache_dir()
    done = Pruned()
    if not root.exists():
        return done
    if not (root / cache.MARK).is_file():
        raise UserError(
            f"{root} is not pruned",
            why=f"it has no {cache.MARK}, so it may not be a cache of ours",
            cure="check MT_CACHE",
        )
    try:
        with inuse.alone(root):
            sweep()
            # Whoever waits for one of these uses the cache, and nobody does now.
            for lock in (root / "locks").glob("*.lock"):
                lock.unlink()
            _prune(root, days, size, done)
    except OSError as error:
        raise UserError(
            f"the cache {root} cannot be pruned",
            why=f"{error.filename or root}: {error.strerror}; {done.freed:,} B were freed before",
            cure="prune it as the user it belongs to",
        ) from error
    return done


def _prune(root: Path, days: float | None, size: float | None, done: Pruned) -> None:
    now = time.time()
    found = sorted(units(), key=lambda unit: unit.used)
    done.left = sum(unit.size for unit in found)
    for unit in found:
        idle = max(now - unit.used, 0.0)
        if not (days is not None and idle >= days * 86400) and not (
            size is not None and done.left > size
        ):
            continue
        _remove(root, unit)
        done.removed[unit.part] = done.removed.get(unit.part, 0) + 1
        done.freed += unit.size
        done.left -= unit.size


def _remove(root: Path, unit: Unit) -> None:
    if unit.path.is_dir() and not unit.path.is_symlink():
        # Away first, so that a kill half way leaves no half of it in its place.
        away = root / "tmp" / f"pruned-{unit.part}-{unit.path.name[:40]}"
        shutil.rmtree(away, ignore_errors=True)
        away.parent.mkdir(exist_ok=True)
        unit.path.rename(away)
        shutil.rmtree(away)
    else:
        unit.path.unlink()
