"""A pin for another version: its file fetched, its size and sums worked out from that.

Where the fields come from: `size` and `sha256` from the file; `h1` from the file, compared with the
Go checksum database; `epoch` of a Go module from the `Time` that the module proxy tells (the time
of the release's commit), of an archive from its newest member, in whole minutes as tar lists them.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from build.config import pins
from build.config.pins import Pin
from build.core import digest, log
from build.core.errors import SourceError
from build.sources import obtain


@dataclass(frozen=True)
class Candidate:
    """A complete pin and the fields of its block in pins.toml that differ from before.

    `verified` says whether the Go checksum database has the module's sum; None if it is no module.
    """

    pin: Pin
    fields: Mapping[str, Any]
    verified: bool | None


def make(name: str, row: Mapping[str, Any], version: str, scratch: Path) -> Candidate:
    """Return pin `name` for another version; its file is in the cache afterwards.

    `row` is the block of the pin as pins.toml has it, `version` as it will stand there. Raises
    SourceError if there is no such version, or no network, or the database says another sum.
    """
    fields: dict[str, Any] = {"version": version}
    known = pins.from_row(name, {**row, **fields}, pins.FILE.name)
    wanted = replace(known, size=0, sha256="", h1="")
    found = _draft(wanted, scratch)
    if found.name != wanted.file:
        _check_platform(wanted, found.name)
        fields["file"] = found.name.replace(version, "{version}")
    fields["size"] = found.path.stat().st_size
    fields["sha256"] = digest.of_file(found.path)
    verified = None
    if wanted.kind == "gomodule":
        fields["h1"] = digest.of_go_module(found.path)
        verified = _verified(wanted, fields["h1"], found.database)
    fields["hash_from"] = _hash_from(wanted, found, verified)
    if "epoch" in row:
        fields["epoch"] = _epoch(wanted, found)
    done = pins.from_row(name, {**row, **fields}, pins.FILE.name)
    obtain.adopt(done, found.path)
    return Candidate(done, {k: v for k, v in fields.items() if row.get(k) != v}, verified)


def _draft(wanted: Pin, scratch: Path) -> obtain.Draft:
    try:
        return obtain.draft(wanted, scratch)
    except SourceError as error:
        # The database may be out of reach; a sum that differs from its own is no such case.
        silent = "sum.golang.org" in error.why and "SECURITY ERROR" not in error.why
        if not silent or wanted.module == "golang.org/toolchain":
            raise SourceError(
                f"there is no {wanted.title} to be had",
                why=error.why,
                cure="see whether there is such a version; then check the network and the settings "
                "of the client (PIP_INDEX_URL, GOPROXY, MT_DEBIAN_MIRROR)",
            ) from error
        log.warn(f"the Go checksum database does not answer for {wanted.title}")
    again = scratch / "again"
    again.mkdir()
    return obtain.draft(wanted, again, database=False)


def _check_platform(wanted: Pin, name: str) -> None:
    """A wheel of another name is taken if it is for the same machine."""
    if wanted.runs_on and wanted.runs_on not in name:
        raise SourceError(
            f"there is no {wanted.title} for {wanted.runs_on}",
            why=f"pip chose {name} for this machine",
            cure=f"run this on {wanted.runs_on}, where pip sees those wheels",
        )


def _verified(wanted: Pin, h1: str, said: str) -> bool:
    """Compare a module's sum with the database's answer, which the go command has checked itself.

    Its lines are those of go.sum files: `<module> v<version> <sum>`.
    """
    if not said:
        return False
    line = f"{wanted.module} v{wanted.version} "
    sums = [row.removeprefix(line) for row in said.splitlines() if row.startswith(line)]
    if sums != [h1]:
        raise SourceError(
            f"{wanted.title} is not what the Go checksum database knows",
            why=f"wanted {', '.join(sums) or 'a line about it'}, got {h1}",
            cure="find out what the module proxy gave you; do not use it",
        )
    return True


def _hash_from(wanted: Pin, found: obtain.Draft, verified: bool | None) -> str:
    if verified is not None:
        return "locally computed; " + (
            "the h1 sum is the Go checksum database's"
            if verified
            else "the Go checksum database did not answer: nobody else knows this h1 sum"
        )
    if found.origin and found.origin not in wanted.urls:
        return "locally computed; Debian's orig tarball"
    return "locally computed"


def _epoch(wanted: Pin, found: obtain.Draft) -> int:
    """Return the time of the release in seconds since 1970."""
    if found.release:
        return int(datetime.fromisoformat(json.loads(found.release)["Time"]).timestamp())
    try:
        with tarfile.open(found.path) as bundle:
            newest = max(member.mtime for member in bundle)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise SourceError(f"the file of {wanted.title} is no archive", why=str(error)) from error
    return int(newest) // 60 * 60
