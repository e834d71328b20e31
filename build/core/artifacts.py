"""The values that flow between the stages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Artifact:
    """A file in the cache, named by its content.

    `size` is in bytes, `sha256` 64 hex digits. The file may still have to be verified before use.
    """

    path: Path
    size: int
    sha256: str


@dataclass(frozen=True)
class RootfsEntry:
    """One path of the root file system.

    `kind` is `dir`, `file` or `link`. `mode` counts for dir and file, `source` and `size` (bytes)
    for file, `target` for link. `path` is relative, without a leading slash.
    """

    path: str
    kind: str
    mode: int = 0o755
    source: Path | None = None
    size: int = 0
    sha256: str = ""
    target: str = ""


@dataclass(frozen=True)
class Rootfs:
    """The whole root file system of one platform, sorted by path."""

    entries: tuple[RootfsEntry, ...]

    @property
    def size(self) -> int:
        """Bytes of file content, which is what the extracted image takes at least."""
        return sum(entry.size for entry in self.entries)


@dataclass(frozen=True)
class Attachment:
    """What goes into a registry beside an image: a manifest and the blobs it names.

    With a `tag` it is found under that name, else by its digest or through the registry's
    referrers API (OCI distribution specification 1.1).
    """

    manifest: bytes
    media_type: str
    blobs: tuple[bytes, ...] = ()
    tag: str = ""
