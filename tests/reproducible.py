"""Build from fresh clones with empty caches at other paths and compare the products' digests.

Without --against two clones are built; with it one, compared with that dist folder. With --release
and --from the clone is of that tag and its index is compared with the one that a registry has.
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
sys.path.insert(0, str(ROOT / "tests"))

from published import NotReadable, Published, differences, sha256  # noqa: E402


def identities(dist: Path) -> dict[str, str]:
    """Return {product: digest} of a dist folder, without the per-platform layouts' names."""
    record = json.loads((dist / "build.json").read_text())
    return {name: row.get("index") or row["sha256"] for name, row in record.items()}


def downloads(folder: Path) -> None:
    """Offer what the user's cache has downloaded, so that nothing is asked for twice."""
    cache = os.environ.get("MT_CACHE") or str(Path.home() / ".cache" / "mikrotik-tailscale")
    for path in Path(cache).glob("downloads/*/*"):
        shutil.copyfile(path, folder / path.name)


def build(
    room: Path,
    sources: Path,
    words: list[str],
    *,
    tag: str = "",
    repository: str = str(ROOT),
    shared: bool = False,
) -> Path:
    """Clone into `room`, at `tag` if there is one, and build; returns the dist folder.

    The cache is an empty one below `room`, unless it is to be the `shared` one.
    """
    clone = room / "checkout"
    room.mkdir(parents=True)
    at = ["--branch", tag] if tag else []
    options = ["git", "-c", "advice.detachedHead=false", "clone", "--quiet", *at]
    subprocess.run([*options, repository, str(clone)], check=True)
    env = dict(os.environ) | {"MT_DIST": str(clone / "dist"), "MT_WORK": str(clone / "work")}
    if not shared:
        env |= {"MT_CACHE": str(room / "cache"), "MT_SOURCES": str(sources)}
    # Fetched first and then built offline: what `fetch` brings has to be all that a build reads.
    start = [sys.executable, "-m", "invoke"]
    if (clone / "requirements.txt").read_bytes() != (ROOT / "requirements.txt").read_bytes():
        # An older release was built with other packages; libdeflate, for one, makes its bytes.
        start = [str(clone / "dev"), "invoke"]
    for command in (["fetch"], [*words, "--offline"]):
        subprocess.run([*start, *command], cwd=clone, env=env, check=True)
    return clone / "dist"


def rebuild(room: Path, options: argparse.Namespace) -> int:
    """Rebuild a published release and compare the digests of the index; returns the exit code."""
    theirs = Published(options.published)
    sources = room / "sources"
    sources.mkdir()
    try:
        # Asked first: the build takes a quarter of an hour.
        wanted = sha256(theirs.get("manifests", options.release))
        downloads(sources)
        dist = build(
            room / "release",
            sources,
            ["build-all", "--release", options.release],
            tag=options.release,
            repository=options.repository,
            shared=options.shared_cache,
        )
        got = identities(dist)["oci"]
        print(f"published  {options.published}:{options.release}  {wanted}")
        print(f"rebuilt    {options.release}  {got}")
        if got == wanted:
            print("the same")
            return 0
        for line in differences(theirs, wanted, dist / "oci"):
            print(f"differs    {line}")
        return 3
    except NotReadable as error:
        print(f"error: the published image cannot be read\n  why:  {error}", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        print(f"error: {' '.join(map(str, error.cmd))} failed", file=sys.stderr)
        if error.cmd[0] == "git":
            print(f"  cure: fetch the tag {options.release} (git fetch --tags)", file=sys.stderr)
        return 2 if error.cmd[0] == "git" else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", action="append", default=[], help="platform; default all")
    parser.add_argument("--against", type=Path, help="compare with this dist folder")
    parser.add_argument("--release", default="", help="rebuild this tag, published --from")
    parser.add_argument("--from", dest="published", default="", help="REGISTRY/REPOSITORY")
    parser.add_argument("--repository", default=str(ROOT), help="clone this, not this checkout")
    parser.add_argument(
        "--shared-cache",
        action="store_true",
        help="use this user's cache: quick, but it proves less than an empty one",
    )
    options = parser.parse_args()
    if bool(options.release) != bool(options.published):
        parser.error("--release and --from go together")
    if options.release:
        with tempfile.TemporaryDirectory(prefix="mt-reproducible-") as folder:
            return rebuild(Path(folder), options)
    words = ["build-all"]
    if options.arch:
        words = ["build", *(word for arch in options.arch for word in ("--arch", arch))]
    with tempfile.TemporaryDirectory(prefix="mt-reproducible-") as folder:
        room, sources = Path(folder), Path(folder) / "sources"
        sources.mkdir()
        downloads(sources)
        one = identities(build(room / "a" / "longer" / "path", sources, words))
        shutil.rmtree(room / "a")
        if options.against:
            other = identities(options.against)
        else:
            other = identities(build(room / "b", sources, words))
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
