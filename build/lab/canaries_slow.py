"""Canaries that restart the node, break its surroundings, or wait: they run after the others."""

from __future__ import annotations

import time

from build.lab.anchor import events
from build.lab.canary import canary
from build.lab.world import QUAD100, World, demand, join, reconnected


def _identity(world: World) -> tuple[str, str]:
    status = world.node.status()
    demand(status.get("TailscaleIPs"), "the node has no address: it is not logged in")
    return status["Self"]["PublicKey"], status["TailscaleIPs"][0]


@canary(
    "restart", "a stop and start keeps the node's identity, without a key", slow=True, user=True
)
def restart(world: World) -> str:
    """SIGTERM as RouterOS sends it; the tmpfs is empty afterwards, the state is not."""
    before = _identity(world)
    written = world.node.written()
    world.node.restart()
    took = reconnected(world, "a restart")
    demand(_identity(world) == before, f"was {before}, is {_identity(world)}")
    written = world.node.written() - written
    demand(written <= 16384, f"a restart writes {written} bytes to flash")
    return f"connected after {took}, {written} bytes written"


@canary(
    "crash",
    "after kill -9 the node comes back with identity, MagicDNS and public DNS",
    slow=True,
    user=True,
)
def crash(world: World) -> str:
    """The daemon is PID 1, so this is the container's death too: nothing is tidied up."""
    before = _identity(world)
    world.node.kill()
    world.node.start()
    took = reconnected(world, "kill -9")
    demand(_identity(world) == before, f"was {before}, is {_identity(world)}")
    names = (f"client.{world.net.internet.domain}", world.fresh_name())
    for name in () if world.node.plain else names:
        found = world.ask("node", QUAD100, name)
        demand(found.get("rcode") == "Success", f"{name} after kill -9: {found}")
    return f"connected after {took}"


@canary(
    "log-verbose",
    "TS_LOG_VERBOSITY=1 shows the messages that are dropped else",
    slow=True,
    user=True,
)
def log_verbose(world: World) -> str:
    """The way to see more without another image."""
    world.node.env["TS_LOG_VERBOSITY"] = "1"
    try:
        world.node.restart()
        reconnected(world, "a restart")
        lines = world.node.log().split("\n")
    finally:
        del world.node.env["TS_LOG_VERBOSITY"]
    loud = [line for line in lines if "[v1]" in line or "[v2]" in line]
    demand(loud, f"none of {len(lines)} lines is verbose")
    return f"{len(loud)} of {len(lines)} lines"


@canary(
    "control-outage",
    "the tailnet works without the control server, and hears of it again",
    slow=True,
    user=True,
)
def control_outage(world: World) -> str:
    """The control server's and relay's TCP side is gone and back; it keeps its memory."""
    world.tell_control("off")
    try:
        time.sleep(2)
        # Lost means lost for good; one answer may be late where the machine is busy.
        world.wait(world.reaches_lan, 15, "the LAN is lost without control server")
        if not world.node.plain:
            found = world.ask("node", QUAD100, f"client.{world.net.internet.domain}")
            demand(found.get("rcode") == "Success", f"MagicDNS without control server: {found}")
    finally:
        world.tell_control("on")
    route = f"198.18.{int(time.monotonic()) % 200}.0/24"

    def heard() -> bool:
        peers = (world.node.status().get("Peer") or {}).values()
        return any(route in (peer.get("PrimaryRoutes") or []) for peer in peers)

    world.set_(world.exit, f"--advertise-routes={route}")
    try:
        world.wait(heard, 60, f"the node never hears of {route} after the control server is back")
    finally:
        world.exit.cli("set", "--advertise-routes=")
    return "LAN and names without it; a new route arrives afterwards"


@canary(
    "wrong-clock",
    "a node whose clock is behind at boot joins once it is right",
    slow=True,
    user=True,
)
def wrong_clock(world: World) -> str:
    """Routers have no clock battery. The certificate begins in two days, as it seems to them."""
    world.node.stop()
    world.tell_control("clock 48h")
    try:
        world.node.start()
        world.wait(world.node.status, 15, "the daemon does not answer while the clock is wrong")
        # Until now it was refused: connected would mean that certificates are not checked.
        time.sleep(4)
        demand(not world.node.running(), "connected although the certificate is not valid yet")
        demand("x509" in world.node.log(), "the log does not say that a certificate is the reason")
    finally:
        world.tell_control("clock 0s")
    return (
        "connected " + reconnected(world, "the clock is right", 60) + " after the clock was right"
    )


@canary(
    "no-netfilter",
    "without nftables and iptables the node joins, answers and routes",
    slow=True,
    tunnels=("kernel",),
)
def no_netfilter(world: World) -> str:
    """The image has no iptables program; here the kernel refuses nftables as well."""
    node = world.node
    node.stop()
    node.wrapper = [str(world.lab.program), *world.without]
    try:
        node.start()
        took = reconnected(world, "a start without netfilter")
        demand("protocol not supported" in node.log(), "netfilter was there: this proves nothing")
        found = world.ask("node", QUAD100, f"client.{world.net.internet.domain}")
        demand(found.get("rcode") == "Success", f"MagicDNS without netfilter: {found}")
        # Masquerading needs netfilter. The router has a route back, as our guide says.
        demand(world.reaches_lan(), "the LAN is not reached")
    finally:
        node.wrapper = []
        node.restart()
        reconnected(world, "a restart")
    return f"connected after {took}"


def _port_mapping(world: World, protocol: str) -> str:
    home = world.net.home
    words = ["-inside", home.gateway[0], "-external", home.wan[0], "-protocol", protocol]
    server = world.lab.server(f"portmap-{protocol}", "router", "portmap", *words)
    try:
        world.node.restart()
        reconnected(world, "a restart")

        def mapped() -> str:
            told = [e for e in events(server) if e["event"] == "mapped"]
            return f"{home.wan[0]}:{told[-1]['outer']}" if told else ""

        place = world.wait(mapped, 20, f"no port is asked for by {protocol}")
        world.wait(
            lambda: place in world.known(world.node).get("endpoints", []),
            20,
            f"the mapped address {place} is not among the node's endpoints",
        )
    finally:
        server.stop()
    return str(place)


@canary("portmap-pmp", "a port of the router is opened by NAT-PMP and told to peers", slow=True)
def portmap_pmp(world: World) -> str:
    """NAT-PMP, as many routers upstream of a MikroTik speak it."""
    return _port_mapping(world, "pmp")


@canary("portmap-pcp", "a port of the router is opened by PCP and told to peers", slow=True)
def portmap_pcp(world: World) -> str:
    """PCP is the successor of NAT-PMP."""
    return _port_mapping(world, "pcp")


@canary("portmap-upnp", "a port of the router is opened by UPnP and told to peers", slow=True)
def portmap_upnp(world: World) -> str:
    """UPnP IGD, which RouterOS and most home routers speak."""
    return _port_mapping(world, "upnp")


@canary(
    "damaged-state",
    "a truncated state file is told and kept; removing it allows a new login",
    slow=True,
)
def damaged_state(world: World) -> str:
    """A power cut while the file is written, or a full disk. It is the last canary."""
    world.node.stop()
    name = "tailscaled.state"
    state = world.node.kept()[name]
    half = state[: len(state) // 2]
    world.node.keep(name, half)
    world.node.start()
    world.wait(world.node.status, 15, "no answer with a truncated state file")
    demand("tailscaled.state" in world.node.log(), "the log does not name the damaged file")
    health = world.node.cli("status").output
    demand("state" in health.lower(), f"`tailscale status` does not tell: {health.strip()}")
    demand(
        world.node.kept()[name] == half, "the damaged file was written over: nothing can be saved"
    )
    world.node.stop()
    world.node.keep(name, None)
    world.node.start()
    world.wait(world.node.status, 15, "no answer without a state file")
    done = join(world, world.node, "--hostname=node")
    demand(done.ok, f"`tailscale up` without a state file: {done.output.strip()}")
    return "told by log and status, left as it is; a new login after removing it works"
