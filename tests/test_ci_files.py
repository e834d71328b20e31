"""The CI files: they start sessions that people start too, and hold no logic of their own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from build.pipeline import order

ROOT = Path(__file__).resolve().parent.parent
WOODPECKER = sorted((ROOT / ".woodpecker").glob("*.yaml"))
ACTIONS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))
PIPELINES = {"pull", "release-tag", "release", "renovate", "nightly"}

ACTIONLINT = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"
SESSION = re.compile(
    r"(?:sudo --preserve-env )?\./dev nox -s ([a-z- ]+?)"
    r"(?: -- --push| -- --write [a-z]+| --(?: --require [a-z]+)+)?"
)
PLAIN = re.compile(r"(?:sudo )?\.ci/install(?: chromium)?")
ACTIONS_ONLY = {"comment"}
"""Woodpecker's steps share a workspace: no secret comes near a pull request, so none comments."""


def load(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text())


def lines(table: Any) -> list[str]:
    """Every shell line of a CI file, wherever it stands."""
    if isinstance(table, dict):
        found = [line for value in table.values() for line in lines(value)]
        for key in ("run", "commands"):
            if isinstance(given := table.get(key), str):
                found += given.splitlines()
            else:
                found += given or []
        return found
    if isinstance(table, list):
        return [line for value in table for line in lines(value)]
    return []


def sessions() -> set[str]:
    argv = [sys.executable, "-m", "nox", "--list"]
    done = subprocess.run(argv, cwd=ROOT, text=True, capture_output=True, check=True)
    return set(re.findall(r"^[*-] ([a-z-]+)", done.stdout, re.M))


def faults(line: str, known: set[str]) -> list[str]:
    """Why a shell line may not stand in a CI file."""
    if PLAIN.fullmatch(line):
        return []
    match = SESSION.fullmatch(line)
    if not match:
        return [f"logic: {line}"]
    return [f"no session {name}" for name in match[1].split() if name not in known]


def test_there_is_one_of_each_for_both() -> None:
    assert {path.stem.replace("pr-build", "pull") for path in WOODPECKER} == PIPELINES
    assert {path.stem for path in ACTIONS} == PIPELINES


def test_ci_files_start_sessions_and_nothing_else() -> None:
    known = sessions()
    for path in (*WOODPECKER, *ACTIONS):
        found = lines(load(path))
        assert found, path.name
        assert [fault for line in found for fault in faults(line, known)] == [], path.name


@pytest.mark.parametrize(
    "line",
    [
        "./dev nox -s no-such-session",
        "./dev nox -s tests && rm -rf /",
        "if true; then ./dev nox -s tests; fi",
        "git tag v1",
        "curl localhost | .ci/install",
        ".ci/install chromium openssh-server",
        "sudo --preserve-env=HOME ./dev nox -s tests",
        "./dev nox -s tests -- --write x; id",
    ],
)
def test_logic_in_a_ci_file_is_seen(line: str) -> None:
    assert faults(line, {"tests"})


def test_both_run_the_same_sessions() -> None:
    """What is checked on one forge is checked on the other."""

    def of(paths: list[Path]) -> dict[str, set[str]]:
        return {
            path.stem.replace("pr-build", "pull"): {
                name
                for line in lines(load(path))
                if (match := SESSION.fullmatch(line))
                for name in match[1].split()
            }
            for path in paths
        }

    here, there = of(WOODPECKER), of(ACTIONS)
    assert there["pull"] - here["pull"] == ACTIONS_ONLY
    assert {**there, "pull": here["pull"]} == here


def test_every_image_and_action_is_pinned() -> None:
    text = "".join(path.read_text() for path in (*WOODPECKER, *ACTIONS))
    images = re.findall(r"(?:image: |- &image )([^*\s]+)", text)
    assert len(images) > 4
    pinned = re.compile(r"\S+:\d+\.\d+\.\d+\S*@sha256:[0-9a-f]{64}")
    assert [name for name in images if not pinned.fullmatch(name)] == []
    actions = re.findall(r"uses: (\S+)(.*)", text)
    outside = [(action, note) for action, note in actions if not action.startswith("./.github/")]
    assert outside
    assert [a for a, _ in outside if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", a)] == []
    assert all(re.fullmatch(r" # v\d+\.\d+\.\d+", note) for _, note in outside)


def schema_accepts(schema: str, path: Path) -> bool:
    argv = ["check-jsonschema", "--builtin-schema", f"vendor.{schema}", str(path)]
    return subprocess.run(
        [str(Path(sys.executable).parent / argv[0]), *argv[1:]], capture_output=True
    ).returncode == 0  # fmt: skip


@pytest.mark.parametrize(
    ("schema", "file"), [("woodpecker-ci", WOODPECKER[0]), ("github-workflows", ACTIONS[0])]
)
def test_the_schema_sees_a_misspelt_key(schema: str, file: Path, tmp_path: Path) -> None:
    """`nox -s lint` runs these schemas over the files: here is what they would not let pass."""
    assert schema_accepts(schema, file)
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(re.sub("steps:|runs-on:", "stepz:", file.read_text()))
    assert not schema_accepts(schema, wrong)


def test_the_guide_s_step_for_openbao_fits_into_a_pipeline(tmp_path: Path) -> None:
    (step,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "CI.md").read_text(), re.S)
    whole = tmp_path / "release.yaml"
    text = (ROOT / ".woodpecker" / "release.yaml").read_text()
    whole.write_text(text.replace("steps:\n", f"steps:\n{step}\n", 1))
    assert [row["name"] for row in load(whole)["steps"]] == [
        "credentials",
        "owed",
        "prove",
        "publish",
        "attach",
    ]
    assert schema_accepts("woodpecker-ci", whole)


@pytest.mark.network
def test_actionlint(shared_cache: Path, tmp_path: Path) -> None:
    """The linter of Actions files, built by the pinned Go toolchain."""
    go = order.go_command()
    record = tmp_path / "go.log"
    words = ["install", ACTIONLINT]
    go.run(words, what="actionlint", record=record, scratch=tmp_path, cwd=tmp_path)
    program = str(tmp_path / "gopath" / "bin" / "actionlint")

    def found(*paths: Path) -> str:
        # -shellcheck= and -pyflakes=: only what is pinned judges.
        argv = [program, "-no-color", "-shellcheck=", "-pyflakes=", *map(str, paths)]
        return subprocess.run(argv, cwd=ROOT, text=True, capture_output=True).stdout

    assert found(*ACTIONS) == ""
    wrong = tmp_path / "wrong.yaml"
    text = next(text for path in ACTIONS if "github.event." in (text := path.read_text()))
    wrong.write_text(text.replace("github.event.", "github.evnt."))
    assert "evnt" in found(wrong)
