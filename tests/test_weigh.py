"""Where the bytes are: names of packages, shares that add up, what goes with a feature."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import elf as fake_elf

from build.config import features
from build.core import errors
from build.gates import weigh


@pytest.mark.parametrize(
    ("symbol", "package"),
    [
        ("main.main", "main"),
        ("runtime.mallocgc", "runtime"),
        ("net/http.(*Server).Serve", "net/http"),
        ("tailscale.com/ipn/ipnlocal.(*LocalBackend).Start.func1", "tailscale.com/ipn/ipnlocal"),
        ("gopkg.in/yaml%2ev3.Marshal", "gopkg.in/yaml.v3"),
        ("slices.SortFunc[go.shape.[]net/netip.Prefix,go.shape.struct{}]", "slices"),
        ("type:*net/netip.Addr", "(types)"),
        ("go:string.*", "(generated)"),
        ("_rt0_arm64_linux", "(runtime data)"),
    ],
)
def test_package_of(symbol: str, package: str) -> None:
    assert weigh.package_of(symbol) == package


def test_shares_add_up_to_the_compressed_file() -> None:
    parts = [("noise", bytes(range(256)) * 40), ("zeros", bytes(5000)), ("nothing", b"")]
    weights = weigh._scaled(parts, 10_000)
    assert sum(weight.compressed for weight in weights) == pytest.approx(10_000, abs=2)
    assert {weight.name: weight.raw for weight in weights} == {
        "noise": 10240,
        "zeros": 5000,
        "nothing": 0,
    }


def test_a_stripped_binary_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "stripped"
    path.write_bytes(fake_elf.elf("EM_AARCH64"))
    with pytest.raises(errors.BuildFailed, match="no symbol table"):
        weigh.packages(path, 1000)


GRAPH = {
    name: features.Feature(name, name, deps)
    for name, deps in {
        "dns": (),
        "netstack": (),
        "gro": ("netstack",),
        "exit": ("server", "routes"),
        "routes": ("c2n",),
        "server": (),
        "c2n": (),
    }.items()
}


def verdicts() -> features.Verdicts:
    table = {name: features.Verdict("in", "wanted") for name in ("dns", "gro", "exit", "routes")}
    edge = features.Edge("dns", "netstack", "evidence")
    return features.Verdicts(table, (edge,))


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        # What the feature alone had pulled in goes with it, what another needs stays.
        ("exit", {"dns", "netstack", "gro", "routes", "c2n"}),
        # What needs the feature goes too, by our own edges as well.
        ("netstack", {"exit", "server", "routes", "c2n"}),
        ("c2n", {"dns", "netstack", "gro"}),
        ("nonsense", {"dns", "netstack", "gro", "exit", "server", "routes", "c2n"}),
    ],
)
def test_without(name: str, kept: set[str]) -> None:
    assert weigh.without(GRAPH, verdicts(), name) == kept
