"""A source tree that takes a substitute for a Go module whose zip cannot be had everywhere.

`replace` in go.mod, the substitute's sums in go.sum, and patches where the tree's own code needs
the module that it asked for (build/data/substitutes.toml).
"""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from build.config import substitutes
from build.config.pins import Pin
from build.config.substitutes import Substitute
from build.core.errors import BuildFailed
from build.sources import patching


def identity(wanted: Pin) -> dict[str, Any]:
    """Return what stands for a pin's substitutes in keys; {} if there are none."""
    return {
        one.module: [asdict(one), patching.patches_identity(one.folder)]
        for one in substitutes.of(wanted)
    }


def apply(tree: Path, wanted: Pin) -> None:
    """Bring a pin's substitutes into its unpacked tree.

    Raises BuildFailed if the tree does not ask for exactly what is substituted, or if a patch does
    not fit.
    """
    for one in substitutes.of(wanted):
        _apply(tree, one, wanted.title)


def _apply(tree: Path, one: Substitute, title: str) -> None:
    mod, sums = tree / "go.mod", tree / "go.sum"
    asked = asks_for(mod.read_text(), one.module)
    stated = f"{one.module} {one.wanted} {one.wanted_h1}"
    if asked != one.wanted or stated not in sums.read_text().splitlines():
        raise BuildFailed(
            f"{title} does not ask for what {one.module} {one.taken} stands in for",
            why=f"wanted {one.wanted} with {one.wanted_h1}, got "
            + (f"{asked} in go.mod" if asked != one.wanted else "no such line in go.sum"),
            cure="take it out of the pin's `substitutes`, or correct build/data/substitutes.toml",
        )
    known = sums.read_text().splitlines()
    known.append(f"{one.module} {one.taken} {one.taken_h1}")
    known.append(f"{one.module} {one.taken}/go.mod {one.taken_go_mod}")
    patching.apply_patches(tree, one.folder)
    sums.write_text("\n".join(known) + "\n")
    with mod.open("a") as text:
        text.write(f"\nreplace {one.module} {one.wanted} => {one.module} {one.taken}\n")


def asks_for(go_mod: str, module: str) -> str:
    """Return the version of a module that a go.mod requires, or ""."""
    row = rf"^\s*(?:require\s+)?{re.escape(module)}\s+(v\S+)"
    found = re.search(row, go_mod, re.MULTILINE)
    return found[1] if found else ""
