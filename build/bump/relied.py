"""All places that know something of upstream's source: `invoke bump --anchors`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from build.config import substitutes
from build.core import cache, paths
from build.core.errors import BuildFailed
from build.golang import linker, modules, stdlib
from build.pipeline import order
from build.sources import anchoring, archives, obtain, patching


@dataclass(frozen=True)
class Place:
    """One thing of upstream's that something of ours relies on.

    `kind` is a declaration, the lines of a hunk, a build constraint, or a whole patch that does not
    fit; `where` is file and place in it; `state` says "holds", "moved" or what differs.
    """

    source: str
    kind: str
    where: str
    by: str
    why: str
    state: str


def places() -> list[Place]:
    """Look at every place in the sources that are pinned. Raises SourceError or BuildFailed."""
    go = order.go_command()
    ours = modules.folders()
    folders = [
        ("go", linker.FOLDER),
        ("go", stdlib.FOLDER),
        ("tailscale", paths.PATCHES / "tailscale"),
        *ours.items(),
        *(("tailscale", one.folder) for one in substitutes.of(go.tailscale)),
    ]
    with cache.scratch() as scratch:
        # The tree in the cache has its patches already.
        plain = scratch / "tailscale"
        archives.unpack(obtain.fetch(go.tailscale), plain, go.tailscale.strip)
        trees = {"go": go.root, "tailscale": plain}
        trees |= {name: modules.unpatched(go, name, scratch) for name in ours}
        found = [row for source, root in trees.items() for row in _declarations(source, root)]
        found += [row for source, at in folders for row in _patches(source, trees[source], at)]
    return found


def _declarations(source: str, root: Path) -> Iterator[Place]:
    for state in anchoring.states(source, root):
        anchor = state.anchor
        said = "holds" if state.holds else "changed" if state.text else "gone"
        where = f"{anchor.file}: {anchor.declaration}"
        yield Place(source, "declaration", where, anchor.by, anchor.why, said)


def _patches(source: str, root: Path, folder: Path) -> Iterator[Place]:
    try:
        placed = patching.apply_patches(root, folder, commit=False)
    except BuildFailed as error:
        by = str(folder.relative_to(paths.ROOT))
        yield Place(source, "patch", "", by, "changes it", f"{error.what}: {error.why}")
        return
    for row in placed:
        by = str(row.patch.relative_to(paths.ROOT))
        if row.found:
            said = "holds" if row.found == row.stated else f"moved from {row.stated}"
            yield Place(source, "lines", f"{row.file}: {row.found}", by, "changes them", said)
        else:
            yield Place(source, "constraint", row.file, by, "adds a condition", "holds")
