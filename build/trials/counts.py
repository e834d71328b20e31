"""The counted figures: both recipes in router-like machines of all ARM platforms."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from build.config import tools
from build.config.targets import Target
from build.core import cache, log
from build.core.errors import UserError
from build.core.workers import side_by_side
from build.gates import counted, runtime
from build.gates.counted import Counted
from build.lab import measuring_machine
from build.lab.guest import Boot
from build.lab.measuring import Side
from build.pipeline import order
from build.trials import runs

AT_ONCE = 2
"""Machines side by side: a side of each platform is counted beside the other."""


def measure(
    chosen: Sequence[Target],
    rounds: int,
    size: int,
    layout: Path | None = None,
    offline: bool = False,
) -> counted.Result:
    """Count these platforms' images against the same with upstream's binary; keep it in dist/.

    `size` is in bytes, each way, each of the `rounds`. Raises UserError if one of them is not
    positive or the machine lacks something, BuildFailed if a measurement would say nothing.
    """
    if rounds < 1 or size < 1 << 20:
        raise UserError("a measurement takes at least one round of one MiB")
    tools.require()
    runtime.require_machine(chosen, machine=True)
    found = runs.bundles(chosen, layout, offline)
    mt_lab = runs.program(offline)
    at, began = time.time(), time.monotonic()

    def count(one: Target, boot: Boot, side: Side) -> Counted:
        image = found[one.name].digest
        logs = runtime.logs_of(f"figures-{one.name}-{side.name}")
        given = mt_lab, logs, side, found[runs.PEERS], boot, rounds, size
        with log.step(one.name, f"figures of {side.name}"):
            samples = measuring_machine.measure(*given)
        return Counted(one.name, side.name, image, side.binary, tuple(samples))

    jobs = []
    for one in chosen:
        boot = runs.boot_of(one, offline)
        jobs += [partial(count, one, boot, side) for side in runs.sides(one, found[one.name])]
    with cache.locked("figures", "a measurement"):
        sides = side_by_side(jobs, AT_ONCE)
    seconds = round(time.monotonic() - began, 1)
    result = counted.Result(order.release_of().tag, size, at, seconds, tuple(sides))
    counted.write(result)
    return result
