"""The benchmark says what it measured, and refuses code that the daemon's packets do not meet."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import speed
from build.config.targets import target
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
