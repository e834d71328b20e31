"""Build from fresh clones with empty caches at other paths and compare the products' digests.

Without --against two clones are built; with it one, compared with that dist folder.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def identities(dist: Path) -> dict[str, str]:
    """Return {product: digest} of a dist folder, without the per-platform layouts' names."""
    record = json.loads((dist / "build.json").read_text())
    return {name: row.get("index") or row["sha256"] for name, row in record.items()}


def downloads(folder: Path) -> None:
    """Offer what the user's cache has downloaded, so that nothing is asked for twice."""
    cache = os.environ.get("MT_CACHE") or str(Path.home() / ".cache" / "mikrotik-tailscale")
    for path in Path(cache).glob("downloads/*/*"):
        shutil.copyfile(path, folder / path.name)


def build(room: Path, sources: Path, words: list[str]) -> dict[str, str]:
    """Clone into `room`, build with an empty cache below it, return the products' identities."""
    clone = room / "checkout"
    room.mkdir(parents=True)
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    env = dict(os.environ) | {
        "MT_CACHE": str(room / "cache"),
        "MT_SOURCES": str(sources),
        "MT_DIST": str(clone / "dist"),
        "MT_WORK": str(clone / "work"),
    }
    # Fetched first and then built offline: what `fetch` brings has to be all that a build reads.
    for command in (["fetch"], [*words, "--offline"]):
        subprocess.run([sys.executable, "-m", "invoke", *command], cwd=clone, env=env, check=True)
    return identities(clone / "dist")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", action="append", default=[], help="platform; default all")
    parser.add_argument("--against", type=Path, help="compare with this dist folder")
    options = parser.parse_args()
    words = ["build-all"]
    if options.arch:
        words = ["build", *(word for arch in options.arch for word in ("--arch", arch))]
    with tempfile.TemporaryDirectory(prefix="mt-reproducible-") as folder:
        room, sources = Path(folder), Path(folder) / "sources"
        sources.mkdir()
        downloads(sources)
        one = build(room / "a" / "longer" / "path", sources, words)
        shutil.rmtree(room / "a")
        if options.against:
            other = identities(options.against)
        else:
            other = build(room / "b", sources, words)
    common = sorted(one.keys() & other.keys())
    differing = [name for name in common if one[name] != other[name]]
    for name in common:
        print(f"{'differs' if name in differing else 'same   '}  {name}  {one[name]}")
        if name in differing:
            print(f"{'':9}{name}  {other[name]}")
    if not common:
        print("nothing to compare: the two have no product in common")
    return 0 if common and not differing else 3


if __name__ == "__main__":
    raise SystemExit(main())
