"""Crash reports: places in source files put back from the symbols that the build left beside.

The linker leaves line tables out of the shipped program. A twin, linked by the toolchain's own
linker from the same packages, has them, and has the same functions at the same addresses, which
`extract` checks. The sidecar is the twin's table behind a header that names the shipped build.
"""

from __future__ import annotations

import json
import lzma
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from build.core.errors import BuildFailed, UserError
from build.golang.pclntab import UNNAMED, Func, Table, printed

MAGIC = b"mikrotik-tailscale symbols 1\n"

LARGEST, MEMORY = 64_000_000, 128 << 20
"""Bytes of a sidecar when unpacked (ours have some 7,000,000), and to unpack it with (preset 9
takes 65 MiB): a file that somebody names may be made to take all that there is.
"""

_DAMAGED = (struct.error, IndexError, KeyError, TypeError, ValueError)
"""What the readers of a table raise where it leads nowhere."""


def _table(path: Path) -> tuple[bytes, int, int, int]:
    """Return a Go program's table, its address, the text's, and that of go:func.* (0: none)."""
    # Imported here: pyelftools costs 60 ms that a build with nothing to do need not pay.
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import SymbolTableSection

    with path.open("rb") as stream:
        elf = ELFFile(stream)
        table, text = elf.get_section_by_name(".gopclntab"), elf.get_section_by_name(".text")
        if table is None or text is None:
            raise BuildFailed(f"{path} is not a Go program, or a compressed one")
        functions = 0
        names = elf.get_section_by_name(".symtab")
        if isinstance(names, SymbolTableSection):
            found = names.get_symbol_by_name("go:func.*") or []
            functions = next((symbol["st_value"] for symbol in found), 0)
        return table.data(), table["sh_addr"], text["sh_addr"], functions


def functions(path: Path) -> list[tuple[int, Func]]:
    """Return a Go program's functions by address, before compression. Raises BuildFailed."""
    data, _, text, _ = _table(path)
    return [(text + func.entry, func) for func in Table(data).funcs]


def extract(shipped: Path, twin: Path, stamp: str) -> bytes:
    """Return the sidecar for a shipped program (before compression), from its twin.

    The stamp is what the program says of itself when it starts, its long version; a report that
    does not contain it is of another build. Raises BuildFailed if the two differ in a function.
    """
    ours, _, text, _ = _table(shipped)
    data, address, _, functions = _table(twin)
    if not functions:
        raise BuildFailed(f"{twin} has no symbol table", cure="link it with -w, without -s")
    table = Table(data, functions - address)
    have = [(f.entry, f.size, printed(f.name)) for f in Table(ours).funcs]
    # Where the program has no name, a report has the function's number: where it begins.
    left_out = {entry for entry, _, name in have if name == UNNAMED}
    names = ((f, UNNAMED if f.entry in left_out else printed(f.name)) for f in table.funcs)
    want = [(f.entry, f.size, name) for f, name in names]
    if have != want:
        pairs = enumerate(zip(have, want, strict=False))
        first = next((i for i, (a, b) in pairs if a != b), min(len(have), len(want)))
        raise BuildFailed(
            "the program and its twin with line tables differ",
            why=f"{len(have)} and {len(want)} functions, the first at number {first}: "
            f"{have[first : first + 1]}, {want[first : first + 1]}",
            cure="both must be linked from the same packages",
        )
    header = {"stamp": stamp, "text": text, "inline": table.inline}
    body = MAGIC + json.dumps(header, sort_keys=True).encode() + b"\n" + data
    return lzma.compress(body, preset=9)


@dataclass(frozen=True)
class Symbols:
    """A sidecar: the build's stamp, the address of its text, and its table of functions."""

    stamp: str
    text: int
    table: Table


def load(sidecar: bytes) -> Symbols:
    """Read a sidecar. Raises UserError if it is none."""
    try:
        body = _unpacked(sidecar)
        if not body.startswith(MAGIC):
            raise ValueError("it begins otherwise")
        line, _, data = body[len(MAGIC) :].partition(b"\n")
        header = json.loads(line)
        stamp, text, inline = header["stamp"], header["text"], header["inline"]
        if not (isinstance(stamp, str) and isinstance(text, int) and isinstance(inline, int)):
            raise ValueError("its header has other types")
        return Symbols(stamp, text, Table(data, inline))
    except (lzma.LZMAError, EOFError, RecursionError, BuildFailed, *_DAMAGED) as error:
        raise UserError("this is not a file of symbols", why=str(error)) from error


def _unpacked(sidecar: bytes) -> bytes:
    reader = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY)
    body = reader.decompress(sidecar, LARGEST + 1)
    if len(body) > LARGEST:
        raise ValueError(f"it has more than {LARGEST:,} B")
    if not reader.eof or reader.unused_data:
        raise ValueError("it is cut off" if not reader.eof else "something follows it")
    return body


# A container's log may put the time and the name before each line; RouterOS does.
PLACE = re.compile(
    r"^(?P<lead>.*?)(?P<tab>\t|\s{2,}|\s)\?:0(?: \+0x(?P<offset>[0-9a-f]+))?"
    r"(?P<rest>(?: fp=0x[0-9a-f]+ sp=0x[0-9a-f]+)?(?: pc=0x(?P<pc>[0-9a-f]+))?)\s*$"
)
NUMBER = re.compile(rf"\b{re.escape(UNNAMED)}0x([0-9a-f]+)\b")
TRAP = re.compile(r"\b(?:pc|PC)=0x([0-9a-f]+)(?!.*\bsp=)")


def symbolize(report: str, symbols: Symbols, trust: bool = False) -> str:
    """Return the report with places in source files, and with the inlined frames.

    `trust` takes the user's word for it that the report is of this build. Raises UserError if it
    is of another one or has no stack trace, and if the table of the symbols is damaged.
    """
    try:
        return _symbolized(report, symbols, trust)
    except _DAMAGED as error:
        raise UserError("this file of symbols is damaged", why=str(error)) from error


def _symbolized(report: str, symbols: Symbols, trust: bool) -> str:
    if not trust and symbols.stamp not in report:
        raise UserError(
            "this report is not of the build that the symbols are of",
            why=f"it does not say '{symbols.stamp}', as that build does when it starts",
            cure="use the symbols of the build that the log names; if the log begins later than "
            "the start and you know that it is of this build, add --trust",
        )
    lines = report.splitlines()
    # Where a signal struck, the instruction itself counts; all else are returns from calls.
    traps = {int(m[1], 16) for line in lines if "?:0" not in line for m in TRAP.finditer(line)}
    out, faults, places = [], [], 0
    for i, line in enumerate(lines):
        place = PLACE.match(line)
        if place is None or i == 0:
            out.append(_named(line, symbols.table))
            continue
        places += 1
        caller, named = lines[i - 1], out.pop().rstrip()
        name, lead = _split(caller)
        offset = int(place["offset"] or "0", 16)
        candidates = [f for f in _called(name, symbols.table) if offset <= f.size]
        if place["pc"]:
            pc = int(place["pc"], 16) - symbols.text
            candidates = [f for f in candidates if f.entry + offset == pc]
        if not candidates:
            faults.append(f"{name} +{offset:#x}")
            out += [caller, line]
            continue
        found = []
        for func in candidates:
            trapped = symbols.text + func.entry + offset in traps
            frames = symbols.table.frames(func, offset if trapped or offset == 0 else offset - 1)
            if frames not in found:
                found.append(frames)
        tab, rest = place["tab"], place["rest"] or ""
        plus = f" +{offset:#x}" if offset else ""
        for frame in found[0][:-1]:
            out.append(f"{lead}{printed(frame.function)}(...)")
            out.append(f"{place['lead']}{tab}{frame.file}:{frame.line}")
        where = " or ".join(f"{frames[-1].file}:{frames[-1].line}" for frames in found)
        out.append(named)
        out.append(f"{place['lead']}{tab}{where}{plus}{rest}")
    if places == 0:
        raise UserError(
            "there is nothing to do in this report",
            why="it has no stack trace, or one that has its places already",
        )
    if faults:
        raise UserError(
            "this report is not of the build that the symbols are of",
            why=f"{len(faults)} of {places} frames are not in it, such as {faults[0]}",
            cure="use the symbols of the build that crashed",
        )
    return "\n".join(out) + "\n"


def _called(name: str, table: Table) -> list[Func]:
    """Return the functions that a report means by a name or a number."""
    number = NUMBER.fullmatch(name)
    if number is None:
        return table.by_printed_name.get(name, [])
    func = _numbered(number, table)
    return [func] if func else []


def _numbered(number: re.Match[str], table: Table) -> Func | None:
    return table.by_number.get(int(number[1], 16))


def _named(line: str, table: Table) -> str:
    """Return a line with names for the numbers in it; one that is not known stays."""

    def name(number: re.Match[str]) -> str:
        func = _numbered(number, table)
        return printed(func.name) if func else number[0]

    return NUMBER.sub(name, line)


def _split(line: str) -> tuple[str, str]:
    """Return the function's printed name in a line, and what is before it."""
    text = line.rstrip()
    start = text.rfind("created by ")
    if start >= 0:
        name = re.sub(r" in goroutine \d+$", "", text[start + len("created by ") :])
        return name, text[:start]
    end = text.rfind("(") if text.endswith(")") else len(text)
    start = max(text.rfind(" ", 0, end), text.rfind("\t", 0, end)) + 1
    # A type argument may hold a space, but it is printed as [...].
    return text[start:end], text[:start]
