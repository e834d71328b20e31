"""The tool PATH: a folder with the programs of the machine that builds may see, no others."""

from __future__ import annotations

import functools
import os
import platform
import shlex
import shutil
import sys
from pathlib import Path

from build.config import schema
from build.core import digest
from build.core.errors import UserError
from build.core.paths import DATA, cache_dir

_BZIP2 = """#!/bin/sh
# busybox's build pipes its help texts through `bzip2 -1`; Python has the same library.
exec {python} -IS -c '
import bz2, sys
sys.stdout.buffer.write(bz2.compress(sys.stdin.buffer.read(), 1))'
"""


def which(program: str) -> str | None:
    """Return the path of a program of this machine, or None."""
    # /usr/sbin and the like are not searched: a program there is not for ordinary users.
    return shutil.which(program)


FILE = DATA / "hosttools.toml"
_PROGRAM = r"[A-Za-z0-9._+\[-]+"
_SCHEMA = schema.table(
    schema.row(
        {"purpose": schema.text(), "package": schema.text(r"[a-z0-9.+-]+", "a package's name")},
        {"programs": schema.each(schema.text(_PROGRAM, "a program's name"), least=1)},
    ),
    _PROGRAM,
    "a program's name",
    least=1,
)


def load(path: Path) -> dict[str, dict[str, str]]:
    """Return {program: {purpose, package}} of a file. Raises UserError naming every fault."""
    rows: dict[str, dict[str, str]] = {}
    for name, row in schema.read(path, _SCHEMA).items():
        for program in row.get("programs", [name]):
            rows[program] = {"purpose": row["purpose"], "package": row["package"]}
    return rows


@functools.cache
def programs() -> dict[str, dict[str, str]]:
    """Return {program: {purpose, package}} of what a build may use of this machine."""
    return load(FILE)


def _found() -> dict[str, str]:
    """Return {program: its path on this machine}. Raises UserError naming what is missing."""
    paths = {program: which(program) for program in programs()}
    if missing := [program for program, path in paths.items() if path is None]:
        raise UserError(
            f"this machine lacks {', '.join(missing)}",
            why="builds run them",
            cure="`invoke doctor` names each with its package",
        )
    return {program: str(path) for program, path in paths.items()}


def identity() -> dict[str, str]:
    """Return {program: digest} of all that a build sees of this machine, for keys.

    By content, not by path: where the same programs lie elsewhere, an object serves as well. The
    libraries that they load do not count. Raises UserError if a program is missing.
    """
    python = f"python {platform.python_version()}"
    return {**_digests(tuple(_found().items())), "bzip2": python}


@functools.cache
def _digests(paths: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Return {program: digest}; once in a process, so that all its stages say the same."""
    return {program: digest.of_file(Path(path))[:16] for program, path in paths}


def folder() -> Path:
    """Return the folder that holds links to the required programs and nothing else, for PATH.

    A stand-in for bzip2 made with Python's own library is among them. Raises UserError if a
    program is missing.
    """
    links = _found()
    bzip2 = _BZIP2.format(python=shlex.quote(sys.executable))
    place = cache_dir() / "toolpath" / digest.of_json([links, bzip2])[:16]
    if not place.is_dir():
        fresh = place.with_name(f"{place.name}.{os.getpid()}")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        for program, path in links.items():
            (fresh / program).symlink_to(path)
        (fresh / "bzip2").write_text(bzip2)
        (fresh / "bzip2").chmod(0o755)
        try:
            fresh.rename(place)
        except OSError:  # another build was quicker
            shutil.rmtree(fresh)
    return place


def environment(home: Path, path: str = "") -> dict[str, str]:
    """Return the environment of a build program: no locale, `home` for its dot files.

    `path` becomes its PATH. Without one it sees no programs: a stage that needs those of this
    machine says `folder()` here, and has `identity()` in its key.
    """
    return {
        # An empty PATH would mean the current folder, none the system's own.
        "PATH": path or str(home / "no-programs"),
        "HOME": str(home),
        "TMPDIR": str(home),
        "LANG": "C",
        "LC_ALL": "C",
        "TZ": "UTC",
    }
