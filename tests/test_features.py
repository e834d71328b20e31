"""Features: three real graphs of upstream, our verdicts over them, and every way to disagree."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from goldens import DATA
from hypothesis import given
from hypothesis import strategies as st
from renew import graph_facts

from build.config import features
from build.config.features import (
    Edge,
    Feature,
    Verdict,
    Verdicts,
    load_verdicts,
    parse_graph,
    resolve,
)
from build.config.pins import pin
from build.core.errors import BuildFailed, UserError
from build.golang import tailscale
from build.pipeline import order
from build.sources import obtain

VERSIONS = ("v1.98.5", "v1.102.5", "v1.104.5")

# What upstream's Dockerfile strips from the output of `featuretags --min` (its DESIGN.md).
RECIPE = (
    "osrouter advertiseexitnode advertiseroutes useexitnode useroutes dns portmapper "
    "listenrawdisco health iptables unixsocketidentity ipnbus netstack gro"
).split()


def graph(version: str) -> dict[str, Feature]:
    rows = json.loads((DATA / f"features-{version}.json").read_text())
    return {name: Feature(name, row["desc"], tuple(row["deps"])) for name, row in rows.items()}


def without(verdicts: Verdicts, *names: str) -> Verdicts:
    kept = {name: row for name, row in verdicts.features.items() if name not in names}
    return dataclasses.replace(verdicts, features=kept)


def changed(verdicts: Verdicts, **rows: Verdict) -> Verdicts:
    return dataclasses.replace(verdicts, features={**verdicts.features, **rows})


def refusal(version: str, verdicts: Verdicts, table: dict[str, Feature] | None = None) -> str:
    with pytest.raises(BuildFailed) as caught:
        resolve(table or graph(version), verdicts, version.removeprefix("v"))
    assert "build/data/features.toml" in caught.value.what
    assert caught.value.cure
    return caught.value.why


@pytest.mark.parametrize("version", VERSIONS)
def test_our_verdicts_resolve(version: str) -> None:
    table, verdicts = graph(version), load_verdicts()
    found = resolve(table, verdicts, version.removeprefix("v"))
    included = set(found.included)
    wanted = {name for name, row in verdicts.features.items() if row.verdict == "in"}
    assert wanted <= included
    assert {"c2n", "peerapiclient", "peerapiserver", "netstack"} <= included
    assert len(found.rows) == len(table)
    assert all(row.reason for row in found.rows)
    out = {name for name, row in verdicts.features.items() if row.verdict == "out"}
    assert not out & included
    omitted = {f"ts_omit_{name}" for name in table.keys() - included}
    assert set(found.tags) == omitted | {"ts_include_cli"}
    assert list(found.tags) == sorted(found.tags)


@pytest.mark.parametrize("version", VERSIONS)
def test_nothing_in_the_binary_needs_something_that_is_out(version: str) -> None:
    table = graph(version)
    found = resolve(table, load_verdicts(), version.removeprefix("v"))
    included = set(found.included)
    assert {dep for name in included for dep in table[name].deps} <= included


def test_the_1_104_trap() -> None:
    """v1.104 split UDP itself into features; whoever only keeps a list builds a DERP-only node."""
    table, verdicts = graph("v1.104.5"), load_verdicts()

    # Verdicts of a file from before 1.104 take both in, as ours need them, and say so.
    before = resolve(table, without(verdicts, "udptransport", "nattraversal"), "1.104.5")
    assert before.tags == resolve(table, verdicts, "1.104.5").tags
    assert before.remarks == (
        f"new feature 'nattraversal' ({table['nattraversal'].desc}) is in: "
        "decided by rule, wants a verdict: portmapper needs it",
        f"new feature 'udptransport' ({table['udptransport'].desc}) is in: "
        "decided by rule, wants a verdict: listenrawdisco, nattraversal needs it",
    )
    assert not resolve(table, verdicts, "1.104.5").remarks

    # Upstream's recipe: all tags of --min except the fourteen that are wanted.
    every = features.tags_for(table, set())
    recipe = [tag for tag in every if tag.removeprefix("ts_omit_") not in RECIPE]
    assert {"ts_omit_udptransport", "ts_omit_nattraversal"} <= set(recipe)
    assert "ts_omit_listenrawdisco" not in recipe, "though listenrawdisco, which needs it, is in"

    # Ours follows the Deps.
    tags = set(resolve(table, verdicts, "1.104.5").tags)
    assert not {"ts_omit_udptransport", "ts_omit_nattraversal"} & tags
    rows = {row.name: row for row in resolve(table, verdicts, "1.104.5").rows}
    assert rows["udptransport"].pulled_by == ("listenrawdisco", "nattraversal")
    assert rows["nattraversal"].pulled_by == ("portmapper",)


def test_verdicts_for_later_versions_wait() -> None:
    for version in ("v1.98.5", "v1.102.5"):
        assert "udptransport" not in graph(version)
        names = {row.name for row in resolve(graph(version), load_verdicts(), version[1:]).rows}
        assert "udptransport" not in names
    too_early = changed(load_verdicts(), udptransport=Verdict("needed", "x", since="1.102"))
    (remark,) = resolve(graph("v1.102.5"), too_early, "1.102.5").remarks
    assert "'udptransport' has a verdict, but upstream has no such" in remark


def test_the_gap_of_the_seed_is_closed() -> None:
    """An exit node without peerapiserver serves its clients no DNS."""
    table = graph("v1.102.5")
    assert "peerapiserver" in table["advertiseexitnode"].deps
    every = features.tags_for(table, set())
    recipe = [tag for tag in every if tag.removeprefix("ts_omit_") not in RECIPE]
    assert "ts_omit_peerapiserver" in recipe
    assert "ts_omit_peerapiserver" not in resolve(table, load_verdicts(), "1.102.5").tags


@pytest.mark.parametrize("wanted", [True, False])
def test_a_feature_that_nobody_knows_goes_by_rule(wanted: bool) -> None:
    table = graph("v1.102.5")
    table["teleport"] = Feature("teleport", "Move without moving", ("dns", "gro"))
    if wanted:
        table["dns"] = dataclasses.replace(table["dns"], deps=("teleport",))
    found = resolve(table, load_verdicts(), "1.102.5")
    (row,) = [row for row in found.rows if row.name == "teleport"]
    assert (row.included, row.verdict) == (wanted, features.BY_RULE)
    assert ("ts_omit_teleport" in found.tags) != wanted
    (remark,) = found.remarks
    assert "new feature 'teleport' (Move without moving) is " in remark
    assert remark.endswith("dns needs it" if wanted else "nothing that is in needs it")


def test_by_rule_a_wish_of_ours_is_not_overruled() -> None:
    """A new feature that is in may need what a person put out: he has to say what holds."""
    table = graph("v1.102.5")
    table["teleport"] = Feature("teleport", "x", ("taildrop",))
    table["dns"] = dataclasses.replace(table["dns"], deps=("teleport",))
    why = refusal("v1.102.5", load_verdicts(), table)
    assert "'taildrop' is out by our verdict, but teleport needs it" in why


def test_a_needed_feature_that_is_out_by_verdict() -> None:
    contradiction = changed(load_verdicts(), c2n=Verdict("out", "x"))
    why = refusal("v1.102.5", contradiction)
    assert "'c2n' is out by our verdict, but" in why
    puller = [name for name, row in graph("v1.102.5").items() if "c2n" in row.deps]
    assert any(name in why for name in puller)


@pytest.mark.parametrize("verdict", features.VERDICTS)
def test_a_verdict_about_nothing(verdict: str) -> None:
    stale = changed(load_verdicts(), oldthing=Verdict(verdict, "x"))
    said = "'oldthing' has a verdict, but upstream has no such feature any more"
    if verdict == "in":
        assert said in refusal("v1.102.5", stale)
    else:
        assert resolve(graph("v1.102.5"), stale, "1.102.5").remarks == (said,)


def test_needed_by_nothing_any_more() -> None:
    table = graph("v1.102.5")
    for name, row in table.items():
        table[name] = dataclasses.replace(row, deps=tuple(d for d in row.deps if d != "c2n"))
    found = resolve(table, load_verdicts(), "1.102.5")
    assert "'c2n' is in only where needed, and nothing needs it any more: out" in found.remarks
    assert "ts_omit_c2n" in found.tags


def test_our_own_edge_carries_netstack() -> None:
    table = graph("v1.102.5")
    needed = changed(load_verdicts(), netstack=Verdict("needed", "x"), gro=Verdict("out", "x"))
    (row,) = [r for r in resolve(table, needed, "1.102.5").rows if r.name == "netstack"]
    assert row.included
    assert "dns" in row.pulled_by
    pulled_by_upstream = [name for name, r in table.items() if "netstack" in r.deps]
    assert "dns" not in pulled_by_upstream, "upstream declares it now: drop our edge"
    lost = dataclasses.replace(needed, edges=())
    (remark,) = resolve(table, lost, "1.102.5").remarks
    assert "'netstack' is in only where needed" in remark


def test_an_edge_about_a_feature_that_is_gone() -> None:
    edges = (Edge("dns", "nothing", "x"),)
    needed = changed(load_verdicts(), netstack=Verdict("in", "x"))
    found = resolve(graph("v1.102.5"), dataclasses.replace(needed, edges=edges), "1.102.5")
    assert found.remarks == ("our edge dns -> nothing is about a feature that is gone",)


def test_all_faults_are_told_at_once() -> None:
    table = graph("v1.102.5")
    verdicts = changed(load_verdicts(), oldthing=Verdict("in", "x"), c2n=Verdict("out", "x"))
    why = refusal("v1.102.5", verdicts, table)
    assert all(name in why for name in ("oldthing", "c2n"))


# --- our file -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('[feature.a]\nverdict = "in"\n', "feature.a.reason"),
        ('[feature.a]\nreason = "x"\n', "feature.a.verdict"),
        (
            '[feature.a]\nverdict = "maybe"\nreason = "x"\n',
            "wanted in or needed or out, got 'maybe'",
        ),
        ('[feature.a]\nverdict = "out"\nreason = ""\n', "feature.a.reason"),
        ('[[edge]]\nfrom = "a"\nto = "b"\n', "edge[0].evidence"),
    ],
)
def test_an_incomplete_verdict(places: Path, text: str, named: str) -> None:
    (places / "features.toml").write_text(text)
    with pytest.raises(UserError) as caught:
        load_verdicts(places / "features.toml")
    assert named in caught.value.why


# --- the parser ---------------------------------------------------------------------------------

TABLE = """package featuretags

var Features = map[FeatureTag]FeatureMeta{
	"a": {Sym: "A", Desc: "first // not a comment"}, // a comment "quoted"
	"b": {
		Sym:  "B",
		Desc: "second, with \\"quotes\\" and {braces}",
		// Deps: []FeatureTag{"nothing"},
		Deps: []FeatureTag{
			"a", // why
			"c",
		},
		ImplementationDetail: true,
	},
	"c": {Sym: "C", Desc: "third", Deps: nil},
}

func other() {}
"""


def test_the_shape_upstream_uses() -> None:
    found = parse_graph(TABLE.replace(", Deps: nil", ""))
    assert list(found) == ["a", "b", "c"]
    assert found["a"].desc == "first // not a comment"
    assert found["b"].deps == ("a", "c")
    assert found["c"].deps == ()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),  # Deps: nil
        (", Deps: nil", ', Since: "1.110"'),  # a new field
        (', Desc: "third", Deps: nil', ""),  # a field less
        ('"c": {', "CLI: {"),  # a key that is not written out
        ('"c": {Sym: "C", Desc: "third", Deps: nil},', '"c": make("C"),'),
        ('"c": {Sym: "C", Desc: "third", Deps: nil},', "c,"),
        (", Deps: nil", ', Deps: []FeatureTag{"z"}'),  # needs what is not there
        (", Deps: nil", ", Deps: []FeatureTag{CLI}"),  # a constant among the Deps
        (", Deps: nil", ", Deps: deps()"),
        ("map[FeatureTag]FeatureMeta{", "map[FeatureTag]*FeatureMeta{"),
        ('"third", Deps: nil', "`third`"),
        ("\n}\n\nfunc", "\n\nfunc"),  # the table does not end
    ],
)
def test_a_shape_that_is_not_known(old: str, new: str) -> None:
    assert old in TABLE
    with pytest.raises(BuildFailed):
        parse_graph(TABLE.replace(old, new))


def test_an_empty_table() -> None:
    with pytest.raises(BuildFailed):
        parse_graph("var Features = map[FeatureTag]FeatureMeta{\n}\n")


# --- properties on any graph --------------------------------------------------------------------

NAMES = [f"f{n}" for n in range(8)]


@st.composite
def worlds(draw: st.DrawFn) -> tuple[dict[str, Feature], Verdicts]:
    """A random graph, cycles included, with a verdict in or needed or out for each feature."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
    some = st.lists(st.sampled_from(names), max_size=3, unique=True)
    table = {name: Feature(name, "x", tuple(draw(some))) for name in names}
    rows = {name: Verdict(draw(st.sampled_from(features.VERDICTS)), "x") for name in names}
    pairs = st.tuples(st.sampled_from(names), st.sampled_from(names))
    edges = tuple(Edge(a, b, "x") for a, b in draw(st.lists(pairs, max_size=2)))
    return table, Verdicts(rows, edges)


def closure(table: dict[str, Feature], verdicts: Verdicts) -> set[str]:
    """What has to be in, worked out another way: grow until nothing changes."""
    arrows = {(name, dep) for name, row in table.items() for dep in row.deps}
    arrows |= {(edge.source, edge.to) for edge in verdicts.edges}
    found = {name for name, row in verdicts.features.items() if row.verdict == "in"}
    while more := {to for source, to in arrows if source in found} - found:
        found |= more
    return found


@given(worlds())
def test_the_closure_is_the_least_one_or_the_build_stops(
    world: tuple[dict[str, Feature], Verdicts],
) -> None:
    table, verdicts = world
    wanted = closure(table, verdicts)
    verdict = {name: row.verdict for name, row in verdicts.features.items()}
    if any(verdict[name] == "out" for name in wanted):
        with pytest.raises(BuildFailed):
            resolve(table, verdicts, "1.0.0")
        return
    found = resolve(table, verdicts, "1.0.0")
    assert set(found.included) == wanted
    assert set(found.tags) == {f"ts_omit_{name}" for name in table.keys() - wanted}
    for row in found.rows:
        if row.included and row.verdict == "needed":
            assert row.pulled_by
        assert set(row.pulled_by) <= wanted


@given(worlds(), st.sampled_from(NAMES))
def test_more_wishes_never_put_a_feature_out(
    world: tuple[dict[str, Feature], Verdicts], name: str
) -> None:
    table, verdicts = world
    before = set(features._closure(table, verdicts))
    after = set(features._closure(table, changed(verdicts, **{name: Verdict("in", "x")})))
    assert before <= after


# --- against the real things --------------------------------------------------------------------


@pytest.mark.slow
def test_the_golden_of_the_pinned_version_is_upstreams_table(shared_cache: Path) -> None:
    tree = obtain.tree(pin("tailscale")).data
    source = (tree / "feature" / "featuretags" / "featuretags.go").read_text()
    known = DATA / f"features-v{pin('tailscale').version}.json"
    facts = graph_facts(source)
    if known.exists():
        assert facts == json.loads(known.read_text())
    else:
        # A patch release has no golden of its own; upstream's tool is asked below all the same.
        assert facts.keys() > {"osrouter", "dns", "netstack", "cli"}


@pytest.mark.slow
def test_upstreams_own_tool_agrees(
    shared_cache: Path, places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cmd/featuretags of the pinned version, run for real, prints the tags of our resolver."""
    go = order.go_command()
    expected = resolve(tailscale.graph(go), load_verdicts(), go.tailscale.version)
    monkeypatch.setattr(tailscale.cache, "FORMAT", "test")  # its own key: never from the cache
    tailscale.tags.cache_clear()  # nor from what this process was told before
    try:
        assert tailscale.tags(go) == list(expected.tags)
        log = (places / "work" / "tags" / "featuretags.log").read_text()
        assert "--min" in log, "upstream's tool did run"

        # The negative control: a resolver that forgets the Deps is caught by upstream's tool.
        forgetful = dataclasses.replace(expected, tags=("ts_omit_c2n", *expected.tags))
        monkeypatch.setattr(tailscale.features, "resolve", lambda *_: forgetful)
        monkeypatch.setattr(tailscale.cache, "FORMAT", "test again")
        tailscale.tags.cache_clear()
        with pytest.raises(BuildFailed) as caught:
            tailscale.tags(go)
        assert "only one of them has: ts_omit_c2n" in caught.value.why
    finally:
        tailscale.tags.cache_clear()
        for meta in (shared_cache / "objects" / "tags").glob("*/meta.json"):
            entry = tailscale.cache.find("tags", meta.parent.name)
            if entry and entry.key not in {
                tailscale.cache.digest.of_json([1, "tags", entry.inputs])
            }:
                tailscale.cache.discard(entry)


@pytest.mark.network
@pytest.mark.parametrize("version", VERSIONS)
def test_the_goldens_are_upstreams_tables(
    shared_cache: Path, places: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    """The module zip of each version, fetched by the real go command, gives the stored graph."""
    import zipfile

    from build.core import command

    go = obtain.tree(pin("go-bootstrap")).data / "go" / "bin" / "go"
    env = command.network_environment() | {
        "PATH": "/usr/bin:/bin",
        "HOME": str(places),
        "GOMODCACHE": str(places / "gomod"),
        "GOPATH": str(places / "gopath"),
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-modcacherw",
        "GOENV": "off",
        "GOSUMDB": "off",
    }
    argv = [str(go), "mod", "download", "-json", f"tailscale.com@{version}"]
    from contextlib import suppress

    with suppress(BuildFailed):  # refused for its newer Go, but fetched by then
        command.run(argv, what="go", log_file=places / "log", env=env, cwd=places)
    path = places / "gomod" / "cache" / "download" / "tailscale.com" / "@v" / f"{version}.zip"
    with zipfile.ZipFile(path) as bundle:
        name = f"tailscale.com@{version}/feature/featuretags/featuretags.go"
        source = bundle.read(name).decode()
    assert graph_facts(source) == json.loads((DATA / f"features-{version}.json").read_text())
