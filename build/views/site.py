"""The page on which people choose device and roles and get one block to paste: one HTML file.

It needs no server and no other file. Without scripts it shows the table of devices and the block of
the default choices.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from build.config.devices import Device
from build.core.paths import DATA
from build.router import paste
from build.router.render import MINIMUM, NEWEST, parse_version
from build.views import look

FOLDER = DATA / "site"
FIRST = "rb5009"
"""The device that is chosen at the beginning."""

LAN = "192.168.88.0/24"
"""The network of MikroTik's default configuration."""

TOO_OLD = "7.18"

LOGIN = (
    r"https?://[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?/[A-Za-z0-9._~:/?#=&%+-]+",
    "this is no address to log in at: paste all of it and nothing else, at most 666 characters",
)
"""What a QR code is made of, and what is said of anything else; Headscale's may lack TLS."""

EXAMPLE = "https://login.tailscale.com/a/0123456789ab"


def versions() -> list[str]:
    """Return what can be chosen, newest first, and one that is too old."""
    low, high = parse_version(MINIMUM), parse_version(NEWEST)
    return [*(f"7.{minor}" for minor in range(high[1], low[1] - 1, -1)), TOO_OLD]


def default(image: str, files: str) -> paste.Choices:
    """Return the choices at the beginning."""
    return paste.Choices(FIRST, lan=LAN, subnet=True, image=image, files=files, inline=not files)


def data(
    release: paste.Release,
    devices: Mapping[str, Device],
    costs: Mapping[str, list[str]],
) -> dict[str, Any]:
    """Return what the page's script needs to know; `costs` are lines by platform."""
    shown = ("name", "image", "small", "refusal", "expect")
    return {
        "devices": {
            key: {name: getattr(one, name) for name in shown} for key, one in devices.items()
        },
        "versions": {
            version: {
                "refusal": paste.refusal_of(version),
                "shell": parse_version(version) >= paste.SHELL,
            }
            for version in versions()
        },
        "forms": paste.FORMS,
        "faults": paste.FAULTS,
        "placeholder": paste.PLACEHOLDER,
        "login": LOGIN,
        "link6": [paste.GATEWAY6, paste.ADDRESS6],
        "undo": [paste.UNDO, paste.UNDO_ROUTING],
        "parts": release.parts,
        "renewal": release.renewal,
        "notes": paste.NOTES,
        "tars": release.tars,
        "costs": costs,
    }


def _options(rows: Mapping[str, str], chosen: str) -> str:
    return "".join(
        f'<option value="{html.escape(key)}"{" selected" if key == chosen else ""}>'
        f"{html.escape(text)}</option>"
        for key, text in rows.items()
    )


def _items(texts: list[str]) -> str:
    return "".join(f"<li>{html.escape(text)}</li>" for text in texts)


def _row(one: Device) -> str:
    cells = (
        one.name,
        one.architecture,
        one.image or "none",
        f"{one.flash_mb} MB" if one.flash_mb else "any",
        f"{one.ram_mb} MB" if one.ram_mb else "any",
        {"look": "some have it"}.get(one.usb, one.usb),
        one.refusal or one.expect,
    )
    return "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"


def page(
    release: paste.Release,
    devices: Mapping[str, Device],
    costs: Mapping[str, list[str]],
    choices: paste.Choices,
) -> str:
    """Return the page's text. `choices` are those at the beginning."""
    device = devices[choices.device]
    # A page that knows no registry shows the block all the same, with the name to be replaced.
    known = replace(choices, image="ghcr.io/you/mikrotik-tailscale")
    told = paste.answer(choices if choices.image else known, device, release)
    first = f"For {device.name}, RouterOS {choices.version}, the network {choices.lan}."
    if not choices.image:
        first += " Replace the image's address with yours."
    text = json.dumps(data(release, devices, costs), ensure_ascii=True)
    values = {
        "RELEASE": html.escape(release.tag),
        "CSS": look.css(),
        "NAV": look.links("index"),
        "JS": (FOLDER / "qr.js").read_text() + (FOLDER / "page.js").read_text(),
        # nothing in the data may look like the end of the script that holds it
        "DATA": text.replace("<", "\\u003c"),
        "DEVICES": _options({key: one.name for key, one in devices.items()}, choices.device),
        "VERSIONS": _options(
            {
                version: f"{version}{' or newer' * (version == NEWEST)}"
                f"{' or older' * (version == TOO_OLD)}"
                for version in versions()
            },
            choices.version,
        ),
        "LAN": html.escape(choices.lan),
        "LOGIN": EXAMPLE,
        "IMAGE": html.escape(choices.image),
        "FILES": html.escape(choices.files),
        "INLINE": " selected" if choices.inline else "",
        "DEFAULT": html.escape(first),
        "BLOCK": html.escape(told["block"]),
        "NOTES": _items(told["notes"]),
        "COSTS": _items(costs[device.image]),
        "UNDO": html.escape(told["undo"]),
        "RENEWAL": html.escape(told["renewal"]),
        "NONE": "" if told["renewal"] else " hidden",
        "TABLE": "\n".join(_row(one) for one in devices.values()),
    }
    return re.sub(
        r"\{\{([A-Z]+)\}\}", lambda found: values[found[1]], (FOLDER / "page.html").read_text()
    )
