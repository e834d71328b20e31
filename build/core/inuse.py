"""Who uses the cache: each process shares it until it ends; pruning wants it alone.

One lock for the whole cache, since a build reads far more than objects: the go and zig commands
look into caches of their own, of which nobody knows what they will read next.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from build.core import log
from build.core.errors import UserError

LOCK = "in-use.lock"

PATIENCE = 10.0
"""Seconds that pruning waits for builds to end."""


@dataclass
class _Held:
    path: Path
    file: int

    def same(self, path: Path) -> bool:
        """Say whether this is the lock at `path`, and not one that was deleted meanwhile."""
        try:
            there = path.stat()
        except OSError:
            return False
        mine = os.fstat(self.file)
        return self.path == path and (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)


_guard = threading.Lock()
_held: _Held | None = None


def share(root: Path) -> None:
    """Keep others from pruning the cache `root` while this process lives; it may wait for them.

    Who makes a cache makes its lock; one that has none, such as an old one that this user cannot
    write, is used without.
    """
    global _held
    path = root / LOCK
    with _guard:
        if _held and _held.same(path):
            return
        _release()
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            log.note("", "waiting until the cache is pruned")
            fcntl.flock(file, fcntl.LOCK_SH)
        _held = _Held(path, file)


def _release() -> None:
    global _held
    if _held:
        os.close(_held.file)
        _held = None


@contextlib.contextmanager
def alone(root: Path) -> Iterator[None]:
    """Hold the cache `root` against every other process.

    Raises UserError if another one still uses it after PATIENCE seconds.
    """
    global _held
    path = root / LOCK
    with _guard:
        _release()
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        _held = _Held(path, file)
    try:
        end = time.monotonic() + PATIENCE
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= end:
                    raise UserError(
                        f"the cache {root} is in use, nothing was removed",
                        why="a build, a test or a laboratory that reads from it is running",
                        cure="try again when that has ended",
                    ) from None
                if not told:
                    log.note("", "waiting for builds that use the cache")
                    told = True
                time.sleep(0.1)
        yield
    finally:
        with _guard:
            _release()
