"""A platform is a block of data, a release follows the pins: no code names either."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkouts import copied
from test_development import DOCUMENT, blocks

from build.config import targets
from build.config.pins import pins
from build.core import paths
from build.core.paths import ROOT
from build.image import dist
from build.pipeline import order

NEW = "armv6"
CODE = ("build", "noxfile.py", "tasks.py", "benchmarks", "dev", ".ci/run")
MEANT = {
    ("build/commands", "arm64"): "a default that the user can change",
    ("build/gates", "amd64"): "Go's name: what this machine runs without an emulator",
    ("build/trials", "amd64"): "the peers of the laboratory run on the machine itself",
    (".ci", "armv5"): "one platform that is built twice, to compare the bytes",
    ("build/lab", "arm64"): "which QEMU, board and CPU stand for a platform",
    ("build/lab", "armv7"): "the same",
    ("build/lab", "armv5"): "the same",
    ("build/router", "armv5"): "the one CPU that RouterOS does not tell from others by name",
}
"""{(folder, platform): why the code may name it}"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout with the document's platform and another Tailscale."""
    copy = copied(tmp_path_factory.mktemp("data") / "checkout")
    (block,) = blocks(DOCUMENT.read_text(), "toml")["Adding a platform"]
    with (copy / "build" / "data" / "targets.toml").open("a") as stream:
        stream.write(f"\n{block}")
    file = copy / "build" / "data" / "pins.toml"
    text = file.read_text()
    version = pins()["tailscale"].version
    assert f'version = "{version}"' in text
    file.write_text(text.replace(f'version = "{version}"', 'version = "1.234.5"'))
    return copy


def said(checkout: Path, *words: str, code: int = 0, **env: str) -> str:
    argv = [sys.executable, "-m", *words]
    done = subprocess.run(
        argv, cwd=checkout, env=os.environ | env, text=True, capture_output=True, timeout=1800
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def test_nox_knows_a_new_platform(checkout: Path) -> None:
    listed = said(checkout, "nox", "--list")
    names = re.findall(r"size-check\(arch='(\w+)'\)", listed)
    assert names == [*targets.targets(), NEW]


def test_the_commands_know_it(checkout: Path) -> None:
    for name in (NEW, "arm32v6", "linux/arm/v6"):
        told = said(checkout, "invoke", "inspect", "--arch", name, code=2)
        assert f"-{NEW}" in told or f"--arch {NEW}" in told, told
    assert NEW in said(checkout, "invoke", "build", "--arch", "mips", code=2)


def test_deploy_knows_it(checkout: Path) -> None:
    host = ["--host", "http://127.0.0.1:9", "--arch"]
    told = said(checkout, "invoke", "deploy", *host, NEW, code=2, MT_ROUTER_PASSWORD="x")
    assert f"invoke build --arch {NEW}" in told
    told = said(checkout, "invoke", "deploy", *host, "armv8", code=2, MT_ROUTER_PASSWORD="x")
    assert NEW in told


def test_the_scripts_follow_the_pins(checkout: Path) -> None:
    assert "is not what its template gives" in said(checkout, "invoke", "router", "--check", code=3)
    said(checkout, "invoke", "router", "--out", "routeros")
    assert "v1.234.5-mt.1" in (checkout / "routeros" / "status-tailscale.rsc").read_text()
    said(checkout, "invoke", "router", "--check")


def constants(place: Path) -> Iterator[tuple[str, str]]:
    """Yield (file, text) of each text in code that is no documentation."""
    for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
        name = str(path.relative_to(ROOT))
        text = path.read_text()
        if not text.startswith("#!/usr/bin/env bash") and path.suffix in (".py", ""):
            tree = ast.parse(text)
            alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
            for node in ast.walk(tree):
                if isinstance(node, ast.Constant) and id(node) not in alone:
                    yield name, str(node.value)
        else:
            yield from ((name, word) for word in re.findall(r"[\w/.-]+", text))


def test_code_names_no_platform_and_no_version() -> None:
    platforms = {
        name for target in targets.targets().values() for name in (target.name, target.platform)
    }
    versions = {pin.version for pin in pins().values()}
    named: set[tuple[str, str]] = set()
    tags: list[tuple[str, str]] = []
    for place in CODE:
        for file, text in constants(ROOT / place):
            if text in platforms:
                named.add((str(Path(file).parent), text))
            # A tag in a sentence is an example.
            if text in versions or re.fullmatch(r"v[0-9.]+-mt\.[0-9]+", text):
                tags.append((file, text))
    assert named - MEANT.keys() == set()
    assert MEANT.keys() - named == set(), "an exception that nothing needs"
    assert tags == []


# --- sizes --------------------------------------------------------------------------------------


def rows(document: str, head: str) -> dict[str, list[int]]:
    """Return {platform: numbers} of the table under a head line."""
    text = (ROOT / document).read_text()
    assert text.count(head) == 1, f"{document} has no table {head}"
    found = {}
    for line in text.split(head)[1].splitlines()[2:]:
        if not line.startswith("|"):
            break
        name, *cells = (cell.strip(" `") for cell in line.strip("|").split("|"))
        found[targets.target(name).name] = [int(cell.replace(",", "")) for cell in cells]
    assert found.keys() == targets.targets().keys(), document
    return found


README = "| platform | that recipe: binary | ours: binary | ours: whole root file system |"
DESIGN = "| binary, compressed | upstream's recipe | ours, roots outside | ours, all roots inside |"


def test_the_documents_tell_the_same_sizes() -> None:
    readme, design = rows("README.md", README), rows("docs/DESIGN.md", DESIGN)
    for name, (upstream, binary, _) in readme.items():
        assert (upstream, binary) == (design[name][0], design[name][2]), name


@pytest.mark.slow
def test_the_documents_tell_what_is_built(places: Path, shared_cache: Path) -> None:
    said(ROOT, "invoke", "build-all")
    measured = json.loads(said(ROOT, "invoke", "size", "--json"))
    sizes = {(row["target"], row["component"]): row["size"] for row in measured}
    told = {
        (name, part): size
        for name, (_, binary, whole) in rows("README.md", README).items()
        for part, size in (("tailscale.combined", binary), ("rootfs", whole))
    }
    assert told == {key: sizes[key] for key in told}
    version = pins()["tailscale"].version
    for document, words in (
        ("README.md", "Extracted, in bytes, Tailscale "),
        ("docs/DESIGN.md", "Tailscale "),
    ):
        assert f"{words}{version}" in (ROOT / document).read_text(), document
    archive = paths.dist_dir() / dist.archive_name(targets.target("arm64"), order.release_of())
    assert f"{archive.stat().st_size / 1e6:.2f} MB on flash" in (ROOT / "README.md").read_text()
