"""Go's table of functions (.gopclntab): which function, file and line an instruction belongs to.

Read the way Go's runtime reads it: runtime/symtab.go and symtabinl.go of Go 1.26.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property

from build.core.errors import BuildFailed

# From internal/abi/symtab.go of the pinned Go.
TABLE_MAGIC = 0xFFFFFFF1
PCDATA_INLINE = 2
FUNCDATA_INLINE = 3
FUNC_SIZE = 44
NOTHING = 0xFFFFFFFF
DEEPEST = 1000
"""Calls inlined into each other; where a table has more it leads in a circle."""

UNNAMED = "func."
"""The name of all functions whose own name our linker left out (patches/linker)."""


@dataclass(frozen=True)
class Frame:
    """One call in a stack: the function and the place in its source file."""

    function: str
    file: str
    line: int


@dataclass(frozen=True)
class Func:
    """A function with code of its own: `entry` counts from the start of the text, `size` is in
    bytes, `at` is where its record lies in the table.
    """

    name: str
    entry: int
    size: int
    at: int


class Table:
    """The functions of a program, and what their tables say about an instruction."""

    def __init__(self, data: bytes, inline: int = 0) -> None:
        """Take the section's bytes; `inline` is where in them go:func.* lies, from which inline
        trees are counted. Raises BuildFailed for a table of another Go.
        """
        magic, _, self.quantum, self.pointer = struct.unpack_from("<IHBB", data)
        if magic != TABLE_MAGIC:
            raise BuildFailed(
                "this table of functions is of another Go",
                why=f"its magic number is {magic:#x}, the known one {TABLE_MAGIC:#x}",
            )
        header = struct.unpack_from("<8Q" if self.pointer == 8 else "<8I", data, 8)
        self.count, _, _, self.names, self.units, self.files, self.values, self.table = header
        self.data, self.inline = data, inline

    def _text(self, at: int) -> str:
        return self.data[at : self.data.index(b"\0", at)].decode()

    @cached_property
    def funcs(self) -> list[Func]:
        """All functions, by address."""
        rows = struct.unpack_from(f"<{2 * self.count + 1}I", self.data, self.table)
        result = []
        for i in range(self.count):
            at = self.table + rows[2 * i + 1]
            name = self._text(self.names + struct.unpack_from("<i", self.data, at + 4)[0])
            result.append(Func(name, rows[2 * i], rows[2 * i + 2] - rows[2 * i], at))
        return result

    @cached_property
    def by_printed_name(self) -> dict[str, list[Func]]:
        """Functions by the name that a report prints, which several may share: [...] is printed
        for all type arguments.
        """
        result: dict[str, list[Func]] = {}
        for func in self.funcs:
            result.setdefault(printed(func.name), []).append(func)
        return result

    @cached_property
    def by_number(self) -> dict[int, Func]:
        """Functions by what a report prints of those that have no name in the program."""
        return {func.entry: func for func in self.funcs}

    def varint(self, at: int) -> tuple[int, int]:
        """Return the number at an offset of the section (LEB128), and where it ends."""
        value = shift = 0
        while True:
            byte = self.data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value, at

    def _value(self, offset: int, target: int) -> int:
        """Return the value at an instruction, by a table of differences; -1 if there is none."""
        if offset == 0:
            return -1
        at, value, pc, first = self.values + offset, -1, 0, True
        while True:
            delta, at = self.varint(at)
            if delta == 0 and not first:
                return -1
            first = False
            value += -(delta >> 1) - 1 if delta & 1 else delta >> 1
            step, at = self.varint(at)
            pc += step * self.quantum
            if target < pc:
                return value

    def frames(self, func: Func, offset: int) -> list[Frame]:
        """Return what the instruction at an offset belongs to, the innermost inlined call first.

        Raises ValueError for a tree of inlined calls without an end.
        """
        _, pcfile, pcline, npcdata, unit = struct.unpack_from("<5I", self.data, func.at + 16)
        nfuncdata = self.data[func.at + FUNC_SIZE - 1]
        pcdata = struct.unpack_from(f"<{npcdata}I", self.data, func.at + FUNC_SIZE)
        funcdata = struct.unpack_from(
            f"<{nfuncdata}I", self.data, func.at + FUNC_SIZE + 4 * npcdata
        )
        tree = funcdata[FUNCDATA_INLINE] if nfuncdata > FUNCDATA_INLINE else NOTHING
        result: list[Frame] = []
        while len(result) < DEEPEST:
            number, line = self._value(pcfile, offset), self._value(pcline, offset)
            file = "?"
            if number >= 0:
                name = struct.unpack_from("<I", self.data, self.units + 4 * (unit + number))[0]
                file = self._text(self.files + name)
            index = -1
            if tree != NOTHING and npcdata > PCDATA_INLINE:
                index = self._value(pcdata[PCDATA_INLINE], offset)
            if index < 0:
                return [*result, Frame(func.name, file, max(line, 0))]
            row = self.inline + tree + 16 * index
            _, name, offset, _ = struct.unpack_from("<IiiI", self.data, row)
            result.append(Frame(self._text(self.names + name), file, max(line, 0)))
        raise ValueError(f"{func.name} has inlined calls that lead in a circle")


def printed(name: str) -> str:
    """Return a function's name as a report has it: [...] for what is in brackets."""
    if name == "runtime.gopanic":
        return "panic"
    opening, closing = name.find("["), name.rfind("]")
    if opening < 0 or closing < opening:
        return name
    return name[:opening] + "[...]" + name[closing + 1 :]
