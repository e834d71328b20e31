"""Upstream's recipe of what was bumped, built once and recorded, so that no check builds it."""

from __future__ import annotations

from build.bump.bump import TAILSCALE, TOOLCHAIN, Bump
from build.config import pins
from build.config.targets import targets
from build.core import log
from build.core.errors import Error
from build.gates import ratio
from build.golang import tailscale
from build.pipeline import variants

WEIGHED = (TAILSCALE, TOOLCHAIN)
"""Modules whose compiler and source Go's checksum database answers for.

Of the others' a program is built and run, which is nothing to do where a bot's token is: after
those the pull request's own check builds upstream's recipe.
"""


def record(done: Bump) -> list[str]:
    """Record in upstream.json what upstream's recipe makes of the pins after a bump, in bytes.

    Returns the platforms that were recorded: none where the bytes are known, or where the pin is
    none of `WEIGHED`. A recipe that cannot be built is told and stops nothing: it only saves work.
    """
    if done.after.module not in WEIGHED:
        return []
    recorded = []
    with pins.instead(done.after, *(after for _, after in done.along)):
        for name, target in targets().items():
            if name in ratio.known(committed=True):
                continue
            try:
                made = variants.build(target, tailscale.UPSTREAM)[1]
            except Error as error:
                log.warn(f"{name}: upstream's recipe is not recorded: {error}")
                continue
            ratio.write({name: ratio.Weight(ratio.now(), made.size)}, ratio.UPSTREAM)
            recorded.append(name)
    return recorded
