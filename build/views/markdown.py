"""Sizes and canaries as Markdown, for the comment on a pull request and for release notes."""

from __future__ import annotations

from collections.abc import Sequence

from build.config import substitutes
from build.config.pins import pins
from build.gates import ratio, records, size
from build.views import report


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; a column whose name starts with > is right-aligned."""
    head = [name.removeprefix(">") for name in columns]
    rule = ["--:" if name.startswith(">") else "---" for name in columns]
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *cells)) + "\n"


def sizes(measures: Sequence[size.Measure]) -> str:
    """Return the table of extracted sizes with caps and the change since the last release."""
    return table(report.component_columns(), report.component_rows(measures, "**over**"))


def gates(runs: Sequence[records.Record]) -> str:
    """Return what the runtime gate said of each platform; what failed is named."""
    rows = []
    for record in runs:
        failed = [verdict.name for verdict in record.canaries if not verdict.ok]
        passed = f"{len(record.canaries) - len(failed)} of {len(record.canaries)}"
        rows.append((record.target, record.tunnel, passed, ", ".join(failed), f"`{record.image}`"))
    return table(("platform", "tunnel", "canaries passed", "failed", "image"), rows)


def summary(tag: str, measures: Sequence[size.Measure], runs: Sequence[records.Record]) -> str:
    """Return the whole report of a build."""
    parts = [f"## {tag}: extracted sizes", sizes(measures)]
    parts += ["## Binary, compressed, against upstream's recipe"]
    parts += [table(report.SHARE_COLUMNS, report.share_rows(ratio.of(measures)))]
    parts += ["## Runtime gate"]
    parts.append(gates(runs) if runs else "It has not run on these images.\n")
    if others := [one for pin in pins().values() for one in substitutes.of(pin)]:
        parts += ["## Substitutes", *(f"- {one.told}\n" for one in others)]
    return "\n".join(parts)
