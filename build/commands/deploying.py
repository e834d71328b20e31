"""What `invoke deploy` does: for one router that options describe, or for those of an inventory."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from build.commands.common import text_file, whole
from build.config import targets
from build.core import certificates, digest, errors, log, paths
from build.image import dist
from build.pipeline import order
from build.router import deploy, ledger, passwords, planning, render, restapi
from build.router import fleet as fleets
from build.router import inventory as inventories
from build.router import state as states
from build.views import fleet as view
from build.views import report


def scripts_of(settings: str) -> dict[str, str]:
    """Return the scripts to store, with a settings file of somebody's own or ours. UserError."""
    found = {name: (paths.ROOT / "routeros" / f"{name}.rsc").read_text() for name in render.SCRIPTS}
    if settings:
        found["settings-tailscale"] = text_file("settings", settings)
    return found


def image_of(arch: str) -> tuple[str, Path | None, str]:
    """Return platform, tar and digest to hand over; "" lets the router pull. Raises UserError."""
    if not arch:
        return "", None, ""
    target = targets.target(arch)
    image = paths.dist_dir() / dist.archive_name(target, order.release_of())
    record = dist.read_record()
    if image.name not in record:
        raise errors.UserError(f"{image} is not built", cure=f"invoke build --arch {arch}")
    found = record.get("oci", {}).get("index") or f"sha256:{record[image.name]['sha256']}"
    return target.name, image, found


def single(
    host: str,
    user: str,
    arch: str,
    settings: str,
    disk: str,
    serve_on: str,
    ca: str,
    apply: bool,
    json: bool,
) -> None:
    """Show the plan of one router, and with `apply` carry it out. Raises UserError."""
    secret = passwords.password(inventories.DEFAULT_FROM, user)
    if arch and apply and not serve_on:
        raise errors.UserError(
            "from which address can the router fetch the image?",
            cure="--serve-on with this machine's address in the router's network",
        )
    scripts = scripts_of(settings)
    arch, image, found = image_of(arch)
    client = restapi.Client(host, user, secret, ca)
    wanted = planning.Wanted(scripts, image, arch, found, disk)
    steps = planning.plan(states.read(client), wanted)
    if json:
        report.print_json(
            {"actions": [row.text for row in steps.actions], "problems": list(steps.problems)}
        )
    else:
        print("\n".join(steps.lines()) or "nothing to do")
    if steps.problems:
        raise errors.UserError("this router cannot be deployed to", why="; ".join(steps.problems))
    if apply:
        deploy.apply(
            client,
            steps,
            wanted,
            lambda text: log.note(host, text),
            lambda path: restapi.offer(path, serve_on),
        )
    elif steps.actions and not json:
        print("nothing was changed; --apply does it")


def members_of(
    entries: Sequence[inventories.Entry],
    image: Callable[[str], tuple[str, Path | None, str]],
) -> dict[str, fleets.Member]:
    """Return the routers of a run, with everything that they shall have.

    All that is wrong with passwords is told at once, before the first router is asked. UserError.
    """
    texts = functools.cache(scripts_of)
    images = functools.cache(image)
    check = functools.cache(certificates.authority)
    members, lacking = {}, []
    for one in entries:
        if one.ca:
            check(one.ca)
        try:
            secret = passwords.password(one.password_from, one.user)
        except errors.UserError as error:
            lacking.append(f"router.{one.name}: {error.what}, {error.why}")
            continue
        scripts: Mapping[str, str] = texts(one.settings)
        if one.set:
            settings = inventories.settings_of(one, scripts["settings-tailscale"])
            scripts = {**scripts, "settings-tailscale": settings}
        arch, tar, found = images(one.arch)
        goal: list[Any] = [one.host, scripts, tar.name if tar else "", found, one.disk]
        members[one.name] = fleets.Member(
            one.name,
            one.host,
            planning.Wanted(scripts, tar, arch, found, one.disk),
            digest.of_json(goal),
            functools.partial(restapi.Client, one.host, one.user, secret, one.ca),
            functools.partial(restapi.offer, address=one.serve_on),
        )
    if lacking:
        raise errors.UserError(
            f"without a password: {fleets.counted(len(lacking))}",
            why="".join(f"\n    {fault}" for fault in lacking),
            cure="set the variable, or put it into the keyring: keyring set SERVICE USER",
        )
    return members


def fleet(
    file: str,
    only: Sequence[str],
    at_once: str,
    tolerate: str,
    state: str,
    apply: bool,
    json: bool,
) -> None:
    """Show the plans of many routers, and with `apply` carry them out ring by ring.

    Raises UserError before any router is changed, FleetStopped or FleetIncomplete at the end.
    """
    path = Path(file)
    found = inventories.load(path)
    threads = whole("at-once", at_once, 1, 64) if at_once else found.at_once
    percent = whole("tolerate", tolerate, 0, 100) if tolerate else found.tolerate
    members = members_of(inventories.chosen(found.entries, only), image_of)
    book = ledger.Ledger(Path(state) if state else path.with_suffix(".state.json"))
    rings = fleets.rings_of([*members], found.rings)
    run = fleets.Rollout(members, {}, book, threads, percent, log.note)
    if not apply:
        run.look()
        view.show(rings, run, json=json)
        refused = [name for name, one in run.shown.items() if one.refused]
        if not json and any(one.plan.actions for one in run.shown.values()):
            print("nothing was changed; --apply does it, ring by ring")
        if refused:
            raise fleets.FleetIncomplete(f"cannot be deployed to: {fleets.counted(len(refused))}")
        return
    with book.held():
        run.look()
        if not json:
            view.show(rings, run, json=False)
        stopped = run.run(rings)
    if json:
        view.show(rings, run, json=True, stopped=stopped)
    else:
        view.outcome(rings, run)
    failed = [name for name, one in run.outcomes.items() if one.outcome == ledger.FAILED]
    cure = "see to them and run the same command again: it goes on where this one ended"
    why = ", ".join(failed[:20]) + (" …" if len(failed) > 20 else "")
    if stopped:
        raise fleets.FleetStopped(
            f"stopped in ring {stopped} of {len(rings)}: {fleets.counted(len(failed))} failed",
            why=why,
            cure=cure,
        )
    if failed:
        raise fleets.FleetIncomplete(f"{fleets.counted(len(failed))} failed", why=why, cure=cure)
