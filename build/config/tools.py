"""What the build machine must have: checked at once, all at once, and nothing else is used."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass

from build.config import toolpath
from build.config.pins import pins
from build.core.errors import UserError
from build.core.paths import cache_dir

LOWEST_PYTHON = (3, 11)
FREE_BYTES = 4_000_000_000
"""Space that a cold build of all platforms takes in the cache, with a margin."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: `ok`, what it is, what was found, and the cure if not ok."""

    ok: bool
    name: str
    found: str
    purpose: str
    cure: str = ""


def examine() -> list[Finding]:
    """Look at everything a build needs from this machine and return all findings."""
    found = [_python(), _machine(), *_space()]
    for program, row in toolpath.programs().items():
        path = toolpath.which(program)
        cure = "" if path else f"apt install {row['package']} (or your system's package of it)"
        found.append(Finding(bool(path), program, path or "not found", row["purpose"], cure))
    return found


def _python() -> Finding:
    version = platform.python_version()
    ok = sys.version_info[:2] >= LOWEST_PYTHON
    cure = "" if ok else "install Python 3.11 or newer and run ./dev with it"
    return Finding(ok, "python", version, "runs the build", cure)


def _machine() -> Finding:
    wanted = sorted({pin.runs_on for pin in pins().values() if pin.runs_on})
    here = f"{platform.system()} {platform.machine()}"
    ok = platform.system() == "Linux" and platform.machine() in wanted
    cure = "" if ok else f"build on Linux {' or '.join(wanted)}: the pinned tools run there"
    return Finding(ok, "machine", here, "runs the pinned compilers", cure)


def _space() -> list[Finding]:
    folder = cache_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        cure = "set MT_CACHE to a folder you can write"
        return [
            Finding(False, "cache", f"{folder}: {error.strerror}", "keeps what was built", cure)
        ]
    cure = "" if writable else "set MT_CACHE to a folder you can write"
    rows = [Finding(writable, "cache", str(folder), "keeps what was built", cure)]
    enough = free >= FREE_BYTES
    cure = "" if enough else "free some space, or set MT_CACHE to another disk"
    text = f"{free / 1e9:.1f} GB free of {FREE_BYTES / 1e9:.0f} GB"
    return [*rows, Finding(enough, "disk", text, "a cold build of all platforms", cure)]


def require() -> None:
    """Raise UserError that names everything this machine lacks, each with its cure.

    Too little disk space is not among the reasons: a warm build needs none. Nor is a cache that
    cannot be written, which serves what it has; what it lacks says so.
    """
    small = {"disk", "cache"} if cache_dir().is_dir() else {"disk"}
    lacking = [item for item in examine() if not item.ok and item.name not in small]
    if lacking:
        raise UserError(
            "this machine lacks what a build needs",
            why="; ".join(f"{item.name}: {item.found} ({item.purpose})" for item in lacking),
            cure="; ".join(dict.fromkeys(item.cure for item in lacking)),
        )
