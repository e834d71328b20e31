"""The stages that make binaries, side by side where they use different things of the machine."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from build.config.pins import pin
from build.config.targets import Target
from build.core import cache, log
from build.core.artifacts import Artifact
from build.core.version import Release
from build.core.workers import all_done, workers
from build.gates import audit
from build.golang import tailscale
from build.golang.gotool import Go
from build.native import busybox, compress, packers


@dataclass(frozen=True)
class Made:
    """By platform: binaries as they go into the image, busybox's applets, objects of the Go stage.

    `ran` names the stages that were not cached.
    """

    packed: dict[str, dict[str, Artifact]]
    applets: dict[str, list[str]]
    compiled: dict[str, cache.Entry]
    ran: list[str] = field(default_factory=list)


def compile_all(
    go: Go, linker: tailscale.Linker, targets: Sequence[Target], release: Release, method: str
) -> Made:
    """Compile and compress the binaries of these platforms; `method` is a way to compress.

    One worker for the go command (it uses every core itself), one for make, one that packs (one
    core).
    Raises the first failure of a stage, and ends the others.
    """
    ran: list[str] = []
    verified: list[bool] = []
    compress.require(method)
    with workers("go", "make", "pack") as (go_worker, make_worker, pack_worker):

        def noted(entry: cache.Entry, target: Target) -> cache.Entry:
            if not entry.hit:
                ran.append(f"{entry.stage} {target.name}")
            return entry

        def compile_go(target: Target) -> cache.Entry:
            entry = tailscale.build(go, target, release, linker=linker, before=check_modules)
            if not entry.hit:
                audit.check_binary(entry.data / "tailscale.combined", target, go=True)
            return noted(entry, target)

        def check_modules() -> None:
            if not verified:
                with cache.scratch() as scratch, log.step("all", "check Go modules"):
                    tailscale.verify_modules(go, scratch)
                verified.append(True)

        def compile_c(target: Target) -> cache.Entry:
            entry = busybox.build(target, pin("busybox"), pin("zig"), go.trees)
            if not entry.hit:
                audit.check_binary(entry.data / "busybox", target, go=False)
            return noted(entry, target)

        def pack(made: Future[cache.Entry], name: str, target: Target) -> cache.Entry:
            binary = made.result().artifact(name)
            tools = packing[target.name].result
            return noted(compress.compress(binary, target.name, method, tools), target)

        compiled = {t.name: go_worker.submit(compile_go, t) for t in targets}
        packing = {t.name: make_worker.submit(packers.tools, method, t, go.trees) for t in targets}
        shells = {t.name: make_worker.submit(compile_c, t) for t in targets}
        packed = {
            target.name: {
                "busybox": pack_worker.submit(pack, shells[target.name], "busybox", target),
                "tailscale.combined": pack_worker.submit(
                    pack, compiled[target.name], "tailscale.combined", target
                ),
            }
            for target in targets
        }
        everything: list[Future[Any]] = [*compiled.values(), *packing.values(), *shells.values()]
        everything += [future for pair in packed.values() for future in pair.values()]
        all_done(everything)
        return Made(
            {
                name: {part: future.result().artifact(part) for part, future in pair.items()}
                for name, pair in packed.items()
            },
            {name: list(future.result().facts["applets"]) for name, future in shells.items()},
            {name: future.result() for name, future in compiled.items()},
            ran,
        )
