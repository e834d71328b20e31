"""The binary by other recipes than ours: for comparing, weighing and showing what breaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from build.config import features, tools
from build.config.targets import Target, targets
from build.core import cache
from build.core.artifacts import Artifact
from build.gates import ratio, weigh
from build.golang import tailscale
from build.native import compress, packers
from build.pipeline import order


def build(target: Target, recipe: tailscale.Recipe, method: str = "") -> tuple[Artifact, Artifact]:
    """Return a platform's binary by another recipe than ours: (as linked, compressed).

    `method` is a way to compress; upstream's recipe is compressed by UPX as upstream does it, all
    others like the images, unless it is given. For comparisons: it goes into no image. Raises what
    the stages raise.
    """
    theirs = recipe in (tailscale.UPSTREAM, tailscale.FITTED)
    method = method or ("upx" if theirs else compress.DEFAULT)
    tools.require()
    go = order.go_command()
    made = tailscale.build(go, target, order.release_of(), recipe, order.lean_linker(go))
    raw = made.artifact("tailscale.combined")
    packed = compress.compress(
        raw,
        tailscale.label_of(target, recipe),
        method,
        lambda: packers.tools(method, target, go.trees),
    )
    return raw, packed.artifact("tailscale.combined")


def weighed(shares: Sequence[ratio.Share], *, every: bool = False) -> list[ratio.Share]:
    """Return the shares with upstream's recipe built where it is not known for these pins.

    Each takes a compilation the first time. One that nothing was accepted for is left as it is,
    unless `every` is asked for. Raises what the stages raise.
    """
    return [
        share
        if share.upstream or not (share.accepted or every)
        else ratio.with_upstream(share, build(targets()[share.target], tailscale.UPSTREAM)[1].size)
        for share in shares
    ]


SYMBOLS = replace(tailscale.OURS, name="symbols", ldflags=(), symbols=False)
"""Ours with its symbol table, for weighing."""


def weights(target: Target, by: str) -> list[weigh.Weight]:
    """Return where a platform's compressed binary has its bytes, by `package` or `section`."""
    raw, packed = build(target, tailscale.OURS)
    if by == "section":
        return weigh.sections(cache.checked(raw), packed.size)
    go = order.go_command()
    named = tailscale.build(go, target, order.release_of(), SYMBOLS, order.lean_linker(go))
    return weigh.packages(cache.checked(named.artifact("tailscale.combined")), packed.size)


def feature_costs(target: Target, names: Sequence[str]) -> dict[str, tuple[int, int, list[str]]]:
    """Return {feature: (raw bytes, compressed bytes, what goes with it)} by building without each.

    `names` limits it; all wanted features otherwise. Each takes a compilation the first time.
    """
    go = order.go_command()
    graph, verdicts = tailscale.graph(go), features.load_verdicts()
    resolution = features.resolve(graph, verdicts, go.tailscale.version)
    wanted = names or [row.name for row in resolution.rows if row.verdict == "in"]
    raw, packed = build(target, tailscale.OURS)
    costs = {}
    for name in wanted:
        kept = weigh.without(graph, verdicts, name)
        features_kept = tuple(sorted(kept))
        recipe = replace(tailscale.OURS, name=f"no-{name}", features=features_kept, symbols=False)
        less_raw, less = build(target, recipe)
        gone = sorted(set(resolution.included) - kept - {name})
        costs[name] = (raw.size - less_raw.size, packed.size - less.size, gone)
    return costs
