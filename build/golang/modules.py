"""Tailscale's source tree with patched copies of some of its Go modules inside.

The go command lets no overlay change its module cache, so a patched module is copied to `mt/` in
the tree and go.mod points there by a relative path: the binary's build settings name no place of
this machine.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from build.core import cache
from build.core.paths import PATCHES, work_dir
from build.golang import overlay, unsign
from build.golang.gotool import Go
from build.sources import patching

FOLDER = PATCHES / "modules"
INSIDE = "mt"
ROOTS = "golang.org/x/crypto/x509roots/fallback"
"""The Mozilla CA set; its bundle of certificates goes in without signatures."""


def folders() -> dict[str, Path]:
    """Return {Go module path: patch folder}; a folder's path below patches/modules names it."""
    found = sorted(FOLDER.rglob(overlay.SUMS))
    return {str(path.parent.relative_to(FOLDER)): path.parent for path in found}


def identity() -> dict[str, str]:
    """Return what stands for the patches in the name of a build and in the bill of materials."""
    return patching.patches_identity(FOLDER)


def _inputs(go: Go) -> dict[str, Any]:
    return {"name": "modules", "trees": go.keys(), "patches": identity(), "roots": "unsigned"}


def key(go: Go) -> str:
    """Return the key of the object that `source` returns."""
    return cache.key_of("modules", cache.with_code(_inputs(go), __name__))


def source(go: Go) -> cache.Entry:
    """Return the object with the source tree, our modules in it.

    Each module is taken at the version that Tailscale asks for and checked against go.sum by the
    go command. Raises BuildFailed if one is not what its patches were made for.
    """

    def make(out: Path, scratch: Path) -> dict[str, Any]:
        shutil.copytree(go.source, out, symlinks=True, dirs_exist_ok=True)
        go_mod = (out / "go.mod").read_text()
        for module, folder in folders().items():
            place = out / INSIDE / module
            record = work_dir() / "tags" / "modules.log"
            words = ["mod", "download", "-json", module]
            what = f"the sources of {module}"
            found = json.loads(go.run(words, what=what, record=record, scratch=scratch))
            overlay.check_known(Path(found["Dir"]), folder)
            shutil.copytree(found["Dir"], place)
            patching.apply_patches(place, folder)
            if module == ROOTS:
                for name in overlay.known_files(folder):
                    bundle = place / name
                    bundle.write_bytes(unsign.unsign(bundle.read_bytes()))
            go_mod += f"\nreplace {module} => ./{INSIDE}/{module}\n"
        (out / "go.mod").write_text(go_mod)
        return {}

    def get() -> cache.Entry:
        return cache.obtain("modules", "all", _inputs(go), make, title="patch Go modules")

    entry = get()
    return cache.intact(entry, get) if entry.hit else entry
