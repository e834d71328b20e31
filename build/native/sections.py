"""Where the sections of a program are."""

from __future__ import annotations

from io import BytesIO


def offsets(program: bytes) -> dict[str, int]:
    """Return {section: its offset in bytes} of an ELF file, nothing for what is none."""
    # Imported here: pyelftools costs 60 ms, and a build with nothing to do packs nothing.
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        rows = list(ELFFile(BytesIO(program)).iter_sections())
    except ELFError:
        return {}
    return {row.name: int(row["sh_offset"]) for row in rows}
