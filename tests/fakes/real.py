"""Real builds for the slow tests: a reference build, and private caches beside the shared one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent

LIGHT = ("golang", "busybox", "compress-busybox", "compress-tailscale.combined", "image")
"""Stages whose objects a private cache holds itself, so that a test may spoil them."""


@dataclass
class Room:
    """A build's own cache, dist and work folders; `root` is the checkout that builds."""

    folder: Path
    root: Path = ROOT

    @property
    def env(self) -> dict[str, str]:
        names = {
            f"MT_{name.upper()}": str(self.folder / name) for name in ("cache", "dist", "work")
        }
        return {k: v for k, v in os.environ.items() if not k.startswith("MT_")} | names

    def start(self, *words: str, session: bool = True) -> subprocess.Popen[str]:
        """Start `invoke build --arch arm64 --json` in a process group of its own."""
        argv = [sys.executable, "-m", "invoke", "build", "--arch", "arm64", "--json", *words]
        return subprocess.Popen(
            argv,
            cwd=self.root,
            env=self.env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=session,
        )

    def build(self, *words: str) -> tuple[int, dict[str, Any], str]:
        """Build to the end; returns exit code, result and what was said on the side."""
        return finish(self.start(*words))

    def strays(self) -> list[int]:
        """Processes that were started for a build with this room's cache and still run."""
        mark = str(self.folder / "cache").encode()
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and int(folder.name) != os.getpid():
                try:
                    state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
                    if state != "Z" and mark in (folder / "environ").read_bytes():
                        found.append(int(folder.name))
                except OSError:
                    continue
        return found

    def end_strays(self) -> None:
        for pid in self.strays():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def objects(self, *stages: str) -> list[Path]:
        return [
            path for stage in stages for path in (self.folder / "cache/objects" / stage).glob("*")
        ]

    def forget(self, *stages: str) -> None:
        """Remove the objects of some stages."""
        for path in self.objects(*stages):
            shutil.rmtree(path)


def finish(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any], str]:
    out, errors = process.communicate(timeout=1200)
    # A gate on size that is not met (3, 4) is told after the result; no concern of these tests.
    return process.returncode, json.loads(out) if process.returncode in (0, 3, 4) else {}, errors


def private(reference: Room, folder: Path) -> Room:
    """Make a room whose cache holds copies of the reference's light objects, links to the rest."""
    room = Room(folder)
    shared, own = reference.folder / "cache", folder / "cache"
    shared = shared.resolve()
    (own / "objects").mkdir(parents=True)
    (own / "CACHEDIR.TAG").write_bytes((shared / "CACHEDIR.TAG").read_bytes())
    for name in ("downloads", "gomod", "gocache", "zig"):
        (own / name).symlink_to(shared / name)
    for stage in (shared / "objects").iterdir():
        if stage.name not in LIGHT:
            (own / "objects" / stage.name).symlink_to(stage)
    for stage in LIGHT:
        inputs = json.loads(
            (reference.folder / "work" / "arm64" / f"{stage}.inputs.json").read_text()
        )
        for meta in (shared / "objects" / stage).glob("*/meta.json"):
            if json.loads(meta.read_text())["inputs"] == inputs:
                shutil.copytree(
                    meta.parent, own / "objects" / stage / meta.parent.name, symlinks=True
                )
                break
        else:
            raise AssertionError(f"the reference build left no {stage}")
    return room
