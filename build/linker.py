"""Go's linker without line tables: built from the pinned toolchain's source and our patch.

A third of a compressed Go binary is tables from code addresses to source lines. The patch leaves
them out and keeps function names; what that costs and how traces are read is in docs/DESIGN.md.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from build import archives, cache, digest
from build.errors import BuildFailed
from build.gotool import Go
from build.paths import PATCHES, work_dir

FOLDER = PATCHES / "linker"
SUMS = FOLDER / "SHA256SUMS"


def identity(go: Go) -> str:
    """Return what stands for this linker in the key of what it links."""
    return digest.of_json([go.go.sha256, archives.patches_identity(FOLDER)])


def known_files() -> dict[str, str]:
    """Return {path below GOROOT: sha256} of the files that the patch was made for."""
    rows = (line.split() for line in SUMS.read_text().splitlines() if line.strip())
    return {path: sha256 for sha256, path in rows}


def check_known(root: Path) -> None:
    """Raise BuildFailed naming each file of a toolchain that the patch was not made for."""
    faults = []
    for name, sha256 in known_files().items():
        path = root / name
        got = digest.of_file(path) if path.is_file() else "no such file"
        if got != sha256:
            faults.append(f"{name}: wanted sha256={sha256}, got {got}")
    if faults:
        raise BuildFailed(
            "this Go toolchain is not the one that patches/linker was made for",
            why="; ".join(faults),
            cure="compare the new file with the patch, make the patch again, run the linker's "
            "tests (nox -s linker), then renew patches/linker/SHA256SUMS",
        )


def build(go: Go) -> cache.Entry:
    """Return the object with `link`, the patched linker, and `toolexec`, which puts it in place.

    Raises BuildFailed if the toolchain is not the known one or the patch does not apply.
    """
    inputs = {
        "name": "linker",
        "go": go.go.sha256,
        "patches": archives.patches_identity(FOLDER),
    }

    def make(out: Path, scratch: Path) -> dict[str, Any]:
        check_known(go.root)
        patched = scratch / "patched"
        for name in known_files():
            (patched / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(go.root / name, patched / name)
        for patch in sorted(FOLDER.glob("*.patch")):
            archives.apply_patch(patched, patch)
        overlay = {str(go.root / name): str(patched / name) for name in known_files()}
        (scratch / "overlay.json").write_text(json.dumps({"Replace": overlay}))
        record = work_dir() / "tools" / "linker.log"
        words = ["build", "-trimpath", "-ldflags=-s -w", f"-overlay={scratch / 'overlay.json'}"]
        words += ["-o", str(out / "link"), "cmd/link"]
        go.run(words, what="the linker", record=record, scratch=scratch)
        source = FOLDER / "toolexec" / "main.go"
        words = ["build", "-trimpath", "-ldflags=-s -w", "-o", str(out / "toolexec"), str(source)]
        go.run(words, what="toolexec", record=record, scratch=scratch, append=True)
        return {}

    return cache.obtain("linker", "tools", inputs, make, title=f"linker of Go {go.version}")
