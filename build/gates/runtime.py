"""The runtime gate: boots an image in the laboratory, runs the canaries, keeps a record.

A record is bound to the image's manifest digest and to the gate's own sources. `require` is what
publishing asks: no image without a passing record of all canaries of today.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from build.config.targets import Target
from build.config.tools import Finding
from build.core import digest, log
from build.core.errors import Error, GateFailed, UserError
from build.core.paths import DATA, ROOT, dist_dir, work_dir
from build.image import record as dist_record
from build.image.bundle import Bundle
from build.lab import (
    boot,
    canaries,
    canaries_lan,
    canaries_machine,
    canaries_manners,
    canaries_slow,
)
from build.lab.canary import CANARIES, Canary
from build.lab.controls import Breakage
from build.lab.guest import Boot
from build.lab.world import World, laboratory, populate

# Imported to register their canaries.
assert canaries and canaries_lan and canaries_machine and canaries_manners and canaries_slow

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
class Verdict:
    """What one canary said: passed or not, how long it took (seconds), what was seen."""

    name: str
    ok: bool
    seconds: float
    detail: str


@dataclass(frozen=True)
class Record:
    """A run of the gate. `image` is the manifest's digest, `gate` stands for the gate's sources.

    `tunnel` is `kernel`, `user` under emulation, or `machine` in a router-like machine, which has a
    kernel of its own; `at` is seconds since 1970.
    """

    target: str
    image: str
    gate: str
    tunnel: str
    at: float
    seconds: float
    figures: dict[str, float]
    canaries: tuple[Verdict, ...]

    @property
    def ok(self) -> bool:
        """Whether every canary was run and passed."""
        wanted = {canary.name for canary in wanted_for(self.tunnel)}
        return wanted == {verdict.name for verdict in self.canaries if verdict.ok}


@dataclass(frozen=True)
class Bite:
    """What the canaries said of one broken image: those that must fail, each passed or not."""

    breakage: Breakage
    verdicts: tuple[Verdict, ...]

    @property
    def missed(self) -> list[str]:
        """Canaries that passed although they had to fail."""
        return [verdict.name for verdict in self.verdicts if verdict.ok]


def gate_identity() -> str:
    """Return a hash of everything that decides what the gate looks at."""
    data = [DATA / "lab.toml", boot.PINS]
    files = [*sorted((ROOT / "build" / "lab").rglob("*")), *data, Path(__file__)]
    listing = {
        str(path.relative_to(ROOT)): digest.of_file(path)
        for path in files
        if path.is_file() and path.suffix != ".pyc"
    }
    return digest.of_json(listing)


def tunnel_for(target: Target) -> str:
    """Return `kernel` where this machine runs the platform itself, `user` where QEMU must."""
    return "kernel" if target.goarch == "amd64" and os.uname().machine == "x86_64" else "user"


def wanted_for(tunnel: str) -> list[Canary]:
    """Return the canaries that a run with such a tunnel must pass."""
    return [canary for canary in CANARIES.values() if tunnel in canary.tunnels]


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
    tunnel = "machine" if machine else tunnel_for(target)
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


def record_path(target: str, kind: str = "runtime") -> Path:
    """Return where a platform's record lies, beside the image it speaks of.

    `kind` is `runtime`, or `machine` for the record of its router-like machine.
    """
    return dist_dir() / f"{kind}-{target}.json"


def write(record: Record) -> Path:
    """Keep a record and return its path."""
    text = json.dumps({**asdict(record), "ok": record.ok}, indent=1) + "\n"
    kind = "machine" if record.tunnel == "machine" else "runtime"
    return dist_record.keep(record_path(record.target, kind).name, text)


def read(target: str) -> Record | None:
    """Return a platform's record, None if there is none that can be read."""
    try:
        table = json.loads(record_path(target).read_text())
        table.pop("ok")
        table["canaries"] = tuple(Verdict(**row) for row in table["canaries"])
        return Record(**table)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def require(target: str, image: str) -> Record:
    """Return the passing record of an image digest. Raises GateFailed if there is none."""
    record = read(target)
    why = ""
    if record is None:
        why = f"there is no record in {record_path(target)}"
    elif record.image != image:
        why = f"the record is of {record.image}"
    elif record.gate != gate_identity():
        why = "the record is of another version of the gate"
    elif not record.ok:
        passed = {verdict.name for verdict in record.canaries if verdict.ok}
        missing = [c.name for c in wanted_for(record.tunnel) if c.name not in passed]
        why = f"not passed: {', '.join(missing)}"
    if why or record is None:
        raise GateFailed(
            f"{target} {image} has not passed the runtime gate",
            why=why,
            cure=f"invoke verify --arch {target}",
        )
    return record
