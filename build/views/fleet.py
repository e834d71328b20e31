"""Many routers for people and for machines: their plans, and what became of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from build.router.fleet import UNTOUCHED, Rollout, counted
from build.views import report

MOST = 8
"""Names of routers with one and the same plan that are told."""


def _names(names: Sequence[str]) -> str:
    rest = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + rest


def records(rings: Sequence[Sequence[str]], run: Rollout) -> list[dict[str, Any]]:
    """Return one record per router, in the order of the rings.

    outcome: before anything was done `planned`, `nothing` or `refused`; `done` (now or by an
    earlier run), `failed` with the reason in `why`, or `untouched`. seconds: what it took.
    """
    found = []
    for number, ring in enumerate(rings, 1):
        for name in ring:
            shown, became = run.shown.get(name), run.outcomes.get(name)
            before = run.ledger.done(name, run.members[name].goal)
            row: dict[str, Any] = {
                "name": name,
                "host": run.members[name].host,
                "ring": number,
                "actions": [one.text for one in shown.plan.actions] if shown else [],
                "why": became.why if became else shown.refused if shown else "",
                "seconds": round(became.seconds, 1) if became else 0.0,
            }
            if became:
                row["outcome"] = became.outcome
            elif before:
                row["outcome"] = "done"
            elif run.begun:
                row["outcome"] = UNTOUCHED
            else:
                row["outcome"] = (
                    "refused" if row["why"] else "planned" if row["actions"] else "nothing"
                )
            found.append(row)
    return found


def show(rings: Sequence[Sequence[str]], run: Rollout, *, json: bool, stopped: int = 0) -> None:
    """Print the plan: routers with the same one together; as JSON a record for each router.

    stopped: number of the ring that a run stopped in, from 1, or 0.
    """
    if json:
        report.print_json({"stopped": stopped, "routers": records(rings, run)})
        return
    for number, ring in enumerate(rings, 1):
        same: dict[tuple[str, ...], list[str]] = {}
        for name in ring:
            lines = (
                tuple(run.shown[name].lines) if name in run.shown else ("done by an earlier run",)
            )
            same.setdefault(lines, []).append(name)
        print(f"ring {number}: {counted(len(ring))}")
        for lines, names in same.items():
            print(f"  {_names(names)}:")
            for line in lines:
                print(f"    {line}")


def outcome(rings: Sequence[Sequence[str]], run: Rollout) -> None:
    """Print what became of the routers: how many, and each that failed."""
    rows = records(rings, run)
    counts = Counter(row["outcome"] for row in rows)
    print(", ".join(f"{count} {name}" for name, count in sorted(counts.items())))
    for row in rows:
        if row["outcome"] == "failed":
            print(f"  {row['name']} ({row['host']}): {row['why']}")
