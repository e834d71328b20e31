"""Compressing binaries with UPX and testing the result."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from build.config import toolpath
from build.core import cache, command
from build.core.artifacts import Artifact
from build.core.errors import UserError
from build.core.paths import work_dir

METHODS: dict[str, tuple[str, ...]] = {"upx": ("--lzma", "--best"), "none": ()}
"""Ways to compress: `upx` takes the least flash, `none` the least RAM and start time."""


def compress(
    binary: Artifact, label: str, method: str, upx: Callable[[], cache.Entry]
) -> cache.Entry:
    """Return the object with the compressed binary under its own file name.

    `binary` is what to compress, `label` the platform, `upx` gives the tool's object if the method
    needs it. The result is tested with `upx -t`.
    Raises UserError for an unknown method, BuildFailed if UPX refuses or its test fails.
    """
    if method not in METHODS:
        raise UserError(
            f"'{method}' is not a way to compress", cure=f"one of: {', '.join(METHODS)}"
        )
    name = binary.path.name
    # The program itself is in the key, not what it was made from: made again by other means it is
    # mostly the same, and packing takes longest of all.
    packer = upx().artifact("upx") if METHODS[method] else None
    inputs = {
        "name": name,
        "target": label,
        "binary": binary.sha256,
        "upx": packer.sha256 if packer else "",
        "options": list(METHODS[method]),
    }

    def make(out: Path, scratch: Path) -> dict[str, Any]:
        source = cache.checked(binary)
        if not packer:
            shutil.copyfile(source, out / name)
            (out / name).chmod(0o755)
            return {"uncompressed": binary.size}
        tool = str(cache.checked(packer))
        record = work_dir() / label / f"compress-{name}.log"
        env = toolpath.environment(scratch)
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
