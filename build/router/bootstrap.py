"""One file that brings the other scripts of a release onto a router, or up to it.

A router that has its address and its digest needs nothing else: it holds the digests of the
others. They are SHA-512: ``:convert`` knows that and MD5, and no SHA-256 (manual, scripting).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from build.router import parts
from build.router.render import LOOKING, MINIMUM, POLICIES, SCRIPTS

NAME = "bootstrap-tailscale"
FILES = (*SCRIPTS, NAME)
"""The scripts of a release, for routers to fetch."""


def digest(text: str) -> str:
    """Return the digest that a router can compare a text with."""
    return hashlib.sha512(text.encode()).hexdigest()


def values(scripts: Mapping[str, str], tag: str) -> dict[str, str]:
    """Return what fills the placeholders of its template; `scripts` are texts by name."""
    # by name, so that update-tailscale comes last: it looks whether the library is of its release
    names = sorted(scripts)
    return {
        "RELEASE": tag,
        "MINIMUM": MINIMUM,
        "LOOKING": LOOKING[0],
        "POLICIES": "\n".join(f':set ($Policies->"{name}") "{POLICIES[name]}";' for name in names),
        "SUMS": "\n".join(f':set ($Sums->"{name}") "{digest(scripts[name])}";' for name in names),
    }


def text(scripts: Mapping[str, str], folder: Path, tag: str) -> str:
    """Return the file for these scripts. `folder` has the templates, `tag` names the release."""
    read = list(parts.read(folder / f"{NAME}.rsc", values(scripts, tag)))
    return "\n".join(parts.assembled(read, set(), {})) + "\n"
