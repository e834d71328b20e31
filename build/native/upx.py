"""UPX, the program that packs binaries, built from source for this machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from build.config import toolpath
from build.config.pins import Pin
from build.core import cache, command
from build.core.paths import work_dir
from build.native import crosscc
from build.sources import obtain

_OPTIONS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DUPX_CONFIG_DISABLE_GITREV=ON",
    "-DUPX_CONFIG_DISABLE_SANITIZE=ON",
    "-DUPX_CONFIG_DISABLE_WERROR=ON",
)


def build(source: Pin, cmake: Pin, zig: Pin, tree: Callable[[Pin], cache.Entry]) -> cache.Entry:
    """Return the object with the `upx` program for this machine, static, built from the pin."""
    inputs = {
        "name": "upx",
        "trees": {pin.name: obtain.tree_key(pin) for pin in (source, cmake, zig)},
        "tools": toolpath.identity(),
        "options": [*_OPTIONS, *crosscc.HOST],
    }

    def make(out: Path, scratch: Path) -> dict[str, Any]:
        sources, zig_tree, cmake_tree = (tree(pin).data for pin in (source, zig, cmake))
        bin_dir, objects = scratch / "bin", scratch / "o"
        bin_dir.mkdir()
        objects.mkdir()
        wrappers = {
            "mt-cc": ("cc", *crosscc.HOST),
            "mt-cxx": ("c++", *crosscc.HOST),
            "mt-ar": ("ar",),
            "mt-ranlib": ("ranlib",),
        }
        crosscc.write_wrappers(bin_dir, zig_tree / "ziglang" / "zig", wrappers)
        programs = toolpath.folder()
        env = toolpath.environment(scratch, f"{bin_dir}:{programs}")
        env |= crosscc.environment(scratch / "zig", cache.part("zig"))
        record = work_dir() / "tools" / "upx.log"
        configure = [str(cmake_tree / "cmake" / "data" / "bin" / "cmake"), "-S", str(sources)]
        configure += ["-B", str(objects), "-G", "Unix Makefiles", *_OPTIONS]
        configure += [f"-DCMAKE_C_COMPILER={bin_dir}/mt-cc", f"-DCMAKE_AR={bin_dir}/mt-ar"]
        configure += [f"-DCMAKE_CXX_COMPILER={bin_dir}/mt-cxx"]
        configure += [f"-DCMAKE_RANLIB={bin_dir}/mt-ranlib"]
        make_words = [str(programs / "make"), f"-j{os.cpu_count() or 1}", "upx"]
        for words, append in ((configure, False), (make_words, True)):
            command.run(words, what="UPX", log_file=record, env=env, cwd=objects, append=append)
        (objects / "upx").rename(out / "upx")
        return {}

    return cache.obtain("upx", "tools", inputs, make, title=f"upx {source.version}")
