"""docs/DEVELOPMENT.md does what it says: its commands are run, in a clone, as they stand there.

The clone has a bare repository as its `origin` and a registry of Debian's on this machine, with a
password. Every shell block of the document belongs to a rehearsal; the quick test sees to that.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "DEVELOPMENT.md"
MINUTES = 25


def blocks(text: str, language: str = "sh") -> dict[str, list[str]]:
    """Return {heading: its fenced blocks of a language}."""
    found: dict[str, list[str]] = {}
    for part in re.split(r"^#+ ", text, flags=re.M)[1:]:
        title, _, body = part.partition("\n")
        if fenced := re.findall(rf"^```{language}\n(.*?)^```$", body, re.M | re.S):
            found[title] = fenced
    return found


REHEARSED: dict[str, str] = {}
"""{heading: the test that runs its blocks}, filled where the tests are defined."""


def rehearses(*headings: str):
    def note(test):
        REHEARSED.update(dict.fromkeys(headings, test.__name__))
        return pytest.mark.rehearsal(test)

    return note


@dataclass
class Clone:
    """A clone of this checkout's HEAD, with its environment."""

    folder: Path
    env: dict[str, str]

    def run(self, heading: str, *, code: int = 0) -> list[str]:
        """Run the blocks of a heading, each in a shell of its own; returns what they printed."""
        return [self.shell(block, code=code) for block in blocks(DOCUMENT.read_text())[heading]]

    def shell(self, script: str, *, code: int = 0) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=self.env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=MINUTES * 60,
        )
        print(f"$ {script}{done.stdout}")
        assert done.returncode == code, f"{script}\n{done.stdout}"
        return done.stdout

    def json(self, *words: str) -> object:
        done = subprocess.run(
            ["./dev", "invoke", *words, "--json"],
            cwd=self.folder,
            env=self.env,
            text=True,
            capture_output=True,
            timeout=MINUTES * 60,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def edit(self, path: str, old: str, new: str) -> None:
        text = (self.folder / path).read_text()
        assert text.count(old) == 1, (path, old)
        (self.folder / path).write_text(text.replace(old, new))


def git(folder: Path, *words: str) -> str:
    line = ["git", "-c", "user.name=x", "-c", "user.email=x@localhost", *words]
    return subprocess.run(line, cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def clone(tmp_path: Path, shared_cache: Path) -> Clone:
    git(tmp_path, "clone", "-q", "--bare", "--no-tags", str(ROOT), "origin.git")
    folder = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(tmp_path / "origin.git"), str(folder))
    env = {name: value for name, value in os.environ.items() if not name.startswith("MT_")}
    env |= {"MT_CACHE": str(shared_cache), "HOME": str(tmp_path)}
    return Clone(folder, env)


@rehearses("Adding a feature")
def test_adding_a_feature(clone: Clone) -> None:
    verdicts = clone.folder / "build" / "data" / "features.toml"
    text, count = re.subn(
        r'(\[feature\.qrcodes\]\nverdict = )"out"', r'\1"in"', verdicts.read_text()
    )
    assert count == 1
    verdicts.write_text(text)
    table = clone.run("Adding a feature")[0]
    assert re.search(r"qrcodes\s*│ in", table)


@rehearses("Adding a platform")
def test_adding_a_platform(clone: Clone) -> None:
    """The block of the document, appended to the table: nothing else is touched."""
    (block,) = blocks(DOCUMENT.read_text(), "toml")["Adding a platform"]
    with (clone.folder / "build" / "data" / "targets.toml").open("a") as stream:
        stream.write(f"\n{block}")
    build, *_ = clone.run("Adding a platform")
    assert "armv6" in build
    config = clone.json("inspect", "--arch", "armv6")
    assert isinstance(config, dict)
    assert len(config["files"]) > 100
    changed = git(clone.folder, "status", "--porcelain").split()[1::2]
    assert {name.split("/")[0] for name in changed} <= {"build", "tests"}


@rehearses("Bumping a pin")
def test_bumping_a_pin(clone: Clone) -> None:
    """From an older version, so that the document's one is a bump whatever is pinned now."""
    clone.shell("./dev invoke bump cmake 4.0.3 --force")
    clone.run("Bumping a pin")
    pins = (clone.folder / "build" / "data" / "pins.toml").read_text()
    block = pins.split("\n[cmake]\n")[1].split("\n[")[0]
    assert 'version = "4.1.3"' in block
    assert "81f11b72bc59cbe547d9f283487ef0519bf68176edffcdfa1a4dc5a52f292369" in block


@rehearses("Renovate")
def test_looking_at_what_renovate_finds(clone: Clone) -> None:
    (printed,) = clone.run("Renovate")
    assert "Config validated successfully" in printed
    assert printed.count('"datasource": "custom.busybox"') == 1


def test_every_command_of_the_document_is_rehearsed() -> None:
    assert blocks(DOCUMENT.read_text()).keys() == REHEARSED.keys()


def test_a_command_that_nobody_rehearses_is_seen() -> None:
    text = DOCUMENT.read_text() + "\n## New\n\n```sh\n./dev invoke pins\n```\n"
    assert blocks(text).keys() - REHEARSED.keys() == {"New"}


def test_the_tables_name_every_task_and_session() -> None:
    """And nothing that there is not."""
    text = DOCUMENT.read_text()
    words = set(re.findall(r"`invoke ([a-z-]+)", text))
    known = subprocess.run(
        [sys.executable, "-m", "invoke", "--list", "--list-format=json"],
        cwd=ROOT, text=True, capture_output=True, check=True,
    )  # fmt: skip
    tasks = {task["name"] for task in json.loads(known.stdout)["tasks"]}
    assert (words - tasks, tasks - words) == (set(), set())
    listed = subprocess.run(
        [sys.executable, "-m", "nox", "--list"],
        cwd=ROOT, text=True, capture_output=True, check=True,
    )  # fmt: skip
    sessions = set(re.findall(r"^[*-] ([a-z-]+)", listed.stdout, re.M))
    named = set(re.findall(r"nox -s \"?([a-z-]+)", text))
    assert (named - sessions, sessions - named) == (set(), set())
