"""Images from fixed dummy binaries: right in every header, no code in them."""

from __future__ import annotations

from pathlib import Path

from build import cache, digest, image, rootfs, targets
from build.artifacts import Artifact, Rootfs
from build.targets import Target
from build.version import parse_release
from fakes.elf import elf

APPLETS = ["ash", "cat", "ls", "sh"]
EPOCH = 1_700_000_000
RELEASE = parse_release("v1.102.5-mt.7")


def binary(folder: Path, name: str, target: Target) -> Artifact:
    """Write a dummy binary of the target's machine and float ABI."""
    content = elf(
        target.elf_machine, target.elf_class, target.elf_float, padding=name.encode() * 1000
    )
    path = folder / target.name / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return Artifact(path, len(content), digest.of_bytes(content))


def files(folder: Path, target: Target) -> Rootfs:
    """Return the root file system made from dummy binaries."""
    made = {name: binary(folder, name, target) for name in ("busybox", "tailscale.combined")}
    return rootfs.collect(made, APPLETS)


def images(folder: Path, release: str = "") -> dict[str, cache.Entry]:
    """Assemble the dummy image of every platform in the test's cache."""
    wanted = parse_release(release) if release else RELEASE
    return {
        target.name: image.assemble(target, files(folder, target), wanted, EPOCH)
        for target in targets.targets().values()
    }
