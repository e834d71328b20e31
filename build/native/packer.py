"""Our own packer: a program and a stub to one file that unpacks itself into memory.

Format: the stub's ELF file, then `struct payload` of stub/payload.h, then a raw LZMA stream and a
zero. The stream holds the pages first that a program soon writes to (`Program.own`), then the rest.
Before LZMA the code goes through a filter for branches, and Go's tables of functions through one of
their own (branches.py, pclntab.py).
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass, replace

from build.core.errors import BuildFailed
from build.native import branches, sections
from build.native.pclntab import Columns, columns

MAGIC = b"mtpack2\0"
_HEADER = struct.Struct("<8s16s4I5I2I4B")
_CRC = struct.Struct("<I")
_PLACE = 16
"""Bytes that stub.ld reserves where the payload goes."""

STUB_AT = 0x2000_0000
"""Where stub.ld puts the stub: programs have to end below."""

MOST = 1 << 26
"""Bytes of a program that the proof takes (main.c)."""

LISTED = 1024
"""Bytes in which the stub looks for the list of segments (HEAD in stub.c)."""

_EXEC, _LOAD, _DYNAMIC, _INTERP, _RUNNABLE = 2, 1, 2, 3, 1
"""ELF: type ET_EXEC, segments PT_LOAD, PT_DYNAMIC, PT_INTERP, flag PF_X ("System V ABI", gABI)."""

Part = tuple[int, int]
"""Offset in the program, and bytes."""
Model = tuple[int, int, int]
"""LZMA's lc, lp and pb: how many bits of the byte before and of the place choose a probability."""


@dataclass(frozen=True)
class Kind:
    """How code of a machine is packed: number of its filter, and the model for large programs.

    `nice` is from which length on LZMA's encoder takes a match as it is, in bytes: more is not
    always shorter. Of `small` models all are tried beside it, which takes a second.
    """

    filter: int
    nice: int
    model: Model
    small: tuple[Model, ...]


KINDS = {
    183: Kind(1, 273, (2, 2, 2), ((0, 2, 2), (1, 2, 2))),
    40: Kind(2, 128, (1, 2, 2), ((0, 2, 2), (2, 2, 2), (2, 1, 2))),
    62: Kind(3, 128, (4, 0, 2), ((3, 0, 0), (3, 0, 2), (3, 1, 0), (3, 0, 1))),
}
"""By ELF machine: EM_AARCH64, EM_ARM, EM_X86_64."""

PAGE = 4096
VARIABLES = 10 * PAGE
"""Bytes at the beginning of a Go program's writable segment that it writes to: Go's linker sorts
.noptrdata by size, so variables stand before tables (`nox -s starts` shows the gain)."""

SMALL = 1 << 20
"""Bytes of a small program."""


@dataclass(frozen=True)
class Segment:
    """What the list of segments says of one: kind, flags, place in file and memory, in bytes."""

    kind: int
    flags: int
    offset: int
    address: int
    in_file: int
    in_memory: int


@dataclass(frozen=True)
class Program:
    """An ELF file as far as packing goes.

    `listed` is (offset, bytes of one, number) of the list of `segments`. `own` are the pages that
    processes do not share, in order. `tables` are Go's tables of functions as columns.
    """

    content: bytes
    wide: bool
    kind: int
    machine: int
    flags: int
    listed: tuple[int, int, int]
    segments: tuple[Segment, ...]
    own: tuple[Part, Part] = ((0, 0), (0, 0))
    tables: Columns | None = None

    @property
    def loaded(self) -> list[Segment]:
        """The segments that are in memory."""
        return [row for row in self.segments if row.kind == _LOAD]

    @property
    def code(self) -> tuple[int, int]:
        """Offset and size of the first segment that can run, in whole words."""
        row = next(row for row in self.loaded if row.flags & _RUNNABLE)
        return row.offset, row.in_file & ~3

    @property
    def nice(self) -> int:
        """The length of a match that LZMA's encoder takes as it is, in bytes."""
        return KINDS[self.machine].nice

    @property
    def models(self) -> tuple[Model, ...]:
        """The models to try."""
        kind = KINDS[self.machine]
        return (kind.model, *(kind.small if len(self.content) <= SMALL else ()))


def _refused(what: str, why: str) -> BuildFailed:
    return BuildFailed(f"{what} cannot be packed", why=why, cure="use --compress upx or none")


def _parsed(content: bytes, what: str) -> Program:
    if content[:4] != b"\x7fELF" or content[4:6] not in (b"\1\1", b"\2\1"):
        raise _refused(what, "it is not an ELF file with numbers in little endian")
    wide = content[4] == 2
    try:
        kind, machine = struct.unpack_from("<HH", content, 16)
        (at,) = struct.unpack_from("<Q" if wide else "<I", content, 32 if wide else 28)
        flags, _, size, count = struct.unpack_from("<IHHH", content, 48 if wide else 36)
        rows = []
        for place in range(at, at + count * size, size):
            if wide:
                p_type, p_flags, *rest = struct.unpack_from("<2I5Q", content, place)
            else:
                p_type, *rest, p_flags = struct.unpack_from("<7I", content, place)
            offset, address, _, in_file, in_memory = rest
            rows.append(Segment(p_type, p_flags, offset, address, in_file, in_memory))
    except (struct.error, ValueError) as error:
        raise _refused(what, "its list of segments is damaged") from error
    listed = (at, size, count)
    return Program(content, wide, kind, machine, flags, listed, tuple(rows))


def read(content: bytes, what: str) -> Program:
    """Read an ELF file. Raises BuildFailed if it is not one that the stub can start."""
    found = _parsed(content, what)
    at, size, count = found.listed
    loaded = found.loaded
    faults = {
        "it is not a static program for a fixed address": found.kind != _EXEC
        or any(row.kind in (_INTERP, _DYNAMIC) for row in found.segments),
        f"there is no filter for ELF machine {found.machine}": found.machine not in KINDS,
        "nothing in it can run": not any(row.flags & _RUNNABLE for row in loaded),
        "its list of segments is not where the stub looks for it": at + count * size > LISTED
        or size != (56 if found.wide else 32),
        "a segment is not in the file": any(
            row.offset + row.in_file > len(content) or row.in_file > row.in_memory for row in loaded
        ),
        "it would overlap with the stub": any(
            row.address + row.in_memory > STUB_AT for row in loaded
        ),
        "its segments are not in the order of the file": loaded
        != sorted(loaded, key=lambda row: row.offset),
        "it is too large": len(content) > MOST,
    }
    for why, wrong in faults.items():
        if wrong:
            raise _refused(what, why)
    own = _own(found)
    tables = columns(content)
    # The stub puts them back in one piece, in front of the own pages.
    if tables and own[0][1] and own[0][0] < max(tables.at + tables.size, sum(tables.buckets)):
        tables = None
    return replace(found, own=own, tables=tables)


def _own(program: Program) -> tuple[Part, Part]:
    """Return the pages that a Go program writes to: the first writable ones, and .data."""
    last = program.loaded[-1]
    data = _data(program.content)
    begin, end = data & -PAGE, -(-(last.offset + last.in_file) // PAGE) * PAGE
    fits = sum(program.code) <= last.offset and last.offset + VARIABLES <= begin < end
    if not fits or last.offset % PAGE or end > len(program.content):
        return (0, 0), (0, 0)
    return (last.offset, VARIABLES), (begin, end - begin)


def _data(content: bytes) -> int:
    """Return where .data of a Go program begins, or 0 for what is none."""
    found = sections.offsets(content)
    return found.get(".data", 0) if ".go.buildinfo" in found else 0


def filtered(program: Program) -> bytes:
    """Return what LZMA gets: a program's own pages first, its code through the filter."""
    offset, size = program.code
    content = program.content
    if program.tables:
        content = program.tables.put(content)
    code = branches.FILTERS[KINDS[program.machine].filter](content[offset : offset + size], offset)
    content = content[:offset] + code + content[offset + size :]
    (first, more), (then, most) = program.own
    rest = content[:first] + content[first + more : then] + content[then + most :]
    return _own_bytes(program) + rest


def _own_bytes(program: Program) -> bytes:
    return b"".join(program.content[offset : offset + size] for offset, size in program.own)


def join(stub: bytes, program: Program, stream: bytes, model: Model) -> tuple[bytes, int]:
    """Return the packed file, and where in it the payload begins.

    `stub` is the platform's stub as linked, `stream` the LZMA stream of the filtered program, made
    with `model`.
    Raises BuildFailed if the stub is not what its linker script makes.
    """
    shape = _parsed(stub, "the stub")
    loaded = shape.loaded
    if (shape.wide, shape.machine) != (program.wide, program.machine) or len(loaded) != 1:
        raise _refused("the stub", "it is not one piece for the program's machine")
    begin = loaded[0].in_file - _PLACE
    if loaded[0].offset or loaded[0].address != STUB_AT or begin % 16:
        raise _refused("the stub", "it is not where its linker script puts it")
    kind = KINDS[program.machine]
    name = b"mt-" + hashlib.sha256(program.content).hexdigest()[:12].encode()
    sizes = (len(program.content), len(stream))
    own = (*program.own[0], *program.own[1], zlib.crc32(_own_bytes(program)))
    tables = (program.tables.at, program.tables.size) if program.tables else (0, 0)
    header = _HEADER.pack(MAGIC, name, *sizes, *program.code, *own, *tables, *model, kind.filter)
    stream += b"\0"
    header += _CRC.pack(zlib.crc32(stream))
    result = bytearray(stub[:begin] + header + bytes(_CRC.size) + stream)
    # Nothing is left of sections; the only segment is the whole file.
    number, row = ("<Q", shape.listed[0] + 32) if shape.wide else ("<I", shape.listed[0] + 16)
    for place in (row, row + struct.calcsize(number)):
        struct.pack_into(number, result, place, len(result))
    struct.pack_into(number, result, 40 if shape.wide else 32, 0)
    struct.pack_into("<HHH", result, 58 if shape.wide else 46, 0, 0, 0)
    struct.pack_into("<I", result, 48 if shape.wide else 36, program.flags)
    place = begin + len(header)
    _CRC.pack_into(result, place, zlib.crc32(result[:place]))
    return bytes(result), begin
