"""What a router says of itself over REST; looking changes nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from build.router.render import Values
from build.router.restapi import Client, DeployError

OWN = "mikrotik-tailscale"
RUNNING = ("running", "healthy", "unhealthy", "starting-with-healthcheck")
"""With a health check the others may stand in the place of the first (manual, flags H, U and C)."""


@dataclass(frozen=True)
class Router:
    """What was read from the router. Sizes in bytes; modes as device-mode gives them."""

    version: tuple[int, ...]
    architecture: str
    firmware: str
    free: int
    packages: frozenset[str]
    modes: Mapping[str, bool]
    disks: Mapping[str, int]
    scripts: Mapping[str, str]
    script_ids: Mapping[str, str]
    files: frozenset[str]
    note: str
    containers: tuple[Mapping[str, str], ...]
    strangers: tuple[str, ...]
    schedules: Mapping[str, Mapping[str, str]]


def _path(text: str) -> str:
    """A path as it is compared: whatever its slashes, its capitals and the name of the flash."""
    words = [word for word in text.lower().split("/") if word]
    return "/".join(words[1:] if words[:1] == ["flash"] else words)


def is_ours(row: Mapping[str, str]) -> bool:
    """Whether a container is ours, told as library-tailscale tells it.

    Comments get edited and containers renamed, and others have such names and folders too: what
    it starts and its login count as well.
    """
    folder = re.search(r"(?:^|/)tailscale/[ab]$", _path(row.get("root-dir", "")))
    named = row.get("name") in ("tailscale-a", "tailscale-b")
    like = row.get("comment", "").startswith(OWN) or named or bool(folder)
    lists = f"{row.get('mountlists', '')},{row.get('mounts', '')}".split(",")
    login = "tailscaled.state" in row.get("cmd", "") or "tailscale" in lists
    return row.get("entrypoint") == Values().entrypoint and like and login


def is_tailscale(row: Mapping[str, str]) -> bool:
    """Whether a container seems to be somebody's Tailscale; many things have such a folder."""
    named = (row.get(name, "") for name in ("name", "remote-image", "file", "tag", "cmd"))
    listed = (row.get(name, "") for name in ("mountlists", "mounts", "envlists", "envlist"))
    return any("tailscale" in text for text in (*named, *listed))


def runs(row: Mapping[str, str]) -> bool:
    """Whether a container runs; see RUNNING."""
    return any(row.get(name) == "true" or row.get("status") == name for name in RUNNING)


def _board(client: Client) -> Mapping[str, str]:
    """The record of a routerboard; x86 and CHR have no such menu."""
    try:
        return client.rows("system/routerboard")[0]
    except DeployError as problem:
        if "no such command" not in str(problem) and "400" not in str(problem):
            raise
        return {}


def read(client: Client) -> Router:
    """Everything the plan needs to know; changes nothing. Raises DeployError."""
    resource = client.rows("system/resource")[0]
    match = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", resource.get("version", ""))
    if not match:
        raise DeployError(f"cannot read the version {resource.get('version')!r}")
    board = _board(client)
    scripts = client.rows("system/script")
    modes = client.rows("system/device-mode")[0]
    packages = frozenset(
        row.get("name", "")
        for row in client.rows("system/package")
        if row.get("disabled") != "true" and row.get("available") != "true"
    )
    rows = client.rows("container") if "container" in packages else []
    ours = [row for row in rows if is_ours(row)]
    return Router(
        version=tuple(int(part) for part in match.groups() if part),
        architecture=resource.get("architecture-name", ""),
        firmware=board.get("firmware-type", ""),
        free=int(resource.get("free-hdd-space", 0)),
        packages=packages,
        modes={name: modes.get(name) == "true" for name in ("container", "fetch", "scheduler")},
        disks={row.get("slot", ""): int(row.get("free", 0)) for row in client.rows("disk")},
        scripts={row["name"]: row.get("source", "") for row in scripts},
        script_ids={row["name"]: row[".id"] for row in scripts},
        files=frozenset(row.get("name", "") for row in client.rows("file")),
        note=next(
            (row.get("comment", "") for row in scripts if row["name"] == "tailscale-state"), ""
        ),
        containers=tuple(ours),
        strangers=tuple(
            row.get("name", "?") for row in rows if row not in ours and is_tailscale(row)
        ),
        schedules={row.get("name", ""): row for row in client.rows("system/scheduler")},
    )


def noted(note: str, key: str) -> str:
    """A field of what update-tailscale records."""
    match = re.search(rf"(?:^| ){key}=(\S*)", note)
    return match[1] if match else ""
