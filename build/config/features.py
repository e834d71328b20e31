"""Which Tailscale features are in, and why: upstream's table, our verdicts, one pure resolver."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from build.config import schema
from build.core.errors import BuildFailed
from build.core.paths import DATA

VERDICTS = ("in", "needed", "out")
BY_RULE = "rule"
"""Stands for the verdict of a feature that has none yet."""

_NAME = schema.text(r"[a-z0-9_]+", "a feature's name")
_SCHEMA = schema.row(
    {
        "feature": schema.table(
            schema.row(
                {"verdict": schema.one_of(*VERDICTS), "reason": schema.text()},
                {"since": schema.text(r"[0-9]+(\.[0-9]+)*", "a Tailscale version")},
            ),
            r"[a-z0-9_]+",
            "a feature's name",
            least=1,
        )
    },
    {"edge": schema.each(schema.row({"from": _NAME, "to": _NAME, "evidence": schema.text()}))},
)


@dataclass(frozen=True)
class Feature:
    """One row of upstream's table: its name, description and the features it declares to need."""

    name: str
    desc: str
    deps: tuple[str, ...]


Graph = Mapping[str, Feature]


@dataclass(frozen=True)
class Verdict:
    """Our word on a feature: in, needed or out; why; since which Tailscale version it exists."""

    verdict: str
    reason: str
    since: str = ""


@dataclass(frozen=True)
class Edge:
    """A dependency that upstream does not declare, with the evidence for it."""

    source: str
    to: str
    evidence: str


@dataclass(frozen=True)
class Verdicts:
    """All of `features.toml`."""

    features: Mapping[str, Verdict]
    edges: tuple[Edge, ...]


@dataclass(frozen=True)
class Row:
    """What became of one feature: `included`, why, and which features pulled it in."""

    name: str
    desc: str
    included: bool
    verdict: str
    reason: str
    pulled_by: tuple[str, ...]


@dataclass(frozen=True)
class Resolution:
    """The outcome: one row for each feature of the graph, and the Go build tags.

    `remarks` say what was decided by rule and wants a person's word; the build goes on.
    """

    rows: tuple[Row, ...]
    tags: tuple[str, ...]
    remarks: tuple[str, ...] = ()

    @property
    def included(self) -> list[str]:
        """Names of the features that are in."""
        return [row.name for row in self.rows if row.included]


_STRING = r'"((?:[^"\\]|\\.)*)"'
_HEAD = re.compile(r'"(\w+)":\s*\{')


def parse_graph(source: str) -> dict[str, Feature]:
    """Read the `Features` table out of upstream's feature/featuretags/featuretags.go.

    Only the shape that table has is understood. Raises BuildFailed when it has another, so that
    no feature is overlooked.
    """
    start = source.find("var Features = map[FeatureTag]FeatureMeta{")
    end = source.find("\n}\n", start)
    if start < 0 or end < 0:
        raise BuildFailed(
            "upstream's feature table was not found",
            why="featuretags.go has no `var Features = map[FeatureTag]FeatureMeta{`",
            cure="see how features are declared now and teach build/config/features.py",
        )
    body = source[source.index("{", start) + 1 : end]
    # Comments go first; a // inside a string would be mangled, so strings are matched before it.
    body = re.sub(_STRING + r"|//[^\n]*", lambda m: m[0] if m[0][0] == '"' else "", body)
    graph: dict[str, Feature] = {}
    position = 0
    while match := _HEAD.search(body, position):
        if body[position : match.start()].strip(" \t\n,"):
            break
        depth, at = 1, match.end()
        while depth:
            piece = re.compile(_STRING + r"|[{}]").search(body, at)
            if piece is None:
                raise BuildFailed(f"upstream's feature table ends within '{match[1]}'")
            depth += {"{": 1, "}": -1}.get(piece[0], 0)
            at = piece.end()
        graph[match[1]] = _feature(match[1], body[match.end() : at - 1])
        position = at
    rest = body[position:].strip(" \t\n,")
    if rest or not graph:
        raise BuildFailed(
            "upstream's feature table has a shape that build/config/features.py does not know",
            why=f"at: {rest[:120]!r}",
            cure="teach parse_graph the new shape",
        )
    for feature in graph.values():
        if unknown := set(feature.deps) - graph.keys():
            raise BuildFailed(f"feature '{feature.name}' needs unknown {sorted(unknown)}")
    return graph


def _feature(name: str, fields: str) -> Feature:
    desc = re.search(r"\bDesc:\s*" + _STRING, fields)
    deps = re.search(r"\bDeps:\s*\[\]FeatureTag\{([^}]*)\}", fields)
    known = r"\b(Sym|Desc):\s*" + _STRING
    rest = re.sub(known, "", fields)
    # Only names that are written out: a constant among the Deps must not be overlooked.
    names = r"(\s*" + _STRING + r"\s*(,|(?=\})))*\s*"
    rest = re.sub(r"\bDeps:\s*\[\]FeatureTag\{" + names + r"\}", "", rest)
    rest = re.sub(r"\bImplementationDetail:\s*(true|false)", "", rest).strip(" \t\n,")
    if rest or desc is None:
        raise BuildFailed(
            f"upstream's feature '{name}' has fields that build/config/features.py does not know",
            why=repr(rest or fields),
            cure="see what they mean for the build, then teach it",
        )
    return Feature(name, desc[1], tuple(re.findall(_STRING, deps[1])) if deps else ())


def load_verdicts(path: Path = DATA / "features.toml") -> Verdicts:
    """Read our verdicts. Raises UserError naming every fault."""
    found = schema.read(path, _SCHEMA)
    features = {
        name: Verdict(row["verdict"], row["reason"], row.get("since", ""))
        for name, row in found["feature"].items()
    }
    edges = [Edge(row["from"], row["to"], row["evidence"]) for row in found.get("edge", [])]
    return Verdicts(features, tuple(edges))


def resolve(graph: Graph, verdicts: Verdicts, version: str) -> Resolution:
    """Resolve our verdicts over a feature graph of Tailscale `version`.

    A feature is in if it is wanted or if one that is in needs it, directly or not, by upstream's
    declared Deps or by our own edges. One without a verdict goes by that rule alone, and is told
    in the remarks; so is a verdict that the rule overtook. What a core function needs without
    saying so is not seen here but by the canaries. Raises BuildFailed that lists every verdict
    that contradicts the graph, and every wanted feature that is gone.
    """
    faults, remarks = _names(graph, verdicts, version)
    pulled = _closure(graph, verdicts)
    for name, by in pulled.items():
        verdict = verdicts.features.get(name)
        if verdict and verdict.verdict == "out":
            faults.append(f"'{name}' is out by our verdict, but {', '.join(sorted(by))} needs it")
    rows = []
    for name, feature in sorted(graph.items()):
        by = pulled.get(name, set())
        verdict = verdicts.features.get(name)
        if verdict is None:
            said = f"{', '.join(sorted(by))} needs it" if by else "nothing that is in needs it"
            verdict = Verdict(BY_RULE, f"decided by rule, wants a verdict: {said}")
            outcome = "in" if name in pulled else "out"
            remarks.append(f"new feature '{name}' ({feature.desc}) is {outcome}: {verdict.reason}")
        elif verdict.verdict == "needed" and name not in pulled:
            remarks.append(f"'{name}' is in only where needed, and nothing needs it any more: out")
        row = (name, feature.desc, name in pulled, verdict.verdict, verdict.reason)
        rows.append(Row(*row, tuple(sorted(by))))
    if faults:
        raise BuildFailed(
            f"the features of Tailscale {version} do not match build/data/features.toml",
            why="".join(f"\n    {fault}" for fault in faults),
            cure="correct the verdicts and reasons there; `invoke features` shows the outcome",
        )
    return Resolution(tuple(rows), tuple(tags_for(graph, set(pulled))), tuple(remarks))


def _names(graph: Graph, verdicts: Verdicts, version: str) -> tuple[list[str], list[str]]:
    """Return faults and remarks about what has a verdict or an edge and is gone."""
    faults: list[str] = []
    remarks: list[str] = []
    for name, verdict in verdicts.features.items():
        early = verdict.since and Version(version) < Version(verdict.since)
        if name not in graph and not early:
            where = faults if verdict.verdict == "in" else remarks
            where.append(f"'{name}' has a verdict, but upstream has no such feature any more")
    for edge in verdicts.edges:
        if edge.source not in graph or edge.to not in graph:
            remarks.append(f"our edge {edge.source} -> {edge.to} is about a feature that is gone")
    return faults, remarks


def _closure(graph: Graph, verdicts: Verdicts) -> dict[str, set[str]]:
    """Return {feature that is in: features that pulled it in}."""
    pulled: dict[str, set[str]] = {
        name: set() for name, v in verdicts.features.items() if v.verdict == "in" and name in graph
    }
    queue = list(pulled)
    while queue:
        name = queue.pop()
        own = [edge.to for edge in verdicts.edges if edge.source == name and edge.to in graph]
        for dep in (*graph[name].deps, *own):
            if dep not in pulled:
                pulled[dep] = set()
                queue.append(dep)
            pulled[dep].add(name)
    return pulled


def tags_for(graph: Graph, included: set[str]) -> list[str]:
    """Return the sorted Go build tags that build exactly these features.

    `cli` is upstream's one opt-in tag (ts_include_cli); every other feature is left out by one.
    """
    tags = ["ts_include_cli"] if "cli" in included else []
    return sorted(tags + [f"ts_omit_{name}" for name in graph if name not in included | {"cli"}])
