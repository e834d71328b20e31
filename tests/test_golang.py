"""The Go stage: its words are golden, its version is checked, its environment is stated."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from fakes.images import RELEASE
from goldens import compile_golden, fixed_pins, golden

from build.config import targets
from build.core.errors import BuildFailed
from build.core.paths import PATCHES
from build.golang import tailscale
from build.golang.gotool import Go
from build.sources import obtain, patching

RENEW = "wanted? ./dev python -m tests.renew"


@pytest.fixture
def go(places: Path) -> Go:
    for name in ("go", "tailscale"):
        (places / name).mkdir()
    return Go(*fixed_pins(), lambda p: SimpleNamespace(data=places / p.name))


@pytest.mark.parametrize(
    ("wanted", "have", "ok"),
    [
        ("1.26.4", "1.26.8", True),
        ("1.26.8", "1.26.8", True),
        ("1.26", "1.26.8", True),
        ("1.26.9", "1.26.8", False),
        ("1.26.10", "1.26.8", False),
        ("1.27", "1.26.8", False),
        ("1.27rc1", "1.26.8", False),
        ("1.9", "1.26.8", True),
    ],
)
def test_the_version_that_go_mod_asks_for(wanted: str, have: str, ok: bool) -> None:
    go_mod = f"module tailscale.com\n\ngo {wanted}\n\nrequire (\n\tgo4.org/mem v0.0.0\n)\n"
    if ok:
        tailscale.check_go_version(go_mod, have)
        return
    with pytest.raises(BuildFailed) as caught:
        tailscale.check_go_version(go_mod, have)
    assert f"asks for Go {wanted}, the pinned toolchain is {have}" in caught.value.what
    assert "pins.toml" in caught.value.cure


def test_a_go_mod_that_asks_for_nothing_is_not_taken() -> None:
    with pytest.raises(BuildFailed):
        tailscale.check_go_version("module tailscale.com\n", "1.26.8")


def test_the_toolchains_version(go: Go) -> None:
    assert go.version == "1.26.8"
    assert tailscale.check_go_version("go 1.26.8\n", go.version) is None
    nameless = dataclasses.replace(go, go=dataclasses.replace(go.go, version="0.0.1"))
    with pytest.raises(BuildFailed, match="names no Go release"):
        _ = nameless.version


def test_the_golden_words(places: Path) -> None:
    assert json.loads(json.dumps(compile_golden(places))) == golden("compile-golden.json"), RENEW


def test_the_stamps(go: Go) -> None:
    stamps = tailscale.stamps(go, RELEASE.long)
    assert stamps == [
        "-X tailscale.com/version.shortStamp=1.102.5",
        "-X tailscale.com/version.longStamp=1.102.5-mt.7",
    ]
    words = tailscale.compile_words(go, tailscale.OURS, ["t"], RELEASE.long, Path("OUT"))
    (ldflags,) = [word for word in words if word.startswith("-ldflags=")]
    assert all(stamp in ldflags for stamp in stamps)


def test_the_words_change_with_release_tags_and_recipe(go: Go) -> None:
    base = tailscale.compile_words(go, tailscale.OURS, ["a"], RELEASE.long, Path("OUT"))
    other = dataclasses.replace(RELEASE, revision=8)
    assert tailscale.compile_words(go, tailscale.OURS, ["a"], other.long, Path("OUT")) != base
    assert tailscale.compile_words(go, tailscale.OURS, ["b"], RELEASE.long, Path("OUT")) != base
    assert tailscale.compile_words(go, tailscale.UPSTREAM, ["a"], RELEASE.long, Path("OUT")) != base


@pytest.mark.parametrize("name", targets.targets())
def test_the_environment(go: Go, places: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for variable in (
        "GOFLAGS",
        "GOARM",
        "GOARCH",
        "CGO_ENABLED",
        "GOTOOLCHAIN",
        "CC",
        "GOEXPERIMENT",
    ):
        monkeypatch.setenv(variable, "machine's own")
    monkeypatch.setenv("GOPROXY", "http://proxy.example")
    target = targets.target(name)
    env = go.environment(places, target)
    assert "machine's own" not in env.values()
    assert env["CGO_ENABLED"] == "0"
    assert env["GOTOOLCHAIN"] == "local"
    assert env["GOPROXY"] == "http://proxy.example"
    assert (env["GOOS"], env["GOARCH"]) == ("linux", target.goarch)
    assert target.go_env.items() <= env.items()
    assert env["HOME"] == str(places)
    offline = dataclasses.replace(go, offline=True).environment(places, target)
    assert offline["GOPROXY"] == "off"
    host = go.environment(places)
    assert not {"GOOS", "GOARCH", "GOARM"} & host.keys()


def test_a_failing_go_command_offline_names_the_cure(go: Go, places: Path) -> None:
    from fakes.programs import program

    program(places / "go" / "bin", "go", "sys.exit('missing go.sum entry')")
    words = {"what": "x", "record": places / "log", "scratch": places}
    with pytest.raises(BuildFailed) as caught:
        dataclasses.replace(go, offline=True).run(["build"], **words)
    assert "invoke fetch" in caught.value.cure
    assert "missing go.sum entry" in caught.value.why
    with pytest.raises(BuildFailed) as caught:
        go.run(["build"], **words)
    assert "invoke fetch" not in caught.value.cure


def test_upstreams_recipe_has_its_own_source(go: Go) -> None:
    """Not a file of ours is in it; substitutes are, without which nobody here could build it."""
    theirs = tailscale.pristine(go)
    assert tailscale.UPSTREAM.pristine and not tailscale.FITTED.pristine
    patches = [patching.patch_files(PATCHES / one.tailscale.name) for one in (go, theirs)]
    assert patches[0] and not patches[1]
    assert obtain.tree_key(theirs.tailscale) != obtain.tree_key(go.tailscale)
    assert theirs.tailscale.substitutes == go.tailscale.substitutes
    assert theirs.tailscale.sha256 == go.tailscale.sha256
