"""Commands that look at products, the machine and the cache, and tidy up."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from pathlib import Path

from invoke import Exit, task

from build.commands.common import ARCH_HELP, COMMON, command, typed_file
from build.config import targets, tools
from build.core import errors, log, marks, ownership, paths, upkeep
from build.golang import symbols
from build.image import products, record
from build.release import protection
from build.views import report


@task(
    positional=["report_file"],
    help={
        "report_file": "the container's log or the crash report; - is standard input",
        "arch": ARCH_HELP,
        "symbols_file": "the build's symbols (default: those in dist/ of --arch)",
        "trust": "the report is of this build although its log begins too late to say so",
        **COMMON,
    },
)
@command
def symbolize(c, report_file, arch="", symbols_file="", trust=False, json=False, debug=False):
    """Put files, lines and inlined calls back into a crash report."""
    if bool(arch) == bool(symbols_file):
        raise errors.UserError("of which build is it?", cure="--arch NAME or --symbols-file FILE")
    if symbols_file:
        sidecar = typed_file("symbols-file", symbols_file)
    else:
        sidecar = products.beside(targets.target(arch), "symbols").read_bytes()
    text = typed_file("report-file", report_file).decode(errors="replace")
    done = symbols.symbolize(text, symbols.load(sidecar), trust)
    if json:
        report.print_json({"report": done})
    else:
        sys.stdout.write(done)


@task(help={"arch": ARCH_HELP, **COMMON})
@command
def inspect(c, arch, json=False, debug=False):
    """Show what is in the image that dist/ has of a platform: digests, configuration, files."""
    report.image_contents(products.image(targets.target(arch)), as_json=json)


@task(
    help={
        "forge": "look at a forge's settings instead: the address of the repository there",
        **COMMON,
    }
)
@command
def doctor(c, forge="", json=False, debug=False):
    """Check what this machine has and lacks for a build, all at once, each with its cure."""
    if forge:
        token = os.environ.get("MT_FORGE_TOKEN", "")
        there, github = protection.open_forge(forge, token)
        with contextlib.closing(there):
            found = protection.examine(there, github)
    else:
        found = tools.examine()
    if json:
        report.print_json([vars(row) for row in found])
    else:
        title = f"What {forge} lets through" if forge else "What a build needs from this machine"
        report.findings(found, title)
    if not all(row.ok for row in found):
        raise Exit("", code=errors.UserError.exit_code)


@task(
    name="cache",
    help={
        "list": "list the objects (the default)",
        "prune": "delete what was not used lately, or what is too much",
        "days": "with --prune: what was unused for so many days (default 14, if no --size; 0: all)",
        "size": "with --prune: the longest unused, until so many GB stay",
        **COMMON,
    },
)
@command
def cache_(c, list=False, prune=False, days="", size="", json=False, debug=False):
    """List or prune the cache that all checkouts share."""
    if prune:
        oldest = upkeep.number(str(days), "days", upkeep.LONGEST_DAYS) if days != "" else None
        most = upkeep.number(str(size), "GB", upkeep.LARGEST_GB) * 1e9 if size != "" else None
        if oldest is None and most is None:
            oldest = upkeep.DAYS
        done = upkeep.prune(oldest, most)
        if json:
            report.print_json({"removed": done.removed, "bytes": done.freed, "left": done.left})
        else:
            what = ", ".join(f"{count} of {part}" for part, count in sorted(done.removed.items()))
            print(f"removed {what or 'nothing'}: {done.freed / 1e6:,.1f} MB")
            print(f"{done.left / 1e6:,.1f} MB stay in {paths.cache_dir()}")
        return
    if days != "" or size != "":
        raise errors.UserError("--days and --size are bounds for pruning", cure="add --prune")
    rows = upkeep.listing()
    if json:
        keys = ("stage", "key", "size", "idle_seconds", "for")
        report.print_json([dict(zip(keys, row, strict=True)) for row in rows])
        return
    report.table(
        str(paths.cache_dir()),
        ("stage", "for", ">MB", ">days idle", "key"),
        [
            (stage, about, f"{bytes_ / 1e6:,.1f}", f"{idle / 86400:.1f}", key[:16])
            for stage, key, bytes_, idle, about in rows
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
