"""The house: one ordered list of rooms; a room imports only rooms below it and its own files."""

from __future__ import annotations

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

ROOMS = """
    commands views trials bump release registry pipeline gates lab sbom image native golang
    sources router config core
""".split()
"""From the top down. What stands here is all that the test knows of the layout."""

DOORS = {
    "subprocess": {"core.command", "core.service"},
    "plumbum": {"core.command"},
    # Requests to the web. Beside it there is one client for a socket of this machine, which speaks
    # to the daemon within a container and to nobody else, and one server, which a router asks.
    "requests": {"core.http"},
    "urllib3": {"core.http"},
    "urllib.request": set(),
    "http.client": {"lab.measuring"},
    "http.server": {"router.restapi"},
    "http.cookiejar": set(),
    "socket": {"lab.measuring"},
    "ssl": {"core.certificates"},
    "socketserver": set(),
    "asyncio": set(),
    "ftplib": set(),
    "smtplib": set(),
    "xmlrpc": set(),
    "httpx": set(),
    "aiohttp": set(),
    "pycurl": set(),
    "cryptography": {"release.signature"},
    "cyclonedx": {"sbom.document"},
    "tomlkit": {"bump.*"},
    "invoke": {"commands.*"},
    "nox": set(),
}
"""One door to the outside per kind: the modules that may import a package, or a part of one."""

LONGEST = 300
"""Lines of a module that can be held in the head."""

MODULES = sorted((ROOT / "build").rglob("*.py"))


def name_of(path: Path) -> str:
    """The module's name below build, such as `core.cache`; a room's own is `core`."""
    parts = path.relative_to(ROOT / "build").with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports_of(source: str) -> set[str]:
    """Modules that a source imports, those hidden in functions included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            # Only a room has modules within; elsewhere any name may be one.
            deep = node.module.split(".")[0] == "build" and node.module.count(".") >= 2
            found |= {node.module if deep else f"{node.module}.{a.name}" for a in node.names}
    return found


def door_of(found: str) -> str:
    """The row of DOORS that an imported name falls under, or ""."""
    parts = found.split(".")
    above = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
    return next((name for name in above if name in DOORS), "")


def may(name: str, door: str) -> bool:
    doors = DOORS.get(door)
    return doors is None or name in doors or f"{name.split('.')[0]}.*" in doors


def faults(name: str, source: str) -> list[str]:
    """What is wrong with a module's imports; `name` is its name below build."""
    wrong = []
    room = name.split(".")[0]
    for found in sorted(imports_of(source)):
        parts = found.split(".")
        if parts[0] != "build":
            if not may(name, door := door_of(found)):
                wrong.append(f"{name} imports {door}, whose doors are {sorted(DOORS[door])}")
        elif parts[1] not in ROOMS:
            wrong.append(f"{name} -> {found}: there is no such room")
        elif ROOMS.index(parts[1]) < ROOMS.index(room):
            wrong.append(f"{name} -> {found} goes up")
    return wrong


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_down(path: Path) -> None:
    name = name_of(path)
    if path.name == "__init__.py":
        assert imports_of(path.read_text()) == set(), "a room has a docstring and no code"
        return
    assert faults(name, path.read_text()) == []


def circle(inner: dict[str, set[str]]) -> list[str]:
    """The modules of a circle of imports, or nothing."""
    try:
        TopologicalSorter(inner).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_has_no_circle_and_says_what_goes_through_it(room: str) -> None:
    paths = [path for path in MODULES if name_of(path).split(".")[0] == room]
    known = {f"build.{name_of(path)}" for path in paths}
    inner = {f"build.{name_of(path)}": imports_of(path.read_text()) & known for path in paths}
    assert circle(inner) == []
    said = ast.get_docstring(ast.parse((ROOT / "build" / room / "__init__.py").read_text()))
    assert said and re.fullmatch(r"[^\n]+\n\nIn: [^\n]+ Out: [^\n]+", said), said


def test_every_folder_of_code_is_a_room() -> None:
    assert {name_of(path).split(".")[0] for path in MODULES} - {""} == set(ROOMS)
    assert [path.name for path in (ROOT / "build").glob("*.py")] == ["__init__.py"]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_can_be_held_in_the_head(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST


def test_noxfile_does_not_import_the_pipeline() -> None:
    assert not [n for n in imports_of((ROOT / "noxfile.py").read_text()) if n.startswith("build")]


def test_the_guide_shows_this_list() -> None:
    guide = (ROOT / "docs" / "DEVELOPMENT.md").read_text()
    shown = re.findall(r"^\| `build/(\w+)/` \|", guide, re.MULTILINE)
    assert [name for name in shown if name != "data"] == ROOMS


@pytest.mark.parametrize(
    ("name", "source", "expected"),
    [
        (
            "native.busybox",
            "from build.image import oci",
            "native.busybox -> build.image.oci goes up",
        ),
        (
            "core.cache",
            "def f():\n    from build.pipeline.order import build",
            "core.cache -> build",
        ),
        ("image.oci", "import subprocess", "image.oci imports subprocess"),
        ("image.oci", "from subprocess import run", "image.oci imports subprocess"),
        ("sources.download", "import requests", "sources.download imports requests"),
        ("sources.download", "def f():\n    import requests.x", "sources.download imports req"),
        ("sources.download", "import urllib.request", "sources.download imports urllib.request"),
        ("sources.download", "from urllib import request", "sources.download imports urllib.req"),
        ("sources.download", "from http import client", "sources.download imports http.client"),
        (
            "gates.size",
            "from build.utils import x",
            "gates.size -> build.utils.x: there is no such",
        ),
        ("gates.size", "from build import utils", "gates.size -> build.utils: there is no such"),
    ],
)
def test_the_check_sees_a_wrong_arrow(name: str, source: str, expected: str) -> None:
    assert any(fault.startswith(expected) for fault in faults(name, source))


def test_the_check_sees_a_circle() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})
    assert not circle({"a": {"b", "c"}, "b": {"c"}})
