"""A real registry on the loopback interface, Debian's docker-registry, and pushing to it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from build import digest
from build.artifacts import Attachment

ROOT = Path(__file__).resolve().parent.parent


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
    """A running registry: `host` is host:port, its storage lies in `folder`."""

    host: str
    folder: Path

    def url(self, repository: str, *parts: str) -> str:
        return "/".join((f"http://{self.host}/v2/{repository}", *parts))

    def push_blob(self, repository: str, content: bytes) -> None:
        with requests.Session() as session:
            answer = session.post(self.url(repository, "blobs", "uploads", ""), timeout=10)
            where = answer.headers["Location"]
            sha256 = f"sha256:{digest.of_bytes(content)}"
            put = session.put(where, params={"digest": sha256}, data=content, timeout=10)
            put.raise_for_status()

    def push(self, repository: str, attachment: Attachment) -> str:
        """Push an attachment and return its digest."""
        for blob in attachment.blobs:
            self.push_blob(repository, blob)
        sha256 = f"sha256:{digest.of_bytes(attachment.manifest)}"
        put = requests.put(
            self.url(repository, "manifests", attachment.tag or sha256),
            data=attachment.manifest,
            headers={"Content-Type": attachment.media_type},
            timeout=10,
        )
        assert put.status_code == 201, put.text
        assert put.headers["Docker-Content-Digest"] == sha256
        return sha256

    def push_layout(self, layout: Path, tag: str, repository: str) -> None:
        """Push a whole OCI layout with skopeo."""
        argv = [program("skopeo", "skopeo"), "copy", "--all", "--preserve-digests", "--quiet"]
        argv += ["--dest-tls-verify=false", f"oci:{layout}:{tag}"]
        argv.append(f"docker://{self.host}/{repository}:{tag}")
        subprocess.run(argv, check=True, timeout=120)


CONFIG = """version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


@contextmanager
def registry(folder: Path) -> Iterator[Registry]:
    """Yield a registry without passwords, at localhost on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    folder.mkdir(parents=True)
    config = folder / "config.yml"
    config.write_text(CONFIG.format(folder=folder / "data", port=port))
    argv = [program("docker-registry", "docker-registry"), "serve", str(config)]
    with (folder / "log").open("wb") as sink:
        process = subprocess.Popen(argv, stdout=sink, stderr=sink, stdin=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                said = (folder / "log").read_text(errors="replace")
                assert process.poll() is None and time.monotonic() < end, said
                time.sleep(0.05)
        yield Registry(f"localhost:{port}", folder)
    finally:
        process.terminate()
        process.wait(timeout=30)
