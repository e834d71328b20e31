"""The modules of a Go binary: what it says itself, and where their sources are.

A binary carries its build information (`go version -m`, runtime/debug.BuildInfo) until UPX hides
it. The folders of the packages that were linked come from the go command; the two have to agree.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.config.targets import Target
from build.core.errors import BuildFailed
from build.core.paths import work_dir
from build.golang import modules
from build.golang.gotool import Go


def go_sums(go_sum: str) -> dict[tuple[str, str], str]:
    """Read a go.sum file: {(module, version): h1 sum of its zip}."""
    rows = (line.split() for line in go_sum.splitlines())
    return {(row[0], row[1]): row[2] for row in rows if len(row) == 3}


def _values(text: str) -> list[dict[str, Any]]:
    """Read the JSON values that `go list -json` prints one after the other."""
    found, at, decoder = [], 0, json.JSONDecoder()
    while (at := len(text) - len(text[at:].lstrip())) < len(text):
        value, at = decoder.raw_decode(text, at)
        found.append(value)
    return found


@dataclass(frozen=True)
class Linked:
    """What a Go binary says of itself, and {module: its folder and those of its packages}.

    `versions` are those that were linked, which a substitute makes another one than asked for.
    """

    go_version: str
    main: str
    versions: dict[str, str]
    folders: dict[str, tuple[Path, set[Path]]]


def listed(
    go: Go, target: Target, tags: str, scratch: Path, package: str = "./cmd/tailscaled"
) -> dict[str, tuple[Path, set[Path]]]:
    """Return {module: its folder and those of its packages} of what a build would link.

    `tags` are separated by commas. Raises BuildFailed if a module cannot be had.
    """
    printed = go.run(
        ["list", "-deps", f"-tags={tags}", "-json=Dir,Module,Standard", package],
        what=f"the modules of {package} for {target.name}",
        record=work_dir() / target.name / "modules.log",
        scratch=scratch,
        target=target,
        cwd=modules.source(go).data,
    )
    folders: dict[str, tuple[Path, set[Path]]] = {}
    for row in _values(printed):
        if not row.get("Standard"):
            module = row["Module"]
            home = Path((module.get("Replace") or module)["Dir"])
            folders.setdefault(module["Path"], (home, set()))[1].add(Path(row["Dir"]))
    return folders


def version_of(row: Mapping[str, Any]) -> str:
    """Return the version that was linked, out of a module's row in a binary's build information.

    A substitute has one of its own; the folder that a module of ours is replaced by is "(devel)".
    """
    other = row.get("Replace", {}).get("Version", "")
    return str(other if other.startswith("v") else row["Version"])


def linked(go: Go, target: Target, binary: Path, scratch: Path) -> Linked:
    """Read a binary as the linker left it (UPX hides this).

    Raises BuildFailed if its modules are not those that its packages come from.
    """
    record = work_dir() / target.name / "sbom.log"
    what = f"the modules of {binary.name} for {target.name}"
    words = ["version", "-m", "-json", str(binary)]
    said = json.loads(go.run(words, what=what, record=record, scratch=scratch))
    settings = {row["Key"]: row["Value"] for row in said["Settings"]}
    folders = listed(go, target, settings["-tags"], scratch, said["Path"])
    versions = {row["Path"]: version_of(row) for row in said["Deps"]}
    main = said["Main"]["Path"]
    if differing := folders.keys() ^ {main, *versions}:
        raise BuildFailed(
            f"{what}: the binary and the go command disagree",
            why=f"only one of them names {', '.join(sorted(differing))}",
        )
    return Linked(said["GoVersion"].removeprefix("go"), main, versions, folders)
