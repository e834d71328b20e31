"""What the pipeline costs over the commands it runs.

One side is a cold build (sources downloaded and unpacked before, nothing built). The other runs
the very same go, make, cmake and UPX commands, taken from the first side's logs, one after another
by hand: same environment, same inputs, empty caches again. Prints both and their ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Command:
    """One command of a log: the shell line that replays it, and its platform and program."""

    log: Path
    line: str


def commands(work: Path) -> list[Command]:
    """Return the commands of all logs of a build, in the order of the logs' first lines."""
    wanted = ("linker.log", "upx.log", "golang.log", "busybox.log", "compress-busybox.log")
    wanted += ("compress-tailscale.combined.log",)
    found = []
    for name in wanted:
        for path in sorted(work.glob(f"*/{name}")):
            for line in path.read_text(errors="replace").splitlines():
                if line.startswith("+ cd "):
                    found.append(Command(path, line[2:]))
    return found


def by_hand(todo: list[Command], cache: Path) -> dict[str, float]:
    """Run the commands one after another in the places where the build kept its scratch folders.

    Returns seconds per log name. What the commands made before is deleted first; the compilers'
    own caches are empty.
    """
    shutil.rmtree(cache / "gocache")
    shutil.rmtree(cache / "zig")
    seconds: dict[str, float] = {}
    for command in todo:
        match = re.match(r"cd (\S+) ", command.line)
        assert match, command.line
        place = Path(match[1])
        scratch = next((p for p in [place, *place.parents] if p.parent == cache / "tmp"), None)
        stdin = subprocess.DEVNULL
        if scratch and command.log.name == "busybox.log":
            config = scratch / "final.config"
            if command.line.endswith("allnoconfig"):
                shutil.copyfile(scratch / "o" / ".config", config)
                shutil.rmtree(scratch / "o")
                shutil.rmtree(scratch / "zig", ignore_errors=True)
                (scratch / "o").mkdir()
            elif command.line.endswith("oldconfig"):
                shutil.copyfile(config, scratch / "o" / ".config")
        elif scratch and command.log.name == "upx.log" and " -S " in command.line:
            shutil.rmtree(scratch / "o")
            shutil.rmtree(scratch / "zig", ignore_errors=True)
            (scratch / "o").mkdir()
        for made in re.findall(r" -o (\S+)", command.line):
            Path(made).parent.mkdir(parents=True, exist_ok=True)
            Path(made).unlink(missing_ok=True)
        start = time.monotonic()
        null = subprocess.DEVNULL
        subprocess.run(
            ["sh", "-c", command.line], stdin=stdin, stdout=null, stderr=null, check=True
        )
        spent = time.monotonic() - start
        seconds[command.log.name] = seconds.get(command.log.name, 0.0) + spent
    return seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", action="append", default=[], help="platform; default all")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    words = ["build-all"]
    if options.arch:
        words = ["build", *(word for arch in options.arch for word in ("--arch", arch))]
    with tempfile.TemporaryDirectory(prefix="mt-overhead-") as folder:
        cache, work = Path(folder) / "cache", Path(folder) / "work"
        env = dict(os.environ) | {
            "MT_CACHE": str(cache),
            "MT_DIST": str(Path(folder) / "dist"),
            "MT_WORK": str(work),
            "MT_KEEP": "1",
            "CI": "1",
        }
        fetch = [sys.executable, "-m", "invoke", "fetch"]
        subprocess.run(fetch, cwd=ROOT, env=env, check=True)
        # The go command compiled upstream's featuretags for `fetch`; nothing of that may help.
        for name in ("gocache", "zig"):
            shutil.rmtree(cache / name, ignore_errors=True)
        shutil.rmtree(cache / "objects" / "tags", ignore_errors=True)
        start = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "invoke", *words, "--offline"], cwd=ROOT, env=env, check=True
        )
        ours = time.monotonic() - start
        parts = by_hand(commands(work), cache)
    hand = sum(parts.values())
    if options.json:
        print(json.dumps({"ours": ours, "by_hand": hand, "ratio": ours / hand, "parts": parts}))
    else:
        for name, seconds in parts.items():
            print(f"{name.removesuffix('.log'):<30}{seconds:8.1f} s by hand")
        print(f"{'all, one after another':<30}{hand:8.1f} s by hand")
        print(f"{'invoke ' + words[0]:<30}{ours:8.1f} s")
        print(f"{'ratio':<30}{ours / hand:8.2f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
