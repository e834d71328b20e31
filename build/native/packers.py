"""What the ways to compress are done with, built if need be."""

from __future__ import annotations

from collections.abc import Callable

from build.config.pins import Pin, pin
from build.config.targets import Target
from build.core import cache
from build.core.artifacts import Artifact
from build.native import stub, upx, xz


def tools(method: str, target: Target, tree: Callable[[Pin], cache.Entry]) -> dict[str, Artifact]:
    """Return the programs by name that compress a platform's binaries by a method.

    `tree` gives the unpacked sources of a pin. Raises what the stages raise.
    """
    if method == "upx":
        return {"upx": upx.build(pin("upx"), pin("cmake"), pin("zig"), tree).artifact("upx")}
    if method == "lzma":
        encoder = xz.build(pin("xz"), pin("cmake"), pin("zig"), tree)
        head = stub.build(target, pin("zig"), tree)
        return {
            "xz": encoder.artifact("xz"),
            "stub": head.artifact("stub"),
            "stub-go": head.artifact("stub-go"),
            "unpack": head.artifact("unpack"),
        }
    return {}
