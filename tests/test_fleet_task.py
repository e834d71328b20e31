"""`invoke deploy --inventory routers.toml` as it is typed, against routers in another process."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.routeros.farm import Place, farm

ROOT = Path(__file__).resolve().parent.parent


def deploy(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "invoke", "deploy", *words]
    return subprocess.run(
        argv, cwd=ROOT, env=os.environ | env, capture_output=True, text=True, timeout=600
    )


def inventory(folder: Path, places: list[Place], rest: str = "") -> str:
    rows = [f'[router.{one.name}]\nhost = "{one.address}"\n' for one in places]
    path = folder / "routers.toml"
    path.write_text(f'[defaults]\npassword_from = "env:OFFICE"\n{"".join(rows)}{rest}')
    return str(path)


def records(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return json.loads(done.stdout)["routers"]


def test_plan_then_rings_then_the_rest(tmp_path: Path) -> None:
    """Without an image: scripts alone, of this checkout."""
    with farm(3, "-", {1: "password"}) as places:
        file = inventory(tmp_path, places)
        shown = deploy("--inventory", file, OFFICE="secret")
        assert shown.returncode == 6, shown.stderr
        assert "store the script install-tailscale" in shown.stdout
        assert "cannot deploy: the router refuses this user or password" in shown.stdout
        assert "nothing was changed" in shown.stdout
        assert not [w for one in places for w in one.rest.requests if not w.startswith("GET")]
        assert not (tmp_path / "routers.state.json").exists()

        one = ("--at-once", "1")
        stopped = deploy("--inventory", file, "--apply", "--json", *one, OFFICE="secret")
        assert stopped.returncode == 5, stopped.stderr
        assert json.loads(stopped.stdout)["stopped"] == 2
        rows = records(stopped)
        assert [row["outcome"] for row in rows] == ["done", "failed", "untouched"]
        assert [row["ring"] for row in rows] == [1, 2, 2]
        assert "secret" not in stopped.stdout + stopped.stderr

        places[1].cure()
        asked = len(places[0].rest.requests)
        done = deploy("--inventory", file, "--apply", "--json", OFFICE="secret")
        assert done.returncode == 0, done.stderr
        assert [row["outcome"] for row in records(done)] == ["done"] * 3
        assert len(places[0].rest.requests) == asked, "it was done already"
        assert all(one.bed.running() for one in places)

        with (tmp_path / "routers.state.json.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            second = deploy("--inventory", file, "--apply", OFFICE="secret")
        assert second.returncode == 2
        assert "another run works" in second.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "which router?"),
        (["--inventory", "FILE", "--host", "http://127.0.0.1:9"], "which router?"),
        (["--inventory", "FILE", "--user", "x"], "--user has no meaning with --inventory"),
        (["--host", "http://127.0.0.1:9", "--only", "x"], "--only has no meaning with --host"),
        (["--inventory", "FILE", "--only", "attic"], "'attic' is neither a group"),
        (["--inventory", "FILE", "--at-once", "0"], "--at-once '0' is not a whole number"),
        (["--inventory", "FILE", "--tolerate", "101"], "--tolerate '101' is not a whole number"),
        (["--inventory", "FILE"], "router.a: no password from env:OFFICE, $OFFICE is not set"),
        (["--inventory", "nowhere.toml"], "there is no inventory nowhere.toml"),
        (["--inventory", "WITH PASSWORD"], "got a secret in the file"),
    ],
)
def test_a_wrong_request(words: list[str], says: str, tmp_path: Path) -> None:
    text = '[router.a]\nhost = "http://127.0.0.1:9"\npassword_from = "env:OFFICE"\n'
    (tmp_path / "FILE").write_text(text)
    (tmp_path / "WITH PASSWORD").write_text(f'{text}password = "correct-horse"\n')
    known = {name: str(tmp_path / name) for name in ("FILE", "WITH PASSWORD")}
    done = deploy(*(known.get(word, word) for word in words))
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert done.stderr.count("error: ") == 1
    assert done.stdout == ""
    assert "correct-horse" not in done.stderr
