"""Images from fixed dummy binaries: right in every header, no code in them."""

from __future__ import annotations

from pathlib import Path

from build.config import targets
from build.config.targets import Target
from build.core import cache, digest
from build.core.artifacts import Artifact, Rootfs
from build.core.version import parse_release
from build.image import oci, rootfs
from fakes.elf import elf

APPLETS = ["ash", "cat", "ls", "sh"]
EPOCH = 1_700_000_000
RELEASE = parse_release("v1.102.5-mt.7")


def binary(folder: Path, name: str, target: Target, more: bytes = b"") -> Artifact:
    """Write a dummy binary of the target's machine and float ABI; `more` tells builds apart."""
    padding = name.encode() * 1000 + more
    content = elf(target.elf_machine, target.elf_class, target.elf_float, padding=padding)
    path = folder / target.name / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return Artifact(path, len(content), digest.of_bytes(content))


def files(folder: Path, target: Target, more: bytes = b"") -> Rootfs:
    """Return the root file system made from dummy binaries."""
    names = ("busybox", "tailscale.combined")
    made = {name: binary(folder, name, target, more) for name in names}
    return rootfs.collect(made, APPLETS)


def images(folder: Path, release: str = "", more: bytes = b"") -> dict[str, cache.Entry]:
    """Assemble the dummy image of every platform in the test's cache."""
    wanted = parse_release(release) if release else RELEASE
    return {
        target.name: oci.assemble(target, files(folder, target, more), wanted, EPOCH)
        for target in targets.targets().values()
    }
