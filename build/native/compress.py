"""Compressing binaries and proving the result: it unpacks to the very same bytes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from build.config import toolpath
from build.core import cache, command, digest
from build.core.artifacts import Artifact
from build.core.errors import BuildFailed, UserError
from build.core.paths import work_dir
from build.native import packer

METHODS: dict[str, tuple[str, ...]] = {
    "lzma": (
        "--format=raw",
        "--suffix=.lzma",
        "--keep",
        "--lzma1=dict=16MiB,lc={},lp={},pb={},mode=normal,nice={},mf=bt4,depth=1000",
    ),
    "upx": ("--lzma", "--best"),
    "none": (),
}
"""Ways to compress, with the options of xz for our own packer (`lzma`), or of UPX.

`lzma` takes the least flash, and memory where the same program runs twice; `none` the least RAM
and start time.
"""
DEFAULT = next(iter(METHODS))
"""What is published, and what the gates on size are for."""

Tools = Mapping[str, Artifact]


def require(method: str) -> None:
    """Raise UserError for an unknown method."""
    if method not in METHODS:
        raise UserError(
            f"'{method}' is not a way to compress", cure=f"one of: {', '.join(METHODS)}"
        )


def compress(binary: Artifact, label: str, method: str, tools: Callable[[], Tools]) -> cache.Entry:
    """Return the object with the compressed binary under its own file name.

    `binary` is what to compress, `label` the platform, `tools` gives the programs that the method
    needs (`packers.tools`). The result is unpacked again: by `upx -t`, or compared with `binary`.
    Raises UserError for an unknown method, BuildFailed if the binary is refused or the proof fails.
    """
    require(method)
    name = binary.path.name
    # The program itself is in the key, not what it was made from: made again by other means it is
    # mostly the same, and packing takes longest of all.
    known = tools() if METHODS[method] else {}
    inputs = {
        "name": name,
        "target": label,
        "binary": binary.sha256,
        "tools": {tool: row.sha256 for tool, row in known.items()},
        "options": list(METHODS[method]),
    }

    def make(out: Path, scratch: Path) -> dict[str, Any]:
        source = cache.checked(binary)
        run = _Runner(f"{name} for {label}", work_dir() / label / f"compress-{name}.log", scratch)
        programs = {tool: cache.checked(row) for tool, row in known.items()}
        if method == "upx":
            _by_upx(run, programs["upx"], source, out / name)
        elif method == "lzma":
            _by_lzma(run, programs, source, out / name)
        else:
            shutil.copyfile(source, out / name)
        (out / name).chmod(0o755)
        return {"uncompressed": binary.size}

    return cache.obtain(f"compress-{name}", label, inputs, make, title=f"compress {name}")


class _Runner:
    """Runs one program after the other, all with one record."""

    def __init__(self, what: str, record: Path, scratch: Path) -> None:
        self.what, self.record, self.scratch, self.runs = what, record, scratch, 0

    def __call__(self, program: Path, *words: str) -> None:
        command.run(
            [str(program), *words],
            what=f"packing {self.what}",
            log_file=self.record,
            env=toolpath.environment(self.scratch),
            cwd=self.scratch,
            append=self.runs > 0,
        )
        self.runs += 1


def _by_upx(run: _Runner, upx: Path, source: Path, result: Path) -> None:
    run(upx, *METHODS["upx"], "--no-color", "-q", "-o", str(result), str(source))
    run(upx, "--no-color", "-q", "-t", str(result))


def _by_lzma(run: _Runner, programs: Mapping[str, Path], source: Path, result: Path) -> None:
    program = packer.read(source.read_bytes(), run.what)
    plain = run.scratch / "program"
    plain.write_bytes(packer.filtered(program))
    made = plain.with_name(f"{plain.name}.lzma")
    streams = {}
    for model in program.models:
        run(
            programs["xz"],
            *(word.format(*model, program.nice) for word in METHODS["lzma"]),
            str(plain),
        )
        streams[model] = made.read_bytes()
        made.unlink()
    # The first of the shortest, for the same bytes everywhere.
    best = min(streams, key=lambda model: len(streams[model]))
    stub = programs["stub-go" if program.tables else "stub"]
    packed, begin = packer.join(stub.read_bytes(), program, streams[best], best)
    result.write_bytes(packed)
    run(programs["unpack"], str(result), str(begin), str(plain))
    if (got := digest.of_file(plain)) != (wanted := digest.of_file(source)):
        raise BuildFailed(
            f"{run.what} does not unpack to what was packed",
            why=f"wanted sha256 {wanted}, got {got}",
            cure="this is a fault of build/native: use --compress upx",
        )
