"""Where things are: the checkout, its outputs, and the cache that checkouts share."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
DATA = ROOT / "build" / "data"
PATCHES = ROOT / "patches"
APPLETS = ROOT / "busybox-applets.config"


def cache_dir() -> Path:
    """Return the cache directory: $MT_CACHE, else mikrotik-tailscale in the user's cache directory.

    The user's cache directory is the one of the XDG Base Directory Specification.
    """
    if own := os.environ.get("MT_CACHE"):
        return Path(own).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base).absolute() / "mikrotik-tailscale"


def dist_dir() -> Path:
    """Return where finished images go: $MT_DIST, else dist/ of the checkout."""
    return Path(os.environ.get("MT_DIST") or ROOT / "dist").absolute()


def work_dir() -> Path:
    """Return where logs and work trees go: $MT_WORK, else work/ of the checkout."""
    return Path(os.environ.get("MT_WORK") or ROOT / "work").absolute()
