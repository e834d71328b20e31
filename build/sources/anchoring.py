"""Whether the declarations that we rely on (build/data/anchors.toml) are what they were."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from build.config import anchors
from build.config.anchors import Anchor
from build.core.errors import BuildFailed
from build.sources.declarations import declarations, identity


@dataclass(frozen=True)
class State:
    """An anchor in a tree: `text` is the declaration now, empty if it is gone."""

    anchor: Anchor
    text: str

    @property
    def holds(self) -> bool:
        """Whether the declaration is one that somebody read."""
        return bool(self.text) and identity(self.text) in self.anchor.sha256

    @property
    def fault(self) -> str:
        """What differs, in words; empty if nothing does."""
        if self.holds:
            return ""
        place = f"{self.anchor.file}: {self.anchor.declaration}"
        got = f"sha256 {identity(self.text)}" if self.text else "no such declaration"
        wanted = " or ".join(sum_[:16] for sum_ in self.anchor.sha256)
        return f"{place}: wanted {wanted}, got {got} ({self.anchor.by}: {self.anchor.why})"


def states(source: str, root: Path) -> list[State]:
    """Return each anchor in a source whose tree is at `root`."""
    found = []
    known: dict[str, dict[str, str]] = {}
    for anchor in anchors.of(source):
        if anchor.file not in known:
            path = root / anchor.file
            known[anchor.file] = declarations(path.read_text()) if path.is_file() else {}
        found.append(State(anchor, known[anchor.file].get(anchor.declaration, "")))
    return found


def faults(source: str, root: Path, before: Path | None = None) -> list[str]:
    """Return what is to be said of each declaration that is not what it was.

    With the tree of a version `before`, in which they were right, the lines that differ follow.
    """
    old = {s.anchor: s.text for s in states(source, before)} if before else {}
    found = []
    for state in states(source, root):
        if not state.holds:
            pair = _lines(old.get(state.anchor, "")), _lines(state.text)
            rows = list(difflib.unified_diff(*pair, "wanted", "got", n=2, lineterm=""))
            found.append("\n      ".join([state.fault, *(rows if old else ())]))
    return found


def require(source: str, root: Path) -> None:
    """Raise BuildFailed with every declaration that is not what it was."""
    if wrong := faults(source, root):
        raise BuildFailed(
            f"what we rely on in {source} has changed",
            why="".join(f"\n    {row}" for row in wrong),
            cure="`invoke bump` shows the lines: if ours is right with them too, add the new sum "
            "to build/data/anchors.toml, else change ours",
        )


def _lines(text: str) -> list[str]:
    """Break a normalised text where a person would, for a difference."""
    broken = text.replace(" { ", " {\n").replace(" } ", "\n}\n").replace(" ; ", " ;\n")
    return [part for line in broken.split("\n") for part in _wrapped(line)]


def _wrapped(line: str, width: int = 90) -> list[str]:
    rows: list[str] = [""]
    for word in line.split(" "):
        if len(rows[-1]) + len(word) > width:
            rows.append("")
        rows[-1] = f"{rows[-1]} {word}".strip()
    return rows
