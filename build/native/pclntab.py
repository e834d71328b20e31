"""Go's tables of functions as columns: a filter in front of LZMA, as branch filters are for code.

A Go program says of each function where it begins, how large its frame is at each instruction, and
where the collector finds pointers. Format: `runtime/symtab.go` (pcHeader, functab, _func,
findfuncbucket) and `cmd/link/internal/ld/pcln.go`, the same since Go 1.20. From `pctab` to the end
of the last `_func` it is replaced by

- a header (`struct tables` of stub/pclntab.c),
- the words of `_func`, column by column. Where a column points to a table of pctab that no function
  before has, it says `NEW`, since those follow each other;
- the numbers of those tables, values and lengths apart, and by what they are about.

Left out is what follows from the rest: functab, findfunctab, where a function begins if its
neighbour ends there, and the last length of a table if all of a function's tables end together.
stub/pclntab.c has the inverse.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from build.core.errors import BuildFailed
from build.golang.pclntab import FUNC_SIZE, PCDATA_INLINE, Table
from build.native import sections

FIXED, PCDATA, FUNCDATA = FUNC_SIZE // 4, 6, 10
"""Columns: words that each `_func` has, and at most so many of each kind behind them."""

COLUMNS = FIXED + PCDATA + FUNCDATA
TABLES = (4, 5, 6, *range(FIXED, FIXED + PCDATA))
"""Columns that point into pctab: pcsp, pcfile, pcln and pcdata."""

KINDS = len(TABLES)
HEADER = struct.Struct(f"<{8 + COLUMNS + 2 * KINDS}I")
NEW, WHOLE = 0xFFFF_FFFF, 0xFFFF_FFFE
"""In a column: the next table, its last length left out, or with it."""

_BUCKET, _PART = 4096, 256
_ROUNDS = (1, 4, 16, 32, 64)
"""What functions may be aligned to, in bytes."""


class _Unknown(Exception):
    """The tables are not what is described above."""


@dataclass(frozen=True)
class Columns:
    """The bytes of a program from `at` on, `size` of them, as columns: `content` and zeros.

    `buckets` is (offset, size) of what else is zero then: findfunctab, or (0, 0).
    """

    at: int
    size: int
    content: bytes
    buckets: tuple[int, int]

    def put(self, program: bytes) -> bytes:
        """Return the program with its tables as columns, as long as before."""
        result = bytearray(program)
        result[self.at : self.at + self.size] = self.content.ljust(self.size, b"\0")
        offset, size = self.buckets
        result[offset : offset + size] = bytes(size)
        return bytes(result)


def columns(program: bytes) -> Columns | None:
    """Return a Go program's tables as columns, or None for a program without such tables."""
    header = sections.offsets(program).get(".gopclntab")
    try:
        return None if header is None else _Tables(program, header).columns()
    except (BuildFailed, _Unknown, struct.error, IndexError):
        return None


def _padded(size: int, to: int) -> int:
    return -(-size // to) * to


class _Tables:
    """The tables of one program, whose pcHeader is at `header` of its bytes."""

    def __init__(self, program: bytes, header: int) -> None:
        self.program = program
        self.go = go = Table(program[header:])
        self.pctab, self.functab = header + go.values, header + go.table
        if go.pointer not in (4, 8) or self.pctab % 4 or self.functab % 4 or go.values >= go.table:
            raise _Unknown
        rows = struct.unpack_from(f"<{2 * go.count + 1}I", program, self.functab)
        self.entries, self.places, self.end = rows[:-1:2], rows[1:-1:2], rows[-1]
        if not self.entries or list(self.entries) != sorted(self.entries):
            raise _Unknown

    def functions(self) -> Iterator[tuple[list[int], list[int], list[int]]]:
        """Yield each function's fixed words, its pcdata and its funcdata."""
        end = 8 * self.go.count + 4
        place = _padded(end, self.go.pointer)
        self.need_zeros(self.functab + end, self.functab + place)
        for entry, found in zip(self.entries, self.places, strict=True):
            at = self.functab + place
            fixed = list(struct.unpack_from(f"<{FIXED}I", self.program, at))
            more, data = fixed[7], fixed[10] >> 24
            if found != place or fixed[0] != entry or more > PCDATA or data > FUNCDATA:
                raise _Unknown
            words = struct.unpack_from(f"<{more + data}I", self.program, at + 4 * FIXED)
            yield fixed, list(words[:more]), list(words[more:])
            end = place + 4 * (FIXED + more + data)
            place = _padded(end, self.go.pointer)
            self.need_zeros(self.functab + end, self.functab + place)
        self.behind = self.functab + place

    def need_zeros(self, begin: int, end: int) -> None:
        """Raise _Unknown unless these bytes of the program are zeros, which nothing says again."""
        if any(self.program[begin:end]):
            raise _Unknown

    def table(self, offset: int) -> tuple[list[bytes], int, int]:
        """Return the numbers of a table of pctab, how much code it is for, and where it ends."""
        numbers: list[bytes] = []
        size, at = 0, self.go.values + offset
        while True:
            begin = at
            value, at = self.go.varint(at)
            if max(value, size) >> 32:
                raise _Unknown  # the stub counts in 32 bits
            if len(numbers) % 2:
                size += value
            elif numbers and not value:
                return numbers, size, at - self.go.values
            numbers.append(self.go.data[begin:at])

    def columns(self) -> Columns:
        """Return the tables as columns. Raises _Unknown if they are not as described above."""
        writer, sizes = _Writer(self), []
        for fixed, pcdata, funcdata in self.functions():
            size = self.table(fixed[TABLES[0]])[1] if fixed[TABLES[0]] else 0
            sizes.append(size * self.go.quantum)
            writer.function(fixed, pcdata, funcdata, size)
        self.need_zeros(self.pctab, self.pctab + 1)
        self.need_zeros(self.pctab + writer.high, self.functab)
        to, writer.rows[0] = self.distances(sizes)
        go = self.go
        head = [go.count, go.table - go.values, go.pointer, go.quantum, to, self.end]
        buckets = self.buckets()
        head.append(buckets[0] - self.pctab if buckets[1] else 0)
        parts = writer.parts()
        *places, used = accumulate(map(len, parts), initial=HEADER.size)
        size = self.behind - self.pctab
        if used > size:
            raise _Unknown
        content = HEADER.pack(used, *head, *places) + b"".join(parts)
        return Columns(self.pctab, size, content, buckets)

    def distances(self, sizes: list[int]) -> tuple[int, list[int]]:
        """Return what functions are aligned to, and how far each begins behind its neighbour."""
        found = []
        for to in _ROUNDS:
            at, gaps = 0, []
            for entry, size in zip(self.entries, sizes, strict=True):
                gaps.append((entry - at) & NEW)
                at = entry + _padded(size, to)
            found.append((len(gaps) - gaps.count(0), to, gaps))
        _, to, gaps = min(found)
        return to, gaps

    def buckets(self) -> tuple[int, int]:
        """Return where findfunctab stands behind the functions, and its size."""
        wanted = bytearray()
        for at in range(0, self.end, _PART):
            i = max(bisect_right(self.entries, at) - 1, 0)
            if at % _BUCKET == 0:
                first = i
                wanted += struct.pack("<I", first)
            wanted.append(i - first & 255)
        at = self.program.find(wanted, self.behind)
        return (at, len(wanted)) if at > 0 else (0, 0)


class _Writer:
    """The columns so far; `high` is where the tables end that functions so far point to."""

    def __init__(self, tables: _Tables) -> None:
        self.tables, self.high = tables, 1
        self.rows: list[list[int]] = [[] for _ in range(COLUMNS)]
        self.values, self.lengths = ([bytearray() for _ in TABLES] for _ in range(2))

    def function(self, fixed: list[int], pcdata: list[int], funcdata: list[int], size: int) -> None:
        """Add the words of a function, whose code is `size` units long."""
        for column, word in enumerate(fixed):
            known = 0 if column == TABLES[0] else size
            self.rows[column].append(
                self.pointer(column, word, known) if column in TABLES else word
            )
        for i in sorted(
            range(len(pcdata)), key=lambda i: (i == PCDATA_INLINE, i)
        ):  # as the linker does
            self.rows[FIXED + i].append(self.pointer(FIXED + i, pcdata[i], size))
        for i, word in enumerate(funcdata):
            self.rows[FIXED + PCDATA + i].append(word)

    def pointer(self, column: int, offset: int, size: int) -> int:
        """Return what stands in a column for the table at `offset` of pctab, and add a new table.

        `size` is how much code the function has as far as the reader knows then.
        """
        if offset > self.high:
            raise _Unknown
        if offset < self.high:
            return offset
        numbers, whole, self.high = self.tables.table(offset)
        kind, same = TABLES.index(column), whole == size
        self.values[kind] += b"".join(numbers[::2]) + b"\0"
        self.lengths[kind] += b"".join(numbers[1:-1:2] if same else numbers[1::2])
        return NEW if same else WHOLE

    def parts(self) -> list[bytes]:
        """Return columns and streams, in the order of `struct tables`."""
        words = [struct.pack(f"<{len(row)}I", *row) for row in self.rows]
        return words + [bytes(stream) for stream in (*self.values, *self.lengths)]
