"""Go programs of the tests, compiled by the pinned toolchain."""

from __future__ import annotations

from pathlib import Path

from build.config.targets import Target
from build.core import cache
from build.golang import stdlib
from build.pipeline import order

LINETABLES = Path(__file__).parent / "golang" / "linetables"


def compile_program(out: Path, target: Target, *, lean: bool, numbers: bool = False) -> None:
    """Compile `linetables` to `out`; `lean` by our linker, `numbers` with our runtime."""
    go = order.go_command()
    words = ["build", "-trimpath", "-o", str(out)]
    if lean:
        words.insert(1, order.lean_linker(go).option())
    with cache.scratch() as scratch:
        if numbers:
            words.insert(1, stdlib.option(go, scratch))
        go.run(
            [*words, "."],
            what="a Go program of the tests",
            record=out.with_suffix(".log"),
            scratch=scratch,
            target=target,
            cwd=LINETABLES,
        )
