"""Images to the runtime gate: builds what it needs, runs it, runs its negative controls."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from build.config import features, tools
from build.config.targets import Target, target
from build.core import cache, digest, log
from build.core.errors import BuildFailed, GateFailed, UserError
from build.core.paths import dist_dir
from build.core.workers import side_by_side
from build.gates import figures, records, runtime
from build.gates.records import Record, Verdict, wanted_for
from build.gates.runtime import NegativeRun
from build.golang import tailscale
from build.image import bundle
from build.image.bundle import Bundle
from build.lab import boot, measuring, servers
from build.lab.controls import NegativeControl, negatives_for
from build.lab.guest import Boot
from build.lab.world import laboratory, populate
from build.pipeline import order, variants

BINARY = measuring.BINARY
AT_ONCE = 3
"""Emulated platforms that run side by side: one alone waits a good part of the time."""
PEERS = "amd64"
"""Platform of the peers: what the laboratory's machine runs itself."""


def program(offline: bool = False) -> Path:
    """Return the laboratory's own binary, `mt-lab`."""
    cache.prepare()
    made = servers.build(order.go_command(offline))
    return cache.checked(made.artifact("mt-lab"))


def boot_of(one: Target, offline: bool = False) -> Boot:
    """Return what a platform's router-like machine boots, its kernel fetched and its initrd made.

    Raises UserError for a platform that has none.
    """
    guest = servers.build_guest(order.go_command(offline), one)
    made = boot.build(guest, one, offline=offline)
    kernel, initrd = (cache.checked(made.artifact(name)) for name in ("vmlinuz", "initrd"))
    return Boot(boot.model(one), kernel, initrd)


def images(chosen: Sequence[Target], offline: bool = False) -> dict[str, Bundle]:
    """Build the images of these platforms through the cache and return them from dist/."""
    request = order.Request(list(chosen), order.release_of(), offline=offline, check_size=False)
    order.build(request)
    return {one.name: bundle.read(dist_dir() / f"oci-{one.name}", one) for one in chosen}


def bundles(chosen: Sequence[Target], layout: Path | None, offline: bool) -> dict[str, Bundle]:
    """Return the images of these platforms and the peers', of a layout or built through the cache.

    Raises what reading and building raise.
    """
    found = {}
    if layout:
        # The peers' image too where it is there: what is verified must not make dist/ another one.
        from_it = [*chosen, *([target(PEERS)] if bundle.holds(layout, target(PEERS)) else [])]
        found = {one.name: bundle.read(layout, one) for one in from_it}
    wanted = {one.name: one for one in [*chosen, target(PEERS)]}
    if built := [one for name, one in wanted.items() if name not in found]:
        found |= images(built, offline)
    return found


def sides(one: Target, image: Bundle) -> tuple[measuring.Side, measuring.Side]:
    """Return the image, and the same with what upstream's recipe makes of the same sources."""
    _, packed = variants.build(one, tailscale.FITTED)
    theirs = image.changed({BINARY: cache.checked(packed).read_bytes()})
    ours = digest.of_bytes(image.file(BINARY))
    return (
        measuring.Side(figures.OURS, image, ours),
        measuring.Side(figures.UPSTREAM, theirs, packed.sha256),
    )


def run(
    chosen: Sequence[Target],
    names: Sequence[str] = (),
    layout: Path | None = None,
    offline: bool = False,
    *,
    machine: bool = False,
) -> list[Record]:
    """Run the gate for these platforms and return their records.

    `layout` is an OCI layout to take the images from instead of building them. With `machine` each
    runs in a router-like machine. Emulated ones run side by side. The record of a run of all
    canaries is kept in dist/.
    """
    tools.require()
    runtime.require_machine(chosen, machine=machine)
    found = bundles(chosen, layout, offline)
    mt_lab = program(offline)
    boots = {one.name: boot_of(one, offline) for one in chosen} if machine else {}

    def verified(one: Target) -> Record:
        given = found[one.name], found[PEERS], mt_lab, names, boots.get(one.name)
        record = runtime.verify(one, *given)
        if not names:
            records.write(record)
        return record

    # One that runs on this machine's own kernel is measured: seconds and memory go into its record.
    alone = [] if machine else [one for one in chosen if runtime.tunnel_for(one) == "kernel"]
    made = [verified(one) for one in alone]
    made += side_by_side([partial(verified, one) for one in chosen if one not in alone], AT_ONCE)
    names = [one.name for one in chosen]
    return sorted(made, key=lambda record: names.index(record.target))


def check(found: Sequence[Record], *, whole: bool) -> None:
    """Raise GateFailed naming every canary that did not pass; `whole` wants all to have run."""
    wrong = [f"{r.target}: {v.name}" for r in found for v in r.canaries if not v.ok]
    if not wrong and whole:
        wrong = [f"{r.target}: a canary was not run" for r in found if not r.ok]
    if wrong:
        raise GateFailed(
            "the runtime gate is not passed",
            why=", ".join(wrong),
            cure="the table says what was seen; logs of servers and containers are in work/lab/",
        )


def _broken(image: Bundle, negative: NegativeControl, one: Target) -> Bundle:
    if negative.tags or negative.features:
        go = order.go_command()
        recipe = replace(tailscale.OURS, name=negative.name, tags=negative.tags)
        if negative.features:
            verdicts = features.load_verdicts()
            ours = features.resolve(tailscale.graph(go), verdicts, go.tailscale.version).included
            recipe = replace(recipe, features=tuple(sorted({*ours, *negative.features})))
        linker = order.lean_linker(go)
        made = tailscale.build(go, one, order.release_of(), recipe, linker)
        binary = cache.checked(made.artifact("tailscale.combined")).read_bytes()
        image = image.changed({BINARY: binary})
    script = image.entrypoint
    for line, other in negative.entrypoint.items():
        if script.split("\n").count(line) != 1:
            raise BuildFailed(
                f"the negative control {negative.name} does not fit the entrypoint",
                why=f"it has not exactly one line '{line}'",
            )
        script = script.replace(line, other)
    if negative.entrypoint:
        image = image.changed({image.config["Entrypoint"][0].lstrip("/"): script.encode()})
    return image


def negatives(
    names: Sequence[str] = (), offline: bool = False, *, machine: bool = False
) -> list[NegativeRun]:
    """Run each canary where it must fail (`names`: only these negative controls).

    With `machine` in router-like machines. Raises UserError for an unknown name, BuildFailed for a
    canary that no negative control fails.
    """
    tunnel = "machine" if machine else "kernel"
    known_ones = negatives_for(tunnel)
    if unknown := set(names) - {negative.name for negative in known_ones}:
        known = ", ".join(negative.name for negative in known_ones)
        raise UserError(
            f"no negative control called {', '.join(sorted(unknown))}", cure=f"one of {known}"
        )
    wanted = {canary.name for canary in wanted_for(tunnel)}
    failing = {name for negative in known_ones for name in negative.fails} & wanted
    if failing != wanted:
        raise BuildFailed(f"no negative control fails {', '.join(sorted(wanted - failing))}")
    chosen = [negative for negative in known_ones if not names or negative.name in names]
    needed = {PEERS} | {b.image or b.platform for b in chosen if machine}
    tools.require()
    runtime.require_machine([target(name) for name in needed if name != PEERS], machine=machine)
    found = images([target(name) for name in sorted(needed)], offline)
    mt_lab = program(offline)
    jobs = []
    for negative in chosen:
        name = (negative.image or negative.platform) if machine else PEERS
        broken = _broken(found[name], negative, target(name))
        booted = {"boot": boot_of(target(negative.platform), offline)} if machine else {}
        given = negative, broken, found[PEERS], mt_lab, tunnel, booted
        jobs.append(partial(_run_negative, *given))
    return side_by_side(jobs, AT_ONCE if machine else 1)


def _run_negative(
    negative: NegativeControl,
    broken: Bundle,
    peers: Bundle,
    mt_lab: Path,
    tunnel: str,
    options: dict[str, Any],
) -> NegativeRun:
    logs = runtime.logs_of(negative.name)
    chosen = [c for c in wanted_for(tunnel) if c.name in negative.fails]
    words = {**negative.options, **options}
    with (
        log.step("negative", negative.name),
        laboratory(mt_lab, logs, broken, peers, **words) as world,
    ):
        for name, value in negative.world.items():
            setattr(world, name, value)
        try:
            populate(world)
        except BuildFailed:
            if not negative.dies:
                raise
        if negative.dies:
            # Only that end is the negative control's; any other trouble would say nothing.
            if negative.dies not in (last := world.node.log_tail()):
                raise BuildFailed(
                    f"{negative.name}: it does not end with {negative.dies}", why=last
                )
            ends = f"NOT SO. it ends at once with {negative.dies}"
            return NegativeRun(negative, tuple(Verdict(c.name, False, 0.0, ends) for c in chosen))
        rules = "".join(f"nft insert rule inet lab passing '{r}'\n" for r in negative.rules)
        world.lab.shell(rules, "router")
        return NegativeRun(negative, tuple(runtime.run(world, chosen, negative.name)))


def measure(
    rounds: int, size: int, layout: Path | None = None, offline: bool = False
) -> figures.Result:
    """Measure the image against the same with upstream's binary, and keep the result in dist/.

    `size` is in bytes, each way, each of the `rounds`. Raises UserError if one of them is not
    positive or the machine lacks something, BuildFailed if a measurement would say nothing.
    """
    if rounds < 1 or size < 1 << 20:
        raise UserError("a measurement takes at least one round of one MiB")
    one = target(PEERS)
    tools.require()
    runtime.require_machine([one])
    image = bundle.read(layout, one) if layout else images([one], offline)[one.name]
    mt_lab = program(offline)
    both = sides(one, image)
    at, began = time.time(), time.monotonic()
    # Two measurements at once on a machine measure each other.
    with cache.locked("figures", "a measurement"), log.step(one.name, "figures"):
        samples = measuring.measure(mt_lab, runtime.logs_of("figures"), both, image, rounds, size)
    result = figures.Result(
        release=order.release_of().tag,
        image=image.digest,
        binaries={side.name: side.binary for side in both},
        bytes=size,
        at=at,
        seconds=round(time.monotonic() - began, 1),
        samples=tuple(samples),
    )
    figures.write(result)
    return result
