"""Commands about what comes from outside: pins, downloads, bumps, sources, components."""

from __future__ import annotations

import sys
from dataclasses import asdict, astuple

from invoke import task

from build.bump import bump as bumping
from build.bump import relied, weighing
from build.commands.common import ARCH_HELP, COMMON, command, named_release
from build.commands.instead import OrFlag
from build.config import targets
from build.config.pins import pins
from build.core import log, paths
from build.core.errors import BuildFailed, GateFailed
from build.gates import ratio
from build.image import products
from build.pipeline import order
from build.sbom import document, notices
from build.sources import obtain
from build.views import report


@task(name="pins", help=COMMON)
@command
def pins_(c, json=False, debug=False):
    """List everything that comes from outside: version, size, sha256, licence, why."""
    rows = [obtain.overview(pin) for pin in pins().values()]
    if json:
        report.print_json(rows)
        return
    report.table(
        "Pins",
        ("name", "version", ">bytes", "sha256", "licence", "cached", "why"),
        [
            (
                row["name"],
                row["version"],
                f"{row['size']:,}",
                row["sha256"][:16],
                row["licence"],
                "yes" if row["cached"] else "no",
                row["why"],
            )
            for row in rows
        ],
    )


def _list_anchors(json: bool) -> None:
    rows = relied.places()
    wrong = [row for row in rows if row.state != "holds" and not row.state.startswith("moved")]
    if json:
        report.print_json([asdict(row) for row in rows])
    else:
        columns = ("source", "kind", "where", "by", "why", "state")
        title = f"What we rely on in upstream's sources: {len(rows)} places"
        report.table(title, columns, [astuple(row) for row in rows])
    if wrong:
        raise BuildFailed(
            f"{len(wrong)} places that we rely on have changed",
            why="\n    ".join(f"{row.source} {row.where}: {row.state}" for row in wrong),
        )


@task(
    klass=OrFlag,
    positional=["name", "version"],
    help={
        "name": "the pin, such as tailscale",
        "version": "the release to take, such as 1.102.5",
        "force": "take it although it is older than the pinned one",
        "build": "build all platforms with both versions and compare their sizes (minutes)",
        "weigh": "record what upstream's recipe makes of it, so that no check has to build that "
        "(minutes; tailscale and go)",
        "dry_run": "do all of it but the writing",
        "anchors": "list all that we rely on in upstream's sources, and whether it holds",
        **COMMON,
    },
)
@command
def bump(
    c,
    name,
    version,
    force=False,
    build=False,
    weigh=False,
    dry_run=False,
    anchors=False,
    json=False,
    debug=False,
):
    """Set a pin to another version with its sums, and show what that changes."""
    if anchors:
        _list_anchors(json)
        return
    done = bumping.bump(name, version, force=force, build=build, dry_run=dry_run)
    if weigh and not dry_run:
        for platform in weighing.record(done):
            log.note(platform, f"upstream's recipe is recorded in {ratio.UPSTREAM.name}")
    if json:
        report.print_json(done.as_json())
        _require_no_stops(done)
        return
    if done.before == done.after:
        print(f"{done.after.title} is pinned already; nothing to do")
        return
    if done.impact.features:
        report.feature_changes(done.impact.features)
    if done.impact.modules:
        report.module_changes(done.impact.modules)
    if done.measures:
        report.size_changes(done.measures, f"Sizes, {done.before.title} -> {done.after.version}")
        report.shares(done.shares)
    print("\n".join(bumping.summary(done)))
    _require_no_stops(done)


def _require_no_stops(done: bumping.Bump) -> None:
    """Raise GateFailed if a build would stop for a person: exit code 0 says that it may run."""
    if done.impact.stops:
        raise GateFailed(
            f"{done.after.title} needs a person",
            why=f"{len(done.impact.stops)} of the places that we rely on have changed, as listed",
            cure="read them, correct patches/, build/data/anchors.toml or build/data/licences.toml",
        )


@task(help={"offline": "only check what is there", **COMMON})
@command
def fetch(c, offline=False, json=False, debug=False):
    """Download and verify all sources and Go modules; builds then work with --offline."""
    order.fetch(offline)
    rows = [obtain.overview(pin) for pin in pins().values()]
    if json:
        report.print_json(rows)
    else:
        total = sum(row["size"] for row in rows)
        print(f"{len(rows)} sources, {total:,} B, are in {paths.cache_dir()}")


@task(
    name="sources",
    help={
        "write": "write docs/SOURCES.md",
        "check": "exit with 3 if docs/SOURCES.md is not what the pins say",
        **COMMON,
    },
)
@command
def sources_(c, write=False, check=False, json=False, debug=False):
    """Show where the corresponding source of what is in the images is (GPL)."""
    if write:
        notices.write()
    if check:
        notices.check()
    if json:
        report.print_json({"text": notices.sources()})
    elif not (write or check):
        sys.stdout.write(notices.sources())


@task(
    name="sbom",
    help={
        "arch": ARCH_HELP,
        "release": "the release that it has to be of: a tag, or HEAD for the commit's",
        **COMMON,
    },
)
@command
def sbom_(c, arch, release="", json=False, debug=False):
    """Show the components of the image in dist/ with their licences; --json is CycloneDX 1.6."""
    named = named_release(release) if release else None
    path = products.beside(targets.target(arch), "sbom", named)
    text = path.read_text()
    if json:
        sys.stdout.write(text)
        return
    rows, licence = document.components(text)
    report.table(f"What is in {path.name}", ("component", "version", "licence"), rows)
    print(f"{len(rows)} components, {licence}")
