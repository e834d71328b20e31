"""The scene of the chain: this checkout's files in a real Gitea, set up by docs/CI.md.

What differs from what is committed, all in `prepare`: the action that checks out is a stand-in of
ours with its own commit, Tailscale is pinned one patch back, and Renovate is told to look at that
pin alone and no further than one patch. For work on the story itself, MT_CHAIN_SHORT=1 takes the
quick tests out of the workflow, and MT_CHAIN_FROM=release begins where the bump is merged already;
the first row of the table then says so.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from build.config.pins import pin
from build.core import paths
from build.release import protection, signature
from chain.programs import programs
from chain.servers import SECONDS, Gitea, Runner, gitea, runner, secret, statuses, until

ROOT = Path(__file__).resolve().parent.parent.parent
OWNER, NAME = "team", "mikrotik-tailscale"
REPOSITORY = f"{OWNER}/{NAME}"
BEFORE, AFTER = "1.104.4", pin("tailscale").version
"""Releases of Tailscale: one before the pinned one, and that."""
PASSWORD = "swordfish-of-the-chain"
MINUTE = 60.0
SHORT = bool(os.environ.get("MT_CHAIN_SHORT"))
MERGED = os.environ.get("MT_CHAIN_FROM") == "release"


@dataclass
class Row:
    """A step: what had to happen, what was seen, seconds."""

    what: str
    seen: str
    seconds: float


@dataclass
class Story:
    """Everything that runs, and the table of what has happened."""

    server: Gitea
    runner: Runner
    room: Path
    work: Path
    cache: Path
    tokens: dict[str, str] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[list[str]]:
        """Time a step; what is put into the list stands in the table."""
        seen: list[str] = []
        began = time.monotonic()
        print(f"\n=== {what}", flush=True)
        try:
            yield seen
        except BaseException as error:
            seen.append(f"FAILED: {str(error).splitlines()[0] if str(error) else error!r}")
            raise
        finally:
            self.rows.append(Row(what, "; ".join(seen), time.monotonic() - began))
            print(f"    {self.rows[-1].seen} ({self.rows[-1].seconds:.0f} s)", flush=True)

    def table(self) -> str:
        """The table of all steps."""
        lines = [f"{row.seconds:7.0f} s  {row.what}: {row.seen}" for row in self.rows]
        return "\n".join(["", "The chain", *lines])

    def git(self, *words: str) -> str:
        """Run git in the working copy."""
        return git(self.work, *words)

    def ask(self, method: str, path: str, **more: Any) -> Any:
        """Call the API below the repository."""
        return self.server.ask(method, f"repos/{REPOSITORY}/{path}".rstrip("/"), **more)

    def renovate(self, *, minutes: float = 10) -> str:
        """Run the bot beside the runner, which is busy, and return its log."""
        env = {name: text for name, text in os.environ.items() if not name.startswith("MT_")}
        env |= {
            "HOME": str(self.room / "home"),
            "LOG_LEVEL": "debug",
            "RENOVATE_ENDPOINT": f"{self.server.address}/api/v1",
            "RENOVATE_REPOSITORIES": REPOSITORY,
            "RENOVATE_TOKEN": self.tokens["renovate"],
            **bot_settings(self.room, self.cache),
        }
        argv = [sys.executable, "-m", "nox", "-s", "renovate"]
        with (self.room / "renovate.log").open("w") as log:
            done = subprocess.run(
                argv, cwd=self.work, env=env, stdout=log, stderr=log, timeout=minutes * SECONDS
            )
        text = (self.room / "renovate.log").read_text()
        assert done.returncode == 0, text[-3000:]
        assert self.tokens["renovate"] not in text
        return text

    def pulls(self, state: str = "open") -> list[dict[str, Any]]:
        """The pull requests of that state."""
        return list(self.ask("GET", f"pulls?state={state}&limit=50"))

    def wait_for(self, commit: str, wanted: dict[str, str], minutes: float) -> dict[str, str]:
        """Wait until the contexts have these states; fails when one ends in another."""

        def ended() -> dict[str, str] | None:
            found = statuses(self.server, REPOSITORY, commit)
            mine = {name: found.get(name, "pending") for name in wanted}
            return found if all(state != "pending" for state in mine.values()) else None

        found: dict[str, str] = until(f"checks of {commit[:12]}", ended, minutes * MINUTE)
        assert {name: found[name] for name in wanted} == wanted, f"{found}\n{self.last_log()}"
        return found

    def events(self) -> list[str]:
        """What has happened in the repository, as Gitea's feed calls it."""
        return [str(row["op_type"]) for row in self.ask("GET", "activities/feeds?limit=50")]

    def runs(self, file: str) -> list[dict[str, Any]]:
        """The runs of a workflow file, newest first."""
        rows = self.ask("GET", "actions/runs?limit=50")["workflow_runs"]
        return [row for row in rows if row["path"].partition("@")[0].endswith(file)]

    def bot(self, minutes: float = 15) -> None:
        """Let the bot run as every six hours: a job of the runner's."""
        before = self.newest("renovate.yaml")
        self.dispatch("renovate.yaml")
        run = self.wait_run("renovate.yaml", before, minutes)
        assert run["conclusion"] == "success", self.last_log()

    def dispatch(self, file: str) -> None:
        """Start a workflow as its schedule does: on main."""
        self.ask("POST", f"actions/workflows/{file}/dispatches", ref="main")

    def jobs(self, run: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """The jobs of a run by name; one that never ran has an empty conclusion."""
        rows = self.ask("GET", f"actions/runs/{run['id']}/jobs")["jobs"]
        return {str(row["name"]): {"conclusion": "", **row} for row in rows}

    def wait_run(self, file: str, after: int, minutes: float) -> dict[str, Any]:
        """Wait until a run of a file, newer than the run `after`, has ended, and return it."""

        def ended() -> dict[str, Any] | None:
            newest = next(iter(self.runs(file)), None)
            new = newest and newest["id"] > after and newest["status"] == "completed"
            return newest if new else None

        found: dict[str, Any] = until(f"the run of {file}", ended, minutes * MINUTE)
        return found

    def newest(self, file: str) -> int:
        """The number of the newest run of a file, 0 if there is none."""
        return max((int(row["id"]) for row in self.runs(file)), default=0)

    def kill_in(self, file: str, job: str, word: str, minutes: float = 5) -> str:
        """Stop the runner while a job's log has `word` already; returns what is reported of it.

        The runner is started again at once.
        """

        def there() -> bool:
            run = next(iter(self.runs(file)), None)
            row = self.jobs(run).get(job) if run else None
            return bool(row) and row["status"] == "in_progress" and self.working(word)

        until(f"{job} at work", there, minutes * MINUTE)
        run = self.runs(file)[0]
        self.runner.stop()
        self.runner.start()

        def ended() -> str | None:
            row = self.jobs(run)[job]
            return str(row["conclusion"]) if row["status"] == "completed" else None

        return str(until(f"{job} has ended", ended, 4 * MINUTE))

    def working(self, word: str) -> bool:
        """Whether a process of the runner's folder has `word` in its command line."""
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                mine = entry.name.isdecimal() and (entry / "cwd").readlink().is_relative_to(
                    self.runner.room
                )
                if mine and word.encode() in (entry / "cmdline").read_bytes():
                    return True
        return False

    def logs(self) -> dict[str, str]:
        """The logs of all jobs that ran, by workflow, number of the run and job."""
        rows = self.ask("GET", "actions/runs?limit=50")["workflow_runs"]
        found = {}
        for run in rows:
            for name, job in self.jobs(run).items():
                address = f"{self.server.address}/api/v1/repos/{REPOSITORY}/actions/jobs"
                answer = requests.get(
                    f"{address}/{job['id']}/logs",
                    headers={"Authorization": f"token {self.server.token}"},
                    timeout=SECONDS,
                )
                if answer.ok:
                    key = f"{run['path'].partition('@')[0]} {run['id']} {name}"
                    found[key] = answer.text
        return found

    def last_log(self) -> str:
        """The end of the logs of the newest run's jobs, for a message."""
        logs = self.logs()
        first = [name for name in logs if name.split()[:2] == next(iter(logs)).split()[:2]]
        return "\n".join(f"--- {name}\n{logs[name][-1500:]}" for name in first) or "no log"


def bot_settings(room: Path, cache: Path) -> dict[str, str]:
    """What lets the bot work in this room and take modules from this cache."""
    return {
        "RENOVATE_BASE_DIR": str(room / "renovate"),
        "RENOVATE_CUSTOM_ENV_VARIABLES": json.dumps({"MT_CACHE": str(cache)}),
    }


def git(folder: Path, *words: str) -> str:
    argv = ["git", "-c", "user.name=x", "-c", "user.email=x@localhost.localdomain", *words]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout.strip()


def copy_of_checkout(folder: Path) -> None:
    """Fill a folder with this checkout's files as they are now."""
    listed = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in listed.split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def checkout_action(server: Gitea, folder: Path) -> str:
    """Publish the stand-in for actions/checkout and return its commit."""
    server.ask("POST", "orgs", username="actions", visibility="public")
    server.ask("POST", "orgs/actions/repos", name="checkout", default_branch="main")
    folder.mkdir()
    shutil.copy(ROOT / "tests" / "chain" / "action-checkout.yaml", folder / "action.yaml")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "Check out")
    git(folder, "push", "-q", server.remote("actions/checkout", "boss", server.token), "main")
    return git(folder, "rev-parse", "HEAD")


def prepare(folder: Path, checkout: str) -> None:
    """Edit the copied files as the module says."""
    for path in (folder / ".github" / "workflows").glob("*.yaml"):
        text = re.sub(r"(actions/checkout@)[0-9a-f]{40}", rf"\g<1>{checkout}", path.read_text())
        path.write_text(text.replace("nox -s lint tests", "nox -s lint") if SHORT else text)
    config = json.loads((folder / "renovate.json").read_text())
    # One registry that cannot be reached would end its run.
    config["enabledManagers"] = ["custom.regex"]
    config["packageRules"] += [
        {"matchDepNames": ["!tailscale"], "enabled": False},
        {"matchDepNames": ["tailscale"], "allowedVersions": f"<={AFTER}"},
    ]
    (folder / "renovate.json").write_text(json.dumps(config, indent=2) + "\n")
    if MERGED:
        return
    # Upstream's bytes are of the release before, so the bump has to record those of its own.
    weights = folder / "build" / "data" / "weight.json"
    weights.write_text(weights.read_text().replace(f'"{AFTER}"', f'"{BEFORE}"'))
    argv = [sys.executable, "-m", "invoke", "bump", "tailscale", BEFORE, "--force"]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    argv = [sys.executable, "-m", "invoke", "sources", "--write"]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def scene(room: Path) -> Iterator[Story]:
    """Set up Gitea by docs/CI.md, with this repository in it, and a runner."""
    cache = paths.cache_dir()
    env = {
        name: text for name, text in os.environ.items() if not name.startswith(("MT_", "PYTEST"))
    }
    env |= {"MT_CACHE": str(cache), "LANG": "C.UTF-8", **bot_settings(room, cache)}
    env.pop("VIRTUAL_ENV", None)
    made = programs()
    (room / "home").mkdir()
    with (
        gitea(made, room / "gitea") as server,
        runner(made, server, room / "runner", env) as runs,
    ):
        story = Story(server, runs, room, room / "work", cache)
        try:
            _set_up(story)
            yield story
        finally:
            print(story.table(), flush=True)


def _set_up(story: Story) -> None:
    server = story.server
    with story.step("Gitea is set up by docs/CI.md") as seen:
        commit = checkout_action(server, story.room / "checkout")
        server.ask("POST", "orgs", username=OWNER, visibility="public")
        server.ask("POST", f"orgs/{OWNER}/repos", name=NAME, default_branch="main")
        for bot, scopes in {
            "renovate": ("write:repository", "write:issue", "read:user", "read:organization"),
            "tagger": ("write:repository",),
            "publisher": ("write:package",),
        }.items():
            story.tokens[bot] = server.user(bot, *scopes)
        for bot in ("renovate", "tagger"):
            story.ask("PUT", f"collaborators/{bot}", permission="write")
        teams = server.ask("GET", f"orgs/{OWNER}/teams")
        server.ask("PUT", f"teams/{teams[0]['id']}/members/publisher")
        story.work.mkdir()
        copy_of_checkout(story.work)
        prepare(story.work, commit)
        story.git("init", "-q", "-b", "main")
        story.git("add", "-A")
        story.git("commit", "-q", "-m", f"Everything, with Tailscale {AFTER if MERGED else BEFORE}")
        remote = server.remote(REPOSITORY, "boss", server.token)
        story.git("remote", "add", "origin", remote)
        # Released already: what is tried is the next version.
        story.git("tag", "-a", "-m", "first", f"v{BEFORE}-mt.1")
        # As it was before: nothing runs for what is there already. Gitea looks at a push a moment
        # after it has taken it, and then makes the event that is listed here.
        story.ask("PATCH", "", has_actions=False)
        story.git("push", "-q", "--follow-tags", "origin", "main")
        pushed = {"commit_repo", "push_tag"}
        until("the push is seen", lambda: pushed <= set(story.events()), MINUTE)
        story.ask("PATCH", "", has_actions=True)
        signature.write_pair(story.room / "signing", PASSWORD)
        for name, value in {
            "RENOVATE_TOKEN": story.tokens["renovate"],
            "TAG_TOKEN": story.tokens["tagger"],
            "REGISTRY_USER": "publisher",
            "REGISTRY_PASSWORD": story.tokens["publisher"],
            "SIGNING_KEY": (story.room / "signing").read_text(),
            "SIGNING_PASSWORD": PASSWORD,
        }.items():
            secret(server, REPOSITORY, name, value)
        place = f"{server.address.removeprefix('http://')}/{REPOSITORY}"
        story.ask("POST", "actions/variables/MT_REPOSITORY", value=place)
        story.ask("POST", "tag_protections", name_pattern="v*-mt.*", whitelist_usernames=["tagger"])
        story.ask(
            "POST",
            "branch_protections",
            rule_name="main",
            enable_status_check=True,
            status_check_contexts=protection.contexts(False),
        )
        seen.append(f"main at {story.git('rev-parse', '--short', 'HEAD')}")
        seen += ["WITHOUT the quick tests"] if SHORT else []
        seen += ["WITHOUT the bump itself"] if MERGED else []
