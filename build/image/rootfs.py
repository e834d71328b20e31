"""The root file system as data: which path comes from where, with which mode."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from build.config import schema
from build.core import digest
from build.core.artifacts import Artifact, Rootfs, RootfsEntry
from build.core.errors import UserError
from build.core.paths import DATA

FILE = DATA / "rootfs.toml"
_MODE = schema.whole(0, 0o7777)
_TEXTS = schema.each(schema.text())
_SCHEMA = schema.row(
    {
        "dir": schema.each(schema.row({"path": schema.text(), "mode": _MODE})),
        "file": schema.each(
            schema.row(
                {
                    "path": schema.text(),
                    "mode": _MODE,
                    "source": schema.text(r"(?!\.)[A-Za-z0-9._-]+", "a file name without folders"),
                }
            ),
            least=1,
        ),
        "link": schema.each(schema.row({"path": schema.text(), "target": schema.text()})),
        "applets": schema.row({"folder": schema.text(), "target": schema.text()}),
        "image": schema.row(
            {
                "env": schema.each(schema.text(r"[A-Za-z_][A-Za-z0-9_]*=[^\x00]*", "NAME=value")),
                # RouterOS 7.22 refuses images that lack one of these two.
                "entrypoint": schema.each(schema.text(), least=1),
                "cmd": schema.each(schema.text(), least=1),
                "volumes": _TEXTS,
                "healthcheck": schema.row(
                    {
                        "command": schema.each(schema.text(), least=1),
                        "interval": schema.whole(1),
                        "timeout": schema.whole(1),
                        "start_period": schema.whole(1),
                        "retries": schema.whole(1),
                    }
                ),
                "labels": schema.table(schema.text()),
            }
        ),
    }
)


def load(path: Path) -> dict[str, Any]:
    """Return a file as it is. Raises UserError naming every fault."""
    return schema.read(path, _SCHEMA)


@functools.cache
def plan() -> dict[str, Any]:
    """Return `rootfs.toml` as it is."""
    return load(FILE)


def collect(made: Mapping[str, Artifact], applets: list[str]) -> Rootfs:
    """Return the root file system for these binaries and busybox's applets.

    Raises UserError if a path is there twice, has no parent directory, is absolute, or names a
    source that does not exist.
    """
    table = plan()
    entries = [RootfsEntry(row["path"], "dir", row["mode"]) for row in table["dir"]]
    for row in table["file"]:
        found = made.get(row["source"]) or _own_file(row["source"])
        entries.append(
            RootfsEntry(row["path"], "file", row["mode"], found.path, found.size, found.sha256)
        )
    links = [(row["path"], row["target"]) for row in table["link"]]
    folder, target = table["applets"]["folder"], table["applets"]["target"]
    links += [(f"{folder}/{name}", target) for name in applets]
    entries += [RootfsEntry(path, "link", target=target) for path, target in links]
    entries.sort(key=lambda entry: entry.path.encode())
    _check(entries)
    return Rootfs(tuple(entries))


def _own_file(name: str) -> Artifact:
    path = DATA / "rootfs" / name
    if not path.is_file():
        raise UserError(f"rootfs.toml names the file '{name}'", why=f"there is no {path}")
    return Artifact(path, path.stat().st_size, digest.of_file(path))


def _check(entries: list[RootfsEntry]) -> None:
    faults = []
    kinds: dict[str, str] = {}
    for entry in entries:
        path = PurePosixPath(entry.path)
        if path.is_absolute() or ".." in path.parts or str(path) != entry.path:
            faults.append(f"{entry.path} is not a plain relative path")
        if entry.path in kinds:
            faults.append(f"{entry.path} is there twice")
        if path.parent.parts and kinds.get(str(path.parent)) != "dir":
            faults.append(f"{entry.path} has no directory {path.parent}")
        kinds[entry.path] = entry.kind
    if faults:
        raise UserError("the root file system in rootfs.toml cannot be", why="; ".join(faults))


def identity(rootfs: Rootfs) -> list[list[str]]:
    """Return the listing that stands for a root file system in keys and goldens."""
    rows = []
    for entry in rootfs.entries:
        content = {"file": entry.sha256, "link": entry.target}.get(entry.kind, "")
        mode = "" if entry.kind == "link" else f"{entry.mode:04o}"
        rows.append([entry.path, entry.kind, mode, content])
    return rows


def unpack(rootfs: Rootfs, out: Path) -> None:
    """Write the root file system as a tree below the folder `out`, which must not exist."""
    out.mkdir(parents=True)
    for entry in rootfs.entries:
        place = out / entry.path
        if entry.kind == "dir":
            place.mkdir()
        elif entry.kind == "link":
            place.symlink_to(entry.target)
        else:
            assert entry.source is not None
            place.write_bytes(entry.source.read_bytes())
        if entry.kind != "link":
            place.chmod(entry.mode)
