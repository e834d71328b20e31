"""What in dist/ is ours: the record `build.json`, the mark in `.lock`, and nothing else.

Every name that is replaced or deleted comes from here. A name in the record that no product of
ours could have (a path, a file of somebody's project) makes the record one that is not ours.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from build.core import ownership
from build.core.errors import BuildFailed, UserError
from build.core.paths import dist_dir

RECORD = "build.json"
SUMS = "SHA256SUMS"
SIGNATURE = f"{SUMS}.sig"
LOCK = ".lock"
FRESH = ".fresh"
_MARK = "mikrotik-tailscale writes into this folder; its reports here:"
_PRODUCT = re.compile(
    r"oci(-[a-z0-9_]+)?"
    r"|mikrotik-tailscale-v[0-9A-Za-z.+-]+\.tar"
    r"|symbols-[0-9A-Za-z._+-]+\.xz"
    r"|sbom-[0-9A-Za-z._+-]+\.cdx\.json"
)
_REPORT = re.compile(
    r"(runtime|machine)-[a-z0-9_]+\.json|figures(-machine)?\.(json|html)|report\.md"
    r"|site/[a-z]+\.html|site-shots/[a-z0-9-]+\.png"
)

_OUTER = {errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOSPC, errno.EDQUOT}
_OUTER |= {errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP}
"""Failures whose cause is the place that was chosen for dist/."""


def _is_row(row: Any) -> bool:
    made_from = row.get("from") if isinstance(row, dict) else None
    of = made_from.get("of") if isinstance(made_from, dict) else None
    return isinstance(of, list) and bool(of) and all(isinstance(name, str) for name in of)


def _raw(dist: Path) -> dict[str, Any]:
    try:
        found = json.loads((dist / RECORD).read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _hostile(name: str, row: Any) -> bool:
    """Say whether a row is about something that no build of ours can have written."""
    if not _PRODUCT.fullmatch(name):
        return True
    files = row.get("files") if isinstance(row, dict) else None
    if not isinstance(files, dict):
        return False
    return any(
        PurePosixPath(file).is_absolute() or ".." in PurePosixPath(file).parts or "\0" in file
        for file in files
    )


def read_record(dist: Path | None = None) -> dict[str, Any]:
    """Return dist/build.json: what each product was made from, with sizes and digests; or {}.

    Rows that are none, or name what cannot be a product, are left out.
    """
    rows = _raw(dist or dist_dir()).items()
    return {name: row for name, row in rows if _is_row(row) and not _hostile(name, row)}


def _marks(dist: Path) -> list[str] | None:
    """Return the names of the reports that `.lock` lists, None if it does not carry our mark."""
    lock = dist / LOCK
    try:
        lines = [] if lock.is_symlink() else lock.read_text().splitlines()
    except (OSError, ValueError):
        return None
    if not lines or lines[0] != _MARK:
        return None
    return [name for name in lines[1:] if _REPORT.fullmatch(name)]


def in_the_way(dist: Path, names: list[str]) -> list[str]:
    """Return which of the names that a build would write are somebody else's."""
    record = read_record(dist)
    if _marks(dist) is not None or record:
        # Ours, if our names are in it: only a link that somebody put there is not.
        return [name for name in names if (dist / name).is_symlink()]
    return [name for name in names if (dist / name).is_symlink() or (dist / name).exists()]


@contextlib.contextmanager
def owned(dist: Path, names: list[str] | None = None) -> Iterator[None]:
    """Make `dist`, hold it against other builds of this checkout, and mark it.

    `names` are what will be written. Raises UserError if something of that name is not ours, or
    the folder cannot be written.
    """
    with _said_well(dist):
        dist.mkdir(parents=True, exist_ok=True)
        with _locked(dist) as lock:
            wanted = [*(names or ()), RECORD, SUMS, SIGNATURE, FRESH]
            if foreign := in_the_way(dist, wanted):
                raise UserError(
                    f"{dist} has files of somebody else under names that a build writes",
                    why=", ".join(foreign),
                    cure="move them away, or set MT_DIST to another folder",
                )
            if _marks(dist) is None:
                os.pwrite(lock, f"{_MARK}\n".encode(), 0)
            yield


@contextlib.contextmanager
def _locked(dist: Path) -> Iterator[int]:
    # Not through a link: what it leads to is not ours.
    lock = os.open(dist / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)


@contextlib.contextmanager
def _said_well(dist: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _OUTER:
            raise UserError(
                f"cannot write {dist}",
                why=f"{error.filename or dist}: {error.strerror}",
                cure="make it writable or free some space, or set MT_DIST to another folder",
            ) from error
        raise BuildFailed(f"cannot write {dist}", why=str(error)) from error


def require_writable(dist: Path | None = None) -> None:
    """Raise UserError if a first build could not write its products there; writes nothing.

    Where a build has written before it may have nothing to do, so that it is not asked.
    """
    dist = dist or dist_dir()
    if read_record(dist):
        return
    with _said_well(dist):
        place = next(place for place in (dist, *dist.parents) if os.path.lexists(place))
        wrong = 0 if place.is_dir() else errno.ENOTDIR
        if not wrong and not os.access(place, os.W_OK | os.X_OK):
            wrong = errno.EACCES
        if wrong:
            raise OSError(wrong, os.strerror(wrong), str(place))


def keep(name: str, content: str | bytes) -> Path:
    """Write a report into dist/ under a name that `clean` then knows as ours; returns its path."""
    dist = dist_dir()
    assert _REPORT.fullmatch(name), name
    place = dist / name
    with owned(dist, _folders([name])), _said_well(dist):
        known = _marks(dist) or []
        if name not in known:
            with (dist / LOCK).open("a") as mark:
                mark.write(f"{name}\n")
        place.parent.mkdir(exist_ok=True)
        fresh = place.with_name(f".{place.name}.{os.getpid()}")
        fresh.write_bytes(content.encode() if isinstance(content, str) else content)
        fresh.replace(place)
    return place


def _folders(names: Iterable[str]) -> list[str]:
    """Return the folders of dist/ that reports of these names lie in."""
    return sorted({name.partition("/")[0] for name in names if "/" in name})


def adopt(fresh: Path) -> None:
    """Mark a folder that becomes dist/, and the reports in it, as ours.

    For what another job of ours has handed over: all in `fresh` must be known to be of that job.
    """
    reports = sorted(path.name for path in fresh.iterdir() if _REPORT.fullmatch(path.name))
    (fresh / LOCK).write_text("".join(f"{line}\n" for line in (_MARK, *reports)))


def deletable(dist: Path) -> list[Path]:
    """Return what in dist/ is ours, deepest first, folders that hold only that among it.

    Raises UserError if the folder is not ours, its record speaks of what cannot be a product, or a
    link stands where a product was.
    """
    ownership.require_deletable(dist)
    marks, raw = _marks(dist), _raw(dist)
    if hostile := [name for name, row in raw.items() if _hostile(name, row)]:
        raise ownership.refuse(dist, f"its {RECORD} is not ours: it names {hostile[0]!r}")
    record = read_record(dist)
    if marks is None and not record:
        raise ownership.refuse(dist, f"it has neither our mark nor a {RECORD} of ours")
    names = [*record, *(marks or ()), RECORD, SUMS, SIGNATURE, FRESH, LOCK]
    folders = _folders(marks or ())
    if links := [name for name in (*folders, *names) if (dist / name).is_symlink()]:
        raise ownership.refuse(dist, f"{links[0]} in it is a link to somewhere else")
    found: list[Path] = []
    for name in names:
        place = dist / name
        if place.is_dir():
            files = record.get(name, {}).get("files", {})
            whole = name == FRESH
            inside = sorted(place.rglob("*"), key=lambda path: len(path.parts), reverse=True)
            found += [
                path
                for path in inside
                if whole or path.relative_to(place).as_posix() in files or _folder(path)
            ]
            found.append(place)
        elif place.exists():
            found.append(place)
    return [*found, *(dist / name for name in folders if (dist / name).is_dir()), dist]


def _folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def delete(ours: list[Path]) -> list[Path]:
    """Delete these, in their order; a folder that is not empty stays. Returns what is gone."""
    gone = []
    for path in ours:
        if _folder(path):
            try:
                path.rmdir()
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EBUSY, errno.EEXIST):
                    raise
                continue
        else:
            path.unlink()
        gone.append(path)
    return gone
