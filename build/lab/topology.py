"""The laboratory's network as data (`data/lab.toml`) and the shell lines that make it."""

from __future__ import annotations

import functools
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.config import schema
from build.core.paths import DATA


@dataclass(frozen=True)
class Internet:
    """Addresses (IPv4, IPv6) and names outside: control server, DNS, a public web server."""

    host: str
    control: tuple[str, str]
    dns: tuple[str, str]
    web: tuple[str, str]
    domain: str
    public: str


@dataclass(frozen=True)
class Home:
    """Addresses (IPv4, IPv6) of the router and behind it, and of the other exit node.

    `routed` are the container's and the router's address of `prefix`, the provider's IPv6 prefix.
    """

    wan: tuple[str, str]
    gateway: tuple[str, str]
    lan: tuple[str, str]
    subnets: tuple[str, str]
    container: tuple[str, str]
    exit: tuple[str, str]
    routed: tuple[str, str]
    prefix: str


@dataclass(frozen=True)
class Topology:
    """All of `lab.toml`; `script` makes the network where it is run, as root."""

    internet: Internet
    home: Home
    spaces: tuple[str, ...]
    script: str


def _quoted(*words: str) -> str:
    return shlex.join(words)


FILE = DATA / "lab.toml"
_NAME = schema.text(r"[a-z0-9-]{1,15}", "a name of at most 15 small letters, digits and -")
_DOMAIN = schema.text(r"[a-z0-9.-]+", "a domain name")
_ADDRESSES = schema.each(schema.interface)
_BOTH = schema.fixed(schema.ipv4, schema.ipv6)
_END = schema.row({"space": _NAME, "device": _NAME, "addresses": _ADDRESSES})
_SPACE = schema.row(
    {
        "forward": schema.truth,
        "addresses": _ADDRESSES,
        "routes": schema.each(schema.text(r"\S+ via \S+", "DESTINATION via GATEWAY")),
    },
    {
        "bridge": schema.row({"name": _NAME, "ports": schema.each(_NAME), "addresses": _ADDRESSES}),
        "rules": schema.text(),
    },
)
_SCHEMA = schema.row(
    {
        "internet": schema.row(
            {
                **dict.fromkeys(("host", "domain", "public"), _DOMAIN),
                **dict.fromkeys(("control", "dns", "web"), _BOTH),
            }
        ),
        "home": schema.row(
            {
                **dict.fromkeys(("wan", "gateway", "lan", "container", "exit"), _BOTH),
                "subnets": schema.fixed(schema.ipv4_network, schema.ipv6_network),
                "routed": schema.fixed(schema.ipv6, schema.ipv6),
                "prefix": schema.ipv6_network,
            }
        ),
        "space": schema.table(_SPACE, r"[a-z0-9-]{1,15}", "a name of a space", least=1),
        "link": schema.each(schema.row({"ends": schema.fixed(_END, _END)})),
    }
)


def _loose_ends(table: dict[str, Any]) -> list[str]:
    """Return a fault for each name that nothing in the table stands behind."""
    spaces = table["space"]
    ends = [end for link in table["link"] for end in link["ends"]]
    faults = [
        f"link to {end['space']}.{end['device']}: wanted one of the spaces {', '.join(spaces)}, "
        f"got {end['space']!r}"
        for end in ends
        if end["space"] not in spaces
    ]
    devices = {(end["space"], end["device"]) for end in ends}
    return faults + [
        f"space.{name}.bridge.ports: wanted a device that a link puts there, got {port!r}"
        for name, space in spaces.items()
        for port in space.get("bridge", {}).get("ports", ())
        if (name, port) not in devices
    ]


def load(path: Path) -> Topology:
    """Return a file's network. Raises UserError naming every fault."""
    table = schema.read(path, _SCHEMA)
    schema.require(_loose_ends(table), path.name)
    internet: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in table["internet"].items()
    }
    home: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in table["home"].items()
    }
    lines: list[str] = []
    spaces = table["space"]
    for name, space in spaces.items():
        lines += [
            _quoted("ip", "netns", "add", name),
            _quoted("ip", "-n", name, "link", "set", "lo", "up"),
        ]
        # Addresses shall be usable at once. A fresh namespace may inherit forwarding from the
        # machine (a container engine turns it on), and that it is off at first is a canary.
        forward = int(space["forward"])
        settings = [f"net.ipv4.ip_forward={forward}", f"net.ipv6.conf.all.forwarding={forward}"]
        settings += [f"net.ipv6.conf.{device}.accept_dad=0" for device in ("all", "default")]
        settings += ["net.ipv4.ping_group_range=0 2147483647"]
        lines += [_quoted("ip", "netns", "exec", name, "sysctl", "-qw", *settings)]
        lines += [_address(name, "lo", address) for address in space["addresses"]]
    for link in table["link"]:
        near, far = link["ends"]
        add = ["ip", "link", "add", "name", near["device"], "netns", near["space"], "type", "veth"]
        lines.append(_quoted(*add, "peer", "name", far["device"], "netns", far["space"]))
        for end in (near, far):
            lines.append(_quoted("ip", "-n", end["space"], "link", "set", end["device"], "up"))
            lines += [_address(end["space"], end["device"], a) for a in end["addresses"]]
    for name, space in spaces.items():
        if bridge := space.get("bridge"):
            lines.append(_quoted("ip", "-n", name, "link", "add", bridge["name"], "type", "bridge"))
            lines.append(_quoted("ip", "-n", name, "link", "set", bridge["name"], "up"))
            for port in bridge["ports"]:
                words = ["ip", "-n", name, "link", "set", port, "master", bridge["name"]]
                lines.append(_quoted(*words))
            lines += [_address(name, bridge["name"], a) for a in bridge["addresses"]]
        lines += [
            _quoted("ip", "-n", name, "route", "add", *route.split()) for route in space["routes"]
        ]
        if rules := space.get("rules"):
            lines.append(_quoted("ip", "netns", "exec", name, "nft", rules))
    return Topology(Internet(**internet), Home(**home), tuple(spaces), "\n".join(lines) + "\n")


@functools.cache
def topology() -> Topology:
    """Return the laboratory's network."""
    return load(FILE)


def _address(space: str, device: str, address: str) -> str:
    words = ["ip", "-n", space, "addr", "add", address, "dev", device]
    return _quoted(*words, *(["nodad"] if ":" in address else []))
