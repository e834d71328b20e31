"""Changed files laid over sources that stay as they are, by the go command's -overlay option.

A patch folder states in SHA256SUMS the files that its patches were made for, so that they are never
applied to others.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from build.core import digest
from build.core.errors import BuildFailed
from build.core.paths import PATCHES
from build.sources import patching

SUMS = "SHA256SUMS"


def known_files(folder: Path) -> dict[str, str]:
    """Return {path: sha256} of the files that a folder's patches were made for."""
    rows = (line.split() for line in (folder / SUMS).read_text().splitlines() if line.strip())
    return {path: sha256 for sha256, path in rows}


def check_known(root: Path, folder: Path) -> None:
    """Raise BuildFailed naming each file below `root` that the patches were not made for."""
    faults = []
    for name, sha256 in known_files(folder).items():
        path = root / name
        got = digest.of_file(path) if path.is_file() else "no such file"
        if got != sha256:
            faults.append(f"{name}: wanted sha256={sha256}, got {got}")
    if faults:
        where = folder.relative_to(PATCHES.parent) if folder.is_relative_to(PATCHES) else folder
        raise BuildFailed(
            f"these sources are not those that {where} was made for",
            why="; ".join(faults),
            cure=f"compare the new files with the patches, make those again, run `nox -s slow`, "
            f"then renew {where}/{SUMS}",
        )


def changed(root: Path, folder: Path, out: Path) -> dict[str, str]:
    """Write a folder's changed and new files below `out`; returns {path they stand for: path}.

    Raises BuildFailed if the sources are not the known ones, a patch does not apply, or a new file
    exists already.
    """
    check_known(root, folder)
    for name in known_files(folder):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, out / name)
    patching.apply_patches(out, folder)
    made = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    for name in made - known_files(folder).keys():
        if (root / name).exists():
            raise BuildFailed(f"{folder.name}: the sources have a file {name} of their own now")
    return {str(root / name): str(out / name) for name in sorted(made)}


def write(replace: dict[str, str], path: Path) -> str:
    """Write an overlay file and return the go command's option that names it."""
    path.write_text(json.dumps({"Replace": replace}))
    return f"-overlay={path}"
