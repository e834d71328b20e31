"""What a router-like machine boots: a kernel of Debian, an initrd with busybox and our mt-guest.

The kernels are Debian's oldest. Their modules are loaded by hand, in an order that the initrd
keeps: what is not loaded is not there, so one boot can show a kernel without nf_tables, then with.
"""

from __future__ import annotations

import io
import lzma
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.config import pins
from build.config.pins import Pin
from build.config.targets import Target
from build.core import cache, digest
from build.core.errors import BuildFailed, UserError
from build.core.paths import DATA, ROOT
from build.sources import obtain

PINS = DATA / "machine.toml"
INIT = ROOT / "build" / "lab" / "machine" / "init.sh"
CONTAIN = ROOT / "build" / "lab" / "contain.sh"

MODULES = {
    "base": (
        "virtio_mmio virtio_blk virtio_net virtio_console virtio-rng crc32c_generic ext4 tun"
    ).split(),
    "nfnetlink": ["nfnetlink"],
    "nf_tables": (
        "nf_tables nf_nat nft_chain_nat nft_masq nft_nat nft_counter nft_ct nft_reject_inet"
    ).split(),
}
"""Modules by the step in which a canary wants them loaded; what they need comes before them."""


@dataclass(frozen=True)
class Model:
    """One machine: QEMU's program, its board, its CPU, which pins it boots, its kernel's words."""

    program: str
    board: str
    cpu: str
    kernel: str
    busybox: str
    words: tuple[str, ...] = ()
    console: str = "ttyAMA0"


MODELS = {
    "arm64": Model(
        "qemu-system-aarch64",
        "virt,gic-version=2",
        "cortex-a53",
        "linux-arm64",
        "busybox-arm64",
        # A Cortex-A53 needs no tables for user space alone (Meltdown). Debian's kernel has them all
        # the same where its place is random, and each call of it then empties QEMU's TLB.
        words=("nokaslr", "kpti=off"),
    ),
    "armv7": Model(
        "qemu-system-arm",
        "virt,gic-version=2,highmem=off",
        "cortex-a7",
        "linux-armhf",
        "busybox-armv7",
    ),
    # No kernel of Debian for ARMv5 runs under QEMU. What an ARMv5 program must not use is a
    # floating point unit, and this CPU has none, as the EN7562CT has none.
    "armv5": Model(
        "qemu-system-arm",
        "virt,gic-version=2,highmem=off",
        "cortex-a7,vfp=off,neon=off",
        "linux-armhf",
        "busybox-armv5",
    ),
}


def model(target: Target) -> Model:
    """Return a platform's machine. Raises UserError if it has none."""
    try:
        return MODELS[target.name]
    except KeyError:
        raise UserError(
            f"there is no router-like machine for {target.name}",
            cure=f"--arch: one of {', '.join(MODELS)}",
        ) from None


def deb_content(deb: Path) -> bytes:
    """Return the tar inside a Debian package. Raises BuildFailed if it is none.

    Format: deb(5): an ar archive of debian-binary, control.tar.*, data.tar.xz.
    """
    raw = deb.read_bytes()
    place = 8
    if raw.startswith(b"!<arch>\n"):
        while len(header := raw[place : place + 60]) == 60:
            name, size = header[:16].decode().strip(), int(header[48:58])
            if name.rstrip("/") == "data.tar.xz":
                return lzma.decompress(raw[place + 60 : place + 60 + size])
            place += 60 + size + size % 2
    raise BuildFailed(f"{deb.name} is not a Debian package", why="no data.tar.xz in it")


def _files(deb: Path, pattern: str) -> dict[str, bytes]:
    """Return {path: content} of the files of a package whose path matches."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(deb_content(deb))) as archive:
        for member in archive:
            if member.isfile() and re.fullmatch(pattern, member.name.removeprefix("./")):
                stream = archive.extractfile(member)
                assert stream is not None
                found[member.name.removeprefix("./")] = stream.read()
    return found


def _needs(module: bytes) -> list[str]:
    """Return the modules that one depends on, as its section .modinfo tells."""
    match = re.search(rb"\0depends=([^\0]*)\0", module)
    return [name for name in (match[1].decode() if match else "").split(",") if name]


def ordered(names: list[str], known: dict[str, bytes], there: set[str]) -> list[str]:
    """Return modules so that each comes after all it needs; `there` are built into the kernel.

    Names are written with `_`, as the kernel takes - and _ for the same. Raises BuildFailed.
    """
    order: list[str] = []

    def add(name: str) -> None:
        name = name.replace("-", "_")
        if name in there or name in order:
            return
        if name not in known:
            raise BuildFailed(f"the kernel has no module {name}")
        for need in _needs(known[name]):
            add(need)
        order.append(name)

    for name in names:
        add(name)
    return order


def cpio(files: dict[str, tuple[int, bytes]]) -> bytes:
    """Return an archive for the kernel to unpack: {path: (mode with type, content)}.

    Format: Documentation/driver-api/early-userspace/buffer-format.rst of Linux, "newc".
    """
    out = bytearray()
    for number, (path, (mode, content)) in enumerate([*files.items(), ("TRAILER!!!", (0, b""))]):
        name = path.encode() + b"\0"
        fields = [number + 1, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0]
        out += b"070701" + b"".join(b"%08X" % value for value in fields) + name
        out += bytes(-len(out) % 4)
        out += content
        out += bytes(-len(out) % 4)
    return bytes(out)


def _stem(path: str) -> str:
    return Path(path).stem.replace("-", "_")


def build(guest: cache.Entry, target: Target, *, offline: bool = False) -> cache.Entry:
    """Return the object with a platform's `vmlinuz` and `initrd`. Raises BuildFailed.

    `guest` is the object with the platform's mt-guest, out of `servers.build_guest`.
    """
    wanted = model(target)
    known = pins.load(PINS)
    kernel, busybox = known[wanted.kernel], known[wanted.busybox]
    key = {
        "kernel": kernel.sha256,
        "busybox": busybox.sha256,
        "guest": guest.artifact("mt-guest").sha256,
        "init": digest.of_file(INIT),
        "contain": digest.of_file(CONTAIN),
        "modules": MODULES,
    }

    def make(out: Path, scratch: Path) -> dict[str, Any]:
        made = _initrd(kernel, busybox, guest, out, offline)
        (out / "initrd").write_bytes(made)
        return {}

    return cache.obtain("machine", target.name, key, make, title="router-like machine")


def _initrd(kernel: Pin, busybox: Pin, guest: cache.Entry, out: Path, offline: bool) -> bytes:
    """Write the kernel into `out` and return the initrd."""
    deb = obtain.fetch(kernel, offline=offline)
    found = _files(deb, r"boot/vmlinuz-.*|lib/modules/[^/]+/(modules\.builtin|kernel/.*\.ko)")
    (image,) = [content for path, content in found.items() if path.startswith("boot/")]
    (out / "vmlinuz").write_bytes(image)
    (listed,) = [found[path] for path in found if path.endswith("/modules.builtin")]
    there = {_stem(line) for line in listed.decode().split()}
    modules = {_stem(path): content for path, content in found.items() if path.endswith(".ko")}
    (shell,) = _files(obtain.fetch(busybox, offline=offline), r"bin/busybox").values()
    folder, program = 0o040755, 0o100755
    names = "bin dev proc sys run tmp modules flash sys/fs".split()
    files: dict[str, tuple[int, bytes]] = dict.fromkeys(names, (folder, b""))
    files["bin/busybox"] = (program, shell)
    files["bin/mt-guest"] = (program, cache.checked(guest.artifact("mt-guest")).read_bytes())
    files["init"] = (program, INIT.read_bytes())
    files["contain.sh"] = (program, CONTAIN.read_bytes())
    loaded: set[str] = set()
    for step, step_names in MODULES.items():
        order = [n for n in ordered(step_names, modules, there) if n not in loaded]
        loaded |= set(order)
        files[f"modules/{step}"] = (0o100644, "".join(f"{name}\n" for name in order).encode())
        for name in order:
            files[f"modules/{name}.ko"] = (0o100644, modules[name])
    return cpio(files)
