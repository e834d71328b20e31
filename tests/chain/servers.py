"""Gitea and its runner as processes on the loopback interface, and Gitea's API to assert with.

Gitea refuses to be root: it runs as `nobody`. The runner is root, which the gate needs.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from chain.programs import Programs

USER = "nobody"
PATIENCE = 5
"""How often longer than on an idle machine anything may take: a limit ends what hangs, and a busy
machine makes no wait of the story fail."""
SECONDS = 60 * PATIENCE


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(what: str, found: Callable[[], Any], seconds: float) -> Any:
    """Ask again until there is an answer, and return it; fails with `what` after `seconds`,
    which are those of an idle machine.
    """
    end = time.monotonic() + seconds * PATIENCE
    while not (value := found()):
        assert time.monotonic() < end, f"{what}: not within {seconds:g} s"
        time.sleep(0.5)
    return value


@dataclass
class Gitea:
    """A running Gitea: its address, the folder with its files, its administrator's token."""

    address: str
    room: Path
    program: Path
    token: str = ""
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def command(self, *words: str) -> str:
        """Run one of Gitea's own commands."""
        argv = ["setpriv", "--reuid", USER, "--regid", "nogroup", "--clear-groups"]
        argv += [str(self.program), "--config", str(self.room / "app.ini"), *words]
        env = {"PATH": os.environ["PATH"], "HOME": str(self.room), "USER": USER}
        done = subprocess.run(argv, env=env, text=True, capture_output=True, timeout=2 * SECONDS)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def user(self, name: str, *scopes: str, admin: bool = False) -> str:
        """Make a user and return a token of these scopes."""
        more = ["--admin"] if admin else []
        password = secrets.token_hex(16)
        self.command(
            *("admin", "user", "create", "--username", name, "--password", password),
            *("--email", f"{name}@localhost.localdomain", "--must-change-password=false", *more),
        )
        return self.new_token(name, *scopes)

    def new_token(self, name: str, *scopes: str) -> str:
        """Return another token of a user."""
        words = ["admin", "user", "generate-access-token", "--username", name, "--raw"]
        words += ["--token-name", secrets.token_hex(4), "--scopes", ",".join(scopes)]
        return self.command(*words).splitlines()[-1]

    def ask(
        self,
        method: str,
        path: str,
        *,
        token: str = "",
        fine: tuple[int, ...] = (),
        **body: Any,
    ) -> Any:
        """Call the API as the administrator (or `token`); None for a status in `fine`."""
        answer = requests.request(
            method,
            f"{self.address}/api/v1/{path}",
            headers={"Authorization": f"token {token or self.token}"},
            json=body or None,
            timeout=SECONDS,
        )
        if answer.status_code in fine:
            return None
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        return answer.json() if answer.content else None

    def remote(self, repository: str, user: str = "", token: str = "") -> str:
        """Return the address of a repository for git, with a login if one is given."""
        scheme, _, rest = self.address.partition("://")
        login = f"{user}:{quote(token, safe='')}@" if user else ""
        return f"{scheme}://{login}{rest}/{repository}.git"


SETTINGS = """
APP_NAME = chain
RUN_USER = {user}
RUN_MODE = prod
WORK_PATH = {room}
[server]
PROTOCOL = http
HTTP_ADDR = 127.0.0.1
HTTP_PORT = {port}
ROOT_URL = {address}/
STATIC_ROOT_PATH = {room}/static
OFFLINE_MODE = true
DISABLE_SSH = true
[database]
DB_TYPE = sqlite3
PATH = {room}/data/gitea.db
[repository]
ROOT = {room}/repositories
DEFAULT_BRANCH = main
[security]
INSTALL_LOCK = true
SECRET_KEY = {secret}
PASSWORD_HASH_ALGO = pbkdf2$1000$10
[service]
DISABLE_REGISTRATION = true
[mailer]
ENABLED = false
[actions]
ENABLED = true
DEFAULT_ACTIONS_URL = self
ZOMBIE_TASK_TIMEOUT = 1m
[cron.stop_zombie_tasks]
SCHEDULE = @every 30s
# The story says when it is night.
[cron.start_schedule_tasks]
ENABLED = false
[packages]
ENABLED = true
[log]
MODE = file
LEVEL = Info
ROOT_PATH = {room}/log
"""


@contextmanager
def gitea(programs: Programs, room: Path) -> Iterator[Gitea]:
    """Start a Gitea with one administrator, `root`. It is stopped afterwards."""
    room.mkdir(mode=0o755)
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    # It must be readable by `nobody`, whoever owns the cache.
    shutil.copy(programs.gitea, room / "gitea")
    shutil.copytree(programs.static, room / "static")
    settings = SETTINGS.format(
        user=USER, room=room, port=port, address=address, secret=secrets.token_hex(32)
    )
    (room / "app.ini").write_text(settings)
    for path in [room, *room.rglob("*")]:
        shutil.chown(path, USER, "nogroup")
    server = Gitea(address, room, room / "gitea")
    server.command("migrate")
    server.token = server.user("boss", "all", admin=True)
    argv = ["setpriv", "--reuid", USER, "--regid", "nogroup", "--clear-groups", str(room / "gitea")]
    env = {"PATH": os.environ["PATH"], "HOME": str(room), "USER": USER}
    with (room / "gitea.log").open("wb") as log:
        process = subprocess.Popen(
            [*argv, "--config", str(room / "app.ini"), "web"], env=env, stdout=log, stderr=log
        )
    server.processes.append(process)
    try:
        until("Gitea answers", lambda: _alive(server), 60)
        yield server
    finally:
        terminate(process)


def terminate(process: subprocess.Popen[bytes]) -> None:
    """Stop a process as a service manager does: SIGTERM, and SIGKILL for what does not listen."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(SECONDS)


def _alive(server: Gitea) -> bool:
    try:
        return requests.get(f"{server.address}/api/healthz", timeout=5 * PATIENCE).ok
    except requests.RequestException:
        return False


SUDO = """#!/bin/sh
# The runner is root already; Debian's sudo is not on every machine. What the CI files ask of it:
# with --preserve-env the environment stays, without it only what sudo(8) keeps does.
if [ "$1" = --preserve-env ]; then shift; exec "$@"; fi
exec env -i PATH="$PATH" HOME="$HOME" LANG=C.UTF-8 "$@"
"""


@dataclass
class Runner:
    """A runner in host mode that can be killed in the middle of a job and started again."""

    server: Gitea
    program: Path
    room: Path
    env: dict[str, str]
    process: subprocess.Popen[bytes] | None = None

    def register(self) -> None:
        """Prepare the folder and register with Gitea."""
        (self.room / "bin").mkdir(parents=True)
        (self.room / "bin" / "sudo").write_text(SUDO)
        (self.room / "bin" / "sudo").chmod(0o755)
        token = self.server.command("actions", "generate-runner-token").splitlines()[-1]
        (self.room / "config.yaml").write_text(
            textwrap.dedent(f"""\
            log: {{level: info}}
            runner:
              file: {self.room}/.runner
              capacity: 1
              fetch_interval: 1s
              shutdown_timeout: 0s
              timeout: 1h
            cache: {{enabled: false}}
            host: {{workdir_parent: {self.room}/work}}
            """)
        )
        words = ["register", "--no-interactive", "--instance", self.server.address]
        words += ["--token", token, "--name", "here", "--labels", "ubuntu-24.04:host"]
        argv = [str(self.program), "-c", str(self.room / "config.yaml"), *words]
        done = subprocess.run(argv, env=self.env, cwd=self.room, text=True, capture_output=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        """Start the daemon in a session of its own."""
        argv = [str(self.program), "-c", str(self.room / "config.yaml"), "daemon"]
        with (self.room / "runner.log").open("ab") as log:
            self.process = subprocess.Popen(
                argv, env=self.env, cwd=self.room, stdout=log, stderr=log, start_new_session=True
            )

    def stop(self) -> None:
        """Stop it as a service manager does: SIGTERM first; then end what its jobs have left."""
        if self.process is None:
            return
        terminate(self.process)
        self.process = None
        self.end_jobs()

    def end_jobs(self) -> None:
        """Kill every process that works in this runner's own folder."""
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdecimal() and (entry / "cwd").readlink().is_relative_to(self.room):
                    os.kill(int(entry.name), signal.SIGKILL)


@contextmanager
def runner(programs: Programs, server: Gitea, room: Path, env: dict[str, str]) -> Iterator[Runner]:
    """Register and start a runner; stopped afterwards."""
    room.mkdir()
    path = f"{room}/bin:{os.environ['PATH']}"
    made = Runner(server, programs.runner, room, {**env, "PATH": path, "HOME": str(room)})
    made.register()
    made.start()
    try:
        yield made
    finally:
        made.stop()


def secret(server: Gitea, repository: str, name: str, value: str) -> None:
    """Put a secret into the repository's store."""
    server.ask("PUT", f"repos/{repository}/actions/secrets/{name}", data=value)


def statuses(server: Gitea, repository: str, commit: str) -> dict[str, str]:
    """Return {context: state} of a commit, as branch protection sees them."""
    rows = server.ask("GET", f"repos/{repository}/commits/{commit}/status")
    return {str(row["context"]): str(row["status"]) for row in rows.get("statuses") or []}


def show(value: Any) -> str:
    """Return a value for a message."""
    return json.dumps(value, indent=1)[:2000]
