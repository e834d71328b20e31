"""Compressing binaries with UPX, which is itself built from source, and testing the result."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from build.config import tools
from build.config.pins import Pin
from build.core import cache, command
from build.core.artifacts import Artifact
from build.core.errors import UserError
from build.core.paths import cache_dir, work_dir
from build.golang.gotool import Trees
from build.native import crosscc

METHODS: dict[str, tuple[str, ...]] = {"upx": ("--lzma", "--best"), "none": ()}
"""Ways to compress: `upx` takes the least flash, `none` the least RAM and start time."""

_OPTIONS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DUPX_CONFIG_DISABLE_GITREV=ON",
    "-DUPX_CONFIG_DISABLE_SANITIZE=ON",
    "-DUPX_CONFIG_DISABLE_WERROR=ON",
)


def identity(source: Pin, cmake: Pin, zig: Pin) -> str:
    """Return what stands for the UPX that `build_upx` makes of these, in the keys of its output."""
    return f"{source.sha256} {cmake.sha256} {zig.sha256}"


def build_upx(source: Pin, cmake: Pin, zig: Pin, trees: Trees) -> cache.Entry:
    """Return the object with the `upx` program for this machine, static, built from the pin."""
    inputs = {
        "name": "upx",
        "upx": source.sha256,
        "cmake": cmake.sha256,
        "zig": zig.sha256,
        "options": [*_OPTIONS, *crosscc.HOST],
    }

    def make(out: Path, scratch: Path) -> dict[str, Any]:
        sources, zig_tree, cmake_tree = (trees(pin).data for pin in (source, zig, cmake))
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
        env = tools.clean_environment(scratch)
        env["PATH"] = f"{bin_dir}:{env['PATH']}"
        env |= crosscc.environment(scratch / "zig", cache_dir() / "zig")
        record = work_dir() / "tools" / "upx.log"
        configure = [str(cmake_tree / "cmake" / "data" / "bin" / "cmake"), "-S", str(sources)]
        configure += ["-B", str(objects), "-G", "Unix Makefiles", *_OPTIONS]
        configure += [f"-DCMAKE_C_COMPILER={bin_dir}/mt-cc", f"-DCMAKE_AR={bin_dir}/mt-ar"]
        configure += [f"-DCMAKE_CXX_COMPILER={bin_dir}/mt-cxx"]
        configure += [f"-DCMAKE_RANLIB={bin_dir}/mt-ranlib"]
        make_words = [str(tools.farm() / "make"), f"-j{os.cpu_count() or 1}", "upx"]
        for words, append in ((configure, False), (make_words, True)):
            command.run(words, what="UPX", log_file=record, env=env, cwd=objects, append=append)
        (objects / "upx").rename(out / "upx")
        return {}

    return cache.obtain("upx", "tools", inputs, make, title=f"upx {source.version}")


def compress(
    binary: Artifact, label: str, method: str, upx: Callable[[], cache.Entry], identity: str
) -> cache.Entry:
    """Return the object with the compressed binary under its own file name.

    `binary` is what to compress, `label` the platform, `upx` gives the tool's object when it is
    needed and `identity` stands for the tool in the key. The result is tested with `upx -t`.
    Raises UserError for an unknown method, BuildFailed if UPX refuses or its test fails.
    """
    if method not in METHODS:
        raise UserError(
            f"'{method}' is not a way to compress", cure=f"one of: {', '.join(METHODS)}"
        )
    name = binary.path.name
    inputs = {
        "name": name,
        "target": label,
        "binary": binary.sha256,
        "upx": identity if METHODS[method] else "",
        "options": list(METHODS[method]),
    }

    def make(out: Path, scratch: Path) -> dict[str, Any]:
        source = cache.checked(binary)
        if not METHODS[method]:
            shutil.copyfile(source, out / name)
            (out / name).chmod(0o755)
            return {"uncompressed": binary.size}
        tool = str(cache.checked(upx().artifact("upx")))
        record = work_dir() / label / f"compress-{name}.log"
        env = tools.clean_environment(scratch)
        steps = (
            [tool, *METHODS[method], "--no-color", "-q", "-o", str(out / name), str(source)],
            [tool, "--no-color", "-q", "-t", str(out / name)],
        )
        for number, argv in enumerate(steps):
            command.run(
                argv,
                what=f"UPX of {name} for {label}",
                log_file=record,
                env=env,
                cwd=scratch,
                append=number > 0,
            )
        (out / name).chmod(0o755)
        return {"uncompressed": binary.size}

    return cache.obtain(f"compress-{name}", label, inputs, make, title=f"compress {name}")
