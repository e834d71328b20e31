"""A real registry on the loopback interface, Debian's docker-registry, and pushing to it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from build.core.artifacts import Attachment
from build.registry import attach
from build.registry.client import Client
from build.registry.repository import parse_repository

ROOT = Path(__file__).resolve().parent.parent
LISTENS = re.compile(r"listening on 127\.0\.0\.1:([0-9]+)")


def program(name: str, package: str) -> str:
    """The path of a program; a test fails where it is not installed."""
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"{name} is not installed (apt install {package})")
    return found


def debs(folder: Path, *names: str) -> str:
    """Unpack pinned packages with .ci/deb; returns the PATH that has their programs first."""
    env = {name: text for name, text in os.environ.items() if name != "MT_APT_DIR"}
    argv = [sys.executable, str(ROOT / ".ci" / "deb"), str(folder), *names]
    done = subprocess.run(argv, env=env, text=True, capture_output=True, timeout=300)
    if done.returncode:
        pytest.fail(f"{', '.join(names)} cannot be had:\n{done.stderr}")
    return f"{done.stdout.strip()}:{os.environ['PATH']}"


@dataclass
class Registry:
    """A running registry: `host` is host:port, its storage lies in `files`."""

    host: str
    files: Path

    def client(self, repository: str) -> Client:
        """Our own client of a repository."""
        return Client(parse_repository(f"{self.host}/{repository}"), None)

    def push(self, repository: str, attachment: Attachment) -> None:
        """Push an attachment as `invoke publish` does."""
        with self.client(repository) as client:
            attach.push(client, attachment)

    def push_layout(self, layout: Path, tag: str, repository: str) -> None:
        """Push a whole OCI layout with skopeo."""
        argv = [program("skopeo", "skopeo"), "copy", "--all", "--preserve-digests", "--quiet"]
        argv += ["--dest-tls-verify=false", f"oci:{layout}:{tag}"]
        argv.append(f"docker://{self.host}/{repository}:{tag}")
        subprocess.run(argv, check=True, timeout=120)


CONFIG = """version: 0.1
log: {{level: info, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {files}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:0", secret: secret}}
"""


@contextmanager
def registry(folder: Path, auth: str = "") -> Iterator[Registry]:
    """Yield a registry on a free port; `auth` is that section of its configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    files, config = folder / "files", folder / "config.yml"
    config.write_text(CONFIG.format(files=files) + (f"auth: {auth}\n" if auth else ""))
    argv = [program("docker-registry", "docker-registry"), "serve", str(config)]
    with (folder / "log").open("wb") as sink:
        process = subprocess.Popen(argv, stdout=sink, stderr=sink, stdin=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 30
        # It says in its log which port it was given.
        while not (found := LISTENS.search(said := (folder / "log").read_text(errors="replace"))):
            assert process.poll() is None and time.monotonic() < end, said
            time.sleep(0.02)
        yield Registry(f"localhost:{found[1]}", files)
    finally:
        process.terminate()
        process.wait(timeout=120)


def htpasswd(file: Path, *users: str, password: str) -> str:
    """Write a file of users with one password; returns the section `auth` that reads it."""
    # The lowest cost: it is worked out for each request.
    words = [program("htpasswd", "apache2-utils"), "-nbBC", "4"]
    lines = [
        subprocess.run([*words, user, password], capture_output=True, text=True, check=True).stdout
        for user in users
    ]
    file.write_text("".join(line.strip() + "\n" for line in lines))
    return f"{{htpasswd: {{realm: test, path: {file}}}}}"
