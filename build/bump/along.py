"""What another Tailscale brings along: the Go that it asks for, substitutes for Go modules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from build.bump import candidate, changes, impact
from build.bump.candidate import Candidate
from build.config import substitutes
from build.config.pins import Pin
from build.config.substitutes import Substitute
from build.core import digest, log
from build.core.errors import BuildFailed, SourceError
from build.golang.gotool import toolchain_version
from build.sources import clients, obtain, substitution

TRIED = 5
"""How many patch releases of Go are looked at for one that our linker patch fits."""


def toolchain_named(go: Pin, version: str) -> str:
    """Return how the pin of a toolchain states another Go version."""
    return go.version.replace(f"go{toolchain_version(go)}.", f"go{version}.")


def toolchain(go: Pin, row: Mapping[str, Any], tailscale: Pin, scratch: Path) -> Candidate | None:
    """Return the Go that a Tailscale needs, None if the pinned one will do.

    That is the lowest patch release that its go.mod allows and that our patches and anchors fit; if
    none of the first few does, the lowest, whose faults are told then. `row` is the block of the
    pin `go`. Raises SourceError if there is no such Go to be had.
    """
    asked = changes.parse_go_mod(impact.in_zip(obtain.fetch(tailscale), "go.mod")).go
    if not changes.is_newer(asked, toolchain_version(go)):
        return None
    lowest: Candidate | None = None
    for version in _patch_releases(asked):
        room = scratch / f"go{version}"
        room.mkdir()
        try:
            found = candidate.make(go.name, row, toolchain_named(go, version), room)
        except SourceError:
            if lowest is None:
                raise
            break
        if not impact.of_patches(go, found.pin)[0]:
            return found
        log.warn(f"our patches do not fit Go {version}; the next patch release is tried")
        lowest = lowest or found
    return lowest


def _patch_releases(asked: str) -> Iterator[str]:
    """Yield the version that a go.mod asks for, then the patch releases that follow it."""
    try:
        major, minor, patch = (int(part) for part in [*asked.split("."), "0"][:3])
    except ValueError:
        raise BuildFailed(
            f"Tailscale asks for Go {asked}", why="that is no release: those are three numbers"
        ) from None
    yield from (f"{major}.{minor}.{patch + more}" for more in range(TRIED))


def substitutes_of(wanted: Pin, scratch: Path) -> tuple[str, ...]:
    """Return which substitutes a pin has to name: those it asks for that cannot be had.

    Asks the module proxy for each. Raises SourceError if it does not answer, or has other bytes
    than the pin's go.sum says.
    """
    go_mod = impact.in_zip(obtain.fetch(wanted), "go.mod")
    return tuple(
        substitutes.name_of(one.module, one.wanted)
        for one in substitutes.load()
        if substitution.asks_for(go_mod, one.module) == one.wanted
        and not _can_be_had(wanted, one, scratch)
    )


def _can_be_had(user: Pin, one: Substitute, scratch: Path) -> bool:
    room = scratch / digest.of_bytes(one.module.encode())[:16]
    room.mkdir()
    name = one.module.rpartition("/")[2]
    plain = one.wanted.removeprefix("v")
    asked = replace(
        user,
        name=name,
        version=plain,
        module=one.module,
        file=f"{name}@{one.wanted}.zip",
        size=0,
        sha256="",
        h1="",
        substitutes=(),
    )
    try:
        found = obtain.draft(asked, room, database=False)
    except SourceError as error:
        if not clients.is_refusal(error.why):
            raise
        log.warn(f"the module proxy refuses {one.module} {one.wanted}; {one.taken} is taken")
        return False
    if (got := digest.of_go_module(found.path)) != one.wanted_h1:
        raise SourceError(
            f"{one.module} {one.wanted} is not what {user.title} asks for",
            why=f"wanted {one.wanted_h1}, got {got}",
            cure="find out what the module proxy gave you; do not use it",
        )
    return True
