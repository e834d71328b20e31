"""Why a stage runs: what it was made from when it last ran in this checkout, and what differs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from build.core import marks
from build.core.paths import work_dir

UNKEYED = "it explains why a stage runs, after that was decided"

Inputs = Mapping[str, Any]

SHOWN = 6
"""Changed inputs that one line names; `--why` shows all."""


def _last(stage: str, label: str) -> Path:
    return work_dir() / label / f"{stage}.inputs.json"


def remember(stage: str, label: str, inputs: Inputs) -> None:
    """Keep a stage's inputs beside its log, for the next run to compare with."""
    # Only a help for `explain`: a checkout whose work/ cannot be written builds all the same.
    text = json.dumps(inputs, indent=1, sort_keys=True)
    with contextlib.suppress(OSError):
        path = _last(stage, label)
        if path.exists() and path.read_text() == text:
            return
        marks.make_folder(path.parent)
        path.write_text(text)


def changes(stage: str, label: str, inputs: Inputs) -> list[tuple[str, str, str]] | None:
    """Return (input, old, new) of what differs from the last build here, None for the first."""
    try:
        old = json.loads(_last(stage, label).read_text())
    except (OSError, ValueError):
        return None
    old, new = _rows(old), _rows(json.loads(json.dumps(inputs)))
    names = sorted(old.keys() | new.keys())
    return [
        (name, str(old.get(name, "(none)")), str(new.get(name, "(none)")))
        for name in names
        if old.get(name) != new.get(name)
    ]


def _rows(inputs: Any) -> dict[str, Any]:
    """Return inputs with those that are tables row by row, such as `code core.cache`."""
    rows: dict[str, Any] = {}
    for name, value in inputs.items() if isinstance(inputs, dict) else ():
        if isinstance(value, dict):
            rows |= {f"{name} {key}": row for key, row in value.items()}
        else:
            rows[name] = value
    return rows


def explain(stage: str, label: str, inputs: Inputs) -> str:
    """Return why this stage has to run, in one line."""
    differing = changes(stage, label, inputs)
    if differing is None:
        return "not built in this checkout before"
    if not differing:
        return "inputs unchanged, its object is no longer in the cache"
    names = [name for name, _, _ in differing]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"changed: {', '.join(names[:SHOWN])}{more}"
