"""The packet path's hot code, by upstream's recipe and by ours, in instructions per operation.

Both sides are the pinned Tailscale, Go and modules, compiled in one run. Time under emulation says
little about a router, so a QEMU plugin counts the instructions of the guest; the program runs with
two counts and the difference is divided, so that start and end cancel out. Two runs differ by a
percent or two, where the runtime's own goroutines get in between.

Needs the dynamically linked qemu-user (Debian: qemu-user), whose plugins the static one lacks.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from build.config.pins import pin  # noqa: E402
from build.config.targets import Target, select  # noqa: E402
from build.core import cache, errors, log  # noqa: E402
from build.golang import modules, tailscale  # noqa: E402
from build.native import crosscc  # noqa: E402
from build.pipeline import order  # noqa: E402
from build.views import report  # noqa: E402

SOURCE = ROOT / "benchmarks" / "speed"
FEW, MANY = 200, 1200


@dataclass(frozen=True)
class Row:
    """One benchmark on one platform: instructions per operation on both sides."""

    target: str
    name: str
    upstream: float
    ours: float

    @property
    def ratio(self) -> float:
        """How many times fewer instructions ours takes."""
        return self.upstream / self.ours


def emulator(target: Target) -> str:
    """Return the QEMU that runs a platform. Raises UserError if it is not installed."""
    found = shutil.which(target.qemu[0])
    if not found:
        raise errors.UserError(
            f"{target.qemu[0]} is not there",
            why="it counts the instructions of the benchmark",
            cure="apt install qemu-user",
        )
    return found


def plugin(folder: Path) -> Path:
    """Compile the counting plugin with the pinned zig."""
    out = folder / "count.so"
    zig = order.go_command().trees(pin("zig")).data / "ziglang" / "zig"
    words = ["cc", "-target", "x86_64-linux-gnu", "-shared", "-fPIC", "-O2"]
    caches = crosscc.environment(folder / "zig", folder / "zig")
    subprocess.run(
        [zig, *words, "-o", out, SOURCE / "count.c"],
        check=True,
        env={"HOME": str(folder), **caches},
    )
    return out


def program(target: Target, recipe: tailscale.Recipe, folder: Path) -> Path:
    """Compile the benchmark for a platform as a recipe compiles the daemon."""
    go = order.go_command()
    out = folder / f"{target.name}-{recipe.name}"
    words = tailscale.compile_words(go, recipe, tailscale.tags_of(go, recipe), "benchmark", out)
    words[-1] = str(SOURCE / "main.go")
    if recipe.lean:
        words.insert(1, order.lean_linker(go).option())
    with cache.scratch() as scratch, log.step(target.name, f"compile the {recipe.name} benchmark"):
        go.run(
            words,
            what="the benchmark",
            record=folder / "go.log",
            scratch=scratch,
            target=target,
            cwd=modules.source(go).data if recipe.modules else None,
        )
    return out


def count(target: Target, binary: Path, name: str, counter: Path, folder: Path) -> float:
    """Return the instructions that one operation of a benchmark takes."""
    totals = []
    for times in (FEW, MANY):
        out = folder / "count.txt"
        words = [emulator(target), "-cpu", target.qemu[1], "-plugin", f"{counter},out={out}"]
        subprocess.run(
            [*words, binary, name, str(times)], check=True, capture_output=True, timeout=600
        )
        totals.append(int(out.read_text()))
    return (totals[1] - totals[0]) / (MANY - FEW)


def names() -> list[str]:
    """Return the benchmarks that main.go has."""
    text = (SOURCE / "main.go").read_text()
    table = text[text.index("var benchmarks") :]
    table = table[: table.index("\n}\n")]
    return [line.split('"')[1] for line in table.splitlines() if line.startswith('\t{"')]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", action="append", default=[], help="platform; default all")
    parser.add_argument("--only", action="append", default=[], help="benchmark; default all")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    log.configure("quiet" if options.json else "auto")
    rows = []
    try:
        chosen = select(options.arch)
        for target in chosen:
            emulator(target)
        with log.session(), tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            counter = plugin(folder)
            for target in chosen:
                sides = [program(target, r, folder) for r in (tailscale.UPSTREAM, tailscale.OURS)]
                for name in options.only or names():
                    with log.step(target.name, name):
                        both = [count(target, side, name, counter, folder) for side in sides]
                    rows.append(Row(target.name, name, *both))
    except errors.Error as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if options.json:
        report.print_json([vars(row) | {"ratio": row.ratio} for row in rows])
        return 0
    report.table(
        "Instructions per operation",
        ("platform", "operation", ">upstream's recipe", ">ours", ">times fewer"),
        [
            (r.target, r.name, f"{r.upstream:,.0f}", f"{r.ours:,.0f}", f"{r.ratio:.2f}")
            for r in rows
        ],
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
