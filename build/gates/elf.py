"""Facts of an ELF file, as far as a gate has to know them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from build.core.errors import BuildFailed

EF_ARM_ABI_FLOAT_SOFT = 0x200
EF_ARM_ABI_FLOAT_HARD = 0x400
"""ELF header flags of the ARM EABI ("ELF for the Arm Architecture", e_flags)."""


@dataclass(frozen=True)
class ElfFacts:
    """What the header and the segments of one binary say.

    `machine` is pyelftools' name (EM_ARM), `bits` 32 or 64, `float_abi` soft, hard or none,
    `interpreter` the dynamic loader's path or empty, `needed` the shared libraries asked for.
    """

    machine: str
    bits: int
    float_abi: str
    interpreter: str
    needed: tuple[str, ...]
    type: str

    @property
    def static(self) -> bool:
        """Whether the binary runs with nothing beside it."""
        return not self.interpreter and not self.needed


def read(path: Path) -> ElfFacts:
    """Read the facts of an ELF file. Raises BuildFailed if it is not one."""
    # Imported here: pyelftools costs 60 ms, and a build with nothing to do reads no ELF.
    from elftools.common.exceptions import ELFError
    from elftools.elf.dynamic import DynamicSegment
    from elftools.elf.elffile import ELFFile
    from elftools.elf.segments import InterpSegment

    try:
        with path.open("rb") as stream:
            elf = ELFFile(stream)
            interpreter, needed = "", []
            for segment in elf.iter_segments():
                if isinstance(segment, InterpSegment):
                    interpreter = segment.get_interp_name()
                elif isinstance(segment, DynamicSegment):
                    tags = segment.iter_tags("DT_NEEDED")
                    needed = [str(getattr(tag, "needed", "")) for tag in tags]
            flags = elf.header["e_flags"] if elf.header["e_machine"] == "EM_ARM" else 0
            hard = "hard" if flags & EF_ARM_ABI_FLOAT_HARD else "none"
            return ElfFacts(
                machine=elf.header["e_machine"],
                bits=elf.elfclass,
                float_abi="soft" if flags & EF_ARM_ABI_FLOAT_SOFT else hard,
                interpreter=interpreter,
                needed=tuple(needed),
                type=elf.header["e_type"],
            )
    except (ELFError, OSError) as error:
        raise BuildFailed(f"{path} is not a readable ELF file", why=str(error)) from error
