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

from build.config import anchors
from build.core import cache, log
from build.core.paths import PATCHES, work_dir
from build.golang import named, unsign
from build.golang.gotool import Go
from build.sources import anchoring, patching

FOLDER = PATCHES / "modules"
INSIDE = "mt"
ROOTS = "golang.org/x/crypto/x509roots/fallback"
"""The Mozilla CA set; its bundle of certificates goes in without signatures."""

BUNDLE = "bundle/bundle.der"
LISTING = "bundle/bundle.go"


def folders() -> dict[str, Path]:
    """Return {Go module path: patch folder} of the modules we change.

    A folder's path below patches/modules names the module; that of the CA set has no patch.
    """
    homes = {path.parent for path in FOLDER.rglob("*.patch")}
    homes |= {path.parent for name in ("new", patching.CONSTRAINTS) for path in FOLDER.rglob(name)}
    homes.add(FOLDER / ROOTS)
    return {str(path.relative_to(FOLDER)): path for path in sorted(homes)}


def identity() -> dict[str, str]:
    """Return what stands for the patches in the name of a build and in the SBOM."""
    return patching.patches_identity(FOLDER)


def _inputs(go: Go) -> dict[str, Any]:
    return {
        "name": "modules",
        "trees": go.keys(),
        "patches": identity(),
        "roots": "unsigned, unlabelled",
        "anchors": [anchors.identity(name) for name in ("tailscale", *folders())],
    }


def key(go: Go) -> str:
    """Return the key of the object that `source` returns."""
    return cache.key_of("modules", cache.with_code(_inputs(go), __name__))


def unpatched(go: Go, module: str, scratch: Path) -> Path:
    """Return upstream's tree of a Go module, at the version that Tailscale asks for.

    The go command checks it against go.sum. Raises BuildFailed if it cannot be had.
    """
    record = work_dir() / "tags" / "modules.log"
    words = ["mod", "download", "-json", module]
    found = json.loads(
        go.run(words, what=f"the sources of {module}", record=record, scratch=scratch)
    )
    return Path(found["Dir"])


def source(go: Go) -> cache.Entry:
    """Return the object with the source tree, our modules in it.

    Raises BuildFailed if a module is not what its patches rely on.
    """

    def make(out: Path, scratch: Path) -> dict[str, Any]:
        anchoring.require("tailscale", go.source)
        shutil.copytree(go.source, out, symlinks=True, dirs_exist_ok=True)
        if missing := named.declare(out):
            words = "no features of this Tailscale, so nothing is refused for them"
            log.note("all", f"{words}: {', '.join(missing)}")
        go_mod = (out / "go.mod").read_text()
        for module, folder in folders().items():
            place, upstreams = out / INSIDE / module, unpatched(go, module, scratch)
            anchoring.require(module, upstreams)
            shutil.copytree(upstreams, place)
            patching.apply_patches(place, folder)
            if module == ROOTS:
                bundle = place / BUNDLE
                bundle.write_bytes(unsign.unsign(bundle.read_bytes()))
                listing = place / LISTING
                listing.write_text(unsign.unlabel(listing.read_text()))
            go_mod += f"\nreplace {module} => ./{INSIDE}/{module}\n"
        (out / "go.mod").write_text(go_mod)
        return {}

    def get() -> cache.Entry:
        return cache.obtain("modules", "all", _inputs(go), make, title="patch Go modules")

    entry = get()
    return cache.intact(entry, get) if entry.hit else entry
