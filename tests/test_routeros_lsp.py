"""routeros-lsp as a second opinion on every script; runs where it is installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from build.router import render
from tests.routeros import bed, lspschema

pytest.importorskip("routeros_lsp", reason="pip install routeros-lsp")
VERSIONS = [None, "7.21", "7.24"]


@pytest.fixture(scope="module", params=VERSIONS, ids=str)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts of one rendering, and a database that knows its containers."""
    path = tmp_path_factory.mktemp("lsp")
    for name in render.SCRIPTS:
        (path / f"{name}.rsc").write_text(bed.script(name, request.param))
    lspschema.write(path / "schema.json", request.param or "7.24")
    return path


def check(folder: Path, scope: str, *names: str) -> list[dict[str, Any]]:
    files = [str(folder / name) for name in names] or [str(folder)]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "routeros_lsp",
            "check",
            "--strict",
            "--format",
            "json",
            "--scope",
            scope,
            "--schema",
            str(folder / "schema.json"),
            *files,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("scope", ["script", "import"])
def test_no_findings(folder: Path, scope: str) -> None:
    found = check(folder, scope)
    assert found == [], json.dumps(found, indent=1)[:3000]


@pytest.mark.parametrize(
    "fault",
    [
        ":put $nowhere",
        "/container/add colour=red",
        ":set never 1",
        ':put "\\e2"',
        "/contaner/print",
    ],
)
def test_planted_faults_are_found(folder: Path, fault: str) -> None:
    """Negative control: the gate sees what it is there for."""
    (folder / "fault.rsc").write_text(f"{fault}\n")
    try:
        assert check(folder, "script", "fault.rsc")
    finally:
        (folder / "fault.rsc").unlink()
