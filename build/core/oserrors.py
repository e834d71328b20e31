"""Failed system calls while something is made for the cache, told with their cure."""

from __future__ import annotations

import errno
from pathlib import Path

from build.core.errors import BuildFailed, UserError
from build.core.paths import cache_dir


def no_space(what: str, why: str) -> UserError:
    """Return the error of a full disk while `what` was made."""
    return UserError(
        f"no space left while making {what}",
        why=why,
        cure="free some space, run `invoke cache --prune`, or set MT_CACHE to another disk",
    )


def told(error: OSError, what: str) -> Exception:
    """Return the error that says what a failed system call means for `what`, and the cure."""
    place = error.filename or cache_dir()
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return no_space(what, f"{place}: {error.strerror}")
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        if Path(str(place)).is_relative_to(cache_dir()):
            return UserError(
                f"cannot make {what}: it is not in the cache, which cannot be written",
                why=f"{place}: {error.strerror}",
                cure="set MT_CACHE to a folder of your own; one that is shared read-only serves "
                "only what it has",
            )
        return UserError(
            f"cannot write while making {what}",
            why=f"{place}: {error.strerror}",
            cure="make it writable, or set MT_WORK, where logs go, to another folder",
        )
    return BuildFailed(f"could not make {what}", why=str(error))
