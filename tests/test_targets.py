"""Platforms: every name that people use, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from build.config import targets
from build.core.errors import UserError

NAMES = {
    "amd64": "amd64 linux/amd64 x86 x86_64 x86-64 chr AMD64",
    "arm64": "arm64 linux/arm64 aarch64 arm64v8 linux/arm64/v8 arm64/v8 ARM64",
    "armv7": "armv7 linux/arm/v7 arm/v7 arm32v7 armhf arm",
    "armv5": "armv5 linux/arm/v5 arm/v5 arm32v5 armel en7562ct EN7562CT",
}


@pytest.mark.parametrize(
    ("alias", "name"), [(alias, name) for name, all_ in NAMES.items() for alias in all_.split()]
)
def test_each_alias(alias: str, name: str) -> None:
    assert targets.target(alias).name == name


def test_every_alias_is_tested_and_means_one_platform() -> None:
    known = [
        alias
        for found in targets.targets().values()
        for alias in (found.name, found.platform, *found.aliases)
    ]
    assert len(known) == len(set(known))
    assert set(known) <= {alias for all_ in NAMES.values() for alias in all_.split()}


@pytest.mark.parametrize("nonsense", ["", "mips", "arm/v6", "armv", "linux", "v7", "amd 64"])
def test_nonsense_lists_what_there_is(nonsense: str) -> None:
    with pytest.raises(UserError) as caught:
        targets.target(nonsense)
    assert all(name in caught.value.cure for name in NAMES)


def test_selection() -> None:
    assert [t.name for t in targets.select([])] == list(NAMES)
    assert [t.name for t in targets.select(["armel", "x86,arm/v5", " arm64 "])] == [
        "amd64",
        "arm64",
        "armv5",
    ]


@pytest.mark.parametrize("names", [[","], [""], [" , "]])
def test_a_selection_of_nothing_is_not_everything_nor_nothing(names: list[str]) -> None:
    with pytest.raises(UserError):
        targets.select(names)


def test_an_incomplete_platform(tmp_path: Path) -> None:
    (tmp_path / "targets.toml").write_text('[mips]\nplatform = "linux/mips"\ncolour = "red"\n')
    with pytest.raises(UserError) as caught:
        targets.load(tmp_path / "targets.toml")
    assert "mips.colour" in caught.value.why
    assert "mips.goarch" in caught.value.why


def test_a_name_that_two_platforms_have(tmp_path: Path) -> None:
    text = targets.FILE.read_text().replace('"chr"', '"aarch64"')
    (tmp_path / "targets.toml").write_text(text)
    with pytest.raises(UserError, match="got 'aarch64' as in amd64"):
        targets.load(tmp_path / "targets.toml")


def test_the_platforms_tell_themselves_apart() -> None:
    found = targets.targets().values()
    assert len({(t.oci_architecture, t.oci_variant) for t in found}) == len(found)
    assert all(t.platform.startswith(f"linux/{t.oci_architecture}") for t in found)
    assert {t.name: t.go_env for t in found}["armv5"] == {"GOARM": "5"}
    assert {t.name: t.elf_float for t in found}["armv5"] == "soft"
    assert len({hash(t) for t in found}) == len(found)
