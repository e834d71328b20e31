"""Commands that boot the images: the runtime gate and the figures."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from invoke import Exit, task

from build.commands.common import ARCH_HELP, COMMON, command, named_release, whole
from build.config import targets
from build.core import errors
from build.gates import counted, figures, runtime
from build.image import record as dist_record
from build.lab import boot
from build.trials import counts, runs
from build.views import counting, look, plots, report


@task(
    iterable=["arch", "only"],
    help={
        "arch": ARCH_HELP,
        "only": "a canary's name (--negative: a negative control's), repeatable; keeps no record",
        "negative": "run every canary where it must fail, and fail if one passes",
        "layout": "OCI layout to take the images from (default: build them through the cache)",
        "machine": "boot an ARM machine with an old kernel for each ARM image (QEMU)",
        "offline": "use only what is in the cache or in $MT_SOURCES",
        "doctor": "only say what this machine lacks for it",
        **COMMON,
    },
)
@command
def verify(
    c,
    arch,
    only,
    negative=False,
    layout="",
    machine=False,
    offline=False,
    doctor=False,
    json=False,
    debug=False,
):
    """Boot images in a network like a router's and run the canaries (root; exit code 3)."""
    chosen = targets.select(arch or (list(boot.MODELS) if machine else []))
    if doctor:
        found = runtime.examine(chosen, machine=machine)
        report.findings(found)
        if not all(row.ok for row in found):
            raise Exit("", code=errors.UserError.exit_code)
        return
    if negative:
        controlled = runs.negatives(only, offline, machine=machine)
        if json:
            report.print_json([dataclasses.asdict(one) for one in controlled])
        else:
            report.negatives(controlled)
        missed = [f"{name} ({one.negative.name})" for one in controlled for name in one.missed]
        if missed:
            raise errors.GateFailed("canaries pass where they must fail", why=", ".join(missed))
        return
    records = runs.run(chosen, only, Path(layout) if layout else None, offline, machine=machine)
    if json:
        report.print_json([dataclasses.asdict(record) for record in records])
    else:
        for record in records:
            report.canaries(record)
    runs.check(records, whole=not only)


@task(
    name="figures",
    iterable=["arch"],
    help={
        "rounds": "how often each side is measured, in turn (default 5; with --machine 3)",
        "megabytes": "MiB to send each way in each round (default 512; with --machine 8)",
        "machine": "count instructions and memory in an ARM machine for each ARM image (QEMU)",
        "arch": f"with --machine: {ARCH_HELP}",
        "layout": "OCI layout to take the images from (default: build them through the cache)",
        "record": "record the figures under this release tag in build/data/figures.json",
        "offline": "use only what is in the cache or in $MT_SOURCES",
        **COMMON,
    },
)
@command
def figures_(
    c,
    arch,
    rounds=None,
    megabytes=None,
    machine=False,
    layout="",
    record="",
    offline=False,
    json=False,
    debug=False,
):
    """Measure speed and memory against upstream's recipe and the last release (root; exit 3)."""
    if arch and not machine:
        raise errors.UserError("--arch goes with --machine", cure="plain figures are of amd64")
    tag = named_release(record).tag if record else ""
    usual = ("3", "8") if machine else ("5", "512")
    times = whole("rounds", usual[0] if rounds is None else rounds, 1, 1000)
    size = whole("megabytes", usual[1] if megabytes is None else megabytes, 1, 1 << 20) << 20
    history = figures.recorded()
    place = Path(layout) if layout else None
    if machine:
        chosen = targets.select(arch or list(boot.MODELS))
        counts_ = counts.measure(chosen, times, size, place, offline)
        measured, gated, require = counts_.table(), counts_.gated, counted.require
        columns, rows = counting.COLUMNS, counting.rows(counts_, history)
        parts = [counting.ratios(counts_), counting.trend(history, counts_)]
        title, made = counting.title(counts_), counted.path()
    else:
        result = runs.measure(times, size, place, offline)
        measured, gated, require = result.table(), result.gated, figures.require
        columns, rows = report.FIGURE_COLUMNS, report.figure_rows(result, history)
        parts = [plots.ratios(result), plots.figure_trend(history, result)]
        title, made = report.figure_title(result), figures.path()
    page = look.page(title, [plots.table(columns, rows), *parts])
    kept = dist_record.keep(made.with_suffix(".html").name, page)
    if json:
        report.print_json(measured)
    else:
        report.table(title, columns, rows)
        print(f"{made}\n{kept}")
    # A release that is measured again is not its own predecessor.
    require(gated, {name: row for name, row in history.items() if name != tag})
    if tag:
        figures.record(tag, gated)
