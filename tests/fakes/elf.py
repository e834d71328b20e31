"""Tiny ELF files: headers that say what a test wants, and no code."""

from __future__ import annotations

import struct

MACHINES = {"EM_ARM": 40, "EM_X86_64": 62, "EM_AARCH64": 183, "EM_MIPS": 8}
FLOAT = {"soft": 0x200, "hard": 0x400, "none": 0}
PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NULL, DT_NEEDED, DT_STRTAB, DT_STRSZ = 0, 1, 5, 10


def elf(
    machine: str = "EM_AARCH64",
    bits: int = 64,
    float_abi: str = "none",
    interpreter: str = "",
    needed: tuple[str, ...] = (),
    padding: bytes = b"",
) -> bytes:
    """Return a little-endian executable; with `interpreter` or `needed` it is a dynamic one."""
    wide = bits == 64
    word = "Q" if wide else "I"
    head_size, row_size = (64, 56) if wide else (52, 32)
    rows = 1 + bool(interpreter) + bool(needed)
    at = head_size + rows * row_size
    body = b""
    segments = []
    if interpreter:
        text = interpreter.encode() + b"\0"
        segments.append((PT_INTERP, at + len(body), len(text)))
        body += text
    if needed:
        names = b"\0"
        tags = []
        for name in needed:
            tags.append((DT_NEEDED, len(names)))
            names += name.encode() + b"\0"
        start = at + len(body)
        tags += [(DT_STRTAB, start), (DT_STRSZ, len(names)), (DT_NULL, 0)]
        body += names
        table = b"".join(struct.pack(f"<{word}{word}", *tag) for tag in tags)
        segments.append((PT_DYNAMIC, at + len(body), len(table)))
        body += table
    body += padding
    segments.insert(0, (PT_LOAD, 0, at + len(body)))
    flags = 0x5000000 | FLOAT[float_abi] if machine == "EM_ARM" else 0
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1, 1]) + bytes(9)
    head = ident + struct.pack(
        f"<HHI{word}{word}{word}IHHHHHH",
        *(2, MACHINES[machine], 1, 0, head_size, 0, flags, head_size, row_size, rows, 0, 0, 0),
    )
    table = b""
    for kind, offset, size in segments:
        if wide:
            table += struct.pack("<IIQQQQQQ", kind, 5, offset, offset, offset, size, size, 1)
        else:
            table += struct.pack("<IIIIIIII", kind, offset, offset, offset, size, size, 5, 1)
    return head + table + body
