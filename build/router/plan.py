"""What is on a router, and the plan of what to change there: reads over REST, changes nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from build.router.restapi import Client, DeployError

MINIMUM = (7, 19)
OWN = "mikrotik-tailscale "
STORED = (
    "settings-tailscale",
    "update-tailscale",
    "status-tailscale",
    "uninstall-tailscale",
    "install-tailscale",
)
# what /system/resource calls the processors of our images
ARCHITECTURES = {"amd64": "x86_64", "arm64": "arm64", "armv7": "arm", "armv5": "arm"}
SCRATCH = 1 << 20  # bytes that stay free beside the image, the tar and the pull


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


@dataclass(frozen=True)
class Wanted:
    """What shall be on the router.

    scripts: source by name. image: a tar for ``file=``, or None to let the router pull.
    architecture: that of the tar (amd64, arm64, armv7, armv5). digest: how the image is
    recorded, sha256:…; that of the release's index, so that the router knows it has the release.
    disk: disk slot for image and tar, "" for internal flash.
    """

    scripts: Mapping[str, str]
    image: Path | None = None
    architecture: str = ""
    digest: str = ""
    disk: str = ""


@dataclass(frozen=True)
class Action:
    """One step: what is shown, and the request that does it."""

    text: str
    kind: str
    name: str = ""
    payload: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """Steps in order, or the problems that forbid them."""

    actions: tuple[Action, ...]
    problems: tuple[str, ...]
    digest: str

    def lines(self) -> list[str]:
        """The plan for people."""
        if self.problems:
            return [f"cannot deploy: {problem}" for problem in self.problems]
        return [f"{number}. {action.text}" for number, action in enumerate(self.actions, 1)]


def read(client: Client) -> Router:
    """Everything the plan needs to know; changes nothing. Raises DeployError."""
    resource = client.rows("system/resource")[0]
    match = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", resource.get("version", ""))
    if not match:
        raise DeployError(f"cannot read the version {resource.get('version')!r}")
    board = client.rows("system/routerboard")[0]
    scripts = client.rows("system/script")
    modes = client.rows("system/device-mode")[0]
    containers = []
    if any(row.get("name") == "container" for row in client.rows("system/package")):
        containers = [
            row for row in client.rows("container") if row.get("comment", "").startswith(OWN)
        ]
    return Router(
        version=tuple(int(part) for part in match.groups() if part),
        architecture=resource.get("architecture-name", ""),
        firmware=board.get("firmware-type", ""),
        free=int(resource.get("free-hdd-space", 0)),
        packages=frozenset(row.get("name", "") for row in client.rows("system/package")),
        modes={name: modes.get(name) == "true" for name in ("container", "fetch", "scheduler")},
        disks={row.get("slot", ""): int(row.get("free", 0)) for row in client.rows("disk")},
        scripts={row["name"]: row.get("source", "") for row in scripts},
        script_ids={row["name"]: row[".id"] for row in scripts},
        files=frozenset(row.get("name", "") for row in client.rows("file")),
        note=next(
            (row.get("comment", "") for row in scripts if row["name"] == "tailscale-state"), ""
        ),
        containers=tuple(containers),
    )


def noted(note: str, key: str) -> str:
    """A field of what update-tailscale records."""
    match = re.search(rf"(?:^| ){key}=(\S*)", note)
    return match[1] if match else ""


def problems(router: Router, wanted: Wanted) -> list[str]:
    """All the reasons not to start, each with its cure."""
    found = []
    if router.version[:2] < MINIMUM:
        found.append("RouterOS {}.{} is too old, 7.19 or newer is needed".format(*router.version))
    if "container" not in router.packages:
        found.append("the package container is not installed")
    missing = sorted(name for name, allowed in router.modes.items() if not allowed)
    if missing:
        found.append(
            f"device-mode forbids {', '.join(missing)}: run /system/device-mode/update "
            "container=yes fetch=yes scheduler=yes and confirm it at the device"
        )
    if wanted.disk and wanted.disk not in router.disks:
        found.append(f"the disk {wanted.disk} is not there")
    if "OWNER" in wanted.scripts.get("settings-tailscale", "") and (
        "settings-tailscale" not in router.scripts
    ):
        found.append("TsImage in the settings still names OWNER")
    if wanted.image is not None:
        found += _image_problems(router, wanted)
    return found


def _image_problems(router: Router, wanted: Wanted) -> list[str]:
    found = []
    expected = ARCHITECTURES.get(wanted.architecture)
    if wanted.image is None or not wanted.image.is_file():
        return [f"there is no file {wanted.image}"]
    if expected != router.architecture:
        found.append(f"the image is for {wanted.architecture}, the router is {router.architecture}")
    elif router.firmware.startswith("en7562") and wanted.architecture != "armv5":
        found.append(
            f"this CPU ({router.firmware}) takes armv5 images only, not {wanted.architecture}"
        )
    size = wanted.image.stat().st_size
    free = router.disks.get(wanted.disk, 0) if wanted.disk else router.free
    if free < 2 * size + SCRATCH:
        found.append(f"{free} bytes free, {2 * size + SCRATCH} needed for the tar and its image")
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", wanted.digest):
        found.append(f"{wanted.digest!r} is no digest")
    return found


def plan(router: Router, wanted: Wanted) -> Plan:
    """What would be done; [] if the router has all of it already."""
    found = problems(router, wanted)
    if found:
        return Plan((), tuple(found), wanted.digest)
    actions = []
    for name in STORED:
        source = wanted.scripts.get(name)
        if source is None or (name == "settings-tailscale" and name in router.scripts):
            continue
        if name not in router.scripts:
            actions.append(Action(f"store the script {name}", "add", name, {"source": source}))
        elif router.scripts[name] != source:
            actions.append(
                Action(
                    f"replace the script {name}", "set", router.script_ids[name], {"source": source}
                )
            )
    for name in STORED:
        if wanted.scripts.get(name) is not None and f"{name}.rsc" in router.files:
            # install-tailscale would take it for newer than the script that is stored
            actions.append(Action(f"remove the file {name}.rsc", "clean", f"{name}.rsc"))
    running = [
        row
        for row in router.containers
        if row.get("running") == "true" or row.get("status") == "running"
    ]
    current = noted(router.note, "digest") == wanted.digest and bool(running)
    if wanted.image is not None and not current:
        size = wanted.image.stat().st_size
        actions.append(
            Action(
                f"let the router fetch {wanted.image.name} ({size} bytes)", "fetch", _target(wanted)
            )
        )
        actions.append(
            Action(
                f"hand over {wanted.digest[:19]} as the image to run",
                "local",
                _target(wanted),
                {"digest": wanted.digest},
            )
        )
    if not router.containers:
        actions.append(
            Action(
                "run install-tailscale: network, mounts, scheduler, container",
                "run",
                "install-tailscale",
            )
        )
    elif wanted.image is not None and not current:
        actions.append(
            Action(
                "run update-tailscale: try the image beside the running one",
                "run",
                "update-tailscale",
            )
        )
    if wanted.image is not None and not current:
        actions.append(
            Action(
                "wait until it runs, or until the old one is back",
                "wait",
                payload={"digest": wanted.digest},
            )
        )
        if router.version >= (7, 23, 2):
            # older versions extract the container again when its file goes away (facts 1.3)
            actions.append(Action(f"remove {_target(wanted)}", "clean", _target(wanted)))
    return Plan(tuple(actions), (), wanted.digest)


def _target(wanted: Wanted) -> str:
    name = wanted.image.name if wanted.image is not None else ""
    return f"{wanted.disk}/{name}" if wanted.disk else name
