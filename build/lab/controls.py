"""The gate's negative controls: images and networks in which given canaries must fail."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from typing import Any

from build.lab.canary import CANARIES


@dataclass(frozen=True)
class NegativeControl:
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

NEGATIVE_CONTROLS = (
    NegativeControl(
        "no-netstack",
        "built without netstack",
        ("magicdns-udp", "magicdns-tcp", "magicdns-ipv6", "magicdns-public", "names-inside"),
        tags=("ts_omit_netstack", "ts_omit_gro"),
    ),
    NegativeControl(
        "no-peerapiserver",
        "built without PeerAPI server",
        ("exit-dns",),
        tags=("ts_omit_peerapiserver",),
    ),
    NegativeControl(
        "no-peerapiclient",
        "built without PeerAPI client",
        ("own-exit-dns",),
        tags=("ts_omit_peerapiclient",),
    ),
    NegativeControl(
        "no-logfilter",
        "built without our log filter",
        ("log-quiet",),
        tags=("mt_omit_logfilter",),
    ),
    NegativeControl(
        "no-portmapper",
        "built without port mapping",
        ("portmap-pmp", "portmap-pcp", "portmap-upnp"),
        tags=("ts_omit_portmapper",),
    ),
    NegativeControl(
        "no-identity",
        "built without unixsocketidentity: the daemon refuses the command line",
        ("join", "commands"),
        tags=("ts_omit_unixsocketidentity",),
    ),
    NegativeControl(
        "no-lan-rules",
        "built without our rules for the LAN",
        ("lan-behind-exit", "lan-behind-exit-bare", "lan-inside-route"),
        tags=("mt_omit_lan",),
    ),
    NegativeControl(
        "no-reaper",
        "built without our reaper of orphans",
        ("zombies",),
        tags=("mt_omit_reap",),
    ),
    NegativeControl(
        "no-own-tunnel",
        "built without the knowledge of its own tunnel's name",
        ("veth-name",),
        tags=("mt_omit_tunnel",),
    ),
    NegativeControl(
        "no-refusals",
        "built without our refusals",
        ("refusals",),
        tags=("mt_omit_cli",),
    ),
    NegativeControl(
        "no-nc",
        "an image whose health check lacks its program",
        ("health",),
        entrypoint={START: f"rm /bin/nc\n{START}"},
    ),
    NegativeControl(
        "shell-as-init",
        "an entrypoint that stays as PID 1 and hears no signal",
        ("stops",),
        entrypoint={START: START.removeprefix("exec ")},
    ),
    NegativeControl(
        "no-prefix",
        "a router that drops what has an address of the provider's prefix",
        ("exit-ipv6-routed",),
        rules=('iifname "container" ip6 saddr 2001:db8:3::/64 drop',),
    ),
    NegativeControl(
        "netmap-on-disk",
        "built with cachenetmap",
        ("state-files",),
        features=("cachenetmap",),
    ),
    NegativeControl(
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
    NegativeControl(
        "lost-upstream",
        "an entrypoint that loses the router's DNS and links resolv.conf to nowhere",
        ("magicdns-public", "names-inside"),
        entrypoint={
            START: f'rm -f /etc/resolv.conf; : > "$run/resolv.conf"\nrm -f "$conf.router"\n{START}'
        },
    ),
    NegativeControl(
        "scribbler",
        "an entrypoint that leaves a logger behind",
        ("flash-idle", "flash-busy"),
        entrypoint={START: f"while sleep 1; do date >> /var/log; done &\n{START}"},
    ),
    NegativeControl(
        "muffled",
        "an entrypoint that drops TS_LOG_VERBOSITY",
        ("log-verbose",),
        entrypoint={START: f"unset TS_LOG_VERBOSITY\n{START}"},
    ),
    NegativeControl(
        "forgetful",
        "a state mount that is empty at each start",
        ("restart", "crash", "damaged-state"),
        options={"volatile": True},
    ),
    NegativeControl(
        "udp-blocked",
        "a router that passes no UDP but DNS",
        ("direct",),
        rules=("meta l4proto udp udp dport != 53 drop",),
    ),
    NegativeControl(
        "no-tailnet",
        "a router that drops all traffic of the container once it is joined",
        ("answers", "relay", "control-outage"),
        rules=('iifname "container" drop',),
    ),
    NegativeControl(
        "deaf-laboratory",
        "a laboratory that does not do what a canary asks of it",
        ("relay", "control-outage", "wrong-clock"),
        world={"deaf_to": frozenset({"blocked", "on", "clock"})},
    ),
    NegativeControl(
        "netfilter-there",
        "a kernel with netfilter where the canary wants none",
        ("no-netfilter", "lan-behind-exit-bare"),
        world={"without": ("with",)},
        tunnels=("kernel",),
    ),
    NegativeControl(
        "no-netlink",
        "a kernel that refuses every netlink socket, as nothing we know of copes with",
        ("no-netfilter",),
        world={"without": ("without", "-all")},
        tunnels=("kernel",),
    ),
    NegativeControl(
        "tables-from-boot",
        "a machine whose kernel has nf_tables from the start",
        ("nfnetlink-absent",),
        options={"modules": "nf_tables"},
        tunnels=("machine",),
    ),
    NegativeControl(
        "stuck-modules",
        "a machine that loads no more modules",
        ("nf-tables-absent", "nf-tables"),
        world={"deaf_to": frozenset({"load"})},
        tunnels=("machine",),
    ),
    NegativeControl(
        "stuck-mode",
        "a node with nfnetlink alone whose netfilter mode is left as it is",
        ("netfilter-off",),
        options={"modules": "nfnetlink"},
        world={"deaf_to": frozenset({"mode"})},
        tunnels=("machine",),
    ),
    NegativeControl(
        "tight-collector",
        "settings that make Go collect without end, as an older guide's did",
        ("small-memory",),
        options={"env": {"GOMEMLIMIT": "12MiB", "GOGC": "50"}},
        tunnels=("machine",),
    ),
    NegativeControl(
        "starved",
        "a container of less memory than the node needs under load",
        ("small-memory",),
        world={"small": "24M"},
        tunnels=("machine",),
    ),
    NegativeControl(
        "wrong-variant",
        "the armv7 image on a CPU without floating point",
        ("join",),
        tunnels=("machine",),
        platform="armv5",
        image="armv7",
        dies=f"status {128 + signal.SIGILL}",
    ),
)


def negatives_for(tunnel: str) -> list[NegativeControl]:
    """Return the negative controls that fail a canary of such a run."""
    there = {canary.name for canary in CANARIES.values() if tunnel in canary.tunnels}
    return [
        one for one in NEGATIVE_CONTROLS if tunnel in one.tunnels and there.intersection(one.fails)
    ]
