"""The binary by other recipes than ours: for comparing, weighing and showing what breaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from build import cache, compress, features, golang, pipeline, tools, weigh
from build.artifacts import Artifact
from build.pins import pin
from build.targets import Target


def build(target: Target, recipe: golang.Recipe) -> tuple[Artifact, Artifact]:
    """Return a platform's binary by another recipe than ours: (as linked, compressed by UPX).

    For comparisons: it goes into no image. Raises what the stages raise.
    """
    tools.require()
    go = pipeline.go_command()
    made = golang.build(go, target, pipeline.release_of(), recipe, pipeline.lean_linker(go))
    raw = made.artifact("tailscale.combined")
    pins_of_upx = pin("upx"), pin("cmake"), pin("zig")
    packed = compress.compress(
        raw,
        golang.label_of(target, recipe),
        "upx",
        lambda: compress.build_upx(*pins_of_upx, go.trees),
        compress.identity(*pins_of_upx),
    )
    return raw, packed.artifact("tailscale.combined")


SYMBOLS = replace(golang.OURS, name="symbols", ldflags=(), symbols=False)
"""Ours with its symbol table, for weighing."""


def weights(target: Target, by: str) -> list[weigh.Weight]:
    """Return where a platform's compressed binary has its bytes, by `package` or `section`."""
    raw, packed = build(target, golang.OURS)
    if by == "section":
        return weigh.sections(cache.checked(raw), packed.size)
    go = pipeline.go_command()
    named = golang.build(go, target, pipeline.release_of(), SYMBOLS, pipeline.lean_linker(go))
    return weigh.packages(cache.checked(named.artifact("tailscale.combined")), packed.size)


def feature_costs(target: Target, names: Sequence[str]) -> dict[str, tuple[int, int, list[str]]]:
    """Return {feature: (raw bytes, compressed bytes, what goes with it)} by building without each.

    `names` limits it; all wanted features otherwise. Each takes a compilation the first time.
    """
    go = pipeline.go_command()
    graph, verdicts = golang.graph(go), features.load_verdicts()
    resolution = features.resolve(graph, verdicts, go.tailscale.version)
    wanted = names or [row.name for row in resolution.rows if row.verdict == "in"]
    raw, packed = build(target, golang.OURS)
    costs = {}
    for name in wanted:
        kept = weigh.without(graph, verdicts, name)
        features_kept = tuple(sorted(kept))
        recipe = replace(golang.OURS, name=f"no-{name}", features=features_kept, symbols=False)
        less_raw, less = build(target, recipe)
        gone = sorted(set(resolution.included) - kept - {name})
        costs[name] = (raw.size - less_raw.size, packed.size - less.size, gone)
    return costs


def symbols_of(target: Target) -> Path:
    """Return the file of symbols of a platform's binary as this checkout builds it."""
    go = pipeline.go_command()
    made = golang.build(go, target, pipeline.release_of(), linker=pipeline.lean_linker(go))
    return cache.checked(made.artifact(golang.SYMBOLS))
