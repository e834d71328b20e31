"""The pins: everything that comes from outside, with version, size, sha256, licence and reason."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.core.errors import UserError
from build.core.paths import DATA

_SHA256 = re.compile(r"[0-9a-f]{64}")
_KINDS = {"archive", "wheel", "gomodule"}
_REQUIRED = {"kind", "version", "file", "size", "sha256", "licence", "why", "hash_from"}
_OPTIONAL = {"urls", "debian_pool", "package", "module", "h1", "strip", "runs_on", "epoch"}


@dataclass(frozen=True)
class Pin:
    """One pinned source.

    `kind` says which client fetches it: `archive` (HTTP, then the Debian pool), `wheel` (pip) or
    `gomodule` (the go command). `size` is in bytes. `strip` leading directories are dropped when
    it is unpacked. `runs_on` is the build machine a tool runs on, empty for sources.
    `epoch` is the release's time in seconds since 1970, used for every timestamp in the image.
    """

    name: str
    kind: str
    version: str
    file: str
    size: int
    sha256: str
    licence: str
    why: str
    hash_from: str
    urls: tuple[str, ...] = ()
    debian_pool: str = ""
    package: str = ""
    module: str = ""
    h1: str = ""
    strip: int = 0
    runs_on: str = ""
    epoch: int = 0

    @property
    def title(self) -> str:
        """Name and version, for people."""
        return f"{self.name} {self.version}"


def from_row(name: str, row: Any, where: str) -> Pin:
    """Return the pin that a block of a pins file states; `where` is the file's name, for errors.

    Raises UserError naming every fault of the block.
    """
    if not isinstance(row, dict):
        raise UserError(f"'{name}' in {where} is not a pin", why="it stands before the first [pin]")
    problems: list[str] = []
    if missing := _REQUIRED - row.keys():
        problems.append(f"lacks {', '.join(sorted(missing))}")
    if unknown := row.keys() - _REQUIRED - _OPTIONAL:
        problems.append(f"has unknown {', '.join(sorted(unknown))}")
    if row.get("kind") not in _KINDS:
        problems.append(f"kind must be one of {', '.join(sorted(_KINDS))}")
    if not _SHA256.fullmatch(str(row.get("sha256", ""))):
        problems.append("sha256 must be 64 lower-case hex digits")
    if type(row.get("size")) is not int or row["size"] <= 0:
        problems.append("size must be a positive number of bytes")
    needs = {"archive": "urls", "wheel": "package", "gomodule": "module"}.get(row.get("kind", ""))
    if row.get("kind") == "archive" and row.get("debian_pool"):
        needs = None  # what only Debian has
    if needs and not row.get(needs):
        problems.append(f"a pin of kind {row['kind']} needs {needs}")
    if row.get("kind") == "gomodule" and not str(row.get("h1", "")).startswith("h1:"):
        problems.append("a Go module needs its h1: sum")
    problems += [f"{key} is empty" for key in sorted(_REQUIRED & row.keys()) if row[key] == ""]
    if problems:
        raise UserError(
            f"pin '{name}' in {where} is incomplete",
            why="; ".join(problems),
            cure="complete the pin; `invoke pins` lists what each field means",
        )
    version = row["version"]
    fields = dict(row)
    fields["urls"] = tuple(url.replace("{version}", version) for url in row.get("urls", ()))
    for key in ("file", "debian_pool"):
        fields[key] = row.get(key, "").replace("{version}", version)
    return Pin(name=name, **fields)


def load(path: Path) -> dict[str, Pin]:
    """Read a pins file. Raises UserError naming the pin and every fault it has."""
    try:
        rows = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"cannot read the pins in {path}", why=str(error)) from error
    return {name: from_row(name, row, path.name) for name, row in rows.items()}


FILE = DATA / "pins.toml"
_instead: dict[str, Pin] = {}


@functools.cache
def _of_repository() -> dict[str, Pin]:
    return load(FILE)


def pins() -> dict[str, Pin]:
    """Return the repository's pins by name."""
    return _of_repository() | _instead


@contextmanager
def instead(other: Pin) -> Iterator[None]:
    """Let another pin stand for the repository's of that name: to build before it is written."""
    _instead[other.name] = other
    try:
        yield
    finally:
        del _instead[other.name]


def pin(name: str) -> Pin:
    """Return one pin. Raises UserError if there is none of that name."""
    try:
        return pins()[name]
    except KeyError:
        known = ", ".join(pins())
        raise UserError(f"no pin is called '{name}'", cure=f"one of: {known}") from None
