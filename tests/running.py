"""Running programs of the four platforms here: the machine's own, the others under qemu-user."""

from __future__ import annotations

import shutil

import pytest

from build.config.targets import Target


def emulator(target: Target) -> list[str]:
    """Return the words that run a program of a platform on its oldest CPU; none for our own."""
    if target.name == "amd64":
        return []
    program, cpu = target.qemu
    found = shutil.which(f"{program}-static")
    if found is None:
        pytest.fail(f"{program}-static is not installed (apt: qemu-user-static)")
    return [found, "-cpu", cpu]
