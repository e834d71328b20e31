"""Looking changes nothing: commands that show something build, fetch and write no product."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from build.config.pins import pin

ROOT = Path(__file__).resolve().parent.parent
PRODUCTS = [
    ["inspect", "arm64"],
    ["size"],
    ["size", "--arch", "arm64"],
    ["size", "--check"],
    ["sbom", "arm64"],
    ["comment"],
    ["attach", "--dry-run", "--release", f"v{pin('tailscale').version}-mt.0"],
    ["symbolize", "--arch", "arm64", os.devnull, "--trust"],
]
SOURCES = [["features"], ["tags"]]
COMPILING = [["chart"], ["size", "--by", "section"]]


def invoke(*words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "invoke", *words]
    return subprocess.run(argv, cwd=ROOT, text=True, capture_output=True, timeout=600)


def state(folder: Path) -> dict[str, tuple[int, str]]:
    """Return (time of change in nanoseconds, content) of each file and folder."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in (folder, *folder.rglob("*"))
    }


@pytest.mark.parametrize("words", PRODUCTS, ids=" ".join)
def test_where_nothing_is_built(words: list[str], places: Path) -> None:
    done = invoke(*words)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "cure: " in done.stderr
    assert "invoke build" in done.stderr
    assert not (places / "dist").exists()
    assert not (places / "cache").exists()


@pytest.mark.parametrize("words", SOURCES, ids=" ".join)
def test_where_nothing_is_fetched(words: list[str], places: Path) -> None:
    done = invoke(*words)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "cure: invoke fetch" in done.stderr or "invoke fetch" in done.stderr
    assert not (places / "dist").exists()


@pytest.mark.slow
def test_looking_at_what_a_build_left(places: Path, shared_cache: Path) -> None:
    """An uncompressed release, signed: looking once made the compressed one of it."""
    dist = places / "dist"
    done = invoke("build-all", "--compress", "none")
    assert done.returncode == 0, done.stderr
    (dist / "SHA256SUMS.sig").write_text("a signature\n")
    (dist / "report.md").write_text("a report\n")
    objects = {path.name for path in shared_cache.glob("objects/image/*")}
    before = state(dist)
    for words in (*PRODUCTS, *SOURCES, *COMPILING):
        done = invoke(*words)
        # The caps are for the compressed images, and an empty report has nothing to look up.
        code = 3 if words == ["size", "--check"] else 2 if words[0] == "symbolize" else 0
        assert done.returncode == code, (words, done.stderr)
        assert done.stdout or "nothing to do in this report" in done.stderr, words
        assert state(dist) == before, words
    assert {path.name for path in shared_cache.glob("objects/image/*")} <= objects
    shown = json.loads(invoke("size", "--arch", "arm64", "--json").stdout)
    whole = {row["component"]: row["size"] for row in shown}["rootfs"]
    assert whole > 10_000_000, "what is in dist/ is shown, not what a build would make"

    archive = next(dist.glob("*-arm64.tar"))
    with archive.open("ab") as stream:
        stream.write(b"more")
    done = invoke("inspect", "arm64")
    assert done.returncode == 2
    assert "was changed after it was built" in done.stderr
    archive.unlink()
    done = invoke("inspect", "arm64")
    assert done.returncode == 2
    assert "build it first" in done.stderr

    # What makes products is seen by the same comparison.
    assert invoke("build", "--arch", "arm64", "--compress", "none").returncode == 0
    assert state(dist) != before
