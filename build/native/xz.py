"""xz, whose encoder makes the LZMA streams of our packer, built from source for this machine.

It is pinned so that every machine makes the same bytes: Python's lzma is whatever liblzma a system
has. Only the encoder of plain LZMA is compiled in.
"""

from __future__ import annotations

from collections.abc import Callable

from build.config.pins import Pin
from build.core import cache
from build.native import hostprogram

_OPTIONS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DBUILD_SHARED_LIBS=OFF",
    "-DXZ_NLS=OFF",
    "-DXZ_DOC=OFF",
    "-DXZ_THREADS=no",
    "-DXZ_SANDBOX=no",
    "-DXZ_ENCODERS=lzma1",
    "-DXZ_DECODERS=lzma1",
    "-DXZ_MATCH_FINDERS=bt4",
    "-DXZ_LZIP_DECODER=OFF",
)


def build(source: Pin, cmake: Pin, zig: Pin, tree: Callable[[Pin], cache.Entry]) -> cache.Entry:
    """Return the object with the `xz` program for this machine, static, built from the pin."""
    return hostprogram.build(source, cmake, zig, tree, options=_OPTIONS, made_by=__name__)
