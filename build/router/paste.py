"""One block to paste into a router's terminal, made of the choices that somebody has.

The template ``routeros/templates/paste.rsc`` becomes parts (build/router/parts.py). What chooses
them is here, and once more in the page that `invoke site` makes (build/data/site/page.js); tests
compare the two.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from build.config.devices import Device
from build.core.errors import UserError
from build.router import bootstrap
from build.router import parts as templates
from build.router.parts import Part, assembled
from build.router.render import MINIMUM, NEWEST, parse_version

TEMPLATE, RENEWAL = "paste.rsc", "renew.rsc"
PLACEHOLDER = "OWNER"
SETTINGS = "settings-tailscale"
SHELL = (7, 20, 0)
"""The first release whose /container/shell takes a command (docs/USAGE.md)."""

GATEWAY6, ADDRESS6 = "fd00:9::1", "fd00:9::2"
"""The IPv6 link between router and container, as in docs/USAGE.md."""

FORMS = {
    "disk": r"[A-Za-z0-9][A-Za-z0-9-]*",
    "image": r"[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?(/[A-Za-z0-9._-]+)+",
    "files": r"https://[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?(/[A-Za-z0-9._~-]+)*",
    "magicdns": r"[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)+",
}
"""What people may type, for Python and JavaScript: nothing in it is code on the router."""

FAULTS = {
    "disk": "name the disk as /disk/print shows its slot, such as usb1",
    "disk-needed": "this device needs a USB disk with ext4: name its slot, such as usb1",
    "image": "name the image as HOST/PATH without a tag, such as ghcr.io/you/mikrotik-tailscale",
    "files": "name the https address of the release's files, or take the scripts inline",
    "magicdns": "your suffix is in the admin console under DNS, such as tail1234.ts.net",
    "lan": "write networks as 192.168.88.0/24, with commas, no bits set beyond the mask",
    "lan6": "an IPv6 network needs IPv6 to be chosen",
    "lan-needed": "a subnet router, or a LAN that uses an exit node, needs its networks named",
    "uses": "name the exit node by its address in the tailnet, such as 100.64.0.9",
    "both": "a node cannot be an exit node and use another one",
}
"""Why a choice cannot be, and what would do."""

NOTES: tuple[tuple[str, str], ...] = (
    ("", "Machines: switch off key expiry for the node, or it drops out after 180 days."),
    ("subnet", "Machines, Edit route settings: approve {{LAN}}."),
    ("exit", "Machines, Edit route settings: approve the use as exit node."),
    ("uses", "The exit node must accept the LAN's routes: tailscale set --accept-routes there."),
    ("magicdns", "DNS: MagicDNS must be on, with the suffix {{MAGICDNS}}."),
)
"""What is left to be done in the admin console: words that must be chosen, text."""

UNDO = "/system/script/run uninstall-tailscale"
UNDO_ROUTING = (
    '; /routing/rule/remove [find where comment="mikrotik-tailscale"]'
    '; /routing/table/remove [find where comment="mikrotik-tailscale"]'
)


@dataclass(frozen=True)
class Choices:
    """What somebody chose. `version` is a RouterOS release such as 7.24, `lan` are networks with
    commas, `uses` is the exit node's address or "", `tar` stands for no registry, `inline` for
    scripts that come with the block.
    """

    device: str
    version: str = NEWEST
    lan: str = ""
    ipv6: bool = False
    subnet: bool = False
    exit: bool = False
    uses: str = ""
    magicdns: str = ""
    tar: bool = False
    inline: bool = False
    disk: str = ""
    image: str = ""
    files: str = ""


@dataclass(frozen=True)
class Release:
    """What is pasted: `tag`, the scripts' texts by name, and the tar's name and digest by platform.

    `folder` has the templates. `parts` are those of the block, `renewal` those of the one that
    brings a router the scripts alone.
    """

    tag: str
    scripts: Mapping[str, str]
    tars: Mapping[str, tuple[str, str]]
    folder: Path
    parts: tuple[Part, ...] = field(init=False)
    renewal: tuple[Part, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Read the templates. Raises UserError if the settings lack one that the block sets."""
        text = (self.folder / TEMPLATE).read_text(encoding="utf-8")
        for name in re.findall(r'Want->"(\w+)"', text):
            if f"\n:global {name} " not in self.scripts[SETTINGS]:
                raise UserError(f"{TEMPLATE} sets {name}, which {SETTINGS} has not")
        script = bootstrap.text(self.scripts, self.folder, self.tag)
        fixed = bootstrap.values(self.scripts, self.tag) | {
            "BOOTSTRAP": bootstrap.digest(script),
            "TEXTS": "\n".join(
                f':set ($TsTexts->"{name}") "{templates.literal(text)}";'
                for name, text in self.scripts.items()
            ),
        }
        for name, file in (("parts", TEMPLATE), ("renewal", RENEWAL)):
            object.__setattr__(self, name, tuple(templates.read(self.folder / file, fixed)))


def refusal_of(version: str) -> str:
    """Return why the scripts cannot work on a RouterOS release, or nothing."""
    if parse_version(version) >= parse_version(MINIMUM):
        return ""
    return (
        f"RouterOS {version} has no containers with names, which safe updates need: "
        f"upgrade to {MINIMUM} or newer"
    )


def networks(text: str) -> list[str] | None:
    """Return the networks of a text with commas, or None if one of them is none."""
    found = [word.strip() for word in text.lower().split(",") if word.strip()]
    for word in found:
        # the whole internet is what an exit node announces
        if not re.fullmatch(r"([0-9.]+|[0-9a-f:]+)/[1-9][0-9]{0,2}", word):
            return None
        try:
            ipaddress.ip_network(word)
        except ValueError:
            return None
    return found


def faults(choices: Choices, device: Device) -> list[str]:
    """Return why these choices give no block, in the words of FAULTS or a refusal; [] for none."""
    refused = [text for text in (device.refusal, refusal_of(choices.version)) if text]
    if refused:
        return refused
    found = []
    if device.small and not choices.disk:
        found.append("disk-needed")
    for name, needed in (
        ("disk", False),
        ("image", True),
        ("files", not choices.inline),
        ("magicdns", False),
    ):
        text = getattr(choices, name)
        if not re.fullmatch(FORMS[name], text) and (needed or text):
            found.append(name)
    if PLACEHOLDER in choices.image and "image" not in found:
        found.append("image")
    named = networks(choices.lan)
    if named is None:
        found.append("lan")
    elif not named and (choices.subnet or choices.uses):
        found.append("lan-needed")
    elif not choices.ipv6 and any(":" in word for word in named):
        found.append("lan6")
    if choices.uses and not _tailnet(choices.uses):
        found.append("uses")
    if choices.uses and choices.exit:
        found.append("both")
    return [FAULTS[name] for name in found]


def _tailnet(text: str) -> bool:
    """Whether a text is an IPv4 address of a tailnet (RFC 6598, 100.64.0.0/10)."""
    try:
        return ipaddress.IPv4Address(text) in ipaddress.IPv4Network("100.64.0.0/10")
    except ValueError:
        return False


def words_of(choices: Choices) -> set[str]:
    """Return the words that the parts ask for."""
    asked = {
        "fetch": not choices.inline,
        "inline": choices.inline,
        "tar": choices.tar,
        "disk": bool(choices.disk),
        "ipv6": choices.ipv6,
        "magicdns": bool(choices.magicdns),
        "subnet": choices.subnet,
        "exit": choices.exit,
        "uses": bool(choices.uses),
        "roles": choices.subnet or choices.exit or bool(choices.uses),
        "shell": parse_version(choices.version) >= SHELL,
    }
    return {word for word, chosen in asked.items() if chosen}


def undo(choices: Choices) -> str:
    """Return the line that removes it."""
    return UNDO + (UNDO_ROUTING if choices.uses else "")


def values_of(choices: Choices, device: Device, release: Release) -> dict[str, str]:
    """Return what fills the placeholders, by their names."""
    named = networks(choices.lan) or []
    roles = ""
    if choices.subnet:
        roles += f" --advertise-routes={','.join(named)}"
    if choices.exit:
        roles += " --advertise-exit-node"
    if choices.uses:
        roles += f" --exit-node={choices.uses} --exit-node-allow-lan-access"
    tar, digest = release.tars[device.image]
    return {
        "DEVICE": device.name,
        "VERSION": choices.version,
        "UNDO": undo(choices),
        "FILES": choices.files,
        "IMAGE": choices.image,
        "TAG": "" if choices.tar else "stable",
        "DISK": choices.disk,
        "GATEWAY": GATEWAY6,
        "ADDRESS": ADDRESS6,
        "MAGICDNS": choices.magicdns,
        "TAR": f"{choices.disk}/{tar}" if choices.disk else tar,
        "DIGEST": digest,
        "LAN": ", ".join(named),
        "NETWORKS": "; ".join(f'"{word}"' for word in named if ":" not in word),
        "ROLES": roles,
    }


def answer(choices: Choices, device: Device, release: Release) -> dict[str, Any]:
    """Return `faults`, or the `block`, the `notes` for the admin console, the line `undo` and the
    `renewal`, which brings the scripts alone ("" where no address of files is known).
    """
    if wrong := faults(choices, device):
        return {"faults": wrong, "block": "", "notes": [], "undo": "", "renewal": ""}
    words, values = words_of(choices), values_of(choices, device, release)
    renewal = assembled(release.renewal, words, values) if choices.files else []
    return {
        "faults": [],
        "block": "\n".join(assembled(release.parts, words, values)) + "\n",
        "notes": assembled(NOTES, words, values),
        "undo": undo(choices),
        "renewal": "\n".join(renewal) + "\n" if renewal else "",
    }
