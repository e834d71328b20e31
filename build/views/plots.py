"""Pages for people: where the bytes are and how sizes went over the releases, as pictures."""

from __future__ import annotations

import html
import re
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from build.core.version import parse_release
from build.gates import figures, size
from build.gates.weigh import Weight

TAG = 60
"""Pixels right of the last point, under which half of a release's tag stands."""


def pygal() -> Any:
    """Return pygal, whose import costs 100 ms that a command without pictures need not pay.

    It leaves a finder for its plugins in Python's import system, which has not the form that newer
    Pythons want and makes each later import warn; no plugin is used here.
    """
    import pygal as library

    sys.meta_path[:] = [f for f in sys.meta_path if type(f).__name__ != "PluginImportFixer"]
    return library


def svg(chart: Any) -> str:
    """Return a chart as a part of a page."""
    # Without its script the picture needs nothing from elsewhere, and no page lets one run.
    drawn = re.sub(r"<script.*?</script>", "", chart.render(is_unicode=True), flags=re.DOTALL)
    return f"<figure>{drawn}</figure>"


def config(title: str, height: int) -> dict[str, object]:
    """Return what all charts are drawn with."""
    from pygal.style import CleanStyle

    return {
        "title": title,
        "js": [],
        "style": CleanStyle,
        "width": 1100,
        "height": height,
        "disable_xml_declaration": True,
        "explicit_size": False,
    }


def treemap(title: str, weights: Sequence[Weight]) -> str:
    """Return an SVG treemap of packages, grouped by the start of their path, in bytes."""
    groups: dict[str, list[dict[str, object]]] = defaultdict(list)
    for weight in weights:
        parts = weight.name.split("/")
        group = parts[0] if "." in parts[0] or weight.name.startswith("(") else "standard library"
        groups["tables" if weight.name.startswith("(") else group].append(
            {"value": weight.compressed, "label": f"{weight.name} {weight.compressed:,} B"}
        )
    chart = pygal().Treemap(**config(title, 700))
    for group, cells in sorted(groups.items(), key=lambda item: -sum(c["value"] for c in item[1])):  # type: ignore[misc]
        chart.add(group, cells)
    return svg(chart)


def trend(history: size.Recorded, component: str) -> str:
    """Return an SVG line chart of a component's size over the recorded releases, in bytes."""
    tags = sorted(history, key=parse_release)
    chart = pygal().Line(**config(f"{component} over the releases", 400), margin_right=TAG)
    chart.x_labels = tags
    for target in sorted({name for tag in tags for name in history[tag]}):
        chart.add(target, [history[tag].get(target, {}).get(component) for tag in tags])
    return svg(chart)


def bars(title: str, rows: Mapping[str, int]) -> str:
    """Return an SVG bar chart of {name: bytes}, largest first."""
    chart = pygal().HorizontalBar(**config(title, 200 + 22 * len(rows)), show_legend=False)
    ordered = sorted(rows.items(), key=lambda row: row[1])
    chart.x_labels = [name for name, _ in ordered]
    chart.add("bytes", [value for _, value in ordered])
    return svg(chart)


def ratios(result: figures.Result) -> str:
    """Return an SVG of ours/upstream's per figure and round: a dot each, 1 is the same."""
    rows = [row for row in figures.LIST if row.name in result.ratios]
    look = config("Ours divided by upstream's, each round", 560)
    chart = pygal().Line(**look, stroke=False, x_label_rotation=30, dots_size=4)
    chart.x_labels = [row.label for row in rows]
    for number in range(result.rounds):
        pairs = [result.pairs(row.name) for row in rows]
        values = [found[number] if number < len(found) else None for found in pairs]
        chart.add(f"round {number + 1}", values)
    chart.add("median", [result.ratios[row.name] for row in rows], dots_size=7)
    return svg(chart)


def figure_trend(history: figures.Recorded, result: figures.Result) -> str:
    """Return an SVG of the gated figures over the recorded releases and now, the first being 1."""
    titles = {row.name: row.title for row in figures.LIST if row.gate}
    title = "Gated figures over the releases, the first is 1"
    return relative(title, history, result.gated, titles)


def relative(
    title: str, history: figures.Recorded, now: Mapping[str, float], titles: Mapping[str, str]
) -> str:
    """Return an SVG of figures over the recorded releases and now; `titles` is {name: title}."""
    tags = sorted(history, key=parse_release)
    chart = pygal().Line(**config(title, 450), margin_right=TAG)
    chart.x_labels = [*tags, "now"]
    for name, said in titles.items():
        values = [*(history[tag].get(name) for tag in tags), now.get(name)]
        first = next((value for value in values if value), None)
        if first:
            chart.add(said, [value and value / first for value in values])
    return svg(chart)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: bool = True) -> str:
    """Return an HTML table; a > before a column's name is left out.

    With `numbers` columns are right-aligned from the first such name on, or all but the first.
    """
    head = "".join(f"<th>{html.escape(name.removeprefix('>'))}</th>" for name in columns)
    lines = [
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    ]
    first = next((at for at, name in enumerate(columns) if name.startswith(">")), 1)
    kind = f' class="numbers-{first}"' if numbers else ""
    return f"<table{kind}><tr>{head}</tr>{''.join(lines)}</table>"
