"""The packet path's hot code, by upstream's recipe and by ours, in instructions per operation.

Both sides are the pinned Tailscale, Go and modules, compiled in one run. Time under emulation says
little about a router, so a QEMU plugin counts the instructions of the guest; the program runs with
two counts and the difference is divided, so that start and end cancel out. Two runs differ by a
percent or two, where the runtime's own goroutines get in between.

What was measured is asked of the plugin too: it tells how often each piece of code was run, and
the program's own table tells the function. The functions that did most of the work have to be in
the daemon of the same recipe, with the same size, or the run fails: a benchmark of code that no
packet meets says nothing. On 32-bit ARM the daemon chooses its cipher by the CPU, so there each
platform is measured with and without NEON where it may have it.

Needs the dynamically linked qemu-user (Debian: qemu-user), whose plugins the static one lacks. With
--model the cycles on those CPUs of ARM that LLVM has a model of are computed too (pipeline.py;
Debian: llvm-14).
"""

from __future__ import annotations

import argparse
import bisect
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import pipeline  # noqa: E402
from build.config.pins import pin  # noqa: E402
from build.config.targets import Target, select  # noqa: E402
from build.core import cache, errors, log  # noqa: E402
from build.golang import modules, symbols, tailscale  # noqa: E402
from build.golang.pclntab import Func  # noqa: E402
from build.native import crosscc  # noqa: E402
from build.pipeline import order  # noqa: E402
from build.views import report  # noqa: E402

SOURCE = ROOT / "benchmarks" / "speed"
PACKAGE = "cmd"
"""Where our sources appear inside Tailscale's module: a folder that is there, as Go's assembler
wants, and has no files of its own."""
FEW, MANY = 200, 1200
SHARE = 0.05
"""A function that does this part of an operation's work has to be the daemon's."""
WITHOUT_NEON = ",neon=off"
CONSTRUCTOR = "github.com/tailscale/wireguard-go/device.chacha20poly1305New"
"""What the daemon's device makes ciphers with. Benchmarks of ciphers must have called it: the
daemon may hold other code of the same names that no packet meets."""
CIPHERS = ("seal-", "open-")


@dataclass(frozen=True)
class Program:
    """A compiled benchmark: its functions by address, and {name: sizes} of the daemon's."""

    path: Path
    recipe: str
    functions: list[tuple[int, Func]]
    daemon: dict[str, set[int]]
    build: str
    """The daemon's long version, which names its build."""


@dataclass(frozen=True)
class Count:
    """Instructions that one operation takes: all, and by function; `ran` is all that was run, and
    `blocks` how often each block was.
    """

    total: float
    by_function: dict[str, float]
    ran: frozenset[str] = frozenset()
    blocks: dict[pipeline.Block, float] = field(default_factory=dict)

    @property
    def code(self) -> str:
        """The packages that did the most, by their share."""
        shares: dict[str, float] = {}
        for name, number in self.by_function.items():
            package = name[: name.index(".", name.rfind("/") + 1)] if "." in name else name
            shares[package] = shares.get(package, 0) + number / self.total
        most = sorted(shares.items(), key=lambda pair: -pair[1])[:2]
        return " + ".join(f"{_short(name)} {share:.0%}" for name, share in most if share > SHARE)


@dataclass(frozen=True)
class Row:
    """One benchmark on one platform: instructions per operation on both sides."""

    target: str
    cpu: str
    name: str
    upstream: float
    ours: float
    upstream_code: str
    ours_code: str
    cycles: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Modelled cycles on both sides, by CPU, if they were asked for."""

    @property
    def ratio(self) -> float:
        """How many times fewer instructions ours takes."""
        return self.upstream / self.ours


def _short(package: str) -> str:
    for long, short in (
        ("github.com/tailscale/wireguard-go/", ""),
        ("golang.org/x/crypto/", "x/crypto/"),
        ("vendor/", ""),
        ("tailscale.com/", ""),
    ):
        if package.startswith(long):
            return short + package.removeprefix(long)
    return package


def may_lack_neon(target: Target) -> bool:
    """Whether some CPUs of a platform have NEON and others not."""
    return target.goarch == "arm" and target.go_env["GOARM"] == "7"


def cpus(target: Target) -> list[str]:
    """Return the CPUs to measure a platform on: the oldest, and that without NEON if it has it."""
    oldest = target.qemu[1]
    return [oldest, oldest + WITHOUT_NEON] if may_lack_neon(target) else [oldest]


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


def _sizes(functions: Iterable[Func]) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for function in functions:
        found.setdefault(function.name, set()).add(function.size)
    return found


def _of_daemon(made: cache.Entry, recipe: tailscale.Recipe) -> dict[str, set[int]]:
    """Return {name: sizes} of a daemon's functions.

    Ours has numbers for names; those that it was linked with are in its file of symbols.
    """
    if recipe.symbols:
        sidecar = symbols.load(cache.checked(made.artifact(tailscale.SYMBOLS)).read_bytes())
        return _sizes(sidecar.table.funcs)
    binary = cache.checked(made.artifact("tailscale.combined"))
    return _sizes(function for _, function in symbols.functions(binary))


def program(target: Target, recipe: tailscale.Recipe, folder: Path) -> Program:
    """Compile the benchmark for a platform as a recipe compiles the daemon, and that daemon."""
    go = order.go_command()
    out = folder / f"{target.name}-{recipe.name}"
    tree = modules.source(go).data if recipe.modules else go.source
    overlay = folder / f"{recipe.name}.json"
    laid = {str(tree / PACKAGE / p.name): str(p) for p in (SOURCE / "main.go", SOURCE / "linked.s")}
    overlay.write_text(json.dumps({"Replace": laid}))
    words = tailscale.compile_words(go, recipe, tailscale.tags_of(go, recipe), "benchmark", out)
    words[-1:] = [f"-overlay={overlay}", f"./{PACKAGE}"]
    # Options come before the package, which is last.
    if recipe.lean:
        words.insert(1, order.lean_linker(go).option())
    with cache.scratch() as scratch, log.step(target.name, f"compile the {recipe.name} benchmark"):
        go.run(
            words,
            what="the benchmark",
            record=folder / "go.log",
            scratch=scratch,
            target=target,
            cwd=tree,
        )
    linker = order.lean_linker(go)
    made = tailscale.build(go, target, order.release_of(), recipe, linker)
    daemon = _of_daemon(made, recipe)
    return Program(out, recipe.name, symbols.functions(out), daemon, str(made.facts["long"]))


def _run(
    target: Target, cpu: str, binary: Program, name: str, times: int, plugin: Path, folder: Path
) -> Counter[pipeline.Block]:
    """Return how often each block was run."""
    out = folder / "count.txt"
    words = [emulator(target), "-cpu", cpu, "-plugin", f"{plugin},out={out}"]
    subprocess.run(
        [*words, binary.path, name, str(times)], check=True, capture_output=True, timeout=600
    )
    found: Counter[pipeline.Block] = Counter()
    for line in out.read_text().splitlines()[1:]:
        address, number, length = line.split()
        found[pipeline.Block(int(address, 16), int(length))] += int(number) // int(length)
    return found


def count(
    target: Target, cpu: str, binary: Program, name: str, plugin: Path, folder: Path
) -> Count:
    """Return the instructions that one operation of a benchmark takes, and where.

    Raises GateFailed if a function that takes much of it is not the daemon's.
    """
    few, many = (_run(target, cpu, binary, name, times, plugin, folder) for times in (FEW, MANY))
    starts = [address for address, _ in binary.functions]
    blocks: dict[pipeline.Block, float] = {}
    by_function: dict[str, float] = {}
    ran = set()
    for block in few | many:
        index = bisect.bisect_right(starts, block.address) - 1
        function = binary.functions[index][1].name if index >= 0 else "?"
        blocks[block] = (many[block] - few[block]) / (MANY - FEW)
        spent = blocks[block] * block.instructions
        by_function[function] = by_function.get(function, 0) + spent
        if many[block]:
            ran.add(function)
    found = Count(sum(by_function.values()), by_function, frozenset(ran), blocks)
    if foreign := strangers(found, binary, name):
        raise errors.GateFailed(
            f"{name} on {target.name} measures code that is not the {binary.recipe} daemon's",
            why=", ".join(foreign),
            cure="call it as the daemon does: benchmarks/speed/main.go",
        )
    return found


def strangers(found: Count, binary: Program, name: str) -> list[str]:
    """Return what a benchmark did otherwise than the daemon.

    These are functions that do much of the work and are not in the daemon as they are here, and,
    for a cipher, the constructor that was not called.
    """
    # Forms of one generic function share a name, so there may be several sizes.
    sizes = _sizes(function for _, function in binary.functions)
    much = {
        function
        for function, number in found.by_function.items()
        if number / found.total >= SHARE and not function.startswith("main.")
    }
    wrong = []
    if name.startswith(CIPHERS):
        if CONSTRUCTOR not in found.ran:
            wrong.append(f"{CONSTRUCTOR} was not called")
        # Where it is short the daemon has it inlined in its callers only.
        if CONSTRUCTOR in binary.daemon:
            much.add(CONSTRUCTOR)
    return wrong + [
        f"{function} is another one"
        for function in sorted(much)
        if not sizes.get(function, set()) & binary.daemon.get(function, set())
    ]


def modelled(
    target: Target, cpu: str, sides: list[Program], counts: tuple[Count, Count]
) -> dict[str, tuple[float, float]]:
    """Return the modelled cycles of an operation on both sides, by CPU; none where it has no model.

    Code that was chosen for a CPU without NEON is not what these CPUs would run.
    """
    without = cpu.endswith(WITHOUT_NEON) or (target.goarch == "arm" and not may_lack_neon(target))
    if without or target.elf_machine not in pipeline.MODELS:
        return {}
    # What the runtime did in the shorter run alone is less than nothing.
    runs = [{block: times for block, times in one.blocks.items() if times > 0} for one in counts]

    def on(model: str, side: int) -> float:
        return pipeline.cycles(sides[side].path, runs[side], target.elf_machine, model)

    return {model: (on(model, 0), on(model, 1)) for model in pipeline.MODELS[target.elf_machine][2]}


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
    parser.add_argument("--model", action="store_true", help="cycles by a pipeline model too (ARM)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    log.configure("quiet" if options.json else "auto")
    rows = []
    try:
        if options.model:
            pipeline.require()
        chosen = select(options.arch)
        for target in chosen:
            emulator(target)
        with log.session(), tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            counter = plugin(folder)
            for target in chosen:
                sides = [program(target, r, folder) for r in (tailscale.UPSTREAM, tailscale.OURS)]
                for side in sides:
                    log.note(target.name, f"compared with the daemon {side.build} ({side.recipe})")
                for cpu in cpus(target):
                    for name in options.only or names():
                        with log.step(target.name, f"{name} on {cpu}"):
                            up, own = (
                                count(target, cpu, side, name, counter, folder) for side in sides
                            )
                        cycles = modelled(target, cpu, sides, (up, own)) if options.model else {}
                        told = (up.total, own.total, up.code, own.code, cycles)
                        rows.append(Row(target.name, cpu, name, *told))
    except errors.Error as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if options.json:
        report.print_json([vars(row) | {"ratio": row.ratio} for row in rows])
        return 0
    report.table(
        "Instructions per operation",
        ("platform", "CPU", "operation", ">upstream's recipe", ">ours", ">times fewer", "in"),
        [
            (
                *(r.target, r.cpu, r.name, f"{r.upstream:,.0f}", f"{r.ours:,.0f}"),
                *(f"{r.ratio:.2f}", r.ours_code),
            )
            for r in rows
        ],
    )
    if any(row.cycles for row in rows):
        report.table(
            "Cycles per operation by a model of the pipeline, not measured",
            (
                "platform",
                "counted on",
                "operation",
                "model",
                ">upstream's recipe",
                ">ours",
                ">share",
            ),
            [
                (r.target, r.cpu, r.name, model, f"{up:,.0f}", f"{own:,.0f}", f"{own / up:.2f}")
                for r in rows
                for model, (up, own) in r.cycles.items()
            ],
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
