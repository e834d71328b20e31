"""What would have to be done on a router: the problems that forbid it, or the steps in order."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from build.config import targets
from build.router.render import LOOKING, MINIMUM, POLICIES, POLICY, parse_version
from build.router.state import Router, noted, runs

# the library first: the others need it
STORED = (
    "settings-tailscale",
    "library-tailscale",
    "update-tailscale",
    "status-tailscale",
    "uninstall-tailscale",
    "install-tailscale",
)
SCRATCH = 1 << 20  # bytes that stay free beside the image, the tar and the pull


def architectures() -> dict[str, str]:
    """What /system/resource calls the processors of our images, by target."""
    return {name: target.routeros for name, target in targets.targets().items()}


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


def problems(router: Router, wanted: Wanted) -> list[str]:
    """All the reasons not to start, each with its cure."""
    found = []
    if router.version[:2] < parse_version(MINIMUM)[:2]:
        told = ".".join(map(str, router.version[:2]))
        found.append(f"RouterOS {told} is too old, {MINIMUM} or newer is needed")
    if "container" not in router.packages:
        found.append("the package container is not installed, or disabled")
    missing = sorted(name for name, allowed in router.modes.items() if not allowed)
    if missing:
        found.append(
            f"device-mode forbids {', '.join(missing)}: run /system/device-mode/update "
            "container=yes fetch=yes scheduler=yes and confirm it at the device"
        )
    if router.strangers and not router.containers:
        found.append(
            f"the container {', '.join(router.strangers)} is a Tailscale too: import "
            "install-tailscale.rsc on the router, which says how to take it over"
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
    expected = architectures().get(wanted.architecture)
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
        policy = {"policy": POLICIES[name]}
        if name in LOOKING:
            policy["dont-require-permissions"] = "yes"
        if source is None or (name == "settings-tailscale" and name in router.scripts):
            continue
        if name not in router.scripts:
            actions.append(
                Action(f"store the script {name}", "add", name, {"source": source} | policy)
            )
        elif router.scripts[name] != source:
            actions.append(
                Action(
                    f"replace the script {name}",
                    "set",
                    f"system/script/{router.script_ids[name]}",
                    {"source": source} | policy,
                )
            )
    schedule = router.schedules.get("update-tailscale")
    if schedule is not None and not set(POLICY.split(",")) <= set(
        schedule.get("policy", "").split(",")
    ):
        # a script with more permissions than the schedule that starts it is refused
        actions.append(
            Action(
                "give the schedule the permissions of the script",
                "set",
                f"system/scheduler/{schedule['.id']}",
                {"policy": POLICY},
            )
        )
    for name in STORED:
        if wanted.scripts.get(name) is not None and f"{name}.rsc" in router.files:
            # install-tailscale would take it for newer than the script that is stored
            actions.append(Action(f"remove the file {name}.rsc", "clean", f"{name}.rsc"))
    current = noted(router.note, "digest") == wanted.digest and any(map(runs, router.containers))
    if wanted.image is not None and not current:
        size = wanted.image.stat().st_size
        actions.append(
            Action(
                f"let the router fetch {wanted.image.name} ({size} bytes)",
                "fetch",
                target_of(wanted),
            )
        )
        actions.append(
            Action(
                f"hand over {wanted.digest[:19]} as the image to run",
                "local",
                target_of(wanted),
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
            actions.append(Action(f"remove {target_of(wanted)}", "clean", target_of(wanted)))
    return Plan(tuple(actions), (), wanted.digest)


def target_of(wanted: Wanted) -> str:
    """Where the tar goes on the router."""
    name = wanted.image.name if wanted.image is not None else ""
    return f"{wanted.disk}/{name}" if wanted.disk else name
