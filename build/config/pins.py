"""The pins: everything that comes from outside, with version, size, sha256, licence and reason."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.config import schema
from build.core.errors import UserError
from build.core.paths import DATA

_PATH = r"(?!.*\.\.)[A-Za-z0-9@._+~{}-]+"
_SCHEMA = schema.row(
    {
        "kind": schema.one_of("archive", "wheel", "gomodule"),
        "version": schema.text(r"[A-Za-z0-9][A-Za-z0-9._+~-]*", "a version"),
        "file": schema.text(_PATH, "a file name without folders"),
        "size": schema.whole(1, 4 << 30),
        "sha256": schema.text(r"[0-9a-f]{64}", "64 lower-case hex digits"),
        "licence": schema.text(),
        "why": schema.text(),
        "hash_from": schema.text(),
    },
    {
        "urls": schema.each(schema.text(r"https?://[^\s/]+/\S*", "an address, https://…")),
        "debian_pool": schema.text(rf"{_PATH}(/{_PATH})*", "a path below the mirror"),
        "package": schema.text(r"[A-Za-z0-9._-]+", "a package's name"),
        "module": schema.text(r"(?!.*\.\.)[A-Za-z0-9._~/-]+", "a Go module's path"),
        "h1": schema.text(r"h1:[A-Za-z0-9+/]{43}=", "a sum that the go command states, h1:…="),
        "strip": schema.whole(0, 16),
        "runs_on": schema.text(r"[a-z0-9_]+", "a machine's name, as uname tells it"),
        "epoch": schema.whole(0, 1 << 33),
        "substitutes": schema.each(schema.text(r"\S+@v\S+", "module@version")),
    },
)
_NEEDS = {"archive": "urls", "wheel": "package", "gomodule": "module"}


@dataclass(frozen=True)
class Pin:
    """One pinned source.

    `kind` says which client fetches it: `archive` (HTTP, then the Debian pool), `wheel` (pip) or
    `gomodule` (the go command). `size` is in bytes. `strip` leading directories are dropped when
    it is unpacked. `runs_on` is the build machine a tool runs on, empty for sources.
    `epoch` is the release's time in seconds since 1970, used for every timestamp in the image.
    `substitutes` names rows of substitutes.toml: Go modules that it takes in place of what it asks.
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
    substitutes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Name and version, for people."""
        return f"{self.name} {self.version}"


def from_row(name: str, row: Any, where: str) -> Pin:
    """Return the pin that a block of a pins file states; `where` is the file's name, for errors.

    Raises UserError naming every fault of the block.
    """
    faults = _SCHEMA(name, row)
    if isinstance(row, dict):
        kind = row.get("kind")
        needs = {_NEEDS[kind]} if isinstance(kind, str) and kind in _NEEDS else set()
        if kind == "gomodule":
            needs |= {"h1"}
        if kind == "archive" and row.get("debian_pool"):
            needs = set()  # what only Debian has
        faults += [
            f"{name}.{key}: wanted a value in a pin of kind {kind}, got nothing"
            for key in sorted(needs)
            if not row.get(key)
        ]
    schema.require(faults, where)
    version = row["version"]
    fields = dict(row)
    fields["urls"] = tuple(url.replace("{version}", version) for url in row.get("urls", ()))
    fields["substitutes"] = tuple(row.get("substitutes", ()))
    for key in ("file", "debian_pool"):
        fields[key] = row.get(key, "").replace("{version}", version)
    return Pin(name=name, **fields)


def load(path: Path) -> dict[str, Pin]:
    """Read a pins file. Raises UserError naming the pin and every fault it has."""
    rows = schema.read(path, schema.table(_any, r"[a-z0-9-]+", "a pin's name", least=1))
    return {name: from_row(name, row, path.name) for name, row in rows.items()}


def _any(place: str, value: Any) -> list[str]:
    """Pass everything: `from_row` looks at it, and names every fault of one pin."""
    return []


FILE = DATA / "pins.toml"
_instead: dict[str, Pin] = {}


@functools.cache
def _of_repository() -> dict[str, Pin]:
    return load(FILE)


def pins() -> dict[str, Pin]:
    """Return the repository's pins by name."""
    return _of_repository() | _instead


@contextmanager
def instead(*others: Pin) -> Iterator[None]:
    """Let others stand for the repository's pins of their names: to build before it is written."""
    _instead.update({other.name: other for other in others})
    try:
        yield
    finally:
        for other in others:
            del _instead[other.name]


def pin(name: str) -> Pin:
    """Return one pin. Raises UserError if there is none of that name."""
    try:
        return pins()[name]
    except KeyError:
        known = ", ".join(pins())
        raise UserError(f"no pin is called '{name}'", cure=f"one of: {known}") from None
