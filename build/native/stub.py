"""The head of packed programs, and the program that unpacks them on this machine for the proof."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from build.config import toolpath
from build.config.pins import Pin
from build.config.targets import Target
from build.core import cache, command, digest
from build.core.paths import work_dir
from build.native import crosscc
from build.sources import obtain

FOLDER = Path(__file__).parent / "stub"
SOURCES = ("start.S", "stub.c", "unpack.c")
OF_THE_PROOF = ("main.c", "unpack.c")
TABLES = ("-DTABLES", str(FOLDER / "pclntab.c"))
"""What more it takes for a program with Go's tables of functions, which are columns when packed."""


_COMMON = ("-std=c11", "-Os", "-s", "-Wall", "-Wextra", "-Werror")
_FLAGS = (
    *_COMMON,
    *("-ffreestanding", "-nostdlib", "-static", "-fno-pic", "-fno-pie", "-no-pie"),
    *("-fno-stack-protector", "-fno-sanitize=all", "-fno-builtin", "-fomit-frame-pointer"),
    *("-fno-asynchronous-unwind-tables", "-fno-vectorize", "-fno-slp-vectorize"),
    *("-Wno-unused-command-line-argument", "-Wl,--build-id=none"),
)


def _machine(target: Target) -> list[str]:
    """Return the compiler's options for a platform's stub.

    Thumb-2 is a third shorter than ARM code; the Thumb of ARMv5 is not. zig takes it from the name.
    """
    thumb = target.elf_machine == "EM_ARM" and target.oci_variant != "v5"
    words = target.zig_target
    return [re.sub("^arm-", "thumb-", word) if thumb else word for word in words]


def build(target: Target, zig: Pin, tree: Callable[[Pin], cache.Entry]) -> cache.Entry:
    """Return the object with `stub` and `stub-go` for a platform and `unpack` for this machine.

    Raises BuildFailed.
    """
    machine = _machine(target)
    all_files = sorted(path.name for path in FOLDER.iterdir() if path.is_file())
    inputs = {
        "name": "stub",
        "target": target.name,
        "trees": {zig.name: obtain.tree_key(zig)},
        "sources": {name: digest.of_file(FOLDER / name) for name in all_files},
        "flags": [*machine, *_FLAGS],
    }

    def make(out: Path, scratch: Path) -> dict[str, Any]:
        compiler = str(tree(zig).data / "ziglang" / "zig")
        env = toolpath.environment(scratch)
        env |= crosscc.environment(scratch / "zig", cache.part("zig"))
        record = work_dir() / target.name / "stub.log"
        script = f"-Wl,-T,{FOLDER / 'stub.ld'}"
        steps = (
            ("stub", (*machine, *_FLAGS, script), SOURCES),
            ("stub-go", (*machine, *_FLAGS, script, *TABLES), SOURCES),
            ("unpack", (*crosscc.HOST, *_COMMON, *TABLES), OF_THE_PROOF),
        )
        for number, (name, flags, sources) in enumerate(steps):
            command.run(
                [
                    compiler,
                    "cc",
                    *flags,
                    *(str(FOLDER / s) for s in sources),
                    "-o",
                    str(out / name),
                ],
                what=f"the unpacker for {target.name}",
                log_file=record,
                env=env,
                cwd=scratch,
                append=number > 0,
            )
        return {}

    return cache.obtain("stub", target.name, inputs, make, title="unpacker")
