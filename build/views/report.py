"""Results for people: tables of sizes, features, pins, findings, and what is in an image."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from build.bump import changes
from build.config import features, tools
from build.core.digest import canonical_json
from build.gates import figures, ratio, records, runtime, size, weigh
from build.image import products


def print_json(value: Any) -> None:
    """Print a value as indented JSON on standard output, for machines."""
    sys.stdout.write(json.dumps(json.loads(canonical_json(value)), indent=2) + "\n")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on standard output; a column whose name starts with > is right-aligned."""
    # Imported here: it costs 60 ms that a command without a table need not pay.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=title or None, title_justify="left")
    for name in columns:
        right = name.startswith(">")
        drawn.add_column(name.removeprefix(">"), justify="right" if right else "left")
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    width = None if sys.stdout.isatty() else 140
    Console(width=width).print(drawn)


def sizes(measures: Sequence[size.Measure], tag: str) -> None:
    """Print the table of components with their share of the cap and change since a release."""
    digests = [(row.sha256[:16],) for row in measures]
    rows = [row + more for row, more in zip(component_rows(measures), digests, strict=True)]
    table(f"Extracted sizes, {tag}", (*component_columns(), "sha256"), rows)


def component_columns() -> tuple[str, ...]:
    """Return the heads of `component_rows`; one that starts with > is of numbers."""
    last = size.last_release(size.recorded()) or "last release"
    return ("platform", "component", ">bytes", ">of cap", f">since {last}")


def component_rows(measures: Sequence[size.Measure], over: str = "OVER") -> list[tuple[str, ...]]:
    """Return components with their share of the cap and change; `over` marks one above it."""
    return [
        (
            row.target,
            row.component,
            f"{row.size:,}",
            f"{row.size / row.cap:.1%}{f' {over}' if row.over else ''}" if row.cap else "",
            f"{row.size - row.before:+,}" if row.before else "",
        )
        for row in measures
    ]


def size_rows(
    measures: Sequence[size.Measure], weights: Sequence[ratio.Share] = ()
) -> list[dict[str, Any]]:
    """Return both as rows for JSON: `weight` is in the rows of the binaries, else null."""
    known = {(one.target, ratio.BINARY): one.as_json() for one in weights}
    return [
        vars(row) | {"over": row.over, "weight": known.get((row.target, row.component))}
        for row in measures
    ]


SHARE_COLUMNS = ("platform", ">ours", ">upstream's", ">share", ">accepted", ">upstream since")


def share_rows(weights: Sequence[ratio.Share]) -> list[Sequence[str]]:
    """Return platform, bytes of both, the share, the accepted one, how upstream's grew since."""
    rows: list[Sequence[str]] = []
    for one in weights:
        grown = ""
        if one.upstream and one.accepted:
            was = one.accepted.holds.tailscale
            grown = f"{one.upstream / one.accepted.upstream - 1:+.1%} since {was}"
        rows.append(
            (
                one.target,
                f"{one.ours:,}",
                f"{one.upstream:,}" if one.upstream else "not measured",
                (f"{one.now:.4f}" if one.now else "") + (" ROSE" if one.rose else ""),
                f"{one.before:.4f}" if one.before else "",
                grown,
            )
        )
    return rows


def shares(weights: Sequence[ratio.Share]) -> None:
    """Print our own weight: the binaries against upstream's recipe."""
    table("Binary, compressed, against upstream's recipe", SHARE_COLUMNS, share_rows(weights))


def feature_table(resolution: features.Resolution, version: str) -> None:
    """Print each upstream feature: in or out, what pulled it in, why."""
    rows = [
        (row.name, "in" if row.included else "out", ", ".join(row.pulled_by), row.reason)
        for row in sorted(resolution.rows, key=lambda row: (not row.included, row.name))
    ]
    count = len(resolution.included)
    title = f"Tailscale {version}: {count} of {len(rows)} features are in"
    table(title, ("feature", "", "needed by", "why"), rows)
    for remark in resolution.remarks:
        print(f"to decide  {remark}")


def feature_changes(rows: Sequence[changes.FeatureChange]) -> None:
    """Print which features differ between two Tailscale versions and what we said of each."""
    shown = []
    for row in rows:
        needs = ", ".join(row.deps)
        if row.change == "deps":
            needs = f"{', '.join(row.deps_before) or 'nothing'} -> {needs or 'nothing'}"
        shown.append((row.name, row.change, needs, row.verdict, row.reason or row.desc))
    table("Features that differ", ("feature", "", "needs", "verdict", "why"), shown)


def module_changes(rows: Sequence[changes.ModuleChange]) -> None:
    """Print which Go modules differ that Tailscale itself requires, or that we patch."""
    shown = [
        (
            row.module,
            row.before or "none",
            row.after or "none",
            "we patch it" if row.ours else "",
        )
        for row in rows
        if row.ours or not row.indirect
    ]
    table("Go modules that differ", ("module", "before", "after", ""), shown)


def size_changes(measures: Sequence[size.Measure], title: str) -> None:
    """Print sizes before and after a change; the measures carry both."""
    rows = [
        (
            row.target,
            row.component,
            f"{row.before:,}" if row.before else "",
            f"{row.size:,}",
            f"{row.size - row.before:+,}" if row.before else "",
            f"{row.size / row.cap:.1%}" if row.cap else "",
        )
        for row in measures
    ]
    table(title, ("platform", "component", ">before", ">after", ">change", ">of cap"), rows)


def weight_table(weights: Sequence[weigh.Weight], by: str, target: str) -> None:
    """Print the parts of a binary, those under a thousandth together."""
    total = sum(weight.compressed for weight in weights) or 1
    shown = [weight for weight in weights if weight.compressed * 1000 >= total]
    rest = [weight for weight in weights if weight.compressed * 1000 < total]
    if rest:
        raw, packed = sum(w.raw for w in rest), sum(w.compressed for w in rest)
        shown.append(weigh.Weight(f"({len(rest)} more)", raw, packed))
    rows = [
        (w.name, f"{w.raw:,}", f"{w.compressed:,}", f"{w.compressed / total:.1%}") for w in shown
    ]
    table(f"{target}, {total:,} B compressed", (by, ">raw", ">compressed", ">share"), rows)


def cost_table(costs: Mapping[str, tuple[int, int, list[str]]], target: str) -> None:
    """Print what each feature costs, dearest first."""
    rows = [
        (name, f"{raw:,}", f"{packed:,}", ", ".join(gone))
        for name, (raw, packed, gone) in sorted(costs.items(), key=lambda item: -item[1][1])
    ]
    columns = ("feature", ">raw", ">compressed", "goes with it")
    table(f"{target}: what leaving out a feature saves, bytes", columns, rows)


def findings(
    found: Sequence[tools.Finding], title: str = "What a build needs from this machine"
) -> None:
    """Print what the machine, or whatever the title names, has and lacks."""
    rows = [("✓" if row.ok else "✕", row.name, row.found, row.purpose, row.cure) for row in found]
    table(title, ("", "what", "found", "for", "cure"), rows)


def image_contents(image: products.Image, *, as_json: bool) -> None:
    """Print what is in one platform's image: digests, configuration, layers, files."""
    manifest, config, descriptor = image.manifest(), image.config, image.descriptor
    manifest_digest = descriptor["digest"]
    files: list[dict[str, Any]] = [
        {
            "path": "/" + entry.path,
            "mode": f"{entry.mode:04o}",
            "type": entry.kind,
            "size": entry.size,
            "target": entry.target,
        }
        for entry in image.files.entries
    ]
    if as_json:
        print_json(
            {"digest": manifest_digest, "manifest": manifest, "config": config, "files": files}
        )
        return
    print(f"manifest  {manifest_digest}  {descriptor['size']:,} B  {descriptor['platform']}")
    print(f"config    {manifest['config']['digest']}")
    for part in manifest["layers"]:
        print(f"layer     {part['digest']}  {part['size']:,} B compressed")
    for key, value in config["config"].items():
        print(f"{key:<10}{json.dumps(value)}")
    rows = [
        (
            row["mode"],
            row["type"],
            f"{row['size']:,}" if row["type"] == "file" else "",
            f"{row['path']} -> {row['target']}" if row["target"] else row["path"],
        )
        for row in files
    ]
    table("", ("mode", "type", ">bytes", "path"), rows)


def canaries(record: records.Record) -> None:
    """Print what each canary of a run saw."""
    rows = [("✓" if v.ok else "✕", v.name, f"{v.seconds:.1f}", v.detail) for v in record.canaries]
    passed = sum(verdict.ok for verdict in record.canaries)
    title = f"{record.target} {record.image[:19]}: {passed} of {len(rows)} canaries passed"
    title += f", {record.seconds:.0f} s, {record.tunnel} tunnel"
    table(title, ("", "canary", ">s", "seen"), rows)
    print("  ".join(f"{name}={value:g}" for name, value in record.figures.items()))


def negatives(found: Sequence[runtime.NegativeRun]) -> None:
    """Print canary x negative control: whether the canary failed there, as it must."""
    rows = []
    for one in found:
        for verdict in one.verdicts:
            mark = "PASSES" if verdict.ok else "fails"
            first = verdict.detail.split("NOT SO. ")[-1].split("\n")[0]
            rows.append((one.negative.name, one.negative.what, verdict.name, mark, first))
    table("Canaries where they must fail", ("negative control", "what", "canary", "", "says"), rows)


def changed(worse: float, tolerance: float) -> str:
    """Return in words by what share a figure is worse, and whether that fails."""
    said = f"{abs(worse):.1%} {'worse' if worse > 0 else 'better'}"
    return said + (" FAILS" if worse > tolerance else "")


def figure_rows(result: figures.Result, history: figures.Recorded) -> list[Sequence[str]]:
    """Return title, unit, ours, upstream's, ratio, spread and change since the last release."""
    before = history.get(figures.last_release(history), {})
    medians, ratios, spreads, gated = result.medians, result.ratios, result.spreads, result.gated
    rows: list[Sequence[str]] = []
    for row in figures.LIST:
        since = ""
        if row.name in gated and row.name in before:
            worse = figures.change(row, gated[row.name], before[row.name])
            since = changed(worse, figures.TOLERANCE)
        digits = ",.0f" if row.unit in ("kB", "Mbit/s") else ".3f"
        shown = result.best if row.more else medians
        values = [format(shown[side][row.name], digits) for side in figures.SIDES]
        ratio = f"{ratios[row.name]:.3f}" if row.name in ratios else ""
        spread = f"±{spreads[row.name]:.3f}" if row.name in spreads else ""
        rows.append((row.title, row.unit, *values, ratio, spread, since))
    return rows


FIGURE_COLUMNS: tuple[str, ...] = (
    "figure",
    "unit",
    ">ours",
    ">upstream's",
    ">ratio",
    ">spread",
    "since",
)


def figure_title(result: figures.Result) -> str:
    """Return what a measurement is called."""
    title = f"{result.release} {result.image[:19]} against upstream's recipe, {result.rounds} "
    return title + f"rounds of {result.bytes >> 20} MiB each way, {result.seconds:.0f} s"
