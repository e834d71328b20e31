"""Gitea and its runner, built from pinned sources through the shared cache.

`./dev python tests/chain/programs.py` builds both and prints where they are.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

from build.config import pins  # noqa: E402
from build.core import cache, command  # noqa: E402
from build.core.errors import UserError  # noqa: E402
from build.pipeline import order  # noqa: E402
from build.sources import obtain  # noqa: E402

PINS = pins.load(HERE / "pins.toml")
TAGS = {"gitea": "sqlite sqlite_unlock_notify timetzdata", "runner": ""}
STATIC = ("templates", "options", "public")
"""What Gitea reads at run time, from STATIC_ROOT_PATH."""
MANIFEST = "public/assets/.vite/manifest.json"
"""The list of its front end's files, which only npm makes: pages are not what is tried here."""


@dataclass(frozen=True)
class Programs:
    """Where both are; `static` is Gitea's STATIC_ROOT_PATH."""

    gitea: Path
    runner: Path
    static: Path


def build(name: str) -> Path:
    """Return the folder with the program `name`, compiled by the pinned Go.

    Raises SourceError, BuildFailed, and UserError without a C compiler, which sqlite needs.
    """
    wanted, go = PINS[name], order.go_command()
    tags = TAGS[name]
    inputs = {
        "name": name,
        "sha256": wanted.sha256,
        "version": wanted.version,
        "go": go.go.sha256,
        "tags": tags,
    }

    def make(out: Path, scratch: Path) -> dict[str, Any]:
        if tags and not shutil.which("gcc"):
            raise UserError("there is no C compiler for Gitea's sqlite", cure="apt install gcc")
        tree = obtain.tree(wanted)
        env = go.environment(scratch)
        if tags:
            env |= {"CGO_ENABLED": "1", "CC": "gcc"}
            env["PATH"] = f"{env['PATH']}:{os.environ['PATH']}"
        words = ["build", "-trimpath", "-tags", tags, "-o", str(out / name)]
        words += ["-ldflags", f"-s -w -X main.Version={wanted.version}", "."]
        command.run(
            [str(go.root / "bin" / "go"), *words],
            what=f"compile {wanted.title}",
            log_file=scratch / "build.log",
            env=env,
            cwd=tree.data,
        )
        if name == "gitea":
            for folder in STATIC:
                shutil.copytree(tree.data / folder, out / "static" / folder)
            manifest = out / "static" / MANIFEST
            manifest.parent.mkdir(parents=True, exist_ok=True)
            manifest.write_text("{}")
        return {}

    def get() -> cache.Entry:
        return cache.obtain("chain", name, inputs, make, title=f"compile {wanted.title}")

    entry = get()
    return (cache.intact(entry, get) if entry.hit else entry).data


def programs() -> Programs:
    """Return both programs, built if need be (a quarter of an hour of one core)."""
    runner, gitea = build("runner"), build("gitea")
    return Programs(gitea / "gitea", runner / "runner", gitea / "static")


if __name__ == "__main__":
    print(programs())
