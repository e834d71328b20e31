"""A program for this machine from a source with CMake's files, static, compiled by zig."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from build.config import toolpath
from build.config.pins import Pin
from build.core import cache, command
from build.core.paths import work_dir
from build.native import crosscc
from build.sources import obtain


def build(
    source: Pin,
    cmake: Pin,
    zig: Pin,
    tree: Callable[[Pin], cache.Entry],
    *,
    options: Sequence[str],
    made_by: str,
) -> cache.Entry:
    """Return the object with the program of the pin's name, built from the pin.

    `options` are CMake's, `made_by` is the module that chose them. Raises BuildFailed.
    """
    name = source.name
    inputs = {
        "name": name,
        "trees": {pin.name: obtain.tree_key(pin) for pin in (source, cmake, zig)},
        "tools": toolpath.identity(),
        "options": [*options, *crosscc.HOST],
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
        record = work_dir() / "tools" / f"{name}.log"
        configure = [str(cmake_tree / "cmake" / "data" / "bin" / "cmake"), "-S", str(sources)]
        configure += ["-B", str(objects), "-G", "Unix Makefiles", *options]
        configure += [f"-DCMAKE_C_COMPILER={bin_dir}/mt-cc", f"-DCMAKE_AR={bin_dir}/mt-ar"]
        configure += [f"-DCMAKE_CXX_COMPILER={bin_dir}/mt-cxx"]
        configure += [f"-DCMAKE_RANLIB={bin_dir}/mt-ranlib"]
        make_words = [str(programs / "make"), f"-j{os.cpu_count() or 1}", name]
        for words, append in ((configure, False), (make_words, True)):
            command.run(
                words, what=source.title, log_file=record, env=env, cwd=objects, append=append
            )
        (objects / name).rename(out / name)
        return {}

    title = source.title
    return cache.obtain(name, "tools", inputs, make, title=title, made_by=made_by)
