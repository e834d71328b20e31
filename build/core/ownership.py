"""What this project may never delete, whatever a variable says: places that others live in."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from build.core import git
from build.core.errors import BuildFailed, UserError
from build.core.paths import ROOT, cache_dir


def refuse(folder: Path, why: str) -> UserError:
    """Return the error for a folder that is not deleted."""
    return UserError(
        f"{folder} is not deleted, and nothing else is",
        why=why,
        cure="check MT_DIST and MT_WORK; what should go all the same, delete yourself",
    )


def require_deletable(folder: Path) -> None:
    """Raise UserError if a folder is one that no mark and no record makes ours.

    That is a link, the root, a home, the checkout, what git tracks, the cache, or a folder above
    one of them.
    """
    if folder.is_symlink():
        raise refuse(folder, "it is a link to somewhere else")
    if folder.exists() and not folder.is_dir():
        raise refuse(folder, "it is not a folder")
    real = folder.resolve()
    kept = {
        "the checkout": ROOT.resolve(),
        "your home": Path.home().resolve(),
        "your home, as the system knows it": _home_of_the_system(),
        "the cache": cache_dir().resolve(),
        "the working directory": Path.cwd().resolve(),
    }
    if real == Path(real.anchor):
        raise refuse(folder, "it is the root of the file system")
    for name, place in kept.items():
        if place.is_relative_to(real):
            raise refuse(folder, f"it is {name}, or {name} lies in it")
    if real.is_relative_to(kept["the cache"]):
        raise refuse(folder, "it lies in the cache")
    if real.is_relative_to(kept["the checkout"]):
        _require_untracked(folder, real, kept["the checkout"])


def _home_of_the_system() -> Path:
    """Return what $HOME would be if nobody had set it."""
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir).resolve()
    except KeyError:  # a user that only a container's engine knows
        return Path.home().resolve()


def _require_untracked(folder: Path, real: Path, top: Path) -> None:
    inside = real.relative_to(top)
    if inside.parts[0] in (".git", ".venv", ".nox"):
        raise refuse(folder, f"{inside.parts[0]} is no output of a build")
    if not (top / ".git").exists():
        # A tree without git's memory: nothing but the usual places can be told from sources.
        if str(inside) not in ("dist", "work"):
            raise refuse(folder, "it lies in the sources")
        return
    try:
        tracked = git.Git(top).run("ls-files", "-z", "--", str(inside))
    except BuildFailed as error:
        raise refuse(folder, f"git does not say whether it tracks it: {error.why}") from error
    if tracked:
        raise refuse(folder, f"git tracks files in it, such as {tracked.split(chr(0))[0]}")
