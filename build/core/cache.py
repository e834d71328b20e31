"""The cache that checkouts share: stage outputs under a hash of everything that went into them.

    <cache>/CACHEDIR.TAG
            downloads/<sha256>/<file>                 verified sources
            objects/<stage>/<key>/meta.json           inputs, list of files, facts
                                  data/…              the output itself
            locks/<key>.lock                          one builder for each key
            tmp/<random>/                             outputs in the making, owner holds owner.lock
            gomod/ gocache/ zig/                      caches of the go and zig commands
            farm/                                     the PATH of build programs

An object appears by one rename, so it is whole or not there. Its list of files is checked before
another stage reads it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.core import digest, log, marks
from build.core.artifacts import Artifact
from build.core.errors import BuildFailed, UserError
from build.core.paths import cache_dir, work_dir

FORMAT = 1
"""Part of every key; raised when the meaning of an object changes."""

ALMOST_FULL = 16 << 20
"""Bytes free on the cache's disk below which a failed program is blamed on that."""

TAG = """Signature: 8a477f597d28d172789f06886806bc55
# This folder is a cache of mikrotik-tailscale (see https://bford.info/cachedir/).
# `invoke cache --prune` deletes what was not used lately; deleting all of it is safe too.
"""

Inputs = Mapping[str, Any]
Builder = Callable[[Path, Path], "dict[str, Any] | None"]


@dataclass(frozen=True)
class Entry:
    """One object: where its files are, what they are, what it was made from.

    `files` is a `digest.tree_manifest`; `facts` what the stage found out on the way; `hit` says
    whether it was there already.
    """

    stage: str
    key: str
    data: Path
    files: dict[str, str]
    inputs: dict[str, Any]
    facts: dict[str, Any]
    hit: bool

    def artifact(self, name: str) -> Artifact:
        """Return one file of the object."""
        _, size, sha256 = self.files[name].split(" ")
        return Artifact(self.data / name, int(size), sha256)

    @property
    def identity(self) -> str:
        """Hash of the content, for the keys of stages that use it."""
        return digest.of_json(self.files)


def prepare() -> Path:
    """Make the cache directory, mark it as a cache and return it. Raises UserError if it can't."""
    root = cache_dir()
    try:
        for name in ("downloads", "objects", "locks", "tmp"):
            (root / name).mkdir(parents=True, exist_ok=True)
        tag = root / "CACHEDIR.TAG"
        if not tag.exists():
            tag.write_text(TAG)
    except OSError as error:
        raise UserError(
            f"cannot use the cache {root}",
            why=error.strerror or str(error),
            cure="set MT_CACHE to a folder that you can write",
        ) from error
    return root


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Yield a new empty folder on the cache's file system; it is gone afterwards.

    What a killed build left behind is removed by the next one.
    """
    tmp = prepare() / "tmp"
    folder = Path(tempfile.mkdtemp(dir=tmp))
    with (folder / "owner.lock").open("w") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            if not os.environ.get("MT_KEEP"):
                shutil.rmtree(folder, ignore_errors=True)


def sweep() -> None:
    """Remove scratch folders whose owners are gone."""
    for folder in (prepare() / "tmp").iterdir():
        lock = folder / "owner.lock"
        try:
            # A folder without its lock is being made by another process at this moment, or was
            # left by one that was killed right then: a minute tells them apart.
            if not lock.exists() and time.time() - folder.stat().st_mtime < 60:
                continue
            if lock.exists():
                with lock.open() as owner:
                    fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def locked(name: str, what: str) -> Iterator[None]:
    """Hold the lock of that name; a second process waits and is told for what."""
    path = prepare() / "locks" / f"{name}.lock"
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.note("", f"waiting for another build that makes {what}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def key_of(stage: str, inputs: Inputs) -> str:
    """Return the key under which a stage's output for these inputs is kept."""
    return digest.of_json([FORMAT, stage, inputs])


def find(stage: str, key: str) -> Entry | None:
    """Return an object from the cache, or None. An unreadable one counts as none."""
    folder = cache_dir() / "objects" / stage / key
    try:
        meta = json.loads((folder / "meta.json").read_bytes())
        seal = meta.pop("seal")
        if seal != digest.of_json(meta):
            raise ValueError("its seal is broken")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        log.warn(f"cache object {stage}/{key[:12]} is damaged ({error}); it is made again")
        return None
    with contextlib.suppress(OSError):  # a cache shared read-only
        os.utime(folder / "meta.json")
    return Entry(stage, key, folder / "data", meta["files"], meta["inputs"], meta["facts"], True)


def damage(entry: Entry) -> list[str]:
    """Compare an object's files with its list and return the differences, each with both sides."""
    found = digest.tree_manifest(entry.data) if entry.data.is_dir() else {}
    names = sorted(entry.files.keys() | found.keys())
    return [
        f"{name}: wanted {entry.files.get(name, 'no such file')}, got {found.get(name, 'no file')}"
        for name in names
        if entry.files.get(name) != found.get(name)
    ]


def obtain(stage: str, label: str, inputs: Inputs, build: Builder, *, title: str = "") -> Entry:
    """Return the output of a stage, from the cache or by building it now.

    `label` is the platform or source it is for. `inputs` are all things that can change the
    output. `build(out, scratch)` fills the folder `out` and may return facts to keep with it.
    Two processes that want the same object make it once. Raises what `build` raises, and UserError
    when the disk is full.
    """
    key = key_of(stage, inputs)
    if entry := find(stage, key):
        log.detail(label, f"{stage}: nothing changed, in the cache as {key[:12]}")
        _remember(stage, label, inputs)
        return entry
    try:
        with locked(key, f"{stage} for {label}"):
            if entry := find(stage, key):
                _remember(stage, label, inputs)
                return entry
            log.note(label, f"{stage}: {explain(stage, label, inputs)}")
            for name, old, new in changes(stage, label, inputs) or ():
                log.detail(label, f"{stage}: {name} was {old}")
                log.detail(label, f"{stage}: {name} is  {new}")
            with scratch() as folder, log.step(label, title or stage):
                out = folder / "object" / "data"
                out.mkdir(parents=True)
                try:
                    facts = build(out, folder) or {}
                except BuildFailed as error:
                    # Programs say "no space" in many ways, or not at all.
                    free = shutil.disk_usage(folder).free
                    if free < ALMOST_FULL:
                        raise _no_space(
                            f"{stage} for {label}", f"{free:,} B free; {error}"
                        ) from error
                    raise
                entry = _store(stage, key, inputs, facts, out)
    except OSError as error:
        raise _said_better(error, f"{stage} for {label}") from error
    _remember(stage, label, inputs)
    return entry


def _store(stage: str, key: str, inputs: Inputs, facts: dict[str, Any], out: Path) -> Entry:
    meta: dict[str, Any] = {
        "inputs": dict(inputs),
        "facts": facts,
        "files": digest.tree_manifest(out),
    }
    meta["seal"] = digest.of_json(meta)
    with (out.parent / "meta.json").open("wb") as stream:
        stream.write(json.dumps(meta, indent=1, sort_keys=True).encode())
        stream.flush()
        # The object must not outlive a power cut half-written; its data may, the list tells.
        os.fsync(stream.fileno())
    home = cache_dir() / "objects" / stage / key
    home.parent.mkdir(parents=True, exist_ok=True)
    if home.exists():  # a damaged one
        shutil.rmtree(home)
    out.parent.rename(home)
    return Entry(stage, key, home / "data", meta["files"], meta["inputs"], facts, False)


class Damaged(BuildFailed):
    """An object's file is not what its list says; the object at `folder` has to go."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"cache object file {path} is damaged", why=why)
        self.folder = next(
            (parent.parent for parent in path.parents if parent.name == "data"), path.parent
        )


def checked(artifact: Artifact) -> Path:
    """Return the artifact's path after comparing its bytes with its digest. Raises Damaged."""
    try:
        sha256 = digest.of_file(artifact.path)
    except OSError as error:
        raise Damaged(artifact.path, error.strerror or str(error)) from error
    if sha256 != artifact.sha256:
        raise Damaged(artifact.path, f"wanted sha256={artifact.sha256}, got sha256={sha256}")
    return artifact.path


def intact(entry: Entry, again: Callable[[], Entry]) -> Entry:
    """Return the entry if its files are as listed, else remove it, say so, and get it `again`."""
    faults = damage(entry)
    if not faults:
        return entry
    log.warn(f"cache object {entry.stage}/{entry.key[:12]} is damaged: {faults[0]}; made again")
    discard(entry)
    fresh = again()
    if faults := damage(fresh):
        raise BuildFailed(f"{entry.stage} is damaged right after it was made", why=faults[0])
    return fresh


def discard(entry: Entry) -> None:
    """Remove an object."""
    shutil.rmtree(entry.data.parent, ignore_errors=True)


def discard_folder(folder: Path) -> None:
    """Remove the object that lies at `folder`, as `Damaged` names it."""
    if folder.is_relative_to(cache_dir() / "objects"):
        shutil.rmtree(folder, ignore_errors=True)


def _no_space(what: str, why: str) -> UserError:
    return UserError(
        f"no space left while making {what}",
        why=why,
        cure="free some space, run `invoke cache --prune`, or set MT_CACHE to another disk",
    )


def _said_better(error: OSError, what: str) -> Exception:
    place = error.filename or cache_dir()
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _no_space(what, f"{place}: {error.strerror}")
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return UserError(
            f"cannot write while making {what}",
            why=f"{place}: {error.strerror}",
            cure="make it writable, or set MT_CACHE (MT_WORK for logs) to another folder",
        )
    return BuildFailed(f"could not make {what}", why=str(error))


def _last(stage: str, label: str) -> Path:
    return work_dir() / label / f"{stage}.inputs.json"


def _remember(stage: str, label: str, inputs: Inputs) -> None:
    # Only a help for `explain`: a checkout whose work/ cannot be written builds all the same.
    text = json.dumps(inputs, indent=1, sort_keys=True)
    with contextlib.suppress(OSError):
        path = _last(stage, label)
        if path.exists() and path.read_text() == text:
            return
        marks.make_folder(path.parent)
        path.write_text(text)


def changes(stage: str, label: str, inputs: Inputs) -> list[tuple[str, str, str]] | None:
    """Return (input, old, new) of what differs from the last build here, None for the first."""
    try:
        old = json.loads(_last(stage, label).read_text())
    except (OSError, ValueError):
        return None
    new = json.loads(json.dumps(inputs))
    names = sorted(old.keys() | new.keys())
    return [
        (name, str(old.get(name, "(none)")), str(new.get(name, "(none)")))
        for name in names
        if old.get(name) != new.get(name)
    ]


def explain(stage: str, label: str, inputs: Inputs) -> str:
    """Return why this stage has to run, in one line."""
    differing = changes(stage, label, inputs)
    if differing is None:
        return "not built in this checkout before"
    if not differing:
        return "inputs unchanged, its object is no longer in the cache"
    return "changed: " + ", ".join(name for name, _, _ in differing)


def listing() -> list[tuple[str, str, int, float, str]]:
    """Return (stage, key, bytes, seconds since last use, what it was made for) of all objects."""
    rows = []
    now = time.time()
    for folder in sorted((cache_dir() / "objects").glob("*/*")):
        size = sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
        meta = folder / "meta.json"
        try:
            inputs = json.loads(meta.read_text())["inputs"]
            about = ", ".join(str(inputs[key]) for key in ("name", "target") if key in inputs)
        except (OSError, ValueError, KeyError, TypeError):
            about = "damaged"
        used = (meta if meta.exists() else folder).stat().st_mtime
        rows.append((folder.parent.name, folder.name, size, now - used, about))
    return rows


def prune(days: float) -> tuple[int, int]:
    """Remove objects not used for that many days; returns how many and how many bytes.

    Raises UserError if the folder lacks its CACHEDIR.TAG: then it may not be ours.
    """
    root = cache_dir()
    if not root.exists():
        return 0, 0
    if not (root / "CACHEDIR.TAG").is_file():
        raise UserError(
            f"{root} is not pruned",
            why="it has no CACHEDIR.TAG, so it may not be a cache of ours",
            cure="check MT_CACHE",
        )
    sweep()
    count = freed = 0
    for stage, key, size, idle, _ in listing():
        if idle > days * 86400:
            with locked(key, stage):
                shutil.rmtree(root / "objects" / stage / key, ignore_errors=True)
            count, freed = count + 1, freed + size
    return count, freed
