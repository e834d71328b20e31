"""A file of symbols that somebody names: damaged, cut off, made to take all memory or all time."""

from __future__ import annotations

import json
import lzma
import os
import resource
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from build.core.errors import UserError
from build.golang import symbols
from build.golang.pclntab import NOTHING, TABLE_MAGIC

ROOT = Path(__file__).resolve().parent.parent
STAMP = "1.102.5-mt.0"
REPORT = f"{STAMP}\ngoroutine 1 [running]:\nmain.f()\n\t?:0 +0x5\n"


def table(inlined: int = NOTHING) -> bytes:
    """A table of one function, main.f; `inlined` is where its tree of inlined calls begins.

    By its own table of values every instruction has line 0 of file 0, and is in the first inlined
    call, which was itself called from the instruction 0.
    """
    names, values = b"main.f\0f.go\0".ljust(16, b"\0"), b"\0\x02\x7f\0".ljust(8, b"\0")
    units = struct.pack("<I", 7)
    trees = struct.pack("<IiiI", 0, 0, 0, 0)
    start = 8 + 8 * 8
    parts = (names, units, values, trees)
    at = [start + sum(map(len, parts[:i])) for i in range(len(parts) + 1)]
    func = struct.pack("<Ii", 0, 0).ljust(16, b"\0") + struct.pack("<5I", 0, 1, 1, 3, 0)
    func = func.ljust(43, b"\0") + b"\x04" + struct.pack("<3I", 0, 0, 1)
    func += struct.pack("<4I", NOTHING, NOTHING, NOTHING, at[3] if inlined != NOTHING else inlined)
    rows = struct.pack("<3I", 0, 12, 100)
    header = struct.pack("<IHBB", TABLE_MAGIC, 0, 1, 8)
    header += struct.pack("<8Q", 1, 1, 0, at[0], at[1], at[0], at[2], at[4])
    return header + b"".join(parts) + rows + func


def sidecar(data: bytes, **header: object) -> bytes:
    words = json.dumps({"stamp": STAMP, "text": 0x1000, "inline": 0, **header}).encode()
    return lzma.compress(symbols.MAGIC + words + b"\n" + data)


def test_a_good_one() -> None:
    """What the damaged ones below are made from."""
    done = symbols.symbolize(REPORT, symbols.load(sidecar(table())))
    assert "\tf.go:0 +0x5" in done


BAD = {
    "nothing": b"",
    "nonsense": b"\xff\x00 nonsense",
    "another xz": lzma.compress(b"x" * 100),
    "cut off": sidecar(table())[:-20],
    "two of them": sidecar(table()) * 2,
    "of LZMA alone": lzma.compress(symbols.MAGIC, lzma.FORMAT_ALONE),
    "a bomb": lzma.compress(symbols.MAGIC + bytes(symbols.LARGEST)),
    "a dictionary of 1 GiB": lzma.compress(
        symbols.MAGIC, filters=[{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 30}]
    ),
    "no header": lzma.compress(symbols.MAGIC),
    "a list": lzma.compress(symbols.MAGIC + b"[]\n" + table()),
    "nested": lzma.compress(symbols.MAGIC + b"[" * 100_000 + b"\n"),
    "a header of other types": sidecar(table(), text="x"),
    "no table": sidecar(b""),
    "half a header of a table": sidecar(table()[:20]),
    "of another Go": sidecar(b"\0" * 200),
}


@pytest.mark.parametrize("how", BAD)
def test_what_is_none(how: str) -> None:
    with pytest.raises(UserError, match="not a file of symbols"):
        symbols.load(BAD[how])


@pytest.mark.parametrize("cut", range(72, len(table()), 7))
def test_a_table_that_ends_early(cut: int) -> None:
    with pytest.raises(UserError, match="damaged"):
        symbols.symbolize(REPORT, symbols.load(sidecar(table()[:cut])))


def test_inlined_calls_in_a_circle() -> None:
    with pytest.raises(UserError, match="lead in a circle"):
        symbols.symbolize(REPORT, symbols.load(sidecar(table(inlined=0))))


def test_the_command_takes_little_memory(tmp_path: Path) -> None:
    """A file of 160 kB that unpacks to 1 GB, with 600 MB for the process."""
    bomb = tmp_path / "symbols.xz"
    packer = lzma.LZMACompressor(preset=0)
    zeros = bytes(1 << 24)
    with bomb.open("wb") as stream:
        stream.write(packer.compress(symbols.MAGIC))
        for _ in range(64):
            stream.write(packer.compress(zeros))
        stream.write(packer.flush())
    (tmp_path / "crash.txt").write_text(REPORT)
    argv = [sys.executable, "-m", "invoke", "symbolize"]
    argv += ["--symbols-file", str(bomb), str(tmp_path / "crash.txt")]
    most = 600_000_000
    done = subprocess.run(
        argv,
        cwd=ROOT,
        env=os.environ,
        text=True,
        capture_output=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (most, most)),
    )
    assert done.returncode == 2, done.stderr
    assert "more than 64,000,000 B" in done.stderr
