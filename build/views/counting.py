"""The counted figures for people: the table, and the plots of `figures-machine.html`."""

from __future__ import annotations

from collections.abc import Sequence

from build.gates import counted, figures
from build.gates.figures import OURS, SIDES, Recorded
from build.views import plots, report

COLUMNS: tuple[str, ...] = ("platform", *report.FIGURE_COLUMNS)


def title(result: counted.Result) -> str:
    """Return what a measurement is called."""
    rounds = max(len(one.rounds) for one in result.sides)
    text = f"{result.release} in router-like machines against upstream's recipe, {rounds} rounds "
    return text + f"of {result.bytes >> 20} MiB each way, {result.seconds:.0f} s"


def rows(result: counted.Result, history: Recorded) -> list[Sequence[str]]:
    """Return a platform's figures: both sides, ratio, our spread, change since the last release."""
    before = history.get(figures.last_release(history), {})
    found: list[Sequence[str]] = []
    for platform in result.platforms:
        medians = {side: result.of(platform, side).medians for side in SIDES}
        ratios, spreads = result.ratios(platform), result.of(platform, OURS).spreads
        for row in counted.LIST:
            since, name = "", f"{platform}/{row.name}"
            if name in result.gated and name in before:
                worse = figures.change(row, result.gated[name], before[name])
                since = report.changed(worse, counted.TOLERANCE)
            values = [
                f"{medians[side][row.name]:.4g}" if row.name in medians[side] else ""
                for side in SIDES
            ]
            ratio = f"{ratios[row.name]:.3f}" if row.name in ratios else ""
            spread = f"{spreads[row.name]:.1%}" if row.name in spreads else ""
            found.append((platform, row.title, row.unit, *values, ratio, spread, since))
    return found


def ratios(result: counted.Result) -> str:
    """Return an SVG of ours/upstream's per figure, a dot for each platform; 1 is the same."""
    config = plots.config("Ours divided by upstream's", 560)
    chart = plots.pygal().Line(**config, stroke=False, x_label_rotation=30, dots_size=5)
    chart.x_labels = [row.label for row in counted.LIST]
    for platform in result.platforms:
        found = result.ratios(platform)
        chart.add(platform, [found.get(row.name) for row in counted.LIST])
    return plots.svg(chart)


def trend(history: Recorded, result: counted.Result) -> str:
    """Return an SVG of the gated figures over the recorded releases and now, the first being 1."""
    names = {name: name for name in result.gated}
    return plots.relative("Over the releases, the first is 1", history, result.gated, names)
