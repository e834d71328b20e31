"""How many instructions hot code of the packet path takes, by upstream's recipe and by ours.

Measured by `nox -s bench` and written down by people in `build/data/instructions.json`, beside the
versions that a row holds for; docs/DESIGN.md (Figures) says how it is counted.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from build.config import schema
from build.core.errors import UserError
from build.core.paths import DATA

INSTRUCTIONS = DATA / "instructions.json"


@dataclass(frozen=True)
class Row:
    """What one piece of work takes on a platform, in instructions of its oldest CPU."""

    work: str
    platform: str
    upstream: int
    ours: int
    tailscale: str
    go: str


_ROWS = schema.each(
    schema.row(
        {name: schema.text() for name in ("work", "platform", "tailscale", "go")}
        | {name: schema.whole(1) for name in ("upstream", "ours")}
    ),
    least=1,
)


def read(path: Path = INSTRUCTIONS) -> list[Row]:
    """Return the rows of the file, in its order. Raises UserError if it is not that."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the instructions in {path}", why=str(error)) from error
    schema.require(_ROWS("", found), path.name)
    return [Row(**row) for row in found]
