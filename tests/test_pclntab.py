"""Go's tables of functions as columns: the same program comes back, whatever its tables are."""

from __future__ import annotations

import lzma
import random
import re
import struct
import subprocess
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from fakes import elf
from go_programs import compile_program

from build.config.targets import Target, targets
from build.golang.pclntab import PCDATA_INLINE
from build.native import packer, packers, pclntab, stub
from build.pipeline import order

EACH = pytest.mark.parametrize("target", targets().values(), ids=lambda target: target.name)
AMD64, ARMV7 = targets()["amd64"], targets()["armv7"]
SOURCE = (stub.FOLDER / "pclntab.c").read_text()
slow = pytest.mark.slow


def test_the_stub_and_the_packer_agree() -> None:
    """The same numbers stand in C."""
    assert (
        f"FIXED = {pclntab.FIXED}, PCDATA = {pclntab.PCDATA}, FUNCDATA = {pclntab.FUNCDATA}, "
        f"TREE = {PCDATA_INLINE}" in SOURCE
    )
    fields = re.search(r"struct tables \{(.*?)\};", SOURCE, re.DOTALL)
    assert fields
    numbers = len(re.findall(r"^\tu32 \w+;", fields[1], re.MULTILINE))
    assert "place[COLUMNS + 2 * KINDS]" in fields[1]
    assert pclntab.HEADER.size == 4 * (numbers + pclntab.COLUMNS + 2 * pclntab.KINDS)
    assert "KINDS = 3 + PCDATA" in SOURCE and pclntab.KINDS == 3 + pclntab.PCDATA
    assert f"NEW 0x{pclntab.NEW:X}u" in SOURCE and f"WHOLE 0x{pclntab.WHOLE:X}u" in SOURCE
    assert pclntab.TABLES[0] == 4 and "PCSP = 4" in SOURCE


def test_what_is_no_go_program_has_no_columns() -> None:
    assert pclntab.columns(elf.elf("EM_AARCH64", 64, padding=bytes(64))) is None
    assert pclntab.columns(b"") is None


def compiled(folder: Path, target: Target, *, lean: bool = True) -> bytes:
    compile_program(folder / "program", target, lean=lean)
    return (folder / "program").read_bytes()


def unpacked(
    program: packer.Program, target: Target, folder: Path
) -> tuple[subprocess.CompletedProcess[bytes], bytes]:
    """Pack a program, and unpack it again as the stub does."""
    assert program.tables
    model = program.models[0]
    lc, lp, pb = model
    chain = [{"id": lzma.FILTER_LZMA1, "preset": 0, "lc": lc, "lp": lp, "pb": pb}]
    stream = lzma.compress(packer.filtered(program), format=lzma.FORMAT_RAW, filters=chain)
    tools = packers.tools("lzma", target, order.go_command().trees)
    packed, begin = packer.join(tools["stub-go"].path.read_bytes(), program, stream, model)
    (folder / "packed").write_bytes(packed)
    out = folder / "out"
    out.unlink(missing_ok=True)
    words = [tools["unpack"].path, folder / "packed", str(begin), out]
    done = subprocess.run(words, capture_output=True, timeout=120)
    return done, out.read_bytes() if out.exists() else b""


@slow
@pytest.mark.parametrize("lean", [True, False], ids=["our linker", "Go's linker"])
@EACH
def test_the_same_program_comes_back(
    target: Target, lean: bool, tmp_path: Path, shared_cache: Path
) -> None:
    content = compiled(tmp_path, target, lean=lean)
    found = pclntab.columns(content)
    assert found and len(found.content) < found.size
    assert found.buckets[1], "findfunctab is found too"
    done, result = unpacked(packer.read(content, "it"), target, tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert result == content
    ours, plain = (len(lzma.compress(c)) for c in (found.put(content), content))
    assert ours < 0.98 * plain, "the gain that it is for"


@slow
@pytest.mark.parametrize("target", [AMD64, ARMV7], ids=lambda target: target.name)
def test_tables_of_chance_come_back_or_stay(
    target: Target, tmp_path: Path, shared_cache: Path
) -> None:
    """Whatever a linker wrote there: no columns, or the same bytes again."""
    content = compiled(tmp_path, target)
    begin = ELFFile(BytesIO(content)).get_section_by_name(".gopclntab")["sh_offset"]
    found = pclntab.columns(content)
    assert found
    chance = random.Random(target.name)
    outcomes = {True: 0, False: 0}
    for number in range(12):
        damaged = bytearray(content)
        first, last = ((begin, begin + 72), (found.at, found.at + found.size))[number % 4 > 0]
        for _ in range(chance.randrange(1, 5)):
            damaged[chance.randrange(first, last)] ^= 1 << chance.randrange(8)
        program = packer.read(bytes(damaged), "it")
        outcomes[program.tables is not None] += 1
        if program.tables:
            done, result = unpacked(program, target, tmp_path)
            assert done.returncode == 0 and result == damaged, number
    assert all(outcomes.values()), outcomes


@slow
def test_columns_made_to_mislead(tmp_path: Path, shared_cache: Path) -> None:
    """Refused, or something else comes out: nothing outside is touched, and it ends."""
    content = compiled(tmp_path, AMD64)
    program = packer.read(content, "it")
    assert program.tables
    chance = random.Random(2)
    outcomes = set()
    for number in range(45):
        columns = bytearray(program.tables.content)
        most = len(columns) if number % 3 == 0 else pclntab.HEADER.size
        for _ in range(chance.randrange(1, 4)):
            value = chance.choice([0, 1, 1 << 16, pclntab.NEW, chance.randrange(1 << 32)])
            struct.pack_into("<I", columns, chance.randrange(0, most - 3) & ~3, value)
        tables = replace(program.tables, content=bytes(columns))
        done, result = unpacked(replace(program, tables=tables), AMD64, tmp_path)
        assert done.returncode in (0, 1), (number, done)
        outcomes.add((done.returncode, done.stderr, result == content))
    assert (1, b"it cannot be unpacked\n", False) in outcomes
    assert (0, b"", False) in outcomes, "negative control: the proof has something to find"
