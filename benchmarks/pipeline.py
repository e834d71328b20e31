"""Cycles of counted code by a model of a CPU's pipeline: LLVM's llvm-mca.

No router was measured. What the counting plugin says was run, block by block, is taken from the
program's file, and llvm-mca computes how many cycles each block takes when it is repeated without
end; times the number of runs that is the sum. So caches, mispredicted branches and the kernel cost
nothing, and what depends on the block before does only within a loop. It compares two codes of the
same purpose on a CPU; it does not say how long anything takes.

Needs LLVM 14 (Debian: llvm-14), for what has instructions of 4 bytes: arm64 and ARM code.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from elftools.elf.elffile import ELFFile

from build.core import errors

VERSION = "14"
MODELS = {
    "EM_AARCH64": ("aarch64-linux-gnu", "", ("cortex-a53", "cortex-a57")),
    "EM_ARM": ("armv7-linux-gnueabihf", "+neon,+vfp4", ("cortex-a57",)),
}
"""By ELF machine: LLVM's triple, what it has besides, and CPUs of which there are models. Of
the Cortex-A7, which most such routers have, llvm-mca 14 takes none; those of Cortex-A9 and R52 lack
some of this code.
"""

WORD = 4
MOST = 0.995
"""Part of the instructions whose blocks are modelled; the rest counts as the mean of them."""

LEAST = 0.95
"""The part that has to be modelled."""

CALL = re.compile(r"^(\s*)bl([rx]?(?:[a-z]{2})?\s)")
"""BLE, BLT, BLS and BLO are none."""

SEVERAL = re.compile(
    r"^\s*(?P<word>ldm|stm|push|pop)\w*\s+(?:(?P<base>\w+)!?,\s*)?\{(?P<names>[^}]+)\}"
)

REPEATED = 100
"""How often a block is run in the model."""


@dataclass(frozen=True)
class Block:
    """Code that was run from its first to its last instruction: address, number of instructions."""

    address: int
    instructions: int


def _tool(name: str) -> str:
    found = shutil.which(f"{name}-{VERSION}")
    if not found:
        raise errors.UserError(
            f"{name}-{VERSION} is not there",
            why="it models the pipelines of --model",
            cure=f"apt install llvm-{VERSION}",
        )
    return found


def require() -> None:
    """Raise UserError if LLVM is not installed."""
    _tool("llvm-mc")
    _tool("llvm-mca")


def _code(path: Path, blocks: list[Block]) -> list[bytes]:
    """Return the bytes of blocks by their addresses."""
    found = []
    with path.open("rb") as file:
        loaded = [s for s in ELFFile(file).iter_segments() if s["p_type"] == "PT_LOAD"]
        for block in blocks:
            home = next(s for s in loaded if 0 <= block.address - s["p_vaddr"] < s["p_filesz"])
            file.seek(home["p_offset"] + block.address - home["p_vaddr"])
            found.append(file.read(WORD * block.instructions))
    return found


def _assembly(argv: list[str], codes: list[bytes]) -> list[list[str]]:
    """Return the lines of each code, one for an instruction; `argv` is llvm-mc for its machine."""
    words = [
        " ".join(f"{byte:#04x}" for byte in code[at : at + WORD])
        for code in codes
        for at in range(0, len(code), WORD)
    ]
    text = "\n".join(words) + "\n"
    said = subprocess.run(argv, input=text, capture_output=True, text=True).stdout
    lines = [line for line in said.splitlines() if line.strip() != ".text"]
    if len(lines) != len(words):
        raise errors.BuildFailed(
            "the pipeline model cannot read the code",
            why=f"{len(words)} instructions became {len(lines)} lines",
            cure="the CPU has instructions that this LLVM does not know",
        )
    rows = iter(lines)
    return [[said for _ in code[::WORD] for said in modelled(next(rows))] for code in codes]


def modelled(line: str) -> list[str]:
    """Return what llvm-mca is given for an instruction: itself, for nearly all.

    A call it takes for 100 cycles, whatever is called; that is counted by itself, so it becomes a
    jump. Loads of several registers at once, on which some models crash, it gets one by one.
    """
    if found := SEVERAL.match(line):
        word = "ldr" if found["word"] in ("ldm", "pop") else "str"
        names = [name.strip() for name in found["names"].split(",")]
        return [f"\t{word}\t{name}, [{found['base'] or 'sp'}]" for name in names]
    return [CALL.sub(r"\1b\2", line)]


def cycles(path: Path, runs: Mapping[Block, float], machine: str, cpu: str) -> float:
    """Return the modelled cycles of blocks of a program, each run so often.

    Raises UserError without LLVM, BuildFailed if it cannot read the code.
    """
    name, besides, _ = MODELS[machine]
    options = [f"-mcpu={cpu}", f"-mattr={besides}"]
    reader = [_tool("llvm-mc"), "--disassemble", f"-triple={name}", *options]
    argv = [_tool("llvm-mca"), f"-mtriple={name}", *options, "-json", f"-iterations={REPEATED}"]
    spent = {block: block.instructions * times for block, times in runs.items()}
    whole = sum(spent.values())
    ordered = sorted(runs, key=lambda b: (-spent[b], b.address))
    before = accumulate((spent[block] for block in ordered), initial=0.0)
    hot = [block for block, sofar in zip(ordered, before, strict=False) if sofar < MOST * whole]
    total = taken = 0.0
    for block, lines in zip(hot, _assembly(reader, _code(path, hot)), strict=True):
        done = subprocess.run(argv, input="\n".join(lines) + "\n", capture_output=True, text=True)
        if done.returncode:
            continue  # LLVM 14 has instructions on which the model of a CPU crashes
        view = json.loads(done.stdout)["CodeRegions"][0]["SummaryView"]
        total += runs[block] * view["TotalCycles"] / view["Iterations"]
        taken += spent[block]
    if taken < LEAST * whole:
        raise errors.BuildFailed(
            f"there is no model of {cpu} for this code",
            why=f"llvm-mca takes blocks of {taken / whole:.0%} of the instructions",
            cure=f"is it LLVM {VERSION}?",
        )
    return total * whole / taken
