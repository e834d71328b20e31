"""Copies of this checkout, for what must not happen to the real one."""

from __future__ import annotations

import shutil
from pathlib import Path

from build.core.paths import ROOT

NOT_SOURCE = (".git", ".venv*", ".nox", "dist", "work", ".*_cache", ".hyp*", "node_modules")


def copied(place: Path) -> Path:
    """Copy the checkout, without its history and what was made in it, to a place; return that."""
    ignored = shutil.ignore_patterns(*NOT_SOURCE)
    return Path(shutil.copytree(ROOT, place, ignore=ignored, symlinks=True))
