"""The laboratory's own binary: control server, DERP, STUN, DNS, port mapping, probes.

It is compiled inside Tailscale's source tree, whose go.sum covers every module it uses, by laying
our package over the tree: nothing is copied into it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from build.core import cache, digest
from build.core.paths import ROOT, work_dir
from build.golang.gotool import Go

SOURCES = ROOT / "build" / "lab" / "server"
PACKAGE = "cmd/mt-lab"
"""Where our sources appear inside Tailscale's module."""


def build(go: Go) -> cache.Entry:
    """Return the object with `mt-lab` for this machine. Raises BuildFailed."""
    files = sorted(SOURCES.glob("*.go"))
    key = {
        "name": "mt-lab",
        "trees": go.keys(),
        "sources": {path.name: digest.of_file(path) for path in files},
    }

    def make(out: Path, scratch: Path) -> dict[str, Any]:
        overlay = scratch / "overlay.json"
        laid = {str(go.source / PACKAGE / path.name): str(path) for path in files}
        overlay.write_text(json.dumps({"Replace": laid}))
        words = ["build", "-trimpath", f"-overlay={overlay}", "-ldflags=-s -w"]
        words += ["-o", str(out / "mt-lab"), f"./{PACKAGE}"]
        record = work_dir() / "lab" / "servers.log"
        go.run(words, what="the laboratory's servers", record=record, scratch=scratch)
        return {}

    return cache.obtain("lab", "servers", key, make, title="laboratory servers")
