"""The gate's negative controls: images and networks in which given canaries must fail."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from typing import Any

from build.lab.canary import CANARIES


@dataclass(frozen=True)
class Breakage:
    """One thing broken on purpose, and the canaries that have to notice.

    `tags` are Go build tags added to ours, `features` upstream's features added to ours.
    `entrypoint` replaces lines of the entrypoint: {line to find: what to put there}. `options`
    go to the node's container; `world` are fields of the laboratory; `rules` the router's.
    `tunnels` are the runs that have it. On router-like machines, `platform` is the machine and
    `image` the platform whose image it is given; `dies` is how that ends at once.
    """

    name: str
    what: str
    fails: tuple[str, ...]
    tags: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    entrypoint: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    world: dict[str, Any] = field(default_factory=dict)
    rules: tuple[str, ...] = ()
    tunnels: tuple[str, ...] = ("kernel", "machine")
    platform: str = "arm64"
    image: str = ""
    dies: str = ""


START = 'exec /usr/local/bin/tailscaled "$@"'

BREAKAGES = (
    Breakage(
        "no-netstack",
        "built without netstack",
        ("magicdns-udp", "magicdns-tcp", "magicdns-ipv6", "magicdns-public", "names-inside"),
        tags=("ts_omit_netstack", "ts_omit_gro"),
    ),
    Breakage(
        "no-peerapiserver",
        "built without PeerAPI server",
        ("exit-dns",),
        tags=("ts_omit_peerapiserver",),
    ),
    Breakage(
        "no-peerapiclient",
        "built without PeerAPI client",
        ("own-exit-dns",),
        tags=("ts_omit_peerapiclient",),
    ),
    Breakage(
        "no-logfilter",
        "built without our log filter",
        ("log-quiet",),
        tags=("mt_omit_logfilter",),
    ),
    Breakage(
        "no-portmapper",
        "built without port mapping",
        ("portmap-pmp", "portmap-pcp", "portmap-upnp"),
        tags=("ts_omit_portmapper",),
    ),
    Breakage(
        "no-identity",
        "built without unixsocketidentity: the daemon refuses the command line",
        ("join", "commands"),
        tags=("ts_omit_unixsocketidentity",),
    ),
    Breakage(
        "no-lan-rules",
        "built without our rules for the LAN",
        ("lan-behind-exit", "lan-behind-exit-bare", "lan-inside-route"),
        tags=("mt_omit_lan",),
    ),
    Breakage(
        "no-reaper",
        "built without our reaper of orphans",
        ("zombies",),
        tags=("mt_omit_reap",),
    ),
    Breakage(
        "no-own-tunnel",
        "built without the knowledge of its own tunnel's name",
        ("veth-name",),
        tags=("mt_omit_tunnel",),
    ),
    Breakage(
        "no-refusals",
        "built without our refusals",
        ("refusals",),
        tags=("mt_omit_cli",),
    ),
    Breakage(
        "no-nc",
        "an image whose health check lacks its program",
        ("health",),
        entrypoint={START: f"rm /bin/nc\n{START}"},
    ),
    Breakage(
        "shell-as-init",
        "an entrypoint that stays as PID 1 and hears no signal",
        ("stops",),
        entrypoint={START: START.removeprefix("exec ")},
    ),
    Breakage(
        "no-prefix",
        "a router that drops what has an address of the provider's prefix",
        ("exit-ipv6-routed",),
        rules=('iifname "container" ip6 saddr 2001:db8:3::/64 drop',),
    ),
    Breakage(
        "netmap-on-disk",
        "built with cachenetmap",
        ("state-files",),
        features=("cachenetmap",),
    ),
    Breakage(
        "bare-entrypoint",
        "an entrypoint that only starts tailscaled",
        (
            "forwarding",
            "subnet-ipv4",
            "subnet-ipv6",
            "exit-ipv4",
            "exit-ipv6",
            "flash-busy",
            "port-forward",
            "settings-of-others",
        ),
        entrypoint={"#!/bin/sh": f"#!/bin/sh\n{START}"},
    ),
    Breakage(
        "lost-upstream",
        "an entrypoint that loses the router's DNS and links resolv.conf to nowhere",
        ("magicdns-public", "names-inside"),
        entrypoint={
            START: f'rm -f /etc/resolv.conf; : > "$run/resolv.conf"\nrm -f "$conf.router"\n{START}'
        },
    ),
    Breakage(
        "scribbler",
        "an entrypoint that leaves a logger behind",
        ("flash-idle", "flash-busy"),
        entrypoint={START: f"while sleep 1; do date >> /var/log; done &\n{START}"},
    ),
    Breakage(
        "muffled",
        "an entrypoint that drops TS_LOG_VERBOSITY",
        ("log-verbose",),
        entrypoint={START: f"unset TS_LOG_VERBOSITY\n{START}"},
    ),
    Breakage(
        "forgetful",
        "a state mount that is empty at each start",
        ("restart", "crash", "damaged-state"),
        options={"volatile": True},
    ),
    Breakage(
        "udp-blocked",
        "a router that passes no UDP but DNS",
        ("direct",),
        rules=("meta l4proto udp udp dport != 53 drop",),
    ),
    Breakage(
        "no-tailnet",
        "a router that drops all traffic of the container once it is joined",
        ("answers", "relay", "control-outage"),
        rules=('iifname "container" drop',),
    ),
    Breakage(
        "deaf-laboratory",
        "a laboratory that does not do what a canary asks of it",
        ("relay", "control-outage", "wrong-clock"),
        world={"deaf_to": frozenset({"blocked", "on", "clock"})},
    ),
    Breakage(
        "netfilter-there",
        "a kernel with netfilter where the canary wants none",
        ("no-netfilter", "lan-behind-exit-bare"),
        world={"without": ("with",)},
        tunnels=("kernel",),
    ),
    Breakage(
        "no-netlink",
        "a kernel that refuses every netlink socket, as nothing we know of copes with",
        ("no-netfilter",),
        world={"without": ("without", "-all")},
        tunnels=("kernel",),
    ),
    Breakage(
        "tables-from-boot",
        "a machine whose kernel has nf_tables from the start",
        ("nfnetlink-absent",),
        options={"modules": "nf_tables"},
        tunnels=("machine",),
    ),
    Breakage(
        "stuck-modules",
        "a machine that loads no more modules",
        ("nf-tables-absent", "nf-tables"),
        world={"deaf_to": frozenset({"load"})},
        tunnels=("machine",),
    ),
    Breakage(
        "stuck-mode",
        "a node with nfnetlink alone whose netfilter mode is left as it is",
        ("netfilter-off",),
        options={"modules": "nfnetlink"},
        world={"deaf_to": frozenset({"mode"})},
        tunnels=("machine",),
    ),
    Breakage(
        "wrong-variant",
        "the armv7 image on a CPU without floating point",
        ("join",),
        tunnels=("machine",),
        platform="armv5",
        image="armv7",
        dies=f"status {128 + signal.SIGILL}",
    ),
)


def breakages_for(tunnel: str) -> list[Breakage]:
    """Return the breakages that bite a canary of such a run."""
    there = {canary.name for canary in CANARIES.values() if tunnel in canary.tunnels}
    return [one for one in BREAKAGES if tunnel in one.tunnels and there.intersection(one.fails)]
