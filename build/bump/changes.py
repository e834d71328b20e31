"""What another version of Tailscale changes: its features against our verdicts, its Go modules."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from packaging.version import Version

from build.config import features
from build.config.features import Graph, Verdicts
from build.core.errors import BuildFailed


@dataclass(frozen=True)
class FeatureChange:
    """One feature that is `new`, `gone` or needs others than before (`deps`).

    `verdict` is ours, "undecided" if there is none, and `reason` ours for it.
    """

    name: str
    change: str
    desc: str
    deps_before: tuple[str, ...]
    deps: tuple[str, ...]
    verdict: str
    reason: str


def of_features(before: Graph, after: Graph, verdicts: Verdicts) -> list[FeatureChange]:
    """Return the features that differ between two graphs, sorted by name."""
    found = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        kind = "new" if old is None else "gone" if new is None else "deps"
        if old and new and set(old.deps) == set(new.deps):
            continue
        feature = new or old
        assert feature is not None
        ours = verdicts.features.get(name)
        found.append(
            FeatureChange(
                name,
                kind,
                feature.desc,
                old.deps if old else (),
                new.deps if new else (),
                ours.verdict if ours else "undecided",
                ours.reason if ours else "",
            )
        )
    return found


def undecided(graph: Graph, verdicts: Verdicts, version: str) -> list[str]:
    """Return what the feature gate says of this Tailscale `version`, one line each."""
    try:
        return list(features.resolve(graph, verdicts, version).remarks)
    except BuildFailed as error:
        return [line.strip() for line in error.why.splitlines() if line.strip()]


def is_newer(wanted: str, have: str) -> bool:
    """Say whether a Go version that a go.mod asks for is newer than another."""
    return Version(wanted) > Version(have)


@dataclass(frozen=True)
class GoMod:
    """A go.mod: the Go version it asks for, {module: version} and which modules are indirect."""

    go: str
    requires: dict[str, str]
    indirect: frozenset[str]


def parse_go_mod(text: str) -> GoMod:
    """Read the `go` line and the requirements of a go.mod. Format: the Go Modules Reference.

    Replaced and excluded modules are told as required. Raises BuildFailed without a `go` line.
    """
    go = ""
    requires, indirect = {}, set()
    block = ""
    for line in text.splitlines():
        code, _, comment = line.partition("//")
        words = code.split()
        if not words:
            continue
        if words[-1] == "(":
            block = words[0]
            continue
        if words == [")"]:
            block = ""
            continue
        if not block and words[0] == "go":
            go = words[1]
        if block == "require" or words[0] == "require":
            module, version = (word.strip('"`') for word in words[-2:])
            requires[module] = version
            if re.match(r"\s*indirect\b", comment):
                indirect.add(module)
    if not go:
        raise BuildFailed("Tailscale's go.mod does not say which Go it needs")
    return GoMod(go, requires, frozenset(indirect))


@dataclass(frozen=True)
class ModuleChange:
    """A required Go module whose version differs; an empty version is none at all.

    `indirect` modules are needed by others only; `ours` says that we patch it.
    """

    module: str
    before: str
    after: str
    indirect: bool
    ours: bool


def of_modules(
    before: GoMod, after: GoMod, patched: Iterable[str], linked: Collection[str] = ()
) -> list[ModuleChange]:
    """Return the modules that differ: those we patch first, then direct ones, then the rest.

    Only those `linked` into a binary count, or all where that is not known.
    """
    ours = set(patched)
    found = [
        ModuleChange(
            name,
            before.requires.get(name, ""),
            after.requires.get(name, ""),
            name in (after if name in after.requires else before).indirect,
            name in ours,
        )
        for name in before.requires.keys() | after.requires.keys()
        if before.requires.get(name) != after.requires.get(name) and (not linked or name in linked)
    ]
    return sorted(found, key=lambda row: (not row.ours, row.indirect, row.module))
