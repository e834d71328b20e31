"""Go's linker without line tables: built from the pinned toolchain's source and our patch.

A third of a compressed Go binary is tables from code addresses to source lines. The patch leaves
them out and keeps function names; what that costs and how traces are read is in docs/DESIGN.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from build.config import anchors
from build.core import cache, digest
from build.core.paths import PATCHES, work_dir
from build.golang import overlay
from build.golang.gotool import Go
from build.sources import anchoring, patching

FOLDER = PATCHES / "linker"


def identity(go: Go) -> str:
    """Return what stands for this linker in the name of a build (`tailscale.build`)."""
    return digest.of_json([go.go.sha256, patching.patches_identity(FOLDER)])


def _inputs(go: Go) -> dict[str, Any]:
    return {
        "name": "linker",
        "trees": go.keys(),
        "patches": patching.patches_identity(FOLDER),
        "anchors": anchors.identity("go"),
    }


def key(go: Go) -> str:
    """Return the key of the object that `build` returns."""
    return cache.key_of("linker", cache.with_code(_inputs(go), __name__))


def build(go: Go) -> cache.Entry:
    """Return the object with `link`, the patched linker, and `toolexec`, which puts it in place.

    Raises BuildFailed if what the patch relies on has changed (build/data/anchors.toml), or if the
    patch does not apply.
    """

    def make(out: Path, scratch: Path) -> dict[str, Any]:
        anchoring.require("go", go.root)
        replace = overlay.changed(go.root, FOLDER, scratch / "patched")
        option = overlay.write(replace, scratch / "overlay.json")
        record = work_dir() / "tools" / "linker.log"
        words = ["build", "-trimpath", "-ldflags=-s -w", option]
        words += ["-o", str(out / "link"), "cmd/link"]
        go.run(words, what="the linker", record=record, scratch=scratch)
        source = FOLDER / "toolexec" / "main.go"
        words = ["build", "-trimpath", "-ldflags=-s -w", "-o", str(out / "toolexec"), str(source)]
        go.run(words, what="toolexec", record=record, scratch=scratch, append=True)
        return {}

    return cache.obtain("linker", "tools", _inputs(go), make, title=f"linker of Go {go.version}")
