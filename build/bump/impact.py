"""What another version of a pin does to us: features, Go modules, patches, what is left to do."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from build.bump import changes, holders, relied
from build.config import features, licences, targets
from build.config.pins import Pin
from build.core import cache
from build.core.errors import BuildFailed
from build.golang import buildinfo, modules, tailscale
from build.pipeline import order
from build.sbom.inventory import STD
from build.sources import anchoring, obtain

FEATURES = "feature/featuretags/featuretags.go"


@dataclass
class Impact:
    """The features and Go modules of Tailscale that differ, and what a person has to do.

    `stops` are what a build would stop at, `todo` is what else to look at; `moved` are lines that
    we change and that stand elsewhere now, where our patches find them by themselves.
    `holders` are the copyright holders of what is linked, if that could be listed.
    """

    features: list[changes.FeatureChange] = field(default_factory=list)
    modules: list[changes.ModuleChange] = field(default_factory=list)
    stops: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    todo: list[str] = field(default_factory=list)
    holders: holders.Holders = field(default_factory=dict)


def of(before: Pin, after: Pin) -> Impact:
    """Compare two pins whose files can be had; what goes along with `after` stands in already.

    Raises SourceError or BuildFailed if one of them cannot be read.
    """
    found = Impact()
    found.stops, found.moved = of_patches(before, after)
    if after.name == "tailscale":
        _compare_tailscale(found, before, after)
    found.todo.append(f"see whether `why` of the pin still holds: {after.why}")
    return found


def _compare_tailscale(found: Impact, before: Pin, after: Pin) -> None:
    old, new = obtain.fetch(before), obtain.fetch(after)
    had, has = (features.parse_graph(in_zip(path, FEATURES)) for path in (old, new))
    required, requires = (changes.parse_go_mod(in_zip(path, "go.mod")) for path in (old, new))
    verdicts = features.load_verdicts()
    found.features = changes.of_features(had, has, verdicts)
    found.todo += [
        f"build/data/features.toml: {line}"
        for line in changes.undecided(has, verdicts, after.version)
    ]
    linked: set[str] = set()
    if not found.stops:
        try:
            linked = _linked(found)
        except BuildFailed as error:
            found.stops.append(f"{error.what}: {error.why}")
    found.modules = changes.of_modules(required, requires, modules.folders(), linked)


def _linked(found: Impact) -> set[str]:
    """Return the Go modules in the binaries of all platforms, whose licences are looked at."""
    go, texts = order.go_command(), dict[str, dict[str, Path]]()
    with cache.scratch() as scratch:
        words = ",".join([*tailscale.tags(go), tailscale.ROOTS_TAG])
        for target in targets.targets().values():
            for name, (home, dirs) in buildinfo.listed(go, target, words, scratch).items():
                texts[name] = texts.get(name, {}) | licences.files(home, dirs)
    texts[STD] = licences.files(go.root)
    found.holders = holders.of(texts)
    try:
        licences.check(texts, licences.load())
    except BuildFailed as error:
        found.stops.append(f"{error.what}: {error.why}\n      {error.cure}")
    return set(texts) - {STD}


def in_zip(path: Path, name: str) -> str:
    """Return a text file out of a module zip, whose names start with `<module>@<version>/`."""
    try:
        with zipfile.ZipFile(path) as bundle:
            (full,) = [n for n in bundle.namelist() if n.partition("/")[2] == name]
            return bundle.read(full).decode()
    except (zipfile.BadZipFile, ValueError) as error:
        raise BuildFailed(f"{path.name} has no {name}", why=str(error)) from error


def of_patches(before: Pin, after: Pin) -> tuple[list[str], list[str]]:
    """Return which of our patches and anchors no longer fit the new sources, with the lines; and
    which lines that we change stand elsewhere, or features that we name came or went.
    """
    go, found, moved = order.go_command(), list[str](), list[str]()
    with cache.scratch() as scratch:
        both = []
        for name, pin in (("before", before), ("after", after)):
            (room := scratch / name).mkdir()
            both.append(relied.sources(pin, go, room))
        try:
            for old, new in zip(*both, strict=True):
                found += anchoring.faults(new.name, new.root, old.root)
                was, now = list(relied.patches(old)), list(relied.patches(new))
                found += [row.state for row in now if row.kind == relied.PATCH]
                moved += _moved(was, now)
                moved += _came_or_went(relied.features(old), relied.features(new))
        except BuildFailed as error:
            found.append(f"{error.what}: {error.why}")
    return list(dict.fromkeys(found)), list(dict.fromkeys(moved))


def _came_or_went(was: Iterable[relied.Place], now: Iterable[relied.Place]) -> list[str]:
    """Return which features that our files name are there in one version only."""
    pairs = zip(was, now, strict=True)  # of the same names, in order
    return [f"{new.by}: {new.where}: {new.state}" for old, new in pairs if old.state != new.state]


def _moved(was: list[relied.Place], now: list[relied.Place]) -> list[str]:
    """Return where the hunks of one source stand now that stood elsewhere in the version before."""
    before: dict[str, list[str]] = {}
    for row in was:
        before.setdefault(row.by, []).append(row.where)
    said = []
    for row in now:
        stood = before.get(row.by, [])
        if row.kind != relied.PATCH and stood and (old := stood.pop(0)) != row.where:
            said.append(f"{row.by}: {old} -> {row.where.removeprefix(old.rpartition(':')[0])[2:]}")
    return said
