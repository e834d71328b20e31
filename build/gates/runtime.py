"""The runtime gate: boots an image in the laboratory, runs the canaries, returns what they said."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.config.targets import Target
from build.config.tools import Finding
from build.core import log
from build.core.errors import Error, UserError
from build.core.paths import work_dir
from build.gates.records import MACHINE, Record, Verdict, gate_identity, wanted_for
from build.image.bundle import Bundle
from build.lab import boot
from build.lab.canary import Canary
from build.lab.controls import NegativeControl
from build.lab.guest import Boot
from build.lab.world import World, laboratory, populate

PROGRAMS = {
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "mount": "util-linux",
    "findmnt": "util-linux",
    "ip": "iproute2",
    "sysctl": "procps",
    "nft": "nftables",
    "ping": "iputils-ping",
    "mkfs.ext4": "e2fsprogs",
    "chroot": "coreutils",
}
EMULATORS = {"qemu-aarch64": "qemu-aarch64-static", "qemu-arm": "qemu-arm-static"}


@dataclass(frozen=True)
class NegativeRun:
    """What the canaries said of one broken image: those that must fail, each passed or not."""

    negative: NegativeControl
    verdicts: tuple[Verdict, ...]

    @property
    def missed(self) -> list[str]:
        """Canaries that passed although they had to fail."""
        return [verdict.name for verdict in self.verdicts if verdict.ok]


def tunnel_for(target: Target) -> str:
    """Return `kernel` where this machine runs the platform itself, `user` where QEMU must."""
    return "kernel" if target.goarch == "amd64" and os.uname().machine == "x86_64" else "user"


def examine(targets: Sequence[Target] = (), *, machine: bool = False) -> list[Finding]:
    """Look at everything the gate needs from this machine and return all findings."""
    purpose = "runtime gate"
    root = os.geteuid() == 0
    cure = "" if root else "run it as root: it makes namespaces, mounts and network devices"
    found = [Finding(root, "root", f"uid {os.geteuid()}", purpose, cure)]
    tun = Path("/dev/net/tun").exists()
    cure = "" if tun else "modprobe tun; in a container: --device /dev/net/tun"
    found.append(Finding(tun, "/dev/net/tun", "there" if tun else "not found", purpose, cure))
    loop = Path("/dev/loop-control").exists()
    cure = "" if loop else "modprobe loop; in a container: --privileged"
    found.append(Finding(loop, "/dev/loop-control", "there" if loop else "absent", purpose, cure))
    programs = dict(PROGRAMS)
    for target in targets:
        if machine:
            programs[boot.model(target).program] = "qemu-system-arm"
        elif tunnel_for(target) == "user":
            programs[EMULATORS[target.qemu[0]]] = "qemu-user-static"
    search = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    for name, package in programs.items():
        path = shutil.which(name, path=search)
        cure = "" if path else f"apt install {package}"
        found.append(Finding(bool(path), name, path or "not found", purpose, cure))
    return found


def require_machine(targets: Sequence[Target], *, machine: bool = False) -> None:
    """Raise UserError that names all that this machine lacks. Nothing is skipped instead.

    `machine` says that each target boots a router-like machine of its own.
    """
    lacking = [item for item in examine(targets, machine=machine) if not item.ok]
    if lacking:
        raise UserError(
            "this machine lacks what the runtime gate needs",
            why="; ".join(f"{item.name}: {item.found}" for item in lacking),
            cure="; ".join(dict.fromkeys(item.cure for item in lacking)),
        )


def logs_of(name: str) -> Path:
    """Return where a run leaves the logs of its servers and containers."""
    return work_dir() / "lab" / f"{name}-{os.getpid()}"


def run(world: World, chosen: Sequence[Canary], scope: str) -> list[Verdict]:
    """Run canaries in a laboratory whose containers have been started."""
    verdicts = []
    for canary in chosen:
        began = time.monotonic()
        try:
            detail, ok = canary.check(world), True
        except (Error, OSError, LookupError, ValueError) as error:
            # Whatever a broken image does to a canary is that canary's failure.
            detail, ok = f"{canary.claim}: NOT SO. {error or type(error).__name__}", False
        seconds = time.monotonic() - began
        verdicts.append(Verdict(canary.name, ok, round(seconds, 2), detail))
        log.note(scope, f"{'✓' if ok else '✕'} {canary.name} ({seconds:.1f} s)")
    return verdicts


def measure(world: World) -> dict[str, float]:
    """Return figures of a node that has just joined: seconds, and kB of memory (proc(5)).

    Under emulation they are the emulator's too and compare with nothing else.
    """
    began = time.monotonic()
    world.node.cli("version")
    figures = {
        "seconds_to_running": round(world.seconds_to_running, 2),
        "seconds_of_cli": round(time.monotonic() - began, 2),
    }
    wanted = {"VmHWM", "VmRSS", "RssAnon", "RssFile"}
    for line in world.node.process_status().split("\n"):
        name, _, value = line.partition(":")
        if name in wanted:
            figures[f"{name}_kB"] = float(value.split()[0])
    return figures


def verify(
    target: Target,
    image: Bundle,
    peers: Bundle,
    program: Path,
    names: Sequence[str] = (),
    machine: Boot | None = None,
) -> Record:
    """Boot a platform's image, run its canaries (`names`: only these) and return the record.

    `peers` is the image of this machine's own platform, which client and exit node run; `program`
    is `mt-lab`. With `machine` the image runs in that router-like machine. Raises UserError for an
    unknown name, and BuildFailed if the laboratory itself cannot be set up.
    """
    tunnel = MACHINE if machine else tunnel_for(target)
    chosen = wanted_for(tunnel)
    if unknown := set(names) - {canary.name for canary in chosen}:
        raise UserError(
            f"no canary called {', '.join(sorted(unknown))} for {target.name}",
            cure="one of: " + ", ".join(canary.name for canary in chosen),
        )
    if names:
        chosen = [canary for canary in chosen if canary.name in names]
    at, began = time.time(), time.monotonic()
    options: dict[str, Any] = {}
    if tunnel == "user":
        options = {"emulator": target.qemu, "flash": False}
    elif machine:
        options = {"boot": machine}
    with (
        log.step(target.name, f"runtime gate, {tunnel}"),
        laboratory(program, logs_of(f"{target.name}-{tunnel}"), image, peers, **options) as world,
    ):
        populate(world)
        figures = measure(world)
        verdicts = run(world, chosen, target.name)
    seconds = round(time.monotonic() - began, 1)
    return Record(
        target.name, image.digest, gate_identity(), tunnel, at, seconds, figures, tuple(verdicts)
    )
