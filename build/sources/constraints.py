"""Build constraints of Go files, by which one of ours can stand for upstream's on a platform."""

from __future__ import annotations

import re

_MARK = "//go:build "


def add(source: str, condition: str) -> str:
    """Return a Go file with a condition more, whatever else its constraint says.

    Raises ValueError if it has none, or speaks itself of one of the condition's tags: then
    upstream does something of its own there.
    """
    lines = source.split("\n")
    head = next((n for n, line in enumerate(lines) if line.startswith("package ")), len(lines))
    rows = [n for n, line in enumerate(lines[:head]) if line.startswith(_MARK)]
    if len(rows) != 1:
        raise ValueError(f"it has {len(rows)} build constraints instead of one")
    (row,) = rows
    old = lines[row].removeprefix(_MARK).strip()
    if both := set(re.findall(r"\w+", condition)) & set(re.findall(r"\w+", old)):
        raise ValueError(
            f"upstream speaks of {', '.join(sorted(both))} there itself now ({old}): see what it "
            "does; ours may not be needed any more"
        )
    lines[row] = f"{_MARK}({old}) && ({condition})"
    return "\n".join(lines)
