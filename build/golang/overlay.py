"""Changed files laid over sources that stay as they are, by the go command's -overlay option."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from build.core.errors import BuildFailed
from build.sources import diffs, patching


def patched_files(folder: Path) -> set[str]:
    """Return the paths that the patches of a folder change."""
    return {
        diff.after.name.removeprefix("b/")
        for path in patching.patch_files(folder)
        if path.suffix == ".patch"
        for diff in diffs.parse(path.read_bytes(), path.name)
    }


def changed(root: Path, folder: Path, out: Path) -> dict[str, str]:
    """Write a folder's changed and new files below `out`; returns {path they stand for: path}.

    Raises BuildFailed if a patch does not apply, or a new file exists already.
    """
    known = patched_files(folder)
    for name in known:
        if not (root / name).is_file():
            raise BuildFailed(f"{folder.name}: the sources have no {name} any more")
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, out / name)
    patching.apply_patches(out, folder)
    made = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    for name in made - known:
        if (root / name).exists():
            raise BuildFailed(f"{folder.name}: the sources have a file {name} of their own now")
    return {str(root / name): str(out / name) for name in sorted(made)}


def write(replace: dict[str, str], path: Path) -> str:
    """Write an overlay file and return the go command's option that names it."""
    path.write_text(json.dumps({"Replace": replace}))
    return f"-overlay={path}"
