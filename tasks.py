"""The commands: options in, pipeline, tables out. `invoke --list` shows them."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from invoke import Context, Exit, task

from build import bump as bumping
from build import (
    cache,
    errors,
    features,
    figures,
    forge,
    gate,
    git,
    golang,
    layout,
    log,
    markdown,
    notices,
    paths,
    pipeline,
    plots,
    referrers,
    report,
    router,
    routerapi,
    sbom,
    signature,
    size,
    sources,
    symbols,
    targets,
    tools,
    variants,
)
from build import deploy as deployment
from build import publish as publication
from build import release as releasing
from build import rollback as moving
from build import verify as runtime
from build.artifacts import Attachment
from build.pins import pins
from build.registry import credentials, place
from build.registry.client import Client
from build.version import Release, parse_release

ARCH_HELP = "platform, repeatable; also under its other names (armv7, arm/v7, linux/arm/v7, x86)"
HEAD = "HEAD"
"""What --release takes instead of a tag: the release tag of the commit that is checked out."""

COMMON = {
    "json": "print the result as JSON on standard output and nothing else",
    "debug": "show a traceback when something fails",
}


def command(body: Callable[..., None]) -> Callable[..., None]:
    """Turn errors into one message and the exit code of their kind."""

    @functools.wraps(body)
    def guarded(context: Context, *words: Any, **options: Any) -> None:
        log.configure("quiet" if options.get("json") else "auto", details=options.get("why", False))
        try:
            with log.session():
                body(context, *words, **options)
        except errors.Error as error:
            if options.get("debug"):
                traceback.print_exc()
            raise Exit(f"error: {error}", code=error.exit_code) from None
        except KeyboardInterrupt:
            raise Exit("interrupted", code=errors.INTERRUPTED) from None

    return guarded


def _release(tag: str) -> Release:
    if tag == HEAD:
        state = git.Git(paths.ROOT).state()
        return releasing.at_head(state, pipeline.release_of().tailscale)
    release = parse_release(tag) if tag else pipeline.release_of()
    if release.tailscale != pipeline.release_of().tailscale:
        raise errors.UserError(
            f"{release.tag} is not a release of the pinned Tailscale",
            why=f"build/data/pins.toml pins {pipeline.release_of().tailscale}",
            cure="check out the commit that the tag is on",
        )
    return release


def _build(
    arch: list[str],
    *,
    whole: bool,
    release: str,
    compress: str,
    offline: bool,
    json: bool,
    assembler: str = "oci",
) -> None:
    request = pipeline.Request(
        targets=targets.select(arch),
        release=_release(release),
        compress=compress,
        offline=offline,
        whole=whole,
        check_size=False,
        assembler=assembler,
    )
    result = pipeline.build(request)
    products = {
        name: {key: value for key, value in row.items() if key not in ("from", "files")}
        for name, row in result.record.items()
    }
    if json:
        report.print_json(
            {
                "release": request.release.tag,
                "sizes": report.size_rows(result.measures),
                "products": products,
                "ran": result.ran,
                "seconds": round(result.seconds, 3),
            }
        )
    else:
        report.sizes(result.measures, request.release.tag)
        for name, row in products.items():
            what = row.get("index") or f"sha256:{row['sha256']}"
            print(f"{paths.dist_dir().name}/{name}  {what}")
        ran = f"{len(result.ran)} stages ran" if result.ran else "nothing to do"
        print(f"{ran}, {result.seconds:.1f} s")
    if compress == "upx":
        # The budgets are for flash; who asks for an uncompressed image trades it for RAM.
        size.require(result.measures)


def _show_costs(target: targets.Target, only: list[str], json: bool) -> None:
    costs = variants.feature_costs(target, only)
    if json:
        report.print_json(costs)
    else:
        report.cost_table(costs, target.name)


BUILD_HELP = {
    "release": "full tag to stamp, such as v1.102.5-mt.1, or HEAD for the commit's (default: mt.0)",
    "compress": "upx (least flash) or none (least RAM, quicker start)",
    "offline": "use only what is in the cache or in $MT_SOURCES",
    "why": "say for each stage which of its inputs changed",
    **COMMON,
}


@task(help={"arch": ARCH_HELP, **BUILD_HELP}, iterable=["arch"])
@command
def build(c, arch, release="", compress="upx", offline=False, why=False, json=False, debug=False):
    """Build the image of one platform (or several) into dist/."""
    if not arch:
        raise errors.UserError(
            "which platform?", cure="--arch arm64, for example; `invoke build-all` builds them all"
        )
    _build(arch, whole=False, release=release, compress=compress, offline=offline, json=json)


ASSEMBLER_HELP = "who writes the layout: oci (this project) or buildx (your docker; oci-buildx/)"


@task(help={"assembler": ASSEMBLER_HELP, **BUILD_HELP})
@command
def build_all(
    c,
    assembler="oci",
    release="",
    compress="upx",
    offline=False,
    why=False,
    json=False,
    debug=False,
):
    """Build the images of all platforms, and one OCI layout with an index of them, into dist/."""
    options = {"release": release, "compress": compress, "offline": offline, "json": json}
    _build([], whole=True, assembler=assembler, **options)


@task(
    name="features",
    iterable=["only"],
    help={
        "cost": "show what each wanted feature costs, by building without it (minutes each, once)",
        "arch": "platform for --cost (default arm64)",
        "only": "limit --cost to this feature, repeatable",
        **COMMON,
    },
)
@command
def features_(c, only, cost=False, arch="arm64", json=False, debug=False):
    """Show each upstream feature: in or out, why, and what pulled it in."""
    if cost:
        _show_costs(targets.target(arch), only, json)
        return
    go = pipeline.go_command()
    version = go.tailscale.version
    found = features.resolve(golang.graph(go), features.load_verdicts(), version)
    if json:
        report.print_json([vars(row) for row in found.rows])
    else:
        report.feature_table(found, version)


@task(help={"arch": ARCH_HELP, **COMMON})
@command
def tags(c, arch="", json=False, debug=False):
    """Print the exact Go build tags, after upstream's own tool agreed to them."""
    if arch:
        targets.target(arch)  # the tags are the same for every platform; the name must be one
    found = golang.tags(pipeline.go_command())
    if json:
        report.print_json(found)
    else:
        print(",".join(found))


@task(name="pins", help=COMMON)
@command
def pins_(c, json=False, debug=False):
    """List everything that comes from outside: version, size, sha256, licence, why."""
    rows = [sources.overview(pin) for pin in pins().values()]
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


@task(
    positional=["name", "version"],
    help={
        "name": "the pin, such as tailscale",
        "version": "the release to take, such as 1.102.5",
        "force": "take it although it is older than the pinned one",
        "build": "build all platforms with both versions and compare their sizes (minutes)",
        "dry_run": "do all of it but the writing",
        **COMMON,
    },
)
@command
def bump(c, name, version, force=False, build=False, dry_run=False, json=False, debug=False):
    """Set a pin to another version with its sums, and show what that changes."""
    done = bumping.bump(name, version, force=force, build=build, dry_run=dry_run)
    if json:
        report.print_json(done.as_json())
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
    print("\n".join(bumping.summary(done)))


@task(help={"offline": "only check what is there", **COMMON})
@command
def fetch(c, offline=False, json=False, debug=False):
    """Download and verify all sources and Go modules; builds then work with --offline."""
    pipeline.fetch(offline)
    rows = [sources.overview(pin) for pin in pins().values()]
    if json:
        report.print_json(rows)
    else:
        total = sum(row["size"] for row in rows)
        print(f"{len(rows)} sources, {total:,} B, are in {paths.cache_dir()}")


@task(
    name="size",
    iterable=["arch"],
    help={
        "arch": ARCH_HELP,
        "by": "package, section or feature: where the compressed bytes are (default arch arm64)",
        "check": "exit with 3 if a budget is exceeded",
        "record": "record the sizes under this release tag in build/data/sizes.json",
        **COMMON,
    },
)
@command
def size_(c, arch, by="", check=False, record="", json=False, debug=False):
    """Show the size of each component against its budget, building what is not in the cache."""
    if by:
        if by not in ("package", "section", "feature"):
            raise errors.UserError(
                f"sizes cannot be shown by '{by}'", cure="one of: package, section, feature"
            )
        for target in targets.select(arch or ["arm64"]):
            if by == "feature":
                _show_costs(target, [], json)
                continue
            weights = variants.weights(target, by)
            if json:
                report.print_json([vars(weight) for weight in weights])
            else:
                report.weight_table(weights, by, target.name)
        return
    release = _release(record)
    request = pipeline.Request(targets.select(arch), release, check_size=False, whole=not arch)
    result = pipeline.build(request)
    if json:
        report.print_json(report.size_rows(result.measures))
    else:
        report.sizes(result.measures, release.tag)
    if check:
        size.require(result.measures)
    if record:
        size.record(release.tag, result.measures)


@task(help={"arch": "platform for the treemap (default arm64)", **COMMON})
@command
def chart(c, arch="arm64", json=False, debug=False):
    """Draw dist/report.html: a treemap of the binary and the trend over recorded releases."""
    target = targets.target(arch)
    history = size.recorded()
    parts = [
        plots.treemap(
            f"{target.name}: compressed bytes by package", variants.weights(target, "package")
        ),
        plots.bars(
            f"{target.name}: compressed bytes by section",
            {
                w.name: w.compressed
                for w in variants.weights(target, "section")
                if w.compressed > 999
            },
        ),
    ]
    if history:
        parts += [plots.trend(history, part) for part in (size.ROOTFS, "tailscale.combined")]
    path = paths.dist_dir() / "report.html"
    plots.write(path, f"Sizes of {pipeline.release_of().tag}", parts)
    if json:
        report.print_json({"report": str(path)})
    else:
        print(path)


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
    request = pipeline.Request([target], pipeline.release_of(), check_size=False)
    report.image_contents(pipeline.build(request).images[target.name], as_json=json)


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


@task(name="sbom", help={"arch": ARCH_HELP, "release": "full tag of the image's release", **COMMON})
@command
def sbom_(c, arch, release="", json=False, debug=False):
    """Show the components of a platform's image with their licences; --json prints the bill."""
    target = targets.target(arch)
    request = pipeline.Request([target], _release(release), check_size=False)
    bill = pipeline.build(request).bills[target.name]
    if json:
        sys.stdout.write(cache.checked(bill.artifact(sbom.FILE)).read_text())
        return
    rows = [[name, version, licence] for name, version, _, licence in bill.facts["components"]]
    report.table(f"What is in {target.name}", ("component", "version", "licence"), rows)
    print(f"{len(rows)} components, {bill.facts['licence']}")


@task(help={"out": "file for the private key; the public one goes beside it as FILE.pub", **COMMON})
@command
def signing_key(c, out, json=False, debug=False):
    """Make a key pair for signatures; $MT_SIGNING_PASSWORD encrypts the private key."""
    password = os.environ.get(signature.PASSWORD, "")
    if not password:
        log.warn(f"${signature.PASSWORD} is empty: the private key is not encrypted")
    public = signature.write_pair(Path(out), password)
    if json:
        report.print_json({"private": out, "public": str(public)})
    else:
        print(f"{out}\n{public}")


@task(help=COMMON)
@command
def sign(c, json=False, debug=False):
    """Sign dist/SHA256SUMS with the key in $MT_SIGNING_KEY, into dist/SHA256SUMS.sig."""
    key = signature.key_from_environment()
    path = layout.sign(lambda content: signature.sign_bytes(content, key))
    if json:
        report.print_json({"signature": str(path)})
    else:
        print(path)


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
    """Delete dist/ and work/ of this checkout; the shared cache stays."""
    removed = []
    for folder, mark in ((paths.dist_dir(), layout.RECORD), (paths.work_dir(), None)):
        if not folder.exists():
            continue
        inside = folder.is_relative_to(paths.ROOT)
        if not inside and (mark is None or not (folder / mark).exists()):
            raise errors.UserError(
                f"{folder} is not deleted",
                why="it lies outside the checkout and does not look like a build's output",
                cure="delete it yourself if it should go",
            )
        shutil.rmtree(folder)
        removed.append(str(folder))
    if json:
        report.print_json(removed)
    else:
        print("\n".join(f"deleted {path}" for path in removed) or "nothing to delete")


@task(
    iterable=["arch", "only"],
    help={
        "arch": ARCH_HELP,
        "only": "a canary's name (with --teeth: a breakage's), repeatable; keeps no record",
        "teeth": "run every canary where it must fail, and fail if one passes",
        "layout": "OCI layout to take the images from (default: build them through the cache)",
        "offline": "use only what is in the cache or in $MT_SOURCES",
        "doctor": "only say what this machine lacks for it",
        **COMMON,
    },
)
@command
def verify(
    c, arch, only, teeth=False, layout="", offline=False, doctor=False, json=False, debug=False
):
    """Boot images in a network like a router's and run the canaries (root; exit code 3)."""
    chosen = targets.select(arch)
    if doctor:
        found = runtime.examine(chosen)
        report.findings(found)
        if not all(row.ok for row in found):
            raise Exit("", code=errors.UserError.exit_code)
        return
    if teeth:
        bites = gate.teeth(only, offline)
        if json:
            report.print_json([dataclasses.asdict(bite) for bite in bites])
        else:
            report.teeth(bites)
        missed = [f"{name} ({bite.breakage.name})" for bite in bites for name in bite.missed]
        if missed:
            raise errors.GateFailed("canaries pass where they must fail", why=", ".join(missed))
        return
    records = gate.run(chosen, only, Path(layout) if layout else None, offline)
    if json:
        report.print_json([dataclasses.asdict(record) for record in records])
    else:
        for record in records:
            report.canaries(record)
    gate.check(records, whole=not only)


@task(
    name="figures",
    help={
        "rounds": "how often each side is measured, in turn",
        "megabytes": "MiB to send each way in each round",
        "layout": "OCI layout to take the image from (default: build it through the cache)",
        "record": "record the figures under this release tag in build/data/figures.json",
        "offline": "use only what is in the cache or in $MT_SOURCES",
        **COMMON,
    },
)
@command
def figures_(
    c, rounds=5, megabytes=512, layout="", record="", offline=False, json=False, debug=False
):
    """Measure speed and memory against upstream's recipe and the last release (root; exit 3)."""
    tag = _release(record).tag if record else ""
    history = figures.recorded()
    result = gate.measure(rounds, megabytes << 20, Path(layout) if layout else None, offline)
    rows = report.figure_rows(result, history)
    columns = [name.removeprefix(">") for name in report.FIGURE_COLUMNS]
    parts = [plots.table(columns, rows), plots.ratios(result), plots.figure_trend(history, result)]
    page = paths.dist_dir() / "figures.html"
    plots.write(page, f"Figures of {result.release}", parts)
    if json:
        report.print_json(result.table())
    else:
        report.figure_table(result, history)
        print(f"{figures.path()}\n{page}")
    # A release that is measured again is not its own predecessor.
    figures.require(result.gated, {name: row for name, row in history.items() if name != tag})
    if tag:
        figures.record(tag, result.gated)


RELEASE_HELP = {
    "revision": "a further revision of a Tailscale version that is released already",
    "remote": "git remote whose tags count too (release --push: origin)",
    **COMMON,
}


def _plan_release(remote: str, revision: bool) -> tuple[git.Git, releasing.Plan]:
    repository = git.Git(paths.ROOT)
    state = repository.state(remote)
    return repository, releasing.plan(state, pins()["tailscale"].version, revision=revision)


def _show_release(plan: releasing.Plan, done: bool, json: bool) -> None:
    tag = plan.release.tag if plan.release else None
    if json:
        report.print_json({**dataclasses.asdict(plan), "release": tag, "done": done})
        return
    for line in plan.notes:
        print(line)
    verb = "released" if done else "would release"
    print(f"{verb} {tag} at {plan.commit[:12]}: {plan.why}" if tag else f"no release: {plan.why}")


@task(help=RELEASE_HELP)
@command
def release_plan(c, revision=False, remote="", json=False, debug=False):
    """Say which release comes next, and why; changes nothing."""
    _show_release(_plan_release(remote, revision)[1], done=False, json=json)


@task(
    help={
        "push": "push the tag to the remote",
        "dry_run": "only show the plan",
        **RELEASE_HELP,
    }
)
@command
def release(c, revision=False, push=False, remote="origin", dry_run=False, json=False, debug=False):
    """Tag the next release if there is one; CI publishes a tag that is pushed."""
    repository, plan = _plan_release(remote if push else "", revision)
    if not dry_run:
        releasing.apply(repository, plan, remote if push else "")
    _show_release(plan, done=not dry_run and plan.release is not None, json=json)


@task(
    help={
        "release": "tag whose images are meant, or HEAD for the commit's (default: mt.0)",
        "pull": "number of the pull request (default: the one that this CI run is for)",
        "post": "write it on the forge; without this it is only printed",
        **COMMON,
    },
)
@command
def comment(c, release="", pull=0, post=False, json=False, debug=False):
    """Report sizes and the runtime gate as Markdown, as a comment on a pull request."""
    text, _ = _summary(_release(release))
    done = ""
    if post:
        with contextlib.closing(forge.from_environment()) as there:
            done = there.comment(pull or forge.pull_of(), text, "mikrotik-tailscale sizes")
    if json:
        report.print_json({"text": text, "done": done})
    else:
        print(text)


def _summary(release: Release) -> tuple[str, pipeline.Result]:
    """Return the Markdown report of the images, which are built if they are not there yet."""
    request = pipeline.Request(targets.select([]), release, check_size=False, whole=True)
    result = pipeline.build(request)
    records = [
        record
        for name, entry in result.images.items()
        if (record := runtime.read(name)) and record.image == entry.facts["manifest"]["digest"]
    ]
    return markdown.summary(release.tag, result.measures, records), result


@task(
    help={
        "release": "tag of the release (default HEAD: the commit's)",
        "dry_run": "only list the files",
        **COMMON,
    },
)
@command
def attach(c, release=HEAD, dry_run=False, json=False, debug=False):
    """Put the files of dist/ into the forge's release of a tag, with the report as its text."""
    tag = _release(release).tag
    text, result = _summary(_release(release))
    names = [*result.record, layout.SUMS, layout.SIGNATURE]
    files = [paths.dist_dir() / name for name in sorted(names)]
    files = [path for path in files if path.is_file()]
    sent = []
    if not dry_run:
        with contextlib.closing(forge.from_environment()) as there:
            sent = there.attach(tag, text, files)
    if json:
        report.print_json({"release": tag, "files": [path.name for path in files], "sent": sent})
    else:
        rows = [(p.name, f"{p.stat().st_size:,}", "yes" if p.name in sent else "") for p in files]
        report.table(f"Files of {tag}", ("file", ">bytes", "sent"), rows)


@task(
    name="router",
    help={
        "version": "RouterOS version, such as 7.20 (default: scripts that work on all)",
        "out": "folder to write to (default: print the names; the universal ones are routeros/)",
        "image": "registry/repository that routers follow",
        "check": "exit with 3 if routeros/ is not what the templates give",
        **COMMON,
    },
)
@command
def router_(c, version="", out="", image="", check=False, json=False, debug=False):
    """Render the router's scripts from their templates, for one RouterOS version or for all."""
    values = router.Values(image=image) if image else router.Values()
    texts = router.render_all(paths.ROOT / "routeros" / "templates", version or None, values)
    faults = [
        f"{name}: {fault}"
        for name, text in texts.items()
        for fault in router.lint(name.removesuffix(".rsc"), text)
    ]
    if check:
        faults += [
            f"routeros/{name} is not what its template gives"
            for name, text in texts.items()
            if (paths.ROOT / "routeros" / name).read_text() != text
        ]
    if faults:
        raise errors.GateFailed(
            "the router's scripts are not in order",
            why="; ".join(faults),
            cure="correct routeros/templates, then `invoke router --out routeros`",
        )
    if out:
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            fresh = folder / f"{name}.tmp"
            fresh.write_text(text)
            fresh.rename(folder / name)
    if json:
        report.print_json({name: len(text) for name, text in texts.items()})
    else:
        for name, text in texts.items():
            print(f"{Path(out) / name if out else name}  {len(text):,} characters")


@task(
    help={
        "host": "the router's address: https://router, or http:// on a wire of your own",
        "user": "user of the router (default admin); the password is in $MT_ROUTER_PASSWORD",
        "arch": "platform of the image to hand over from dist/; without it the router pulls",
        "settings": "your settings script (default: routeros/settings-tailscale.rsc)",
        "disk": "disk slot for image and tar (default: internal flash)",
        "serve_on": "this machine's address that the router can reach, for --arch",
        "ca": "file with the CA of the router's certificate",
        "apply": "do it; without this only the plan is shown",
        **COMMON,
    },
)
@command
def deploy(
    c,
    host,
    user="admin",
    arch="",
    settings="",
    disk="",
    serve_on="",
    ca="",
    apply=False,
    json=False,
    debug=False,
):
    """Show how a router would be installed or updated over REST, and with --apply do it."""
    password = os.environ.get("MT_ROUTER_PASSWORD")
    if password is None:
        raise errors.UserError("no password", cure="put the router's into $MT_ROUTER_PASSWORD")
    if arch and apply and not serve_on:
        raise errors.UserError(
            "from which address can the router fetch the image?",
            cure="--serve-on with this machine's address in the router's network",
        )
    scripts = {
        name: (paths.ROOT / "routeros" / f"{name}.rsc").read_text() for name in router.SCRIPTS
    }
    if settings:
        scripts["settings-tailscale"] = Path(settings).read_text()
    image, digest_ = None, ""
    if arch:
        target = targets.target(arch)
        release = pipeline.release_of()
        image = paths.dist_dir() / layout.archive_name(target, release)
        record = layout.read_record()
        if image.name not in record:
            raise errors.UserError(f"{image} is not built", cure=f"invoke build --arch {arch}")
        digest_ = record.get("oci", {}).get("index") or f"sha256:{record[image.name]['sha256']}"
        arch = target.name
    client = routerapi.Client(host, user, password, ca or True)
    wanted = deployment.Wanted(scripts, image, arch, digest_, disk)
    steps = deployment.plan(deployment.read(client), wanted)
    if json:
        report.print_json(
            {"actions": [row.text for row in steps.actions], "problems": list(steps.problems)}
        )
    else:
        print("\n".join(steps.lines()) or "nothing to do")
    if steps.problems:
        raise errors.UserError("this router cannot be deployed to", why="; ".join(steps.problems))
    if apply:
        deployment.apply(
            client,
            steps,
            wanted,
            lambda text: log.note(host, text),
            lambda path: routerapi.offer(path, serve_on),
        )
    elif steps.actions and not json:
        print("nothing was changed; --apply does it")


def _client(where: str, plain_http: bool) -> Client:
    where = where or os.environ.get("MT_REPOSITORY", "")
    if not where:
        raise errors.UserError(
            "which repository?", cure="name it as REGISTRY/REPOSITORY, or set MT_REPOSITORY"
        )
    found = place.parse_place(where, plain_http=plain_http)
    return Client(found, credentials.find(found.host))


def _attachments(layout_: Path, index: str, tag: str, where: str, sign: bool) -> list[Attachment]:
    """Return what is published beside the images of a layout: bills of materials, the signature."""
    beside = referrers.of_dist(layout_.parent, index, pins()["tailscale"].epoch)
    if not beside:
        log.warn(f"no bills of materials lie beside {layout_}: none are published")
    if sign:
        key = signature.key_from_environment()
        beside.append(signature.sign(where, index, key, {"tag": tag}))
    return beside


@task(
    help={
        "to": "REGISTRY/REPOSITORY (default: $MT_REPOSITORY)",
        "release": "tag to publish, or HEAD for the commit's (default: the layout's)",
        "layout": "OCI layout of all platforms (default: oci in dist/)",
        "dry_run": "only show what would be sent",
        "plain_http": "speak to the registry without TLS; this machine's own needs no word",
        "mount_from": "repository of the same registry that may have the blobs already",
        "stable": "let :stable follow; --no-stable leaves it where it is",
        "sign": "sign with the key in $MT_SIGNING_KEY; --no-sign publishes without a signature",
        **COMMON,
    },
)
@command
def publish(
    c,
    to="",
    release="",
    layout="",
    dry_run=False,
    plain_http=False,
    mount_from="",
    stable=True,
    sign=True,
    json=False,
    debug=False,
):
    """Send a release to a registry: all by digest, then its tag, then :stable (exit code 3)."""
    folder = Path(layout) if layout else paths.dist_dir() / "oci"
    with _client(to, plain_http) as client:
        named, index = publication.head_of(folder)
        named = _release(release) if release else named
        beside = _attachments(folder, index, named.tag, client.place.text, sign)
        wanted = publication.plan(client, folder, named, beside, stable=stable)
        if not dry_run:
            publication.apply(client, wanted, mount_from=mount_from)
    columns = ("what", "digest", ">bytes", "state")
    rows = wanted.rows(done=not dry_run)
    if json:
        keys = ("what", "digest", "size", "state")
        parts = [dict(zip(keys, row, strict=True)) for row in rows]
        head = {"release": named.tag, "index": wanted.index.digest, "dry_run": dry_run}
        report.print_json({**head, "place": client.place.text, "parts": parts})
        return
    report.table(
        f"{named.tag} in {client.place.text}",
        columns,
        [(what, of[:19], f"{size:,}" if size else "", state) for what, of, size, state in rows],
    )
    print(f"{client.place.text}@{wanted.index.digest}")
    if dry_run:
        print("nothing was sent; without --dry-run it is")


@task(
    help={
        "to": "release that :stable shall be, such as v1.102.5-mt.1",
        "at": "REGISTRY/REPOSITORY (default: $MT_REPOSITORY)",
        "dry_run": "only show what would be moved",
        "plain_http": "speak to the registry without TLS; this machine's own needs no word",
        **COMMON,
    },
)
@command
def rollback(c, to, at="", dry_run=False, plain_http=False, json=False, debug=False):
    """Move :stable to a release that is in the registry, after reading that whole."""
    with _client(at, plain_http) as client:
        wanted = moving.plan(client, to)
        if wanted.moves and not dry_run:
            moving.apply(client, wanted)
    before = wanted.before_release.tag if wanted.before_release else wanted.before
    if json:
        facts = {"place": client.place.text, "from": before, "to": wanted.release.tag}
        digests = {"before": wanted.before, "index": wanted.index.digest}
        report.print_json({**facts, **digests, "moved": wanted.moves and not dry_run})
        return
    name = f"{client.place.text}:stable"
    if not wanted.moves:
        print(f"{name} is {wanted.release.tag} already, {wanted.index.digest}")
        return
    verb = "would move" if dry_run else "moved"
    print(f"{name} {verb} from {before or 'nothing'} to {wanted.release.tag}")
    print(f"{client.place.text}@{wanted.index.digest}")


if sys.version_info < tools.LOWEST_PYTHON:
    raise SystemExit("error: this needs Python 3.11 or newer; run ./dev with one")
