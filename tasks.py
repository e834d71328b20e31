"""The commands, for invoke: `invoke --list` shows them. They are in build/commands/."""

from __future__ import annotations

import sys

from invoke import Collection, Task

from build.commands import (
    asking,
    building,
    inputs,
    looking,
    pages,
    proving,
    publishing,
    releasing,
    routers,
)
from build.config import tools

if sys.version_info < tools.LOWEST_PYTHON:
    raise SystemExit("error: this needs Python 3.11 or newer; run ./dev with one")

namespace = Collection()
for module in (building, inputs, looking, pages, proving, publishing, releasing, routers):
    for found in vars(module).values():
        if isinstance(found, Task):
            namespace.add_task(found)

asking.guard()

if __name__ == "__main__":
    asking.run()
