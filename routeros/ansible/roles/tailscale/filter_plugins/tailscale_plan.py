"""What would be done on a router, from what community.routeros.api read there.

The role stands alone: nothing of this project is needed on the controller. So the rules are those
of build/router/planning.py told once more; tests/test_fleet_role.py holds both to the same words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError

OWN = "mikrotik-tailscale"
POLICY = "ftp,read,write,policy,test"
LOOKING = {"status-tailscale": "read,write,test"}
MINIMUM = (7, 19)
NAMES = {"amd64": "x86_64", "arm64": "arm64", "armv7": "arm", "armv5": "arm"}
ENTRYPOINT = "/usr/local/bin/entrypoint.sh"
RUNNING = ("running", "healthy", "unhealthy", "starting-with-healthcheck")
SCRATCH = 1 << 20

Row = Mapping[str, Any]


def _path(text: str) -> str:
    words = [word for word in text.lower().split("/") if word]
    return "/".join(words[1:] if words[:1] == ["flash"] else words)


def _ours(row: Row) -> bool:
    folder = re.search(r"(?:^|/)tailscale/[ab]$", _path(str(row.get("root-dir", ""))))
    named = row.get("name") in ("tailscale-a", "tailscale-b")
    like = str(row.get("comment", "")).startswith(OWN) or named or bool(folder)
    lists = f"{row.get('mountlists', '')},{row.get('mounts', '')}".split(",")
    login = "tailscaled.state" in str(row.get("cmd", "")) or "tailscale" in lists
    return row.get("entrypoint") == ENTRYPOINT and like and login


def _somebodys(row: Row) -> bool:
    names = ("name", "remote-image", "file", "tag", "cmd", "mountlists", "mounts", "envlists")
    return any("tailscale" in str(row.get(name, "")) for name in (*names, "envlist"))


def tailscale_runs(rows: Sequence[Row]) -> bool:
    """Whether one of these containers is ours and runs."""
    return any(
        _ours(row) and any(row.get(name) is True or row.get("status") == name for name in RUNNING)
        for row in rows
    )


def tailscale_noted(note: Any, key: str) -> str:
    """A field of what update-tailscale records."""
    match = re.search(rf"(?:^| ){key}=(\S*)", str(note))
    return match[1] if match else ""


def _rows(seen: Mapping[str, Any], path: str) -> list[Row]:
    # What was not asked is not there; a menu of a missing package answers with an error's text.
    return [row for row in seen.get(path) or [] if isinstance(row, Mapping)]


def _version(resource: Row) -> tuple[int, ...]:
    match = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", str(resource.get("version", "")))
    if not match:
        raise AnsibleFilterError(f"cannot read the version {resource.get('version')!r}")
    return tuple(int(part) for part in match.groups() if part)


def _problems(seen: Mapping[str, Any], wanted: Mapping[str, Any], target: str) -> list[str]:
    resource = _rows(seen, "system resource")[0]
    version = _version(resource)
    containers = _rows(seen, "container")
    modes = (_rows(seen, "system device-mode") or [{}])[0]
    disks = {row.get("slot", ""): int(row.get("free", 0)) for row in _rows(seen, "disk")}
    have = {row["name"] for row in _rows(seen, "system script")}
    found = []
    if version[:2] < MINIMUM:
        told = ".".join(map(str, version[:2]))
        found.append(f"RouterOS {told} is too old, 7.19 or newer is needed")
    if not isinstance((seen.get("container") or [{}])[0], Mapping):
        # its menu is not there: "no such command"
        found.append("the package container is not installed, or disabled")
    needed = ("container", "fetch", "scheduler")
    if missing := [name for name in needed if modes.get(name) is not True]:
        found.append(
            f"device-mode forbids {', '.join(missing)}: run /system/device-mode/update "
            "container=yes fetch=yes scheduler=yes and confirm it at the device"
        )
    strangers = [str(row.get("name", "?")) for row in containers if _somebodys(row)]
    if strangers and not any(map(_ours, containers)):
        found.append(
            f"the container {', '.join(strangers)} is a Tailscale too: import "
            "install-tailscale.rsc on the router, which says how to take it over"
        )
    if wanted["disk"] and wanted["disk"] not in disks:
        found.append(f"the disk {wanted['disk']} is not there")
    settings = wanted["scripts"].get("settings-tailscale", "")
    if "OWNER" in settings and "settings-tailscale" not in have:
        found.append("TsImage in the settings still names OWNER")
    if not target:
        return found
    arch, here = wanted["arch"], resource.get("architecture-name")
    firmware = str((_rows(seen, "system routerboard") or [{}])[0].get("firmware-type", ""))
    if NAMES.get(arch) != here:
        found.append(f"the image is for {arch}, the router is {here}")
    elif firmware.startswith("en7562") and arch != "armv5":
        found.append(f"this CPU ({firmware}) takes armv5 images only, not {arch}")
    need = 2 * int(wanted["size"]) + SCRATCH
    disk = wanted["disk"]
    free = disks.get(disk, 0) if disk else int(resource.get("free-hdd-space", 0))
    if free < need:
        found.append(f"{free} bytes free, {need} needed for the tar and its image")
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", wanted["digest"]):
        found.append(f"{wanted['digest']!r} is no digest")
    if int(wanted["size"]) <= 0:
        found.append("a tar needs tailscale_tar_size")
    return found


def tailscale_target(url: str, disk: str) -> str:
    """Where a tar goes on the router, "" for none."""
    name = url.partition("?")[0].rpartition("/")[2]
    return f"{disk}/{name}" if disk and name else name


def tailscale_sources(names: Sequence[str], folder: str, settings: str) -> dict[str, str]:
    """The scripts' texts by name, from a release's folder; settings of one's own in their place."""
    found = {}
    for name in names:
        own = settings if name == "settings-tailscale" else ""
        path = Path(own or f"{folder}/{name}.rsc")
        try:
            found[name] = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as problem:
            raise AnsibleFilterError(f"cannot read {path}: {problem}") from None
    return found


def tailscale_plan(seen: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return `problems` that forbid it or the `lines` of what is done, and for the tasks: `data`
    for the scripts, `schedule`, the ids of files to `remove`, whether to `fetch` the tar to
    `target`, which script to `run`, whether to `clean` the tar away.

    seen: rows by path. wanted: scripts by name in the order of vars/main.yml, url, size in bytes,
    arch, digest, disk.
    """
    target = tailscale_target(wanted["url"], wanted["disk"])
    if problems := _problems(seen, wanted, target):
        return {"problems": problems, "lines": [], "target": target}
    scripts = {row["name"]: row for row in _rows(seen, "system script")}
    lines, data = [], []
    for name, source in wanted["scripts"].items():
        if name == "settings-tailscale" and name in scripts:
            continue
        row = {"name": name, "source": source, "policy": LOOKING.get(name, POLICY)}
        if name in LOOKING:
            row["dont-require-permissions"] = True
        if name not in scripts:
            lines.append(f"store the script {name}")
            data.append(row | {"comment": OWN})
        elif str(scripts[name].get("source", "")) != source:
            lines.append(f"replace the script {name}")
            data.append(row)
    schedule = [row for row in _rows(seen, "system scheduler") if row["name"] == "update-tailscale"]
    narrow = any(
        not set(POLICY.split(",")) <= set(str(row.get("policy", "")).split(",")) for row in schedule
    )
    if narrow:
        lines.append("give the schedule the permissions of the script")
    files = {row["name"]: row[".id"] for row in _rows(seen, "file")}
    odd = [f"{name}.rsc" for name in wanted["scripts"] if f"{name}.rsc" in files]
    lines += [f"remove the file {name}" for name in odd]
    containers = _rows(seen, "container")
    runs, ours = tailscale_runs(containers), any(map(_ours, containers))
    note = scripts.get("tailscale-state", {}).get("comment", "")
    new = bool(target) and not (tailscale_noted(note, "digest") == wanted["digest"] and runs)
    if new:
        name = target.rpartition("/")[2]
        lines.append(f"let the router fetch {name} ({wanted['size']} bytes)")
        lines.append(f"hand over {wanted['digest'][:19]} as the image to run")
    run = ""
    if not ours:
        run = "install-tailscale"
        lines.append("run install-tailscale: network, mounts, scheduler, container")
    elif new:
        run = "update-tailscale"
        lines.append("run update-tailscale: try the image beside the running one")
    clean = False
    if new:
        lines.append("wait until it runs, or until the old one is back")
        # older versions extract the container again when its file goes away
        clean = _version(_rows(seen, "system resource")[0]) >= (7, 23, 2)
        lines += [f"remove {target}"] * clean
    if not lines and not runs:
        problems = ["nothing is to be changed, but no container of ours runs"]
    return {
        "problems": problems,
        "lines": lines,
        "target": target,
        "data": data,
        "schedule": narrow,
        "remove": [files[name] for name in odd],
        "fetch": new,
        "run": run,
        "clean": clean,
    }


class FilterModule:
    """The filters of the role."""

    def filters(self) -> dict[str, Any]:
        """By their names."""
        all_ = (
            tailscale_plan,
            tailscale_noted,
            tailscale_runs,
            tailscale_target,
            tailscale_sources,
        )
        return {one.__name__: one for one in all_}
