"""Commands that look at products, the machine and the cache, and tidy up."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from invoke import Exit, task

from build.commands.common import ARCH_HELP, COMMON, command
from build.config import targets, tools
from build.core import cache, errors, log, marks, ownership, paths
from build.golang import symbols
from build.image import record
from build.pipeline import order, variants
from build.views import report


@task(
    positional=["report_file"],
    help={
        "report_file": "the container's log or the crash report (default: standard input)",
        "arch": ARCH_HELP,
        "symbols_file": "the build's symbols (default: those in dist/ or of this checkout)",
        "trust": "the report is of this build although its log begins too late to say so",
        **COMMON,
    },
)
@command
def symbolize(c, report_file="", arch="", symbols_file="", trust=False, json=False, debug=False):
    """Put files, lines and inlined calls back into a crash report."""
    if bool(arch) == bool(symbols_file):
        raise errors.UserError("of which build is it?", cure="--arch NAME or --symbols-file FILE")
    try:
        text = Path(report_file).read_text(errors="replace") if report_file else sys.stdin.read()
        if symbols_file:
            sidecar = Path(symbols_file).read_bytes()
        else:
            sidecar = variants.symbols_of(targets.target(arch)).read_bytes()
    except OSError as error:
        raise errors.UserError(f"cannot read {error.filename}", why=str(error.strerror)) from error
    done = symbols.symbolize(text, symbols.load(sidecar), trust)
    if json:
        report.print_json({"report": done})
    else:
        sys.stdout.write(done)


@task(help={"arch": ARCH_HELP, **COMMON})
@command
def inspect(c, arch, json=False, debug=False):
    """Show what is in a platform's image: digests, configuration, layers, files."""
    target = targets.target(arch)
    request = order.Request([target], order.release_of(), check_size=False)
    report.image_contents(order.build(request).images[target.name], as_json=json)


@task(help=COMMON)
@command
def doctor(c, json=False, debug=False):
    """Check what this machine has and lacks for a build, all at once, each with its cure."""
    found = tools.examine()
    if json:
        report.print_json([vars(row) for row in found])
    else:
        report.findings(found)
    if not all(row.ok for row in found):
        raise Exit("", code=errors.UserError.exit_code)


@task(
    name="cache",
    help={
        "list": "list the objects (the default)",
        "prune": "delete what was not used for --days",
        "days": "days for --prune (default 14; 0 empties the cache of objects)",
        **COMMON,
    },
)
@command
def cache_(c, list=False, prune=False, days=14.0, json=False, debug=False):
    """List or prune the cache that all checkouts share."""
    if prune:
        count, freed = cache.prune(float(days))
        if json:
            report.print_json({"removed": count, "bytes": freed})
        else:
            print(f"removed {count} objects, {freed / 1e6:,.1f} MB")
        return
    rows = cache.listing()
    if json:
        keys = ("stage", "key", "size", "idle_seconds", "for")
        report.print_json([dict(zip(keys, row, strict=True)) for row in rows])
        return
    report.table(
        str(paths.cache_dir()),
        ("stage", "for", ">MB", ">days idle", "key"),
        [
            (stage, about, f"{size / 1e6:,.1f}", f"{idle / 86400:.1f}", key[:16])
            for stage, key, size, idle, about in rows
        ],
    )


@task(help=COMMON)
@command
def clean(c, json=False, debug=False):
    """Delete what build.json lists in dist/, and work/ if it carries our mark; the cache stays."""
    work, dist = paths.work_dir(), paths.dist_dir()
    # Everything is looked at before anything goes.
    doomed: list[Path] = []
    if work.is_symlink() or work.exists():
        ownership.require_deletable(work)
        if not marks.marked(work):
            raise ownership.refuse(work, f"it does not carry our mark, {marks.MARK}")
        if dist.resolve().is_relative_to(work.resolve()):
            raise ownership.refuse(work, f"{dist} lies in it")
        doomed.append(work)
    ours = record.deletable(dist) if dist.is_symlink() or dist.exists() else []
    try:
        for folder in doomed:
            shutil.rmtree(folder)
        removed = [*doomed, *record.delete(ours)]
    except OSError as error:
        raise errors.UserError(
            f"cannot delete {error.filename}", why=error.strerror or str(error)
        ) from error
    kept = sorted(str(path) for path in dist.iterdir()) if dist.exists() else []
    # One line for a folder, not one for each file of its.
    shown = [str(path) for path in removed if path.parent not in removed]
    if json:
        report.print_json(shown)
    else:
        print("\n".join(f"deleted {path}" for path in shown) or "nothing to delete")
    if kept:
        log.warn(f"not ours, and still there: {', '.join(kept)}")
