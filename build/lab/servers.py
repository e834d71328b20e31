"""The laboratory's own binary: control server, DERP, STUN, DNS, port mapping, probes.

It is compiled inside Tailscale's source tree, whose go.sum covers every module it uses, by laying
our package over the tree: nothing is copied into it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from build.config.targets import Target
from build.core import cache, digest
from build.core.paths import ROOT, work_dir
from build.golang.gotool import Go

SOURCES = ROOT / "build" / "lab" / "server"
GUEST = ("main.go", "guest.go", "dns.go", "stream.go", "spend.go", "without.go", "local.go")
"""Sources of what runs inside a router-like machine."""


def build(go: Go) -> cache.Entry:
    """Return the object with `mt-lab` for this machine. Raises BuildFailed."""
    return _build(go, "mt-lab", sorted(SOURCES.glob("*.go")), None)


def build_guest(go: Go, target: Target) -> cache.Entry:
    """Return the object with a platform's `mt-guest`: the probes, and what takes our orders there.

    Without the servers it is small, which matters in a small machine's memory.
    """
    files = [SOURCES / name for name in GUEST]
    return _build(go, "mt-guest", files, target)


def _build(go: Go, name: str, files: list[Path], target: Target | None) -> cache.Entry:
    """Compile files as the package cmd/NAME of Tailscale's module."""
    platform = target.name if target else "servers"
    key = {
        "name": name,
        "trees": go.keys(),
        "sources": {path.name: digest.of_file(path) for path in files},
    }
    if target:
        key |= {"goarch": target.goarch, "go_env": target.go_env}

    def make(out: Path, scratch: Path) -> dict[str, Any]:
        overlay = scratch / "overlay.json"
        laid = {str(go.source / f"cmd/{name}" / path.name): str(path) for path in files}
        overlay.write_text(json.dumps({"Replace": laid}))
        words = ["build", "-trimpath", f"-overlay={overlay}", "-ldflags=-s -w"]
        words += ["-o", str(out / name), f"./cmd/{name}"]
        record = work_dir() / "lab" / f"{platform}.log"
        go.run(words, what=name, record=record, scratch=scratch, target=target)
        return {}

    return cache.obtain("lab", platform, key, make, title=f"laboratory's {name}")
