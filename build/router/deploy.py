"""Installs or updates a router over its REST interface: read, plan, show, and only then apply.

The work on the router is done by the scripts under ``routeros/``; this module stores them, hands
over the image and watches. So an installation from a computer takes the same tried way, with the
same way back, as the router's own updates.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from build.core import digest
from build.router.planning import Plan, Wanted
from build.router.restapi import Client, DeployError
from build.router.state import OWN, RUNNING, noted, read


class Offer(Protocol):
    """How the tar becomes reachable for the router: gives its address while it is offered."""

    def __call__(self, image: Path) -> Any:
        """A context manager that yields the URL."""


def digest_of(path: Path) -> str:
    """sha256:… of a file, for an image whose release digest is not known."""
    return f"sha256:{digest.of_file(path)}"


def apply(
    client: Client,
    steps: Plan,
    wanted: Wanted,
    tell: Callable[[str], None],
    offered: Offer,
    patience: float = 1200.0,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Carry out a plan, telling each step.

    patience: seconds to wait for the image to run. Raises DeployError if a step fails, or if
    the router went back to its old image; the VPN that was there before still runs then.
    """
    if steps.problems:
        raise DeployError("; ".join(steps.problems))
    for action in steps.actions:
        tell(action.text)
        if action.kind == "add":
            client.call(
                "PUT",
                "system/script",
                {"name": action.name, "comment": OWN, **action.payload},
            )
        elif action.kind == "set":
            client.call("PATCH", action.name, action.payload)
        elif action.kind == "fetch":
            _fetch(client, action.name, wanted, offered)
        elif action.kind == "local":
            client.execute(
                f':global TsLocalFile "{action.name}"; '
                f':global TsLocalDigest "{action.payload["digest"]}"'
            )
        elif action.kind == "run":
            client.execute(f"/system/script/run {action.name}")
        elif action.kind == "wait":
            _wait(client, action.payload["digest"], tell, patience, sleep)
        elif action.kind == "clean":
            _clean(client, action.name)


def _fetch(client: Client, target: str, wanted: Wanted, offered: Offer) -> None:
    if wanted.image is None:
        raise DeployError("no image to hand over")
    with offered(wanted.image) as url:
        client.call("POST", "tool/fetch", {"url": url, "dst-path": target})
    size = wanted.image.stat().st_size
    arrived = [row for row in client.rows("file") if row.get("name") == target]
    if not arrived or int(arrived[0].get("size", -1)) != size:
        raise DeployError(
            f"{target} did not arrive whole: wanted {size} bytes, got "
            f"{arrived[0].get('size') if arrived else 'no file'}"
        )


def _wait(
    client: Client,
    digest: str,
    tell: Callable[[str], None],
    patience: float,
    sleep: Callable[[float], None],
) -> None:
    last = ""
    left = patience
    while left > 0:
        router = read(client)
        if noted(router.note, "digest") == digest:
            tell("the new image runs")
            return
        if noted(router.note, "bad") == digest:
            raise DeployError(
                "the new image did not stand its trial, the old one runs again; "
                "see /log on the router"
            )
        states = ", ".join(f"{row.get('name')} {_state(row)}" for row in router.containers)
        if states != last:
            tell(states or "no container yet")
            last = states
        sleep(5.0)
        left -= 5.0
    raise DeployError(f"after {patience:.0f} s the image is not in use; see /log on the router")


def _state(row: Mapping[str, str]) -> str:
    for name in (*RUNNING, "stopped", "starting", "stopping", "deleting"):
        if row.get(name) == "true":
            return name
    return row.get("status", "downloading or extracting")


def _clean(client: Client, name: str) -> None:
    for row in client.rows("file"):
        if row.get("name") == name:
            client.call("DELETE", f"file/{row['.id']}")
