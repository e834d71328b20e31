"""Go's standard library with our changes, laid over the toolchain's by the go command's -overlay.

The toolchain's own tree stays as it is: upstream's recipe and the laboratory are built from that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from build.config import anchors
from build.core import cache
from build.core.paths import PATCHES
from build.golang import overlay
from build.golang.gotool import Go
from build.sources import anchoring, patching

FOLDER = PATCHES / "stdlib"
REMOVED = "REMOVED"
"""Names the files, one a line, that ours stand for: the go command sees them no more."""


def identity() -> dict[str, str]:
    """Return what stands for the changes in keys; tests are none."""
    rows = patching.patches_identity(FOLDER)
    return {path: sum_ for path, sum_ in rows.items() if not path.endswith("_test.go")}


def removed() -> list[str]:
    """Return the files of the standard library that are left out, relative to GOROOT."""
    return (FOLDER / REMOVED).read_text().split()


def _inputs(go: Go) -> dict[str, Any]:
    known = anchors.identity("go")
    return {"name": "stdlib", "trees": go.keys(), "patches": identity(), "anchors": known}


def key(go: Go) -> str:
    """Return the key of the object that `build` returns."""
    return cache.key_of("stdlib", cache.with_code(_inputs(go), __name__))


def build(go: Go) -> cache.Entry:
    """Return the object with the changed and added files, at their paths below GOROOT.

    Raises BuildFailed if what the changes rely on has changed (build/data/anchors.toml), or if one
    does not apply.
    """

    def make(out: Path, scratch: Path) -> dict[str, Any]:
        anchoring.require("go", go.root)
        overlay.changed(go.root, FOLDER, out)
        return {}

    title = f"standard library of Go {go.version}"
    return cache.obtain("stdlib", "all", _inputs(go), make, title=title)


def option(go: Go, scratch: Path) -> str:
    """Return the go command's option that lays the changes over the toolchain's files."""
    entry = build(go)
    ours = {str(go.root / name): str(cache.checked(entry.artifact(name))) for name in entry.files}
    without = {str(go.root / name): "" for name in removed()}
    return overlay.write(without | ours, scratch / "stdlib.json")
