"""Canaries of a small router's memory: Go's collector, a flood in a small container."""

from __future__ import annotations

from build.core.errors import BuildFailed
from build.lab import counting
from build.lab.canary import canary
from build.lab.counting import machine_of
from build.lab.world import Failed, World, demand, reconnected

LOAD = 4_000_000
"""Bytes that the node receives under load."""
SELDOM = 1.5e6
"""A collection for so many bytes is seldom enough; docs/DESIGN.md, memory."""


@canary(
    "small-memory",
    "a flood and four TCP streams in a container of 64 MB end nothing, and Go collects seldom",
    slow=True,
    tunnels=("machine",),
)
def small_memory(world: World) -> str:
    """From the start on in so little, as a router that is short of memory sets it.

    Settings that make Go collect without end cost a multiple of the CPU, and nothing else shows it.
    """
    node = machine_of(world)
    limit = node.group("memory.max").strip()
    # What stands in the environment already is a negative control's.
    before = dict(node.env)
    node.env |= counting.TRACE
    try:
        counting.limit(node, world.small)
        node.restart()
        reconnected(world, "a restart")
        killed, pid = counting.killed(node), node.pid
        counting.sink(node)
        counting.flood(world, *counting.FLOOD)
        flooded = counting.memory(node)
        first = len(counting.collections(node.log()))
        demand(first, "Go tells nothing of its collections")
        counting.receive(world, LOAD)
        demand(node.pid == pid, "the daemon is another one")
        demand(counting.killed(node) == killed, "the kernel killed for want of memory")
        seen = counting.collections(node.log())
    except BuildFailed as error:
        raise Failed(f"{error}: {error.why}") from error
    finally:
        node.env = before
        counting.limit(node, limit)
        if node.service_ended():
            node.start()
            reconnected(world, "too little memory")
    count = len(seen) - first
    demand(count <= LOAD / SELDOM, f"{count} collections while {LOAD} bytes arrive")
    of = f"{flooded['cgroup'] >> 20} MiB after the flood, {flooded['sock'] >> 20} of them sockets"
    return f"{of}; {count} collections for {LOAD / 1e6:g} MB, {seen[-1].live} MB live"
