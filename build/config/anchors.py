"""What of upstream's source we rely on: `anchors.toml`, one declaration each."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from build.config import schema
from build.core import digest
from build.core.paths import DATA

TABLE = DATA / "anchors.toml"


@dataclass(frozen=True)
class Anchor:
    """One declaration: in which source (a pin or a Go module), file; the texts known to be right.

    `by` is our file or folder that relies on it, `why` what for. `sha256` are the sums of the
    normalised texts that somebody read and found right.
    """

    source: str
    file: str
    declaration: str
    by: str
    why: str
    sha256: tuple[str, ...]


_ROW = schema.row(
    {
        "source": schema.text(r"[A-Za-z0-9._~/-]+", "a pin's name or a Go module's path"),
        "file": schema.text(r"(?!/)(?!.*\.\.)\S+", "a path in the source"),
        "declaration": schema.text(r"\w+(\.\w+)?", "Name or Receiver.Name"),
        "by": schema.text(r"(?!/)(?!.*\.\.)\S+", "a path in this repository"),
        "why": schema.text(),
        "sha256": schema.each(schema.text(r"[0-9a-f]{64}", "64 lower-case hex digits"), least=1),
    }
)


def load(path: Path = TABLE) -> list[Anchor]:
    """Return all anchors. Raises UserError naming every fault."""
    rows = schema.read(path, schema.row({"anchor": schema.each(_ROW, least=1)}))["anchor"]
    return [Anchor(**{**row, "sha256": tuple(row["sha256"])}) for row in rows]


@functools.cache
def _known() -> tuple[Anchor, ...]:
    # Each key of each platform asks for them.
    return tuple(load())


def of(source: str) -> list[Anchor]:
    """Return the anchors in one source."""
    return [anchor for anchor in _known() if anchor.source == source]


def identity(source: str) -> str:
    """Return what stands for the anchors in one source in keys."""
    return digest.of_json([[a.file, a.declaration, a.sha256] for a in of(source)])
