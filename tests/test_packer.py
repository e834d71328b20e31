"""Our packer's part in Python: what it takes, what it refuses, and the file that it writes."""

from __future__ import annotations

import re
import struct
import zlib

import pytest
from fakes import elf
from hypothesis import given
from hypothesis import strategies as some

from build.core.errors import BuildFailed
from build.native import branches, packer, stub

MACHINES = {"EM_AARCH64": 64, "EM_X86_64": 64, "EM_ARM": 32}
HEADER = (stub.FOLDER / "payload.h").read_text()


def program(machine: str = "EM_AARCH64", padding: bytes = bytes(64), **more: object) -> bytes:
    return elf.elf(machine, MACHINES[machine], padding=padding, **more)  # type: ignore[arg-type]


def a_stub(machine: str, tail: int = packer._PLACE) -> bytes:
    """A file as stub.ld makes it: one segment at the stub's address, 16 bytes for the payload."""
    content = bytearray(program(machine))
    content += bytes(-len(content) % 16 + tail)
    wide = MACHINES[machine] == 64
    row, number = (64, "Q") if wide else (52, "I")
    fields = {16: packer.STUB_AT, 32: len(content), 40: len(content)}
    if not wide:
        fields = {8: packer.STUB_AT, 16: len(content), 20: len(content)}
    for place, value in fields.items():
        struct.pack_into(f"<{number}", content, row + place, value)
    return bytes(content)


# --- what is refused ------------------------------------------------------------------------------


def changed(content: bytes, place: int, kind: str, value: int) -> bytes:
    copy = bytearray(content)
    struct.pack_into(f"<{kind}", copy, place, value)
    return bytes(copy)


def far_list() -> bytes:
    """A program whose list of segments begins at byte 1000."""
    content = bytearray(program(padding=bytes(4000)))
    content[1000:1056] = content[64:120]
    return changed(content, 32, "Q", 1000)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"#!/bin/sh\n", "not an ELF file"),
        (changed(program(), 5, "B", 2), "not an ELF file"),  # big endian
        (program()[:70], "damaged"),
        (program(interpreter="/lib/ld.so"), "not a static program"),
        (program(needed=("libc.so",)), "not a static program"),
        (changed(program(), 16, "H", 3), "for a fixed address"),  # ET_DYN
        (elf.elf("EM_MIPS", 32), "no filter for ELF machine 8"),
        (changed(program(), 64 + 4, "I", 4), "nothing in it can run"),
        (changed(program(), 64 + 8, "Q", 1000), "not in the file"),
        (changed(program(), 64 + 40, "Q", 1), "not in the file"),  # less in memory than in the file
        (changed(program(), 64 + 16, "Q", packer.STUB_AT), "overlap with the stub"),
        (changed(program(), 54, "H", 64), "where the stub looks"),
        (far_list(), "where the stub looks"),
    ],
)
def test_what_the_stub_could_not_start_is_refused(content: bytes, why: str) -> None:
    with pytest.raises(BuildFailed) as caught:
        packer.read(content, "it")
    assert why in str(caught.value.why)
    assert "upx" in str(caught.value.cure)


@pytest.mark.parametrize("machine", MACHINES)
def test_what_it_could_start_is_taken(machine: str) -> None:
    found = packer.read(program(machine), "it")
    assert found.code == (0, len(program(machine)) & ~3)
    assert found.wide is (MACHINES[machine] == 64)


@pytest.mark.parametrize("tail", [packer._PLACE - 8, packer._PLACE + 8])
def test_another_stub_than_the_script_makes_is_refused(tail: int) -> None:
    one = packer.read(program(), "it")
    with pytest.raises(BuildFailed, match="stub cannot be packed"):
        packer.join(a_stub("EM_AARCH64", tail), one, b"", (3, 0, 0))
    with pytest.raises(BuildFailed, match="stub cannot be packed"):
        packer.join(a_stub("EM_X86_64"), one, b"", (3, 0, 0))
    with pytest.raises(BuildFailed, match="stub cannot be packed"):
        packer.join(program(), one, b"", (3, 0, 0))


# --- what is written ------------------------------------------------------------------------------


@pytest.mark.parametrize("machine", MACHINES)
def test_the_file_is_what_the_header_says(machine: str) -> None:
    one = packer.read(program(machine, float_abi="hard"), "it")
    packed, begin = packer.join(a_stub(machine), one, b"\0stream", (2, 1, 0))
    assert packed == packer.join(a_stub(machine), one, b"\0stream", (2, 1, 0))[0]
    head = struct.unpack_from("<8s16s4I5I2I4BII", packed, begin)
    assert head[0] == packer.MAGIC and re.fullmatch(rb"mt-[0-9a-f]{12}\0", head[1])
    assert head[2:4] == (len(one.content), 7)
    assert head[4:6] == one.code
    assert head[6:11] == (0, 0, 0, 0, 0), "no pages of its own"
    assert head[11:13] == (0, 0), "no tables of Go's"
    assert head[13:16] == (2, 1, 0)
    assert packed[begin + 80 :] == b"\0stream\0"
    assert head[17] == zlib.crc32(b"\0stream\0")
    assert head[18] == zlib.crc32(packed[: begin + 76])
    whole = packer._parsed(packed, "the result")
    assert [(row.offset, row.in_file, row.in_memory) for row in whole.loaded] == [
        (0, len(packed), len(packed))
    ]
    assert whole.flags == one.flags, "the float ABI stays visible"


def test_the_stub_and_the_packer_agree() -> None:
    """The same numbers stand in C."""
    fields = re.search(r"struct payload \{(.*?)\};", HEADER, re.DOTALL)
    assert fields
    sizes = {"u8": 1, "char": 1, "u32": 4, "struct own": 8}
    size = 0
    for kind, names in re.findall(r"^\t(struct \w+|\w+) ([^;]+);", fields[1], re.MULTILINE):
        for name in names.split(","):
            count = re.search(r"\[(\d+)\]", name)
            size += sizes[kind] * (int(count[1]) if count else 1)
    assert size == packer._HEADER.size + 2 * packer._CRC.size
    assert f'#define MAGIC "{packer.MAGIC[:-1].decode()}"' in HEADER
    names = {"ARM64": 183, "ARM": 40, "X86": 62}
    for name, machine in names.items():
        assert f"FILTER_{name} = {packer.KINDS[machine].filter}" in HEADER
    source = (stub.FOLDER / "stub.c").read_text()
    assert f"HEAD = {packer.LISTED} " in source
    assert "STACK_USED = 64 << 10" in source
    assert f"#{64 << 10:#x}" in (stub.FOLDER / "start.S").read_text()
    assert f"0x{packer.STUB_AT:x}" in (stub.FOLDER / "stub.ld").read_text()
    assert "MOST = 1 << 26" in (stub.FOLDER / "main.c").read_text()
    assert packer.MOST == 1 << 26


# --- filters --------------------------------------------------------------------------------------

CALL = some.sampled_from([b"\xe8", b"\xe9", b"\x00", b"\xff", b"\x7f", b"\x90"])
X86 = some.lists(CALL | some.binary(min_size=1, max_size=6), max_size=80).map(b"".join)


def x86_back(code: bytes) -> bytes:
    """What unpack.c does, told once more."""
    found, at = bytearray(code), 0
    while at + 5 < len(found):
        if found[at] == 0xE8:
            value = int.from_bytes(found[at + 1 : at + 5], "little", signed=True)
            if -at <= value < len(found):
                value = value - at if value >= 0 else value + len(found)
                found[at + 1 : at + 5] = value.to_bytes(4, "little", signed=True)
            at += 4
        at += 1
    return bytes(found)


@given(X86)
def test_x86_calls_come_back(code: bytes) -> None:
    assert x86_back(branches.x86(code, 0)) == code


def test_the_same_target_is_the_same_bytes() -> None:
    """What the filters are for, with instructions as the manuals encode them."""
    call = b"\xe8" + (0x40 - 5).to_bytes(4, "little") + bytes(3)
    later = b"\xe8" + (0x40 - 5 - 8).to_bytes(4, "little") + bytes(3)
    code = branches.x86(call + later + bytes(0x40), 0)
    assert code[1:5] == code[9:13]
    words = struct.pack("<4I", 0x94000010, 0x9400000F, 0xB0000000, 0xD503201F)
    code = branches.arm64(words, 0)
    assert code[:4] == code[4:8] == bytes.fromhex("94000010")
    assert branches.arm64(words, 0x1000)[8:12] == bytes.fromhex("d0000000"), "ADRP of the next page"
    code = branches.arm(struct.pack("<2I", 0xEB000010, 0xEB00000F), 0)
    assert code[:4] == code[4:8] == bytes.fromhex("eb000010")
