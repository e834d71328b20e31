"""`invoke doctor --forge`: a forge whose settings are in order, and each one missing in turn."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from test_ci_files import ACTIONS, load

from build.core.errors import BuildFailed, UserError
from build.release import protection
from build.release.forge import Forge

ROOT = Path(__file__).resolve().parent.parent
Settings = dict[str, Any]

GITEA: Settings = {
    "": {"default_branch": "main", "has_actions": True},
    "branch_protections": [
        {"rule_name": "*", "enable_status_check": False},
        {
            "rule_name": "main",
            "enable_status_check": True,
            "status_check_contexts": protection.contexts(False),
        },
    ],
    "tag_protections": [{"name_pattern": "v*-mt.*"}],
    "actions/secrets": [{"name": name} for name in protection.SECRETS],
    "actions/variables": [{"name": "MT_REPOSITORY", "data": "x"}],
}
GITHUB: Settings = {
    "": {"default_branch": "main"},
    "rules/branches/main": [
        {
            "type": "required_status_checks",
            "parameters": {
                "required_status_checks": [{"context": c} for c in protection.contexts(True)]
            },
        }
    ],
    "rulesets": [{"id": 5}],
    "rulesets/5": {
        "enforcement": "active",
        "rules": [{"type": "creation"}, {"type": "update"}, {"type": "deletion"}],
        "conditions": {"ref_name": {"include": ["refs/tags/v*-mt.*"]}},
    },
    "actions/permissions": {"enabled": True},
    "actions/secrets": {"secrets": [{"name": name} for name in protection.SECRETS[:2]]},
    "environments/release/secrets": {
        "secrets": [{"name": name} for name in protection.SECRETS[2:]]
    },
    "actions/variables": {"variables": [{"name": "MT_REPOSITORY"}]},
    "actions/permissions/fork-pr-contributor-approval": {
        "approval_policy": "first_time_contributors"
    },
}


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """A forge that knows these answers; all else is 404, as for a token that may not look."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlsplit(self.path).path.removeprefix("/api/v1/repos/me/it").strip("/")
            known = path in settings
            body = json.dumps(settings.get(path, {"message": "none"})).encode()
            self.send_response(200 if known else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def wrong(settings: Settings, github: bool) -> list[str]:
    """The names of what is missing."""
    with serving(settings) as address:
        there = Forge(f"{address}/api/v1", "me/it", "t")
        with closing(there):
            found = protection.examine(there, github)
    assert all(row.cure for row in found if not row.ok)
    return [row.name for row in found if not row.ok]


def test_settings_in_order() -> None:
    assert wrong(GITEA, False) == []
    assert wrong(GITHUB, True) == []


def without(key: str) -> Callable[[Settings], object]:
    return lambda settings: settings.pop(key)


@pytest.mark.parametrize(
    ("github", "change", "said"),
    [
        (False, lambda s: s[""].update(default_branch="trunk"), ["default branch"]),
        (False, lambda s: s[""].update(has_actions=False), ["CI"]),
        (False, without("branch_protections"), ["branch main", "required checks"]),
        (False, lambda s: s["branch_protections"].pop(1), ["required checks"]),
        (False, lambda s: s["branch_protections"][1].update(enable_status_check=False),
         ["required checks"]),
        (False, lambda s: s["branch_protections"][1]["status_check_contexts"].pop(),
         ["required checks"]),
        (False, lambda s: s.update(tag_protections=[{"name_pattern": "v*-rc.*"}]), ["tags"]),
        (False, without("tag_protections"), ["tags"]),
        (False, lambda s: s["actions/secrets"].pop(), ["secrets"]),
        (False, without("actions/secrets"), ["secrets"]),
        (False, lambda s: s["actions/variables"].clear(), ["variable"]),
        (True, without("rules/branches/main"), ["branch main", "required checks"]),
        (True, lambda s: s["rulesets/5"].update(enforcement="evaluate"), ["tags"]),
        (True, lambda s: s["rulesets/5"]["rules"].pop(), ["tags"]),
        (True, without("environments/release/secrets"), ["secrets"]),
        (True, without("actions/permissions"), ["CI"]),
        (True, without("actions/permissions/fork-pr-contributor-approval"), ["forks"]),
        (True, lambda s: s["rules/branches/main"][0]["parameters"]["required_status_checks"].pop(),
         ["required checks"]),
    ],
)  # fmt: skip
def test_each_lack_is_named(github: bool, change: Any, said: list[str]) -> None:
    settings = copy.deepcopy(GITHUB if github else GITEA)
    change(settings)
    assert wrong(settings, github) == said


def test_woodpecker_s_check_will_do() -> None:
    settings = copy.deepcopy(GITEA)
    settings["branch_protections"][1]["status_check_contexts"] = ["ci/woodpecker/pr/*"]
    settings[""]["has_actions"] = False
    assert wrong(settings, False) == []


def test_the_names_are_those_of_the_ci_files() -> None:
    """Gitea names a check after workflow, job and event; GitHub after the job."""
    (pull,) = (load(path) for path in ACTIONS if path.stem == "pull")
    assert pull["name"] == "pull request"
    assert set(protection.JOBS) | {"comment"} == set(pull["jobs"])
    text = "".join(path.read_text() for path in ACTIONS)
    assert all(f"secrets.{name} " in text for name in protection.SECRETS)
    assert f"vars.{protection.VARIABLE} " in text
    assert protection.WOODPECKER.endswith("/pr-build")
    document = (ROOT / "docs" / "CI.md").read_text()
    for name in (*protection.contexts(False), protection.WOODPECKER, *protection.SECRETS):
        assert f"`{name}`" in document, name


@pytest.mark.parametrize("address", ["", "forge.example/me/it", "https://forge.example/me", "x"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(UserError, match="is no repository"):
        protection.open_forge(address, "")


def test_where_the_api_is() -> None:
    for address, base in (
        ("https://forge.example/me/it", "https://forge.example/api/v1/repos/me/it"),
        ("https://forge.example/git/me/it.git", "https://forge.example/git/api/v1/repos/me/it"),
        ("https://github.com/me/it/", "https://api.github.com/repos/me/it"),
    ):
        there, github = protection.open_forge(address, "")
        there.close()
        assert (there.base, github) == (base, "github.com" in address)
    with pytest.raises(UserError, match="holds a password"):
        protection.open_forge("https://u:p@forge.example/me/it", "")


def test_a_repository_that_cannot_be_seen() -> None:
    with pytest.raises(BuildFailed, match="cannot be seen"):
        wrong({}, False)


def test_the_command(tmp_path: Path) -> None:
    def run(settings: Settings) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "MT_FORGE_TOKEN": "swordfish"}
        with serving(settings) as address:
            argv = ["./dev", "invoke", "doctor", "--forge", f"{address}/me/it", "--json"]
            return subprocess.run(argv, cwd=ROOT, env=env, text=True, capture_output=True)

    done = run(GITEA)
    assert done.returncode == 0, done.stderr
    assert all(row["ok"] for row in json.loads(done.stdout))
    done = run({**GITEA, "tag_protections": []})
    assert done.returncode == 2
    assert [row["name"] for row in json.loads(done.stdout) if not row["ok"]] == ["tags"]
    assert "swordfish" not in done.stdout + done.stderr
