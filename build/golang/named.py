"""Features of Tailscale that our own files name, by the constants of its package buildfeatures.

Features come and go with its versions, and constants with them. One that a version lacks is nothing
that it can be built without: what our files would refuse then gets upstream's own answer.
"""

from __future__ import annotations

import re
from pathlib import Path

from build.core.paths import PATCHES

OURS = PATCHES / "tailscale" / "new"
PACKAGE = "feature/buildfeatures"
_FILE = f"{PACKAGE}/mt_no_features.go"
_NAMED = re.compile(r"\bbuildfeatures\.(Has\w+)")
_DECLARED = re.compile(r"^const (Has\w+) = ", re.MULTILINE)


def constants(tree: Path) -> dict[str, bool]:
    """Return {constant that our files name: whether this tree of Tailscale declares it}."""
    texts = [path.read_text() for path in sorted(OURS.rglob("*.go"))]
    files = [path for path in sorted((tree / PACKAGE).glob("*.go")) if path != tree / _FILE]
    declared = {name for path in files for name in _DECLARED.findall(path.read_text())}
    named = sorted({name for text in texts for name in _NAMED.findall(text)})
    return {name: name in declared for name in named}


def declare(tree: Path) -> list[str]:
    """Declare in a tree what it lacks of those constants, as features that it always has.

    Returns their names.
    """
    missing = [name for name, there in constants(tree).items() if not there]
    if missing:
        lines = [f"const {name} = true\n" for name in missing]
        head = "// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause\n\n"
        about = "// No features of this version: see build/golang/named.py.\n\n"
        (tree / _FILE).write_text(f"{head}{about}package buildfeatures\n\n{''.join(lines)}")
    return missing
