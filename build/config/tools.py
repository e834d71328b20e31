"""What the build machine must have: checked at once, all at once, and nothing else is used."""

from __future__ import annotations

import functools
import os
import platform
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from build.config import schema
from build.config.pins import pins
from build.core import digest
from build.core.errors import UserError
from build.core.paths import DATA, cache_dir

LOWEST_PYTHON = (3, 11)
FREE_BYTES = 4_000_000_000
"""Space that a cold build of all platforms takes in the cache, with a margin."""

_BZIP2 = """#!/bin/sh
# busybox's build pipes its help texts through `bzip2 -1`; Python has the same library.
exec {python} -IS -c '
import bz2, sys
sys.stdout.buffer.write(bz2.compress(sys.stdin.buffer.read(), 1))'
"""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: `ok`, what it is, what was found, and the cure if not ok."""

    ok: bool
    name: str
    found: str
    purpose: str
    cure: str = ""


def _which(program: str) -> str | None:
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
def _rows() -> dict[str, dict[str, str]]:
    return load(FILE)


def examine() -> list[Finding]:
    """Look at everything a build needs from this machine and return all findings."""
    found = [_python(), _machine(), *_space()]
    for program, row in _rows().items():
        path = _which(program)
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

    Too little disk space is not among the reasons: a warm build needs none.
    """
    lacking = [item for item in examine() if not item.ok and item.name != "disk"]
    if lacking:
        raise UserError(
            "this machine lacks what a build needs",
            why="; ".join(f"{item.name}: {item.found} ({item.purpose})" for item in lacking),
            cure="; ".join(dict.fromkeys(item.cure for item in lacking)),
        )


def farm() -> Path:
    """Return a folder that holds links to the required programs and nothing else, for PATH.

    A stand-in for bzip2 made with Python's own library is among them. Raises UserError if a
    program is missing.
    """
    links = {program: _which(program) for program in _rows()}
    if None in links.values():
        require()
    bzip2 = _BZIP2.format(python=shlex.quote(sys.executable))
    folder = cache_dir() / "farm" / digest.of_json([links, bzip2])[:16]
    if not folder.is_dir():
        fresh = folder.with_name(f"{folder.name}.{os.getpid()}")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        for program, path in links.items():
            (fresh / program).symlink_to(str(path))
        (fresh / "bzip2").write_text(bzip2)
        (fresh / "bzip2").chmod(0o755)
        try:
            fresh.rename(folder)
        except OSError:  # another build was quicker
            shutil.rmtree(fresh)
    return folder


def clean_environment(home: Path) -> dict[str, str]:
    """Return the environment of a build program: our PATH, no locale, `home` for its dot files."""
    return {
        "PATH": str(farm()),
        "HOME": str(home),
        "TMPDIR": str(home),
        "LANG": "C",
        "LC_ALL": "C",
        "TZ": "UTC",
    }
