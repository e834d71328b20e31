"""Measuring one build in a router-like machine: instructions, memory, the least it lives in.

Each side has a machine of its own, booted alike. No other work of this machine is counted there, so
the two need not take turns.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from build.core import log
from build.core.errors import BuildFailed, Error
from build.image.bundle import Bundle
from build.lab import counting
from build.lab.anchor import wait_for
from build.lab.counting import collections, machine_of
from build.lab.guest import Boot
from build.lab.machine import Machine
from build.lab.measuring import BINARY, Side
from build.lab.world import SINK, World, demand, join, laboratory, reconnected

IDLE_SECONDS = 135
"""Of the machine's clock until a node is idle: Go collects every two minutes on its own, and what
netcheck and the first netmap took is given back by then."""
MEGABYTE = 1e6
STATUS_TIMES = 3
LEAST = (64, 40, 32, 28, 24, 20)
"""What is tried as memory.max, in MiB, from above until the daemon does not survive."""


def measure(
    program: Path, logs: Path, side: Side, peers: Bundle, boot: Boot, rounds: int, size: int
) -> list[dict[str, float]]:
    """Return {figure: value} of each round of one build; units are those of `gates/counted.py`.

    `program` is `mt-lab`, `peers` the client's image, `size` bytes go each way in each round. What
    is measured once is in the first round. Raises BuildFailed if the side does not join.
    """
    found: list[dict[str, float]] = []
    with laboratory(program, logs, side.bundle, peers, boot=boot) as world:
        node = machine_of(world)
        node.env |= counting.TRACE
        _populate(world)
        _same(node, side)
        counting.sink(node)
        world.lab.server("sink-client", "client", "sink", f":{SINK}")
        for number in range(rounds):
            figures = _start(world)
            if not number:
                figures |= _idle(world)
            figures |= _status(world)
            figures |= _load(world, size)
            if not number:
                figures |= _flood(world)
            found.append(figures)
            log.note(side.name, f"{logs.name}: round {number + 1} of {rounds}")
        found[0] |= _least(world, size)
    return found


def _populate(world: World) -> None:
    for container in (world.node, world.client):
        container.create()
        container.start()
        there = 30 * container.patience
        what = f"the daemon of {container.name}"
        wait_for(container.listening, there, what, clock=container.clock)
        done = join(world, container, f"--hostname={container.name}")
        if not done.ok:
            raise BuildFailed(f"{container.name} cannot join the tailnet", why=done.output.strip())


def _same(node: Machine, side: Side) -> None:
    """Raise BuildFailed if what lies on the machine's flash is not the side's binary."""
    found = node.guest.must(f"sha256sum {node.home}/root/{BINARY}\n").split()[0]
    if found != side.binary:
        raise BuildFailed(f"{side.name} is not what the machine has", why=f"sha256 {found}")


def _start(world: World) -> dict[str, float]:
    """A start of a node that has joined before, until Running."""
    node = machine_of(world)
    node.stop()
    before = counting.spent(node)
    node.start()
    world.wait(node.running, 60, "the node is not Running")
    found = {"running_seconds": node.clock() - node.started}
    found["running_instructions"] = (counting.spent(node) - before) / 1e9
    reconnected(world, "a start")
    return found


def _shares(node_memory: dict[str, int], state: str) -> dict[str, float]:
    kinds = ("rss", "anonymous", "cgroup")
    return {f"{state}_{kind}_MB": node_memory[kind] / MEGABYTE for kind in kinds}


def _idle(world: World) -> dict[str, float]:
    node = machine_of(world)
    end = node.clock() + IDLE_SECONDS
    wait_for(lambda: node.clock() > end, 2 * IDLE_SECONDS, "idle", 1.0, node.clock)
    seen = collections(node.log())
    if not seen:
        raise BuildFailed("Go tells nothing of its collections", why=node.log_tail())
    return {"idle_live_MB": seen[-1].live, **_shares(counting.memory(node), "idle")}


def _status(world: World) -> dict[str, float]:
    node = machine_of(world)
    before = counting.spent(node)
    for _ in range(STATUS_TIMES):
        if not (done := node.cli("status", timeout=60)).ok:
            raise BuildFailed("`tailscale status` fails", why=done.output)
    return {"status_instructions": (counting.spent(node) - before) / 1e9 / STATUS_TIMES}


def _watched(
    world: World, state: str, run: Callable[[Callable[[], None]], None]
) -> dict[str, float]:
    """Run something and return the most memory seen meanwhile, and Go's collections."""
    node = machine_of(world)
    before = len(collections(node.log()))
    most = counting.memory(node)

    def look() -> None:
        now = counting.memory(node)
        most.update({kind: max(most[kind], value) for kind, value in now.items()})

    run(look)
    look()
    seen = collections(node.log())
    fresh = seen[before:] or seen[-1:]
    live = max((one.live for one in fresh), default=0)
    return {
        f"{state}_collections": len(seen) - before,
        f"{state}_live_MB": live,
        **_shares(most, state),
    }


def _load(world: World, size: int) -> dict[str, float]:
    node = machine_of(world)
    costs: dict[str, float] = {}

    def traffic(look: Callable[[], None]) -> None:
        for way, move in (("rx", counting.receive), ("tx", counting.send)):
            before = counting.spent(node)
            move(world, size, look)
            costs[f"{way}_instructions_per_GB"] = (counting.spent(node) - before) / size

    return _watched(world, "load", traffic) | costs


def _flood(world: World) -> dict[str, float]:
    return _watched(world, "flood", lambda look: counting.flood(world, *counting.FLOOD, look))


def _least(world: World, size: int) -> dict[str, float]:
    """The smallest limit in which a start and idle, and in which a load too, ends nothing."""
    node = machine_of(world)
    least = {"least_idle_MB": 0.0, "least_load_MB": 0.0}
    loads = True

    def idle() -> None:
        node.restart()
        reconnected(world, "a restart")
        demand(node.cli("status", timeout=60).ok, "`tailscale status` fails")

    for mebibytes in LEAST:
        counting.limit(node, f"{mebibytes}M")
        if not _survives(world, idle):
            break
        least["least_idle_MB"] = mebibytes * 2**20 / MEGABYTE
        loads = loads and _survives(world, lambda: counting.receive(world, size))
        if loads:
            least["least_load_MB"] = mebibytes * 2**20 / MEGABYTE
    return least


def _survives(world: World, run: Callable[[], None]) -> bool:
    node = machine_of(world)
    killed = counting.killed(node)
    try:
        run()
    except Error as error:
        log.note("figures", f"{node.group('memory.max').strip()} bytes: {error.what}")
        return False
    return not node.service_ended() and counting.killed(node) == killed
