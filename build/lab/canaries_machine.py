"""Canaries for a machine with a kernel of its own: what netfilter does there, by its modules.

The machine boots without any. So the other canaries see RouterOS' case, and these see the others:
each loads more modules, none can be unloaded, and they run in this order.
"""

from __future__ import annotations

from build.lab.anchor import events
from build.lab.canary import canary
from build.lab.counting import machine_of
from build.lab.world import QUAD100, SINK, World, demand, reconnected

ABSENT = "protocol not supported"
"""What tailscaled says where there is no nfnetlink (EPROTONOSUPPORT of socket(2))."""
WITHOUT_TABLES = "invalid argument"
"""And where nfnetlink knows no nf_tables (EINVAL): what users of RouterOS report."""


def _load(world: World, step: str) -> None:
    node = machine_of(world)
    if "load" not in world.deaf_to:
        node.guest.load(step)


def _health(world: World) -> str:
    return "\n".join(world.node.status().get("Health") or [])


def _seen_from(world: World) -> str:
    """Send a little from the client to the LAN; return from which address it came there."""
    before = len(events(world.sink))
    place = f"{world.net.home.lan[0]}:{SINK}"
    sent = world.lab.probe("client", "pour", "-bytes", "1000", place, timeout=30)
    demand(sent.get("bytes") == 1000, f"the client does not reach {place}: {sent}")
    world.wait(lambda: len(events(world.sink)) > before, 5, "the LAN host saw nothing")
    return str(events(world.sink)[-1]["from"]).rsplit(":", 1)[0]


def _routes(world: World, text: str) -> str:
    """Everything that works without netfilter, and that the daemon tells about it."""
    log = world.node.log()
    demand(text in log, f"the log does not say '{text}': netfilter is in another state")
    demand(text in (told := _health(world)), f"`tailscale status` does not tell it: {told!r}")
    for family in (0, 1):
        demand(world.reaches_lan(family), f"{world.net.home.lan[family]} is not reached")
    found = world.ask("node", QUAD100, f"client.{world.net.internet.domain}")
    demand(found.get("rcode") == "Success", f"MagicDNS without netfilter: {found}")
    # Nothing masquerades: the router has the way back, as our guide says.
    wanted, seen = world.client.addresses()[0], _seen_from(world)
    demand(seen == wanted, f"the LAN sees {seen}, not the client's own {wanted}")
    return f"the LAN sees the client's own {seen}; health tells '{text}'"


@canary(
    "nfnetlink-absent",
    "a kernel without nfnetlink: routes, names, and the LAN sees the client's own address",
    slow=True,
    tunnels=("machine",),
)
def nfnetlink_absent(world: World) -> str:
    """Nothing of netfilter is loaded since boot."""
    return _routes(world, ABSENT)


@canary(
    "nf-tables-absent",
    "a kernel with nfnetlink and no nf_tables, as RouterOS: the same",
    slow=True,
    tunnels=("machine",),
)
def nf_tables_absent(world: World) -> str:
    """It answers the question for tables with EINVAL."""
    _load(world, "nfnetlink")
    world.node.restart()
    reconnected(world, "a restart")
    return _routes(world, WITHOUT_TABLES)


@canary(
    "netfilter-off",
    "--netfilter-mode=off takes the warning away, and it stays away after a restart",
    slow=True,
    tunnels=("machine",),
)
def netfilter_off(world: World) -> str:
    """What the guide advises where there is no nf_tables."""
    before = _health(world)
    demand(WITHOUT_TABLES in before, f"there is no warning to take away: {before!r}")
    if "mode" not in world.deaf_to:
        world.set_(world.node, "--netfilter-mode=off")
    for what in ("the setting", "a restart"):
        demand(WITHOUT_TABLES not in (told := _health(world)), f"after {what}: {told!r}")
        demand(world.reaches_lan(), f"the LAN is not reached after {what}")
        if what == "the setting":
            world.node.restart()
            reconnected(world, "a restart")
    return "no warning, the LAN is reached, before and after a restart"


@canary(
    "nf-tables",
    "a kernel with nf_tables: no warning, and the LAN sees the node's address",
    slow=True,
    tunnels=("machine",),
)
def nf_tables(world: World) -> str:
    """The other side of the canaries above: with it the node masquerades."""
    _load(world, "nf_tables")
    world.set_(world.node, "--netfilter-mode=on")
    world.node.restart()
    reconnected(world, "a restart")
    told = _health(world)
    demand("table" not in told, f"`tailscale status` still warns: {told!r}")
    wanted = world.net.home.container[0]
    seen = _seen_from(world)
    demand(seen == wanted, f"the LAN sees {seen}, not the node {wanted}")
    return f"the LAN sees the node, {seen}"
