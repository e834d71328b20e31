"""The order of the stages, for one platform or all: the only room that knows every stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.version import Version

from build.config import tools
from build.config.pins import Pin, pin, pins
from build.config.targets import Target, targets
from build.core import cache, log, upkeep
from build.core.artifacts import Artifact, Rootfs
from build.core.errors import UserError
from build.core.version import Release
from build.gates import audit, size
from build.golang import linker, modules, tailscale
from build.golang.gotool import Go
from build.image import buildx, dist, engine, oci, rootfs
from build.native.compress import DEFAULT
from build.pipeline import binaries
from build.sbom import document
from build.sources import obtain

ASSEMBLERS = ("oci", "buildx")
"""Who writes the layout of all platforms: this project, or docker buildx."""


@dataclass(frozen=True)
class Request:
    """What to build: platforms, release, way to compress; `whole` asks for the one index of all.

    `assembler`, one of ASSEMBLERS, makes that index. `offline` forbids the network, `check_size`
    makes an exceeded cap an error; without `products` nothing is written to dist/.
    """

    targets: Sequence[Target]
    release: Release
    compress: str = DEFAULT
    offline: bool = False
    whole: bool = False
    check_size: bool = True
    assembler: str = "oci"
    products: bool = True


@dataclass
class Result:
    """What was built: sizes, images, SBOMs and products.

    `ran` names the stages that were not cached.
    """

    measures: list[size.Measure] = field(default_factory=list)
    images: dict[str, cache.Entry] = field(default_factory=dict)
    rootfs: dict[str, Rootfs] = field(default_factory=dict)
    sboms: dict[str, cache.Entry] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)
    written: list[str] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    seconds: float = 0.0


def release_of(tag_revision: int = 0) -> Release:
    """Return the release for the pinned Tailscale; revision 0 is a build nobody released."""
    return Release(Version(pin("tailscale").version), tag_revision)


def _trees(offline: bool) -> Callable[[Pin], cache.Entry]:
    return lambda wanted: obtain.tree(wanted, offline=offline)


def go_command(offline: bool = False) -> Go:
    """Return the go command and sources that the repository pins."""
    return Go(pin("tailscale"), pin("go"), _trees(offline), offline)


def lean_linker(go: Go) -> tailscale.Linker:
    """Return the linker without line tables, for the Go stage."""
    return tailscale.Linker(linker.identity(go), linker.key(go), lambda: linker.build(go))


def build(request: Request) -> Result:
    """Build, audit and measure the requested images and bring dist/ up to date.

    An object of the cache that turns out damaged is thrown away and made again. Raises the errors
    of the stages, and GateFailed if an image is wrong or too large.
    """
    start = time.monotonic()
    tools.require()
    _check_assembler(request)
    upkeep.sweep()
    mended: set[Path] = set()
    while True:
        try:
            result = _build_once(request)
            break
        except cache.Damaged as error:
            if error.folder in mended:
                raise
            mended.add(error.folder)
            log.warn(f"{error}; it is made again")
            cache.discard_folder(error.folder)
    result.seconds = time.monotonic() - start
    if request.check_size:
        size.require(result.measures)
    return result


def _check_assembler(request: Request) -> None:
    """Raise UserError before minutes of compiling if the assembler cannot work."""
    if request.assembler not in ASSEMBLERS:
        raise UserError(
            f"'{request.assembler}' is not an assembler", cure=f"one of: {', '.join(ASSEMBLERS)}"
        )
    # Where it worked before, the engine is asked only if there is something to assemble.
    if request.assembler == "buildx" and buildx.PRODUCT not in dist.read_record():
        engine.require()


def _build_once(request: Request) -> Result:
    result = Result()
    go = go_command(request.offline)
    made = binaries.compile_all(
        go, lean_linker(go), request.targets, request.release, request.compress
    )
    result.ran += made.ran
    history = size.recorded()
    beside: dict[str, tuple[str, Artifact]] = {}
    for target in request.targets:
        files = rootfs.collect(made.packed[target.name], made.applets[target.name])
        epoch = pin("tailscale").epoch
        entry = oci.assemble(target, files, request.release, epoch)
        result.ran += [] if entry.hit else [f"image {target.name}"]
        result.rootfs[target.name] = files
        result.images[target.name] = entry
        result.measures += size.measure(target, files, history)
        if request.products:
            beside |= _beside(go, request, result, target, made.compiled[target.name])
    if not request.products:
        return result
    chosen = {target.name: target for target in request.targets}
    check: dist.Check = _audit
    assembler = None
    if request.assembler == "buildx":
        check, assembler = _by_buildx(
            buildx.Job(chosen, result.rootfs, request.release, pin("tailscale").epoch)
        )
    result.record, result.written = dist.write(
        result.images,
        chosen,
        request.release,
        check,
        whole=request.whole,
        beside=beside,
        assembler=assembler,
    )
    result.ran += ["buildx all"] if buildx.PRODUCT in result.written else []
    return result


def _by_buildx(job: buildx.Job) -> tuple[dist.Check, dist.Assembler]:
    """Return who assembles by buildx, and the gate that also compares with our own assembler."""

    def check(path: Path, chosen: dict[str, Target]) -> None:
        _audit(path, chosen)
        if path.name == buildx.PRODUCT:
            audit.require(buildx.faults(job, path), path.name)

    def write(folder: Path) -> dict[str, Any]:
        return buildx.assemble(job, folder)

    return check, dist.Assembler(buildx.PRODUCT, job.made_from(), write)


def _beside(
    go: Go, request: Request, result: Result, target: Target, program: cache.Entry
) -> dict[str, tuple[str, Artifact]]:
    """Return the files that go with a platform's image: symbols and SBOM."""
    subject = document.Subject(
        name=oci.REPOSITORY,
        tag=request.release.tag,
        target=target,
        manifest=result.images[target.name].facts["manifest"],
        epoch=pin("tailscale").epoch,
        binary=program.artifact("tailscale.combined"),
        files=result.rootfs[target.name],
        packed=request.compress,
    )
    sbom = result.sboms[target.name] = document.build(go, subject)
    result.ran += [] if sbom.hit else [f"{sbom.stage} {target.name}"]
    long = str(program.facts["long"])
    return {
        dist.symbols_name(target.name, long): (target.name, program.artifact(tailscale.SYMBOLS)),
        dist.sbom_name(target.name, long): (target.name, sbom.artifact(document.FILE)),
    }


def _audit(path: Path, chosen: dict[str, Target]) -> None:
    """The gate that every product passes before it gets its name in dist/."""
    if path.is_dir():
        audit.require(audit.layout_faults(path, chosen), path.name)
    else:
        (target,) = chosen.values()
        audit.require(audit.archive_faults(path, target), path.name)


def fetch(offline: bool = False) -> list[Pin]:
    """Download and unpack every pin, and the Go modules of every platform."""
    for wanted in pins().values():
        obtain.tree(wanted, offline=offline)
    go = go_command()
    modules.source(go)
    with cache.scratch() as scratch:
        for target in targets().values():
            with log.step(target.name, "Go modules"):
                tailscale.fetch_modules(go, target, scratch)
        with log.step("all", "check Go modules"):
            # Reads the go.mod of every module in the graph, which an offline build then finds.
            tailscale.verify_modules(go, scratch)
    return list(pins().values())
