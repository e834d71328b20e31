"""Canaries of a small router's memory: the container's limit, the collector, a flood."""

from __future__ import annotations

import re

from build.core.errors import BuildFailed
from build.lab import counting
from build.lab.canary import canary
from build.lab.counting import machine_of
from build.lab.world import Failed, World, demand, reconnected

LOAD = 4_000_000
"""Bytes that the node receives under load."""
FLOOR = 80
"""MiB below which Go would collect without end; see docs/DESIGN.md, memory."""
SELDOM = 1.5e6
"""A collection for so many bytes is seldom enough; see docs/DESIGN.md, memory."""
FLOOD = 8.0, 12e6
"""Seconds and bytes per second: several times what the machine can take."""


@canary(
    "memory-limit",
    "the daemon takes Go's memory limit from the container's, and no variable is needed",
    tunnels=("machine",),
)
def memory_limit(world: World) -> str:
    """What it says is what Go's runtime answers when it is asked for the limit."""
    allowed = int(machine_of(world).group("memory.max")) >> 20
    pattern = r"memory: the container may use (\d+) MiB, Go's collector works towards (\d+) MiB"
    found = re.findall(pattern, world.node.log())
    demand(found, "the log does not tell a limit")
    wanted = max(allowed * 3 // 4, FLOOR)
    demand(found == [(str(allowed), str(wanted))], f"of {allowed} MiB it makes {found}")
    return f"of {allowed} MiB Go gets {found[0][1]} MiB"


@canary(
    "collections",
    "Go collects seldom under load with the settings of the guide",
    slow=True,
    tunnels=("machine",),
)
def collections(world: World) -> str:
    """A limit that is too low costs a multiple of the CPU, and nothing else shows it."""
    node = machine_of(world)
    # What stands in the environment already is a negative control's.
    before = dict(node.env)
    node.env |= counting.TRACE
    try:
        node.restart()
        reconnected(world, "a restart")
        counting.sink(node)
        first = len(counting.collections(node.log()))
        demand(first, "Go tells nothing of its collections")
        counting.receive(world, LOAD)
        seen = counting.collections(node.log())
    finally:
        node.env = before
    count = len(seen) - first
    demand(count <= LOAD / SELDOM, f"{count} collections while {LOAD} bytes arrive")
    return f"{count} for {LOAD / 1e6:g} MB, {seen[-1].live} MB live, goal {seen[-1].goal} MB"


@canary(
    "small-memory",
    "a flood and four TCP streams in a container of 64 MB end nothing",
    slow=True,
    tunnels=("machine",),
)
def small_memory(world: World) -> str:
    """From the start on in so little, as a router that is short of memory sets it."""
    node = machine_of(world)
    before = node.group("memory.max").strip()
    try:
        counting.limit(node, world.small)
        node.restart()
        reconnected(world, "a restart")
        killed, pid = counting.killed(node), node.pid
        counting.sink(node)
        counting.flood(world, *FLOOD)
        flooded = counting.memory(node)
        counting.receive(world, LOAD)
        demand(node.pid == pid, "the daemon is another one")
        demand(counting.killed(node) == killed, "the kernel killed for want of memory")
    except BuildFailed as error:
        raise Failed(f"{error}: {error.why}") from error
    finally:
        counting.limit(node, before)
        if node.service_ended():
            node.start()
            reconnected(world, "too little memory")
    return f"{flooded['cgroup'] >> 20} MiB after the flood, {flooded['sock'] >> 20} of them sockets"
