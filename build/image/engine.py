"""The user's Docker: how to call it, and whether it can make images of several platforms.

Only asked when `--assembler buildx` wants it; the build itself needs no engine.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from build.core import command
from build.core.errors import UserError

PATIENCE = 30.0
"""Seconds that an engine has to answer a question."""

VARIABLES = (
    "PATH TMPDIR XDG_RUNTIME_DIR SSH_AUTH_SOCK DOCKER_HOST DOCKER_CONFIG DOCKER_CONTEXT "
    "DOCKER_TLS DOCKER_TLS_VERIFY DOCKER_CERT_PATH DOCKER_API_VERSION BUILDX_BUILDER BUILDX_CONFIG"
).split()
"""What tells the client where its engine is. The others of buildx can change the image (labels
from git, attestations), so they are not passed on."""

OTHERWISE = "or leave --assembler away: our own assembler needs no engine"


def environment() -> dict[str, str]:
    """Return the variables of a docker command: where its engine is and how to reach it."""
    chosen = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    return command.network_environment() | chosen


def _ask(what: str, *words: str) -> command.Outcome:
    outcome = command.call(["docker", *words], env=environment(), cwd=Path("/"), timeout=PATIENCE)
    if outcome.code is None:
        raise UserError(
            f"the Docker engine did not answer within {PATIENCE:g} s when asked for {what}",
            why=f"`docker {' '.join(words)}` hung",
            cure=f"see that the engine at DOCKER_HOST or of the docker context runs, {OTHERWISE}",
        )
    return outcome


def require() -> dict[str, Any]:
    """Return what will build: {"buildx": version, "driver": its name, "engine": version}.

    Raises UserError if the client, its plugin or its engine is missing, or the engine cannot hold
    an image of several platforms.
    """
    if shutil.which("docker") is None:
        raise UserError(
            "there is no docker command here, which --assembler buildx calls",
            why="no folder of PATH has it",
            cure="install Docker 26 or newer (Debian 13: docker.io, docker-cli, docker-buildx), "
            f"{OTHERWISE}",
        )
    version = _ask("the version of buildx", "buildx", "version")
    if not version.ok:
        raise UserError(
            "the docker command has no buildx plugin",
            why=version.output.strip().partition("\n")[0],
            cure=f"install it (Debian: docker-buildx; Docker's own: docker-buildx-plugin) or put "
            f"it into cli-plugins of the folder DOCKER_CONFIG, {OTHERWISE}",
        )
    builder = _ask("its builder", "buildx", "inspect")
    # Of its lines `Name: value` the first of each name is the builder's or its first node's.
    fields = dict(reversed(re.findall(r"^([A-Z][\w ]*): +(\S.*)$", builder.output, re.MULTILINE)))
    if not builder.ok or "Error" in fields or "Driver" not in fields:
        raise UserError(
            "the Docker engine does not answer",
            why=fields.get("Error", builder.output.strip().rpartition("\n")[2]),
            cure="start it, or name one that runs in DOCKER_HOST or by `docker context use`; "
            f"see that you may use its socket; {OTHERWISE}",
        )
    named = re.search(r"^\S*buildx (\S+)", version.output, re.MULTILINE)
    found = {"buildx": named[1] if named else "", "driver": fields["Driver"]}
    if fields["Driver"] != "docker":
        # A BuildKit of its own: it exports what we want whatever store the engine has.
        return found | {"engine": fields.get("BuildKit version", fields.get("BuildKit", ""))}
    return found | {"engine": _engine()}


def _engine() -> str:
    """Return the version of the engine, which has to have the containerd image store."""
    asked = _ask("its image store", "info", "--format", "{{json .}}")
    try:
        # Beside its answer docker may warn, of its configuration for example.
        info = json.loads(re.findall(r"^\{.*\}$", asked.output, re.MULTILINE)[-1])
        store = dict(info.get("DriverStatus") or {}).get("driver-type", "")
        version = str(info["ServerVersion"])
    except (ValueError, LookupError, TypeError) as error:
        raise UserError(
            "the Docker engine cannot be understood",
            why=f"`docker info` says {asked.output.strip()[-200:]!r}",
            cure=f"see that `docker info` works, {OTHERWISE}",
        ) from error
    if not store.startswith("io.containerd.snapshotter"):
        raise UserError(
            f"the Docker engine {version} keeps images in the old store, which has room for one "
            "platform only",
            why=f"its storage driver is {info.get('Driver')}, without containerd",
            cure='write {"features": {"containerd-snapshotter": true}} into its daemon.json '
            "(Docker 26 or newer) and restart it, make another builder by `docker buildx create "
            f"--use`, {OTHERWISE}",
        )
    return version
