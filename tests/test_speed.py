"""The benchmark says what it measured, and refuses code that the daemon's packets do not meet."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from fakes import elf

from benchmarks import pipeline, speed
from build.config.targets import target
from build.core.errors import UserError
from build.golang.pclntab import Func

ASSEMBLY = "golang.org/x/crypto/chacha20.blocks"
DAEMON = {speed.CONSTRUCTOR: {40}, ASSEMBLY: {900}}


def program(**sizes: int) -> speed.Program:
    known = {speed.CONSTRUCTOR: 40, ASSEMBLY: 900} | sizes
    functions = [
        (i * 4096, Func(name, i * 4096, n, 0)) for i, (name, n) in enumerate(known.items())
    ]
    return speed.Program(Path("x"), "ours", functions, DAEMON, "1.0")


def count(*ran: str) -> speed.Count:
    return speed.Count(1000.0, {ASSEMBLY: 900.0, "main.seal": 100.0}, frozenset(ran))


def test_the_daemons_own_code_is_taken() -> None:
    found = count(speed.CONSTRUCTOR, ASSEMBLY)
    assert speed.strangers(found, program(), "seal-64") == []
    assert found.code == "x/crypto/chacha20 90% + main 10%"


def test_a_cipher_that_the_device_did_not_make_is_refused() -> None:
    """The same assembly is in the daemon too, for others than packets: that proves nothing."""
    (fault,) = speed.strangers(count(ASSEMBLY), program(), "open-1420")
    assert fault == f"{speed.CONSTRUCTOR} was not called"
    assert speed.strangers(count(ASSEMBLY), program(), "gso-split-tcp-10") == []


@pytest.mark.parametrize("name", [ASSEMBLY, speed.CONSTRUCTOR])
def test_other_code_of_the_same_name_is_refused(name: str) -> None:
    found = count(speed.CONSTRUCTOR, ASSEMBLY)
    assert speed.strangers(found, program(**{name: 41}), "seal-64") == [f"{name} is another one"]


def test_platforms_that_may_have_neon_are_measured_without_it_too() -> None:
    assert speed.cpus(target("armv7")) == ["cortex-a7", "cortex-a7,neon=off"]
    assert speed.cpus(target("armv5")) == ["arm926"]
    assert speed.cpus(target("arm64")) == ["cortex-a53"]


def test_every_benchmark_of_a_cipher_is_known_as_one() -> None:
    text = (speed.SOURCE / "main.go").read_text()
    assert "chacha20poly1305.New(" not in text
    assert sum(name.startswith(speed.CIPHERS) for name in speed.names()) == 4


# --- the model of a pipeline ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "modelled"),
    [
        ("\tbl\t#12", "\tb\t#12"),
        ("\tblr\tx3", "\tbr\tx3"),
        ("\tbleq\t#12", "\tbeq\t#12"),
        ("\tblxne\tr3", "\tbxne\tr3"),
        ("\tble\t#-8", "\tble\t#-8"),
        ("\tblo\t#-8", "\tblo\t#-8"),
        ("\tb.ls\t#-8", "\tb.ls\t#-8"),
        ("\tsubs\tr0, r0, #1", "\tsubs\tr0, r0, #1"),
        ("\tldm\tr11!, {r9, lr}", "\tldr\tr9, [r11]\n\tldr\tlr, [r11]"),
        ("\tpush\t{r4}", "\tstr\tr4, [sp]"),
        ("\tvldmia\tr0, {d0, d1}", "\tvldmia\tr0, {d0, d1}"),
    ],
)
def test_what_the_model_takes_wrong_is_put_otherwise(line: str, modelled: str) -> None:
    assert "\n".join(pipeline.modelled(line)) == modelled


def test_without_llvm_the_model_says_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError) as caught:
        pipeline.require()
    assert caught.value.cure == "apt install llvm-14"


@pytest.mark.skipif(not shutil.which("llvm-mca-14"), reason="llvm-14 is not installed")
def test_cycles_of_a_block_are_those_of_its_slowest_chain(tmp_path: Path) -> None:
    """Eight additions that wait for each other take more than eight that do not."""
    chain = struct.pack("<I", 0x8B010000) * 8  # add x0, x0, x1
    free = b"".join(
        struct.pack("<I", 0x8B1F03E0 | n << 5 | 8 + n) for n in range(8)
    )  # add xN, xM, xzr
    found = {}
    for name, code in (("chain", chain), ("free", free)):
        path = tmp_path / name
        path.write_bytes(elf.elf("EM_AARCH64", 64, padding=code))
        with path.open("rb") as file:
            (segment,) = [s for s in ELFFile(file).iter_segments() if s["p_type"] == "PT_LOAD"]
        at = segment["p_vaddr"] + path.read_bytes().index(code) - segment["p_offset"]
        block = pipeline.Block(at, 8)
        found[name] = pipeline.cycles(path, {block: 3.0}, "EM_AARCH64", "cortex-a53")
    assert found["chain"] >= 3 * 8
    assert found["free"] < found["chain"]
