"""What a router-like machine counts of its container: memory by kind, instructions, collections.

QEMU's clock there counts instructions, so that CPU time is a number of them whatever else this
machine does (`guest.Guest` starts it so).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from build.core.errors import BuildFailed
from build.core.service import Service
from build.lab.anchor import events, wait_for
from build.lab.guest import NAMESPACE
from build.lab.machine import CGROUP, Machine
from build.lab.world import SINK, Failed, World

INSTRUCTIONS_PER_SECOND = 250_000_000
"""Of the machine's clock: -icount shift=2 is 2^2 ns each (qemu(1))."""
STREAMS = 4
"""TCP streams at once, as four users of a router."""
FLOOD = 8.0, 12e6
"""Seconds and bytes per second: several times what the machine can take."""
TRACE = {"GODEBUG": "gctrace=1"}
"""What makes Go print a line for each collection (package runtime)."""
LATE = 180
"""Seconds of the machine's clock that traffic may take."""
Watch = Callable[[], None]
"""What is called while traffic runs."""
_COLLECTION = re.compile(
    r"^gc (\d+) @[\d.]+s .* (\d+)->(\d+)->(\d+) MB, (\d+) MB goal", re.MULTILINE
)
_numbers = itertools.count(1)


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Collection:
    """One collection of Go's, by its trace: MB of heap as it began, live after it, the goal."""

    number: int
    heap: int
    live: int
    goal: int


def machine_of(world: World) -> Machine:
    """Return the node's machine. Raises Failed where the node has none of its own."""
    if not isinstance(world.node, Machine):
        raise Failed("the node runs on this machine's kernel")
    return world.node


def collections(log: str) -> list[Collection]:
    """Return the collections that a log tells of, if the container's environment has TRACE."""
    return [
        Collection(int(number), int(heap), int(live), int(goal))
        for number, heap, _, live, goal in _COLLECTION.findall(log)
    ]


def numbers(text: str) -> dict[str, int]:
    """Return the rows of a kernel's file of the form `name number`, kB by `name: number kB`."""
    rows = (line.split() for line in text.split("\n"))
    return {row[0].rstrip(":"): int(row[1]) for row in rows if len(row) > 1 and row[1].isdecimal()}


def memory(node: Machine) -> dict[str, int]:
    """Return bytes of memory: `rss` and `anonymous` of the daemon, `cgroup`, `sock` of its group.

    Kernel's names: proc(5), Documentation/admin-guide/cgroup-v2.rst. Raises BuildFailed if the
    daemon is gone.
    """
    daemon = numbers(node.process_status())
    group = numbers(node.group("memory.stat"))
    if "VmRSS" not in daemon or "anon" not in group:
        raise BuildFailed("the daemon is gone", why=node.log_tail())
    return {
        "rss": daemon["VmRSS"] * 1024,
        "anonymous": group["anon"],
        "cgroup": int(node.group("memory.current")),
        "sock": group["sock"],
    }


def killed(node: Machine) -> int:
    """Return how many processes of the container the kernel killed for want of memory."""
    return numbers(node.group("memory.events"))["oom_kill"]


def spent(node: Machine) -> int:
    """Return the instructions that the container has used so far, the kernel's for it too."""
    return numbers(node.group("cpu.stat"))["usage_usec"] * (INSTRUCTIONS_PER_SECOND // 1_000_000)


def limit(node: Machine, size: str) -> None:
    """Set what the container may use, such as 64M, from now on."""
    node.guest.must(f"echo {size} > {CGROUP}/memory.max\n")


def sink(node: Machine) -> None:
    """Let the machine swallow TCP at SINK of the container's network, once, outside its group."""

    def ready() -> bool:
        return any('"ready"' in str(event.get("text")) for event in node.guest.told("sink"))

    if not ready():
        words = [node.guest.program, "sink", f":{SINK}"]
        node.guest.start("sink", ["nsenter", f"--net={NAMESPACE}", *words])
        wait_for(ready, 30, "the sink in the machine", clock=node.clock)


def receive(world: World, size: int, watch: Watch = _nothing) -> None:
    """Send the node `size` bytes from the client, STREAMS at once. Raises BuildFailed if late."""
    argv = _pour(str(world.lab.program), world.node.addresses()[0], size)
    started = [_client(world, "pour", argv) for _ in range(STREAMS)]
    _ended(world, started, watch)
    for service in started:
        if not any(event.get("bytes") == size // STREAMS for event in events(service)):
            raise BuildFailed(f"{size} bytes did not arrive", why=str(events(service)))


def send(world: World, size: int, watch: Watch = _nothing) -> None:
    """Let the node's machine send the client `size` bytes, likewise; the client has a sink."""
    guest = machine_of(world).guest
    argv = _pour(guest.program, world.client.addresses()[0], size)
    names = [f"pour-{next(_numbers)}" for _ in range(STREAMS)]
    for name in names:
        guest.start(name, ["nsenter", f"--net={NAMESPACE}", *argv])

    def ended() -> bool:
        watch()
        return all(any(e["event"] == "end" for e in guest.told(name)) for name in names)

    wait_for(ended, LATE, "the traffic", 0.2, world.node.clock)
    for name in names:
        if not any(f'"bytes":{size // STREAMS}' in str(e.get("text")) for e in guest.told(name)):
            raise BuildFailed(f"{size} bytes did not arrive", why=str(guest.told(name)))


def flood(world: World, seconds: float, rate: float, watch: Watch = _nothing) -> None:
    """Send the node datagrams that nobody wants, `rate` bytes a second of this machine's clock."""
    place = f"{world.node.addresses()[0]}:{SINK}"
    words = ["flood", "-seconds", str(seconds), "-rate", str(rate), place]
    service = _client(world, "flood", [str(world.lab.program), *words])
    _ended(world, [service], watch)
    if not any(event.get("bytes") for event in events(service)):
        raise BuildFailed("the flood sent nothing", why=str(events(service)))


def _pour(program: str, address: str, size: int) -> list[str]:
    return [program, "pour", "-bytes", str(size // STREAMS), f"{address}:{SINK}"]


def _client(world: World, what: str, argv: Sequence[str]) -> Service:
    return world.lab.start(f"{what}-{next(_numbers)}", "client", argv)


def _ended(world: World, started: Sequence[Service], watch: Watch) -> None:
    """Wait for the client's services. Raises BuildFailed if they are late."""

    def ended() -> bool:
        watch()
        return all(service.code is not None for service in started)

    try:
        wait_for(ended, LATE, "the traffic", 0.2, world.node.clock)
    finally:
        for service in started:
            service.stop()
