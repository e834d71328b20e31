"""docs/DEVELOPMENT.md does what it says: its commands are run, in a clone, as they stand there.

The clone has a bare repository as its `origin` and a registry of Debian's on this machine, with a
password. Every shell block of the document belongs to a rehearsal; the quick test sees to that.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import distribution
import pytest

from build.config.pins import pin, pins
from build.core.git import Git
from build.gates import ratio
from build.release import signature

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "DEVELOPMENT.md"
MINUTES = 45
PASSWORD = "correct-horse-battery"
TAILSCALE = pin("tailscale").version


def blocks(text: str, language: str = "sh") -> dict[str, list[str]]:
    """Return {heading: its fenced blocks of a language}."""
    found: dict[str, list[str]] = {}
    for part in re.split(r"^#+ ", text, flags=re.M)[1:]:
        title, _, body = part.partition("\n")
        if fenced := re.findall(rf"^```{language}\n(.*?)^```$", body, re.M | re.S):
            found[title] = fenced
    return found


REHEARSED: dict[str, str] = {
    "Assembling with buildx": ".ci/run",
}
"""{heading: what runs its blocks}; the tests of this file add theirs where they are defined."""


def rehearses(*headings: str):
    def note(test):
        REHEARSED.update(dict.fromkeys(headings, test.__name__))
        return pytest.mark.rehearsal(test)

    return note


@dataclass
class Clone:
    """A repository with what this checkout's HEAD has, and its environment."""

    folder: Path
    env: dict[str, str]

    def run(self, heading: str, *, version: str = "") -> list[str]:
        """Run the blocks of a heading, each in a shell of its own; returns what they printed.

        `version` stands for the release tag that the document has as its example.
        """
        found = blocks(DOCUMENT.read_text())[heading]
        return [self.shell(re.sub(r"v[\d.]+-mt\.\d+", version, text)) for text in found]

    def shell(self, script: str) -> str:
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
        assert done.returncode == 0, f"{script}\n{done.stdout}"
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


def git(folder: Path, *words: str) -> str:
    line = ["git", "-c", "user.name=x", "-c", "user.email=x@localhost", *words]
    return subprocess.run(line, cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def clone(tmp_path: Path, shared_cache: Path) -> Clone:
    folder = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "--no-tags", str(ROOT), str(folder))
    # A history of its own: that of ROOT may be shallow, as in many a CI.
    shutil.rmtree(folder / ".git")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "--all", "--force")
    git(folder, "commit", "-q", "-m", "Everything")
    git(tmp_path, "init", "-q", "--bare", "-b", "main", "origin.git")
    git(folder, "remote", "add", "origin", str(tmp_path / "origin.git"))
    git(folder, "push", "-q", "-u", "origin", "main")
    env = {name: value for name, value in os.environ.items() if not name.startswith("MT_")}
    env |= {"MT_CACHE": str(shared_cache), "HOME": str(tmp_path)}
    return Clone(folder, env)


@pytest.fixture
def released(clone: Clone) -> Iterator[Clone]:
    """A clone whose pins' Tailscale is released already, a registry, and the secrets of a CI."""
    git(clone.folder, "commit", "-q", "--allow-empty", "-m", "What is released")
    git(clone.folder, "tag", "-a", "-m", "first", f"v{TAILSCALE}-mt.1")
    git(clone.folder, "commit", "-q", "--allow-empty", "-m", "What the revision is for")
    git(clone.folder, "push", "-q", "--follow-tags", "origin", "HEAD")
    room = clone.folder.parent
    auth = distribution.htpasswd(room / "users", "ci", password=PASSWORD)
    signature.write_pair(room / "signing", PASSWORD)
    with distribution.registry(room / "registry", auth) as found:
        clone.env |= {
            "MT_REPOSITORY": f"{found.host}/team/tailscale",
            "MT_REGISTRY_USER": "ci",
            "MT_REGISTRY_PASSWORD": PASSWORD,
            "MT_SIGNING_KEY": str(room / "signing"),
            "MT_SIGNING_PASSWORD": PASSWORD,
        }
        yield clone


def digest_of(clone: Clone, tag: str) -> str:
    """What skopeo finds under a tag, "" if nothing."""
    argv = ["skopeo", "inspect", "--raw", "--tls-verify=false", f"--creds=ci:{PASSWORD}"]
    argv.append(f"docker://{clone.env['MT_REPOSITORY']}:{tag}")
    done = subprocess.run(argv, capture_output=True)
    return "" if done.returncode else f"sha256:{hashlib.sha256(done.stdout).hexdigest()}"


@rehearses("Cutting a release", "Publishing", "Channels", "Rolling back")
def test_a_release(released: Clone) -> None:
    """Planned, tagged, built, booted on all platforms, signed, published; then rolled back to."""
    tag = f"v{TAILSCALE}-mt.2"
    plan, publish, record = released.run("Cutting a release")
    assert f"released {tag}" in plan
    assert Git(released.folder).remote_tags("origin").keys() >= {tag}
    record_file = json.loads((released.folder / "build" / "data" / "sizes.json").read_text())
    assert list(record_file) == [tag], record
    index = json.loads((released.folder / "dist" / "build.json").read_text())["oci"]["index"]
    assert digest_of(released, tag) == digest_of(released, "stable") == index
    assert digest_of(released, "next") == index
    assert digest_of(released, f"{index.replace(':', '-')}.sig")
    assert PASSWORD not in plan + publish + record
    (planned,) = released.run("Publishing")
    assert "nothing was sent" in planned
    assert re.search(rf":{tag}.*there", planned) and re.search(r":stable.*there", planned)
    (promoted,) = released.run("Channels")
    assert promoted.count(f":stable is {tag} already, {index}") == 2
    (rolled,) = released.run("Rolling back", version=tag)
    assert digest_of(released, "stable") == index
    assert tag in rolled


OTHERS = {
    "tailscale": "1.102.4",
    "go-bootstrap": "1.26.5",
    "go": "1.26.7",
    "zig": "0.15.1",
    "cmake": "4.1.3",
    "busybox": "1.37.0",
    "upx": pin("upx").version,  # Debian's pool has no other one
    "xz": "5.4.1",
}


@rehearses("Bumping a pin")
def test_bumping(clone: Clone) -> None:
    """The commands of the document for one pin; of the others all but the writing."""
    # From an older version, so that the document's one is a bump whatever is pinned now.
    clone.shell(f"./dev invoke bump go-bootstrap {OTHERS['go-bootstrap']} --force")
    clone.run("Bumping a pin")
    assert OTHERS.keys() == pins().keys()
    before = (clone.folder / "build" / "data" / "pins.toml").read_text()
    assert "1.27.3" in before
    for name, version in OTHERS.items():
        said = clone.shell(f"./dev invoke bump {name} {version} --force --dry-run")
        assert "sha256" in said or version == pin(name).version
    assert (clone.folder / "build" / "data" / "pins.toml").read_text() == before


@rehearses("Adding a feature")
def test_adding_a_feature(clone: Clone) -> None:
    """One that is wanted, so that its weight is accepted."""
    data = clone.folder / "build" / "data"
    for name, pattern, new in (
        ("features.toml", r'(\[feature\.useproxy\]\nverdict = )"out"', r'\1"in"'),
    ):
        text, count = re.subn(pattern, new, (data / name).read_text())
        assert count, name
        (data / name).write_text(text)
    # Whatever the feature costs, the build stops at nothing; the document's last command accepts.
    weights = ratio.read(data / "weight.json")
    heavy = dataclasses.replace(weights["arm64"], ours=weights["arm64"].upstream)
    ratio.write({"arm64": heavy}, data / "weight.json")
    table = clone.run("Adding a feature")[0]
    assert re.search(r"useproxy\s*│ in", table)
    accepted = ratio.read(data / "weight.json")
    assert weights["arm64"].ours < accepted["arm64"].ours < heavy.ours


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
