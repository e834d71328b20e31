"""Who holds the copyright of what is linked: recorded, so that a bump can tell of a new one.

A licence is compared by its words, whoever holds the copyright; so a new holder stops nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from build.config import licences, schema
from build.core.errors import UserError

FILE = "build/data/holders.json"
"""{component: holders, as its licence files name them, without years}, in the repository."""

Holders = dict[str, list[str]]

_TABLE = schema.table(schema.each(schema.text()), r"\S+", "a component's name")


def of(texts: Mapping[str, Mapping[str, Path]]) -> Holders:
    """Return the holders that {component: its licence files} name."""
    found = {
        name: {
            holder
            for path in files.values()
            for holder in licences.holders(path.read_text(errors="replace"))
        }
        for name, files in texts.items()
    }
    return {name: sorted(holders) for name, holders in sorted(found.items())}


def read(path: Path) -> Holders:
    """Return what is recorded, {} without a file. Raises UserError for a bad one."""
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the holders in {path}", why=str(error)) from error
    schema.require(_TABLE("", found), path.name)
    return dict(found)


def write(found: Holders, path: Path) -> None:
    """Record the holders, by a temporary name and a rename."""
    fresh = path.with_suffix(".tmp")
    fresh.write_text(json.dumps(found, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
    fresh.rename(path)


def differences(before: Holders, after: Holders) -> list[str]:
    """Return each holder that is new or gone, those of new and former components too."""
    return [
        f"{name}: {sign}{holder}"
        for name in sorted({*before, *after})
        for sign, one, other in (("-", before, after), ("+", after, before))
        for holder in one.get(name, [])
        if holder not in other.get(name, [])
    ]
