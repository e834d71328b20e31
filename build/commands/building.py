"""Commands that build, and that show what a build is made of and how large it is."""

from __future__ import annotations

import os

from invoke import task

from build.commands.common import (
    ARCH_HELP,
    COMMON,
    cached_sources,
    command,
    named_release,
    one_of,
)
from build.config import features, targets
from build.core import errors, log, marks, paths
from build.gates import ratio, size
from build.golang import tailscale
from build.image import products
from build.image import record as dist_record
from build.native.compress import DEFAULT, METHODS
from build.pipeline import order, variants
from build.views import drawings, look, plots, report


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
    one_of("compress", compress, METHODS)
    one_of("assembler", assembler, order.ASSEMBLERS)
    dist_record.require_writable()
    request = order.Request(
        targets=targets.select(arch),
        release=named_release(release),
        compress=compress,
        offline=offline,
        whole=whole,
        check_size=False,
        assembler=assembler,
    )
    result = order.build(request)
    shares = ratio.of(result.measures)
    rows = {
        name: {key: value for key, value in row.items() if key not in ("from", "files")}
        for name, row in result.record.items()
    }
    if json:
        report.print_json(
            {
                "release": request.release.tag,
                "sizes": report.size_rows(result.measures, shares),
                "products": rows,
                "ran": result.ran,
                "seconds": round(result.seconds, 3),
            }
        )
    else:
        report.sizes(result.measures, request.release.tag)
        if compress == DEFAULT:
            report.shares(shares)
        for name, row in rows.items():
            what = row.get("index") or f"sha256:{row['sha256']}"
            print(f"{paths.dist_dir().name}/{name}  {what}")
        ran = f"{len(result.ran)} stages ran" if result.ran else "nothing to do"
        print(f"{ran}, {result.seconds:.1f} s")
    if compress == DEFAULT:
        # Caps and weights are those of what is published; who asks for other trades sees the table.
        size.require(result.measures)
        ratio.require(shares)
        if not_held := [one.target for one in shares if one.accepted and not one.upstream]:
            log.warn(
                f"our own weight is not compared ({', '.join(not_held)}): weight.json is of other "
                "versions; `invoke size --check` builds upstream's recipe of these"
            )


def _show_costs(target: targets.Target, only: list[str], json: bool) -> None:
    verdicts = features.load_verdicts().features
    for name in only:
        one_of("only", name, [known for known, row in verdicts.items() if row.verdict != "out"])
    costs = variants.feature_costs(target, only)
    if json:
        report.print_json(costs)
    else:
        report.cost_table(costs, target.name)


BUILD_HELP = {
    "release": "full tag to stamp, such as v1.102.5-mt.1, or HEAD for the commit's (default: mt.0)",
    "compress": "lzma (own packer: least flash), upx, or none (least RAM, quicker start)",
    "offline": "use only what is in the cache or in $MT_SOURCES",
    "why": "say for each stage which of its inputs changed",
    **COMMON,
}


@task(help={"arch": ARCH_HELP, **BUILD_HELP}, iterable=["arch"])
@command
def build(c, arch, release="", compress=DEFAULT, offline=False, why=False, json=False, debug=False):
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
    compress=DEFAULT,
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
        "cost": "what each wanted feature costs, by building without it (minutes; cache only)",
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
    if only:
        raise errors.UserError("--only limits --cost", cure="add --cost, or leave --only out")
    targets.target(arch)
    with cached_sources() as go:
        version = go.tailscale.version
        found = features.resolve(tailscale.graph(go), features.load_verdicts(), version)
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
    with cached_sources() as go:
        found = tailscale.tags(go)
    if json:
        report.print_json(found)
    else:
        print(",".join(found))


@task(
    name="size",
    iterable=["arch"],
    help={
        "arch": ARCH_HELP,
        "by": "package, section or feature: where the bytes are (compiles into the cache; arm64)",
        "check": "exit with 3 above the cap, with 4 if our share of upstream's recipe rose",
        "accept": "accept our share of upstream's recipe as it is now, in build/data/weight.json",
        "record": "record the sizes under this release tag in build/data/sizes.json",
        **COMMON,
    },
)
@command
def size_(c, arch, by="", check=False, accept=False, record="", json=False, debug=False):
    """Show the size of each component in dist/ against cap and weight; --by compiles."""
    if by:
        one_of("by", by, ("package", "section", "feature"))
        if check or accept or record:
            raise errors.UserError("--by neither checks nor records", cure="leave one of them out")
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
    _show_sizes(arch, check, accept, record, json)


def _show_sizes(arch: list[str], check: bool, accept: bool, record: str, json: bool) -> None:
    release = named_release(record) if record else None
    # A gate, and a release, are about all platforms; looking is about what is there.
    gate = check or accept or bool(record)
    every = targets.select(arch) if arch or gate else products.there()
    found = products.images(every or targets.select([]), release)
    measures = size.of_images(found)
    shares = ratio.of(measures)
    if accept or (check and not any(row.over for row in measures)):
        shares = variants.weighed(shares, every=accept)
    if json:
        report.print_json(report.size_rows(measures, shares))
    else:
        report.sizes(measures, ", ".join(sorted({one.release.tag for one in found})))
        report.shares(shares)
    if accept:
        ratio.accept(shares)
        drawings.write()
    if check:
        size.require(measures)
        ratio.require(ratio.of(measures) if accept else shares)
    if release:
        size.record(release.tag, measures)


@task(help={"arch": "platform for the treemap (default arm64)", **COMMON})
@command
def chart(c, arch="arm64", json=False, debug=False):
    """Draw work/report.html: a treemap of the binary and the trend (compiles into the cache)."""
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
    path = paths.work_dir() / "report.html"
    marks.make_folder(path.parent)
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.write_text(look.page(f"Sizes of {order.release_of().tag}", parts))
    fresh.replace(path)
    if json:
        report.print_json({"report": str(path)})
    else:
        print(path)
