"""Canaries of a LAN behind the router, which is never attached to the container."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from build.lab.canary import canary
from build.lab.container import Container
from build.lab.world import World, demand

OUT_BY_TUNNEL = 77
"""Routing table of the router that sends the LAN's internet traffic to the container."""


@contextlib.contextmanager
def _lan_out_by_tunnel(world: World) -> Iterator[None]:
    """Let the router send what the LAN host sends to the internet to the container, as USAGE says.

    The marking rule of USAGE spares private networks and the tailnet; here they have rules.
    """
    home, table = world.net.home, OUT_BY_TUNNEL
    lines = []
    for option, lan, container in zip(("-4", "-6"), home.lan, home.container, strict=True):
        lines.append(f"ip {option} route add default via {container} table {table}")
        lines.append(f"ip {option} rule add from {lan} lookup main suppress_prefixlength 0 pref 90")
        lines.append(f"ip {option} rule add from {lan} lookup {table} pref 91")
    undo = [line.replace(" add ", " del ", 1) for line in lines[::-1]]
    world.lab.shell("\n".join(lines) + "\n", "router")
    try:
        yield
    finally:
        world.lab.shell("\n".join(undo) + "\n", "router")


def _lan_both_ways(world: World, when: str) -> None:
    """Raise Failed unless client and LAN host reach each other, IPv4 and IPv6.

    Some seconds are for what was set just now to arrive at both ends of the tunnel.
    """
    for family in (0, 1):
        lan, peer = world.net.home.lan[family], world.client.addresses()[family]

        def there(family: int = family) -> bool:
            return world.reaches_lan(family)

        world.wait(there, 8, f"the client does not reach {lan} {when}")
        demand(world.ping("lan", peer), f"the LAN host does not reach the client {peer} {when}")


def _through_exit(world: World) -> str:
    """Let the node use the other exit node, and the LAN host go out by it, IPv4 and IPv6."""
    seen = []
    world.set_(world.node, "--advertise-exit-node=false", "--exit-node-allow-lan-access")
    try:
        with world.exit_node(world.node, world.exit), _lan_out_by_tunnel(world):
            for family in (0, 1):
                name, web = world.fresh_name(), world.net.internet.web[family]
                found = world.ask("lan", web, name)
                demand(found.get("rcode") == "Success", f"the LAN does not reach {web}: {found}")
                wanted, askers = world.net.home.exit[family], world.askers(name)
                demand(askers == {wanted}, f"the LAN leaves from {askers}, not from {wanted}")
                seen.append(wanted)
            _lan_both_ways(world, "behind an exit node")
    finally:
        world.node.cli("set", "--exit-node-allow-lan-access=false")
        world.node.cli("set", "--advertise-exit-node")
    return f"the LAN appears as {' and '.join(seen)}"


@canary(
    "lan-behind-exit",
    "behind another exit node the LAN gets out through it and is reached from the tailnet",
    tunnels=("kernel",),
)
def lan_behind_exit(world: World) -> str:
    """--exit-node-allow-lan-access, on a LAN that Tailscale does not see."""
    return _through_exit(world)


@canary(
    "lan-behind-exit-bare",
    "without netfilter the LAN gets out through an exit node that accepts routes",
    slow=True,
    tunnels=("kernel",),
)
def lan_behind_exit_bare(world: World) -> str:
    """Nothing masquerades then: the LAN's own addresses have to be taken by the exit node."""
    node = world.node
    node.wrapper = [str(world.lab.program), *world.without]
    try:
        node.restart()
        world.back("a start without netfilter")
        world.set_(world.exit, "--accept-routes")
        seen = _through_exit(world)
        demand("exit node must accept routes" in node.log(), "the log does not say what it takes")
    finally:
        node.wrapper = []
        world.exit.cli("set", "--accept-routes=false")
        node.restart()
        world.back("a restart")
    return seen


@canary(
    "lan-inside-route",
    "the LAN is reached while a peer announces networks around it and inside it",
)
def lan_inside_route(world: World) -> str:
    """The node accepts routes. What a peer announces inside the LAN's network is the peer's."""
    home = world.net.home
    around, inside = "192.168.0.0/16,172.16.0.0/12,fd00::/8", "192.168.88.128/25"
    world.set_(world.node, "--accept-routes")
    world.set_(world.exit, f"--advertise-routes={around},{inside}")

    def way(address: str, of: Container) -> str:
        return of.run("ip", "route", "get", address).output

    def taken() -> bool:
        # By the client too: a change that reaches it in between would be measured with.
        return all("tailscale0" in way("192.168.1.1", one) for one in (world.node, world.client))

    try:
        world.wait(taken, 20, "node and client take no peer's route")
        _lan_both_ways(world, "while a peer announces networks around it")
        gateway = home.gateway[0]
        demand(world.node.run("ping", "-c", "1", gateway).ok, f"the router {gateway} is lost")
        demand(
            "tailscale0" in way("192.168.88.200", world.node),
            "a peer's part of the LAN's network is lost",
        )
    finally:
        world.exit.cli("set", "--advertise-routes=")
        world.node.cli("set", "--accept-routes=false")
    return f"client <-> {home.lan[0]}, {home.lan[1]} with {around}; {inside} is the peer's"


@canary(
    "exit-ipv6-routed",
    "clients of the exit node have IPv6 through a router that masquerades IPv4 only",
    tunnels=("kernel",),
)
def exit_ipv6_routed(world: World) -> str:
    """The container has an address of the provider's prefix too; Tailscale masquerades to it."""
    home, web = world.net.home, world.net.internet.web[1]
    routed, gateway = home.routed

    def asked() -> set[str]:
        name = world.fresh_name()
        found = world.ask("client", web, name, timeout="3s")
        return world.askers(name) if found.get("rcode") == "Success" else set()

    give = (
        f"ip -n internet route add {home.prefix} via {home.wan[1]}\n"
        f"ip -n router addr add {gateway}/64 dev container nodad\n"
        f"ip -n node addr add {routed}/64 dev eth0 nodad\n"
    )
    take = give.replace(" add ", " del ").replace(" nodad", "")
    with (
        world.rules("only4", "meta nfproto ipv6 accept"),
        world.exit_node(world.client, world.node),
    ):
        demand(not asked(), "the router masquerades IPv6: this proves nothing")
        world.lab.shell(give)
        try:
            askers = asked()
        finally:
            world.lab.shell(take)
    demand(askers == {routed}, f"with an address of the provider's: from {askers}, not {routed}")
    return f"the client appears as {routed}"


@canary(
    "port-forward",
    "peers come in by a forwarded UDP port, which is 41641 or what TS_PORT says",
    slow=True,
    tunnels=("kernel",),
)
def port_forward(world: World) -> str:
    """The router forwards one port; nothing that the container starts by UDP gets out.

    So a direct path can only be one that the client opens.
    """
    node, container = world.node, world.net.home.container[0]
    read = "cat /proc/net/udp /proc/net/udp6\n"
    demand(":A2A9 " in world.lab.shell(read, "node"), "the node does not listen on UDP port 41641")
    other = world.client.addresses()[0]
    words = ["ping", "-c", "1", "--timeout=2s", "--until-direct=false", other]
    drop = 'iifname "container" ct direction original meta l4proto udp udp dport != {53, 3478} drop'

    def start(port: str) -> None:
        node.env["TS_PORT"] = port
        node.restart()
        world.back("a restart")

    def path() -> str:
        return node.cli(*words).output

    element = f"inet lab opened {{ 45000 : {container} . 45000 }}\n"
    world.lab.shell(f"nft add element {element}", "router")
    try:
        with world.rules("blocked", drop):
            start("45001")
            world.wait(lambda: "via DERP" in path(), 25, "no path by relay")
            time.sleep(6)
            demand(
                "via DERP" in (said := path()), f"direct by another port: proves nothing: {said}"
            )
            start("45000")
            world.wait(lambda: "via 203.0.113.20:" in path(), 45, "no direct path")
    finally:
        world.lab.shell(f"nft delete element {element}", "router")
        del node.env["TS_PORT"]
        node.restart()
        world.back("a restart")
    return "41641 by itself; TS_PORT=45000 forwarded: direct; 45001 not forwarded: relayed"
