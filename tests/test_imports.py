"""Imports go one way: from the commands and the pipeline down to the leaves, stages apart."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

LEVELS: dict[int, set[str]] = {
    0: {"errors", "log", "digest", "paths", "artifacts", "version", "signature"},
    1: {"pins", "targets", "features"},
    2: {
        "command",
        "tools",
        "cache",
        "buildinfo",
        "licences",
        "notices",
        "elf",
        "archives",
        "changes",
        "crosscc",
        "git",
        "gotool",
        "overlay",
        "modules",
        "pclntab",
        "symbols",
        "unsign",
    },
    3: {
        "sources",
        "linker",
        "golang",
        "busybox",
        "compress",
        "rootfs",
        "image",
        "layout",
        "sbom",
        "inventory",
        "referrers",
        "engine",
    },
    4: {"audit", "size", "weigh", "lab", "verify", "figures", "candidate", "impact"},
    5: {
        "report",
        "plots",
        "router",
        "routerapi",
        "deploy",
        "registry",
        "publish",
        "rollback",
        "release",
        "forge",
        "markdown",
        "buildx",
    },
    6: {"pipeline", "variants", "gate", "bump"},
    7: {"commands"},
}
# Packages: inside one, imports go from a later name to an earlier one.
PACKAGES = {
    "lab": "topology servers bundle anchor container world canaries canaries_slow breakage figures",
    "commands": "common building inputs looking proving releasing publishing routers",
    "registry": "place credentials transport auth upload client published attach",
}
# Within a level only these: leaves that others of their level are made of.
ALLOWED = {
    ("version", "errors"),
    ("overlay", "archives"),
    ("modules", "archives"),
    ("modules", "cache"),
    ("modules", "unsign"),
    ("modules", "overlay"),
    ("modules", "gotool"),
    ("symbols", "pclntab"),
    ("git", "command"),
    ("gotool", "cache"),
    ("gotool", "command"),
    ("gotool", "tools"),
    ("buildinfo", "gotool"),
    ("buildinfo", "modules"),
    ("image", "rootfs"),
    ("layout", "image"),
    ("sbom", "inventory"),
    ("referrers", "image"),
    ("referrers", "layout"),
    ("referrers", "sbom"),
    ("variants", "pipeline"),
    ("verify", "lab"),
    ("figures", "lab"),
    ("gate", "pipeline"),
    ("gate", "variants"),
    ("deploy", "routerapi"),
    ("publish", "registry"),
    ("rollback", "registry"),
    ("bump", "pipeline"),
    ("bump", "variants"),
    ("signature", "artifacts"),
    ("signature", "digest"),
    ("signature", "errors"),
    ("commands", "commands"),
    ("lab", "lab"),
    ("registry", "registry"),
}
ONLY = {
    "subprocess": {"command"},
    "plumbum": {"command"},
    "requests": {"sources", "routerapi", "registry", "forge"},
    "packaging": {"version", "features", "golang", "pipeline", "release", "bump", "changes"},
    "cryptography": {"signature"},
    "cyclonedx": {"sbom"},
    "tomlkit": {"bump"},
    "invoke": {"commands"},
    "nox": set(),
}


def imports_of(source: str) -> set[str]:
    """Modules that a source imports, those hidden in functions included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.module in ("build", *(f"build.{name}" for name in PACKAGES)):
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
            elif node.module:
                found.add(node.module)
    return found


def level_of(name: str) -> int:
    return next((level for level, names in LEVELS.items() if name in names), -1)


def faults(name: str, source: str) -> list[str]:
    wrong = []
    for found in sorted(imports_of(source)):
        parts = found.split(".")
        if parts[0] == "build":
            other = parts[1]
            down = level_of(other) < level_of(name)
            if level_of(other) < 0:
                wrong.append(f"{other} has no level")
            elif not down and (name, other) not in ALLOWED:
                wrong.append(f"{name} -> {other} goes up or sideways")
        elif parts[0] in ONLY and name not in ONLY[parts[0]]:
            wrong.append(f"{name} imports {parts[0]}, which is for {sorted(ONLY[parts[0]])}")
    return wrong


@pytest.mark.parametrize(
    "path",
    sorted(path for name in PACKAGES for path in (ROOT / "build" / name).glob("*.py")),
    ids=lambda path: f"{path.parent.name}.{path.stem}",
)
def test_imports_inside_a_package_go_down(path: Path) -> None:
    source, package = path.read_text(), path.parent.name
    if path.stem == "__init__":
        assert imports_of(source) == set()
        return
    assert faults(package, source) == []
    order = PACKAGES[package].split()
    inner = [n.split(".")[2] for n in imports_of(source) if n.startswith(f"build.{package}.")]
    assert [n for n in inner if order.index(n) >= order.index(path.stem)] == []


@pytest.mark.parametrize("path", sorted((ROOT / "build").glob("*.py")), ids=lambda path: path.stem)
def test_imports_go_down(path: Path) -> None:
    if path.stem == "__init__":
        assert imports_of(path.read_text()) == set()
        return
    assert level_of(path.stem) >= 0, f"build/{path.name} has no level in this test"
    assert faults(path.stem, path.read_text()) == []


def test_noxfile_does_not_import_the_pipeline() -> None:
    assert not [n for n in imports_of((ROOT / "noxfile.py").read_text()) if n.startswith("build")]


@pytest.mark.parametrize(
    ("name", "source", "expected"),
    [
        ("golang", "from build import busybox", "golang -> busybox goes up or sideways"),
        ("cache", "def f():\n    from build import pipeline", "cache -> pipeline goes up"),
        ("image", "import subprocess", "image imports subprocess"),
        ("size", "from build.utils import x", "utils has no level"),
    ],
)
def test_the_check_sees_a_wrong_arrow(name: str, source: str, expected: str) -> None:
    assert any(fault.startswith(expected) for fault in faults(name, source))
