"""All places that know something of upstream's source: `invoke bump --anchors`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from build.config import anchors, substitutes
from build.config.pins import Pin, pins
from build.core import cache, paths
from build.core.errors import BuildFailed
from build.golang import linker, modules, named, stdlib
from build.golang.gotool import Go
from build.pipeline import order
from build.sources import anchoring, archives, obtain, patching

PATCH = "patch"
_MORE = {"go": (linker.FOLDER, stdlib.FOLDER)}
"""Our changes of a pin's source that its unpacked tree does not have."""


@dataclass(frozen=True)
class Place:
    """One thing of upstream's that something of ours relies on.

    `kind` is a declaration, a feature, the lines of a hunk, a build constraint, or a whole patch
    that does not fit; `where` is file and place in it; `state` says "holds", "moved" or what
    differs.
    """

    source: str
    kind: str
    where: str
    by: str
    why: str
    state: str


@dataclass(frozen=True)
class Source:
    """A source without our changes: a pin or a Go module, its tree, our folders of patches."""

    name: str
    root: Path
    folders: tuple[Path, ...]


def sources(pin: Pin, go: Go, scratch: Path) -> Iterator[Source]:
    """Yield what a pin brings that we rely on: its own source, with Tailscale the Go modules too.

    Nothing if we neither change it nor rely on its declarations. Raises SourceError, or BuildFailed
    if the Go modules cannot be had because Tailscale's own patches do not fit.
    """
    own = (paths.PATCHES / pin.name, *(one.folder for one in substitutes.of(pin)))
    folders = tuple(at for at in (*own, *_MORE.get(pin.name, ())) if patching.patch_files(at))
    if not folders and not anchors.of(pin.name):
        return
    if set(own).isdisjoint(folders):
        root = obtain.tree(pin).data
    else:
        # The tree in the cache has its patches already.
        root = scratch / pin.name
        archives.unpack(obtain.fetch(pin), root, pin.strip)
    yield Source(pin.name, root, folders)
    if pin.name == go.tailscale.name:
        for module, folder in modules.folders().items():
            at = modules.unpatched(replace(go, tailscale=pin), module, scratch)
            yield Source(module, at, (folder,))


def places() -> list[Place]:
    """Look at every place in the sources that are pinned. Raises SourceError or BuildFailed."""
    go, found = order.go_command(), list[Place]()
    with cache.scratch() as scratch:
        for source in [one for pin in pins().values() for one in sources(pin, go, scratch)]:
            found += [*_declarations(source), *features(source), *patches(source)]
    return found


def features(source: Source) -> Iterator[Place]:
    """Yield the features that our files name, if the source is Tailscale's."""
    if source.name == "tailscale":
        by = str(named.OURS.relative_to(paths.ROOT))
        for name, there in named.constants(source.root).items():
            state = "holds" if there else "no feature: nothing is refused for it"
            yield Place(source.name, "feature", f"{named.PACKAGE}: {name}", by, "refuses", state)


def _declarations(source: Source) -> Iterator[Place]:
    for state in anchoring.states(source.name, source.root):
        anchor = state.anchor
        said = "holds" if state.holds else "changed" if state.text else "gone"
        where = f"{anchor.file}: {anchor.declaration}"
        yield Place(source.name, "declaration", where, anchor.by, anchor.why, said)


def patches(source: Source) -> Iterator[Place]:
    """Try our patches of a source; yield where each hunk stands, and each folder that misses."""
    for folder in source.folders:
        try:
            placed = patching.apply_patches(source.root, folder, commit=False)
        except BuildFailed as error:
            by = str(folder.relative_to(paths.ROOT))
            yield Place(source.name, PATCH, "", by, "changes it", f"{error.what}: {error.why}")
            continue
        for row in placed:
            by = str(row.patch.relative_to(paths.ROOT))
            if row.found:
                said = "holds" if row.found == row.stated else f"moved from {row.stated}"
                where = f"{row.file}: {row.found}"
                yield Place(source.name, "lines", where, by, "changes them", said)
            else:
                yield Place(source.name, "constraint", row.file, by, "adds a condition", "holds")
