"""Bump Tailscale from version to version by `invoke bump` alone, build and boot each; the table.

Nothing is edited: what a person would have to do is a stop, and stays undone. The first version is
set by `invoke bump` too, with the Go that it asks for. Our weight of the first one that can be
built is accepted, as that of a release would be, and no later one may be larger. All of it is done
in a clone.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("1.98.5", "1.100.0", "1.102.2", "1.102.5", "1.104.5")
BOOTED = "amd64"
BUILT = ("arm64", BOOTED)
BINARY = "tailscale.combined"
GATE = 3
WEIGHT = "build/data/weight.json"


@dataclass
class Row:
    """What became of one version: sizes in bytes and shares by platform, stops in words."""

    version: str
    go: str = ""
    sizes: dict[str, tuple[int, float]] = field(default_factory=dict)
    stops: list[str] = field(default_factory=list)
    canaries: str = "not booted"

    def cells(self) -> list[str]:
        """Return the row of the table."""
        shown = [
            f"{self.sizes[name][0]:,} / {self.sizes[name][1]:.4f}" if name in self.sizes else "-"
            for name in BUILT
        ]
        return [self.version, self.go, *shown, str(len(self.stops)), self.canaries]


class Clone:
    """A clone of what is checked out, changed by our commands and by nothing else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.git("clone", "--quiet", str(ROOT), str(folder), at=ROOT)
        self.git("config", "user.name", "bumps")
        self.git("config", "user.email", "bumps@localhost")
        self.env = os.environ | {"MT_DIST": str(folder / "dist"), "MT_WORK": str(folder / "work")}
        self.accepted = False

    def git(self, *words: str, at: Path | None = None) -> str:
        argv = ["git", *words]
        return subprocess.run(
            argv, cwd=at or self.folder, check=True, text=True, capture_output=True
        ).stdout

    def invoke(self, *words: str) -> tuple[int, Any, str]:
        """Run a command with --json; returns its exit code, what it printed, its error."""
        print(f"  $ invoke {' '.join(words)}", flush=True)
        argv = [sys.executable, "-m", "invoke", *words, "--json"]
        done = subprocess.run(argv, cwd=self.folder, env=self.env, text=True, capture_output=True)
        error = done.stderr[done.stderr.rfind("error: ") :] if done.returncode else ""
        try:
            return done.returncode, json.loads(done.stdout), error.strip()
        except ValueError:
            return done.returncode, None, error.strip()

    def commit(self, message: str) -> None:
        """Commit what the commands changed, if anything."""
        if self.git("status", "--porcelain"):
            self.git("commit", "--quiet", "--all", "--message", message)


def bump(clone: Clone, name: str, version: str, *words: str) -> list[str]:
    """Set a pin by the one command and commit; returns its stops, or its error as one."""
    code, found, error = clone.invoke("bump", name, version, *words)
    clone.commit(f"{name} {version}")
    if code == 0:
        return []
    # Exit code 3 with a result is a bump that is written and needs a person.
    listed = found["impact"]["stops"] if code == GATE and found else []
    return listed or [error or f"invoke bump ended with {code}"]


def asked_go(clone: Clone) -> tuple[str, str]:
    """Return which Go the pinned Tailscale asks for, and which is pinned."""
    code = (
        "from build.bump import changes, impact; from build.config.pins import pin\n"
        "from build.sources import obtain; from build.golang.gotool import toolchain_version\n"
        "text = impact.in_zip(obtain.fetch(pin('tailscale')), 'go.mod')\n"
        "print(changes.parse_go_mod(text).go, toolchain_version(pin('go')))"
    )
    argv = [sys.executable, "-c", code]
    done = subprocess.run(argv, cwd=clone.folder, env=clone.env, text=True, capture_output=True)
    asked, _, pinned = done.stdout.strip().partition(" ")
    return asked, pinned


def built(clone: Clone, row: Row) -> bool:
    """Build and weigh; says whether there are images."""
    arch = [word for name in BUILT for word in ("--arch", name)]
    if not clone.accepted:
        # What is committed was accepted of a later Tailscale: of the start there is nothing yet.
        (clone.folder / WEIGHT).unlink(missing_ok=True)
    code, found, error = clone.invoke("build", *arch)
    if found is None:
        row.stops.append(error or f"invoke build ended with {code}")
        return False
    gate = "--check" if clone.accepted else "--accept"
    code, sizes, error = clone.invoke("size", gate, *arch)
    clone.accepted = True
    clone.commit(f"accept the weight of {row.version}")
    if code:
        row.stops.append(error)
    for one in sizes or ():
        if one["component"] == BINARY:
            row.sizes[one["target"]] = (one["size"], one["weight"]["share"])
    return True


def booted(clone: Clone, row: Row) -> None:
    """Run the gate on the platform that this machine is."""
    code, found, error = clone.invoke("verify", "--arch", BOOTED)
    if not found:
        row.stops.append(error or f"invoke verify ended with {code}")
        return
    (record,) = found
    failed = [one["name"] for one in record["canaries"] if not one["ok"]]
    count = len(record["canaries"])
    row.canaries = f"{count - len(failed)} of {count}"
    if failed:
        row.stops.append(f"canaries fail: {', '.join(failed)}")


def step(clone: Clone, version: str, *, first: bool, boot: bool) -> Row:
    """Take one version, as far as it goes."""
    print(f"\n{version}", flush=True)
    row = Row(version)
    row.stops = bump(clone, "tailscale", version, *(["--force"] if first else []))
    asked, row.go = asked_go(clone)
    if first and asked and asked != row.go:
        # A bump goes up with Go and never down: the start has the Go of its own time.
        stops = bump(clone, "go", asked, "--force")
        row.stops += [one for one in stops if one not in row.stops]
        asked, row.go = asked_go(clone)
    if not row.stops and built(clone, row) and boot:
        booted(clone, row)
    for one in row.stops:
        print(f"  stop  {one}", flush=True)
    return row


def table(rows: list[Row]) -> str:
    """Return the rows as a table for people."""
    head = ["version", "Go", *(f"{name}: bytes / share" for name in BUILT), "stops", "canaries"]
    cells = [head, *(row.cells() for row in rows)]
    widths = [max(len(row[n]) for row in cells) for n in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("versions", nargs="*", help=f"in their order (default {VERSIONS})")
    parser.add_argument("--no-boot", action="store_true", help="build only; needs no root")
    options = parser.parse_args()
    versions = options.versions or list(VERSIONS)
    if odd := [one for one in versions if not re.fullmatch(r"\d+\.\d+\.\d+", one)]:
        parser.error(f"{odd[0]} is no version of Tailscale, such as {VERSIONS[-1]}")
    with tempfile.TemporaryDirectory(prefix="mt-bumps-") as folder:
        clone = Clone(Path(folder) / "checkout")
        rows = [
            step(clone, version, first=n == 0, boot=not options.no_boot)
            for n, version in enumerate(versions)
        ]
    print(f"\n{table(rows)}")
    # The start is where we come from, not a bump that anybody asked for.
    return GATE if any(row.stops for row in rows[1:] or rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
