"""What an image must be seen to do: one function each, in the order they are run.

Each has a negative control or more in `controls.py`: an image or a network in which it must fail.
"""

from __future__ import annotations

import time

from build.lab.canary import canary
from build.lab.world import QUAD100, QUAD100_6, SINK, World, demand


@canary("join", "`tailscale up --auth-key` ends by itself, connected", user=True)
def join(world: World) -> str:
    """The command must not hang, nor come back before the node is connected."""
    done = world.notes["up"]
    demand(done.code is not None, "`tailscale up` hangs")
    demand(done.ok, f"`tailscale up` fails: {done.output.strip()}")
    demand(world.seconds_to_running, "`tailscale up` came back and the node is not connected")
    found = world.node.addresses()
    demand(len(found) == 2, f"wanted an IPv4 and an IPv6 address, got {found}")
    return f"connected {world.seconds_to_running:.1f} s after the container's start"


@canary("commands", "status, ip, version, whois and netcheck answer", user=True)
def commands(world: World) -> str:
    """The command line inside the container, as /container/shell runs it."""
    node, other = world.node, world.client.addresses()[0]
    demand("client" in (out := node.cli("status").output), f"`status` lacks the client: {out}")
    v4, v6 = (node.cli("ip", option).output.strip() for option in ("-4", "-6"))
    demand(v4.startswith("100.64.") and ":" in v6, f"`ip` says '{v4}' and '{v6}'")
    demand(node.cli("version").ok, "`version` fails")
    demand("client" in (out := node.cli("whois", other).output), f"`whois` says {out}")
    report = node.cli("netcheck", timeout=30).output
    demand("UDP: true" in report, f"netcheck finds no UDP:\n{report}")
    demand("Nearest DERP: Laboratory" in report, f"netcheck finds no DERP:\n{report}")
    _readable_by_routers(world)
    return v4


def _readable_by_routers(world: World) -> None:
    """What status-tailscale reads out of the words of the command line, in these very words."""
    own = world.node.cli("status", "--peers=false", "--json").output
    granted = own.partition('"AllowedIPs": [')[2].partition("]")[0]
    lacking = [net for net in (*world.net.home.subnets, "0.0.0.0/0") if f'"{net}"' not in granted]
    demand(not lacking, f"`status --json` does not tell that it may have {lacking}: {own}")
    words = world.node.cli("get", "--set-flags").output.split()
    told = next((word for word in words if word.startswith("--advertise-routes=")), "=")
    routes = told.partition("=")[2].split(",")
    demand("--advertise-exit-node" in words, f"`get` does not tell of the exit node: {words}")
    demand(
        sorted(routes) == sorted(world.net.home.subnets), f"`get` tells of the routes as {told!r}"
    )


def _answers(world: World, server: str, net: str) -> str:
    name = f"client.{world.net.internet.domain}"
    found = world.ask("node", server, name, net=net, type="A")
    wanted = world.client.addresses()[:1]
    demand(
        found.get("rcode") == "Success" and found["addresses"] == wanted,
        f"{name} A @{server} over {net}: wanted {wanted}, got {found}",
    )
    return f"{name} is {wanted[0]}"


@canary("answers", "the node's own addresses answer the client, IPv4 and IPv6", user=True)
def answers(world: World) -> str:
    """A ping through the tunnel."""
    for address in world.node.addresses():
        demand(world.ping("client", address), f"{address} does not answer")
    return " ".join(world.node.addresses())


@canary("magicdns-udp", "100.100.100.100 answers tailnet names over UDP")
def magicdns_udp(world: World) -> str:
    """Netstack serves it, though the tunnel is a kernel device."""
    return _answers(world, QUAD100, "udp")


@canary("magicdns-tcp", "100.100.100.100 answers tailnet names over TCP")
def magicdns_tcp(world: World) -> str:
    """The same over TCP, which long answers need."""
    return _answers(world, QUAD100, "tcp")


@canary("magicdns-ipv6", "the service's IPv6 address answers tailnet names")
def magicdns_ipv6(world: World) -> str:
    """The same over IPv6."""
    return _answers(world, QUAD100_6, "udp")


@canary("magicdns-public", "100.100.100.100 answers public names through the router's DNS")
def magicdns_public(world: World) -> str:
    """The node's own upstream must be what the router gave it, not lost in resolv.conf's backup."""
    name = world.fresh_name()
    found = world.ask("node", QUAD100, name)
    wanted = world.net.internet.web[0]
    demand(found.get("addresses") == [wanted], f"{name}: wanted {wanted}, got {found}")
    return "resolved"


@canary("names-inside", "a program in the container reaches a peer by its name")
def names_inside(world: World) -> str:
    """Through resolv.conf, as `ping host.tailnet` of busybox does, by full and short name."""
    for name in (f"client.{world.net.internet.domain}", "client"):
        done = world.node.run("ping", "-c", "3", name)
        demand(" 0% packet loss" in done.output, f"ping {name}: {done.output.strip()}")
    return "client and its full name"


def _both_ways(world: World, family: int) -> str:
    lan, peer = world.net.home.lan[family], world.client.addresses()[family]
    demand(world.reaches_lan(family), f"the client does not reach {lan} in the LAN")
    if world.node.plain:
        # Without a tunnel device nothing is routed from the LAN into the tailnet.
        return f"client -> {lan}"
    demand(world.ping("lan", peer), f"the LAN host does not reach the client {peer}")
    return f"client <-> {lan}"


@canary("subnet-ipv4", "the LAN is reached from the tailnet and back, IPv4", user=True)
def subnet_ipv4(world: World) -> str:
    """Subnet router for IPv4."""
    return _both_ways(world, 0)


@canary("subnet-ipv6", "the LAN is reached from the tailnet and back, IPv6", user=True)
def subnet_ipv6(world: World) -> str:
    """Subnet router for IPv6, which needs forwarding that tailscaled does not turn on itself."""
    return _both_ways(world, 1)


@canary("forwarding", "the entrypoint turns on IPv4 and IPv6 forwarding")
def forwarding(world: World) -> str:
    """Both were off before the container's start."""
    read = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding"
    before, after = world.sysctls_before.split(), world.lab.shell(read + "\n", "node").split()
    demand(before == ["0", "0"], f"forwarding was on before the start: {before}: proves nothing")
    demand(after == ["1", "1"], f"IPv4 and IPv6 forwarding are {after} after the start")
    return "0 0 -> 1 1"


def _exit(world: World, family: int) -> str:
    web, wan = world.net.internet.web[family], world.net.home.wan[family]
    name = world.fresh_name()
    with world.exit_node(world.client, world.node):
        # The public server here is a DNS server: its log says from where it was asked.
        found = world.ask("client", web, name)
    demand(found.get("rcode") == "Success", f"the client does not reach {web}: {found}")
    askers = world.askers(name)
    demand(askers == {wan}, f"the traffic left the internet from {askers}, not from {wan}")
    return f"the client appears as {wan}"


@canary("exit-ipv4", "the node is an exit node for IPv4", user=True)
def exit_ipv4(world: World) -> str:
    """A client's traffic leaves through the router."""
    return _exit(world, 0)


@canary("exit-ipv6", "the node is an exit node for IPv6")
def exit_ipv6(world: World) -> str:
    """The same over IPv6."""
    return _exit(world, 1)


@canary("exit-dns", "a client with this exit node resolves public names through it", user=True)
def exit_dns(world: World) -> str:
    """The node's PeerAPI serves DNS to the client; the answer says recursion is available."""
    name = world.fresh_name()
    with world.exit_node(world.client, world.node):
        found = world.ask("client", QUAD100, name)
    demand(found.get("rcode") == "Success" and found["ra"], f"{name} on the client: {found}")
    askers = world.askers(name)
    demand(askers == {world.net.home.wan[0]}, f"DNS was asked from {askers}, not by the node")
    return f"asked by {world.net.home.wan[0]}"


@canary("own-exit-dns", "the node behind another exit node resolves public names through it")
def own_exit_dns(world: World) -> str:
    """The node as client: its PeerAPI client asks the exit node."""
    name = world.fresh_name()
    world.set_(world.node, "--advertise-exit-node=false")
    try:
        with world.exit_node(world.node, world.exit):
            found = world.ask("node", QUAD100, name)
    finally:
        world.node.cli("set", "--advertise-exit-node")
    demand(found.get("rcode") == "Success" and found["ra"], f"{name} on the node: {found}")
    return f"asked by {', '.join(sorted(world.askers(name)))}"


DIRECT = ("via 203.0.113.20:", "via [2001:db8:1::20]:")


def _path(world: World, *wanted: str) -> bool:
    words = ["ping", "-c", "1", "--timeout=2s", "--until-direct=false"]
    done = world.node.cli(*words, world.client.addresses()[0])
    return done.ok and any(path in done.output for path in wanted)


@canary("direct", "packets to a reachable peer take a direct UDP path", user=True)
def direct(world: World) -> str:
    """Not the relay: builds without UDP transport work too, and slowly."""
    world.wait(lambda: _path(world, *DIRECT), 15, "no direct path to a reachable peer")
    return "client by UDP"


@canary(
    "relay", "with UDP blocked, packets go through DERP, and directly again afterwards", user=True
)
def relay(world: World) -> str:
    """The router drops UDP, as some hotels do."""
    rule = "meta l4proto udp udp dport != 53 drop"
    with world.rules("blocked", rule):
        world.wait(lambda: _path(world, "via DERP(lab)"), 25, "no path through DERP without UDP")
        demand(world.reaches_lan(pings=5), "the LAN is lost without UDP")
    world.wait(lambda: _path(world, *DIRECT), 40, "no direct path after UDP is back")
    return "relayed, then direct"


@canary("log-quiet", "the log holds no message of a higher verbosity", user=True)
def log_quiet(world: World) -> str:
    """`[v1]`, `[v2]` and `[v\\0JSON]`: the last has a NUL in it, so a text search may miss it."""
    lines = world.node.log().split("\n")
    demand(len(lines) > 20, f"the log has {len(lines)} lines only: this proves nothing")
    loud = [line for line in lines if any(m in line for m in ("[v1]", "[v2]", "[v\0JSON]"))]
    demand(
        not loud, f"{len(loud)} of {len(lines)} lines are verbose, such as: {(loud or [''])[0]!r}"
    )
    return f"0 of {len(lines)} lines"


@canary("state-files", "only the state and the cached DERP map are kept", user=True)
def state_files(world: World) -> str:
    """In the folder that lives on the router's disk."""
    found = sorted(world.node.kept())
    wanted = ["derpmap.cached.json", "tailscaled.state"]
    demand(found == wanted, f"wanted {wanted}, got {found}")
    return " ".join(found)


@canary("flash-idle", "an idle node writes nothing to flash")
def flash_idle(world: World) -> str:
    """Bytes at the block device that holds root and state, over five seconds."""
    before = world.node.written()
    time.sleep(5)
    count = world.node.written() - before
    demand(count == 0, f"{count} bytes in 5 s of idling")
    return "0 bytes in 5 s"


@canary("flash-busy", "traffic, changes of the network map and of DNS write nothing to flash")
def flash_busy(world: World) -> str:
    """Peers come, go and change; DNS settings are rewritten; megabytes pass through."""
    node = world.node
    files, before = node.files(), node.written()
    words = ["pour", "-bytes", "8000000", f"{world.net.home.lan[0]}:{SINK}"]
    # How fast is not the question here, and an emulated machine is slow.
    sent = world.lab.probe("client", *words, timeout=90)
    demand(sent.get("bytes") == 8000000, f"the client cannot send to the LAN: {sent}")
    for route in ("198.18.0.0/24", "198.18.0.0/24,198.18.1.0/24", ""):
        world.set_(world.exit, f"--advertise-routes={route}")
        time.sleep(0.5)
    # What DNS servers the tunnel gives changes twice; that choice itself is a preference, which
    # is kept in the state file.
    count = node.written() - before
    demand(count == 0, f"{count} bytes, in {_differing(files, node.files())}")
    node.cli("set", "--accept-dns=false")
    node.cli("set", "--accept-dns=true")
    touched = _differing(files, node.files())
    demand(
        touched <= {"state", "state/tailscaled.state"},
        f"a change of DNS settings wrote {', '.join(sorted(touched))}",
    )
    return "0 bytes for 8 MB and 3 network maps; DNS settings touch the state file only"


def _differing(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
