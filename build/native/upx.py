"""UPX, the program that packs binaries, built from source for this machine."""

from __future__ import annotations

from collections.abc import Callable

from build.config.pins import Pin
from build.core import cache
from build.native import hostprogram

_OPTIONS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DUPX_CONFIG_DISABLE_GITREV=ON",
    "-DUPX_CONFIG_DISABLE_SANITIZE=ON",
    "-DUPX_CONFIG_DISABLE_WERROR=ON",
)


def build(source: Pin, cmake: Pin, zig: Pin, tree: Callable[[Pin], cache.Entry]) -> cache.Entry:
    """Return the object with the `upx` program for this machine, static, built from the pin."""
    return hostprogram.build(source, cmake, zig, tree, options=_OPTIONS, made_by=__name__)
