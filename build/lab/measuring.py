"""Measuring two builds against each other in one laboratory: traffic, CPU, memory, starts.

Both builds are the same image with another binary, each a container with a state of its own in the
node's place, one at a time and in turn. The client at the other end is one process for the whole
run: what a gigabyte costs it tells how fast the machine was just then.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from build.core import digest, log
from build.core.errors import BuildFailed
from build.image.bundle import Bundle
from build.lab.anchor import events, wait_for
from build.lab.canaries import DIRECT
from build.lab.container import Container
from build.lab.world import SINK, World, join, laboratory

SETTLE = 4.0
"""Seconds from Running to the look at the idle daemon's memory: netcheck and first netmap are done
by then, and the collector has returned what they took."""
CLI_TIMES = 5
SPENDER = "dev/mt-lab"
"""Where our program lies in the container while it measures: /dev is a tmpfs, no flash is written.
"""
BURSTS = 8
"""Parts of a round's traffic, the two ways in turn. Throughput is that of the best part: whatever
else the machine does only takes from it. CPU is of all parts, as the clock's ticks are coarse."""
GB = 1e9
BINARY = "usr/local/bin/tailscale.combined"
"""Where the measured program lies in an image."""


@dataclass(frozen=True)
class Sample:
    """What one side did in one round.

    `figures` are {name: value}, units in `build/gates/figures.py`.
    """

    side: str
    round: int
    figures: dict[str, float]


@dataclass(frozen=True)
class Side:
    """One of the builds that are compared: its image, and the SHA-256 of its binary."""

    name: str
    bundle: Bundle
    binary: str


class Process:
    """A process under measurement: what it runs and what it has used of the machine so far."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._born = self._stat()[19]

    def _stat(self) -> list[str]:
        # The second field is the name, in parentheses, and may hold blanks (proc(5)).
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError as error:
            raise BuildFailed(f"the measured process {self.pid} is gone") from error

    def binary(self) -> str:
        """Return the SHA-256 of the program file that it runs. Raises BuildFailed if it is gone."""
        try:
            return digest.of_file(Path(f"/proc/{self.pid}/exe"))
        except OSError as error:
            raise BuildFailed(f"the measured process {self.pid} is gone") from error

    def same(self) -> bool:
        """Whether the process id still belongs to the process that it was at first."""
        return self._stat()[19] == self._born

    def cpu(self) -> float:
        """Return the seconds of CPU of all its threads so far, ended ones included."""
        fields = self._stat()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> dict[str, int]:
        """Return kB of resident memory by the kernel's names (proc(5)): VmRSS, RssAnon, …"""
        try:
            lines = Path(f"/proc/{self.pid}/status").read_text().split("\n")
        except OSError as error:
            raise BuildFailed(f"the measured process {self.pid} is gone") from error
        rows = (line.split() for line in lines if line.endswith(" kB"))
        return {row[0].rstrip(":"): int(row[1]) for row in rows}


class _Local(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("local-tailscaled.sock", timeout=2)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def backend_state(container: Container) -> str:
    """Return the daemon's state from its own socket, "" if it does not answer.

    The command line would tell the same, and take longer than what is measured.
    """
    path = f"/proc/{container.pid}/root/var/run/tailscale/tailscaled.sock"
    connection = _Local(path)
    try:
        connection.request("GET", "/localapi/v0/status?peers=false")
        found = json.loads(connection.getresponse().read())
    except (OSError, ValueError, http.client.HTTPException):
        return ""
    finally:
        connection.close()
    return str(found.get("BackendState", "")) if isinstance(found, dict) else ""


def _start(container: Container) -> float:
    """Start a container that has joined before; returns the seconds until it is Running."""
    container.start()

    def ready() -> bool:
        if container.service_ended():
            raise BuildFailed(f"container {container.name} ended", why=container.log_tail())
        return backend_state(container) == "Running"

    wait_for(ready, 60, f"{container.name} Running", step=0.01)
    return time.monotonic() - container.started


def _direct(world: World, *options: str) -> bool:
    done = world.node.cli("ping", *options, world.client.addresses()[0], timeout=40)
    return done.ok and any(path in done.output.strip().split("\n")[-1] for path in DIRECT)


def _require_direct(world: World, when: str) -> None:
    if not _direct(world, "-c", "1", "--timeout=5s", "--until-direct=false"):
        raise BuildFailed(f"the path is not direct {when} the measurement; it says nothing")


def _pour(world: World, source: str, to: Container, size: int, watch: Callable[[], None]) -> float:
    """Send bytes from a space to a container's address; returns the seconds it took."""
    place = f"{to.addresses()[0]}:{SINK}"
    argv = [str(world.lab.program), "pour", "-bytes", str(size), place]
    service = world.lab.start(f"pour-{source}-{time.monotonic_ns()}", source, argv)
    end = time.monotonic() + 300
    while service.code is None:
        if time.monotonic() > end:
            service.stop()
            raise BuildFailed(f"{size} bytes from {source} did not arrive within 300 s")
        watch()
        time.sleep(0.1)
    told = [event for event in events(service) if event.get("bytes") == size]
    if not told:
        raise BuildFailed(f"{size} bytes from {source} did not arrive", why=str(events(service)))
    return float(told[-1]["seconds"])


def _command_line(world: World) -> dict[str, float]:
    inside = Path(f"/proc/{world.node.pid}/root/{SPENDER}")
    shutil.copyfile(world.lab.program, inside)
    inside.chmod(0o755)
    words = [f"/{SPENDER}", "spend", "-times", str(CLI_TIMES), "tailscale", "version"]
    done = world.node.run(*words, timeout=60)
    inside.unlink()
    try:
        told: dict[str, Any] = json.loads(done.output.strip().split("\n")[-1])
        return {
            "cli_seconds": statistics.median(told["seconds"]),
            "cli_cpu_seconds": statistics.median(told["cpu"]),
            "cli_kB": statistics.median(told["memory"]),
        }
    except (ValueError, KeyError) as error:
        raise BuildFailed("the command line cannot be measured", why=done.output) from error


def _traffic(world: World, node: Process, client: Process, size: int) -> dict[str, float]:
    """Both directions, seen from the node: `rx` is what it receives."""
    found: dict[str, float] = {}
    anonymous, backed = [0], [0]

    def watch() -> None:
        memory = node.memory()
        anonymous.append(memory["RssAnon"])
        backed.append(memory["RssFile"])

    ways = {"rx": ("client", world.node), "tx": ("node", world.client)}
    used, peers = dict.fromkeys(ways, 0.0), dict.fromkeys(ways, 0.0)
    best = dict.fromkeys(ways, 0.0)
    burst = size // BURSTS
    for _ in range(BURSTS):
        for way, (source, to) in ways.items():
            before = node.cpu(), client.cpu()
            seconds = _pour(world, source, to, burst, watch)
            used[way] += node.cpu() - before[0]
            peers[way] += client.cpu() - before[1]
            best[way] = max(best[way], burst * 8 / seconds / 1e6)
    for way in ways:
        if not peers[way] or not used[way]:
            raise BuildFailed(
                "traffic took no CPU that the kernel's clock shows", cure="more --megabytes"
            )
        found |= {
            f"{way}_Mbit_per_s": best[way],
            f"{way}_cpu_seconds_per_GB": used[way] / (burst * BURSTS) * GB,
            f"{way}_peer_cpu_seconds_per_GB": peers[way] / (burst * BURSTS) * GB,
            f"{way}_cpu_of_peer": used[way] / peers[way],
        }
    found |= {"load_anonymous_kB": max(anonymous), "load_file_kB": max(backed)}
    found["load_peak_kB"] = node.memory()["VmHWM"]
    return found


def _round(world: World, side: Side, client: Process, size: int) -> dict[str, float]:
    found = {"running_seconds": _start(world.node)}
    node = Process(world.node.pid)
    if node.binary() != side.binary:
        raise BuildFailed(f"the container of {side.name} runs another binary than {side.name}'s")
    time.sleep(SETTLE)
    memory = node.memory()
    found["idle_anonymous_kB"] = memory["RssAnon"]
    found["idle_file_kB"] = memory["RssFile"]
    found["idle_kB"] = memory["VmRSS"]
    found |= _command_line(world)
    wait_for(
        lambda: _direct(world, "-c", "5", "--timeout=2s", "--until-direct"), 40, "a direct path"
    )
    _require_direct(world, "before")
    found |= _traffic(world, node, client, size)
    _require_direct(world, "after")
    if not (node.same() and client.same()) or node.binary() != side.binary:
        raise BuildFailed(f"the measured process of {side.name} is not the one it was at first")
    world.node.stop()
    return found


def measure(
    program: Path, logs: Path, sides: tuple[Side, Side], peers: Bundle, rounds: int, size: int
) -> list[Sample]:
    """Measure two builds in turn, `rounds` times each, `size` bytes each way, and return samples.

    `program` is `mt-lab`, `peers` the client's image. Raises BuildFailed if a side does not join,
    its path is not direct, or a measured process is not the binary it is said to be.
    """
    samples: list[Sample] = []
    with laboratory(program, logs, sides[0].bundle, peers) as world:
        for space in ("node", "client"):
            world.lab.server(f"sink-{space}", space, "sink", f":{SINK}")
        world.client.create().start()
        _join(world, world.client)
        client = Process(world.client.pid)
        containers = {
            side.name: replace(world.node, name=side.name, bundle=side.bundle).create()
            for side in sides
        }
        for side in sides:
            containers[side.name].start()
            _join(world, containers[side.name])
            containers[side.name].stop()
        for number in range(rounds):
            # Turned round each time, so that what drifts with time does not fall on one side.
            for side in sides if number % 2 == 0 else sides[::-1]:
                began = time.monotonic()
                world.node = containers[side.name]
                figures = _round(world, side, client, size)
                samples.append(Sample(side.name, number, figures))
                seconds = time.monotonic() - began
                log.note(
                    "figures", f"round {number + 1} of {rounds}, {side.name} ({seconds:.0f} s)"
                )
    return samples


def _join(world: World, container: Container) -> None:
    wait_for(lambda: backend_state(container), 30, f"the daemon of {container.name}")
    done = join(world, container, f"--hostname={container.name}")
    if not done.ok:
        raise BuildFailed(f"{container.name} cannot join the tailnet", why=done.output.strip())
