"""Commands for routers: their scripts, and deploying to one."""

from __future__ import annotations

from pathlib import Path

from invoke import task

from build.commands import deploying
from build.commands.common import COMMON, command
from build.core import errors, paths
from build.registry.repository import parse_repository
from build.router import render
from build.views import report


@task(
    name="router",
    help={
        "version": "RouterOS version, such as 7.20 (default: scripts that work on all)",
        "out": "folder to write to (default: print the names; the universal ones are routeros/)",
        "image": "registry/repository that routers follow",
        "check": "exit with 3 if routeros/ is not what the templates give",
        **COMMON,
    },
)
@command
def router_(c, version="", out="", image="", check=False, json=False, debug=False):
    """Render the router's scripts from their templates, for one RouterOS version or for all."""
    values = render.Values(image=parse_repository(image).text) if image else render.Values()
    texts = render.render_all(paths.ROOT / "routeros" / "templates", version or None, values)
    faults = [
        f"{name}: {fault}"
        for name, text in texts.items()
        for fault in render.lint(name.removesuffix(".rsc"), text)
    ]
    if check:
        faults += [
            f"routeros/{name} is not what its template gives"
            for name, text in texts.items()
            if (paths.ROOT / "routeros" / name).read_text() != text
        ]
    if faults:
        raise errors.GateFailed(
            "the router's scripts are not in order",
            why="; ".join(faults),
            cure="correct routeros/templates, then `invoke router --out routeros`",
        )
    if out:
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        render.write(folder, texts)
    if json:
        report.print_json({name: len(text) for name, text in texts.items()})
    else:
        for name, text in texts.items():
            print(f"{Path(out) / name if out else name}  {len(text):,} characters")


@task(
    iterable=["only"],
    help={
        "host": "the router's address: https://router, or http:// on a wire of your own",
        "inventory": "file with many routers instead of --host (docs/USAGE.md, Fleets)",
        "only": "group or router of the inventory, repeatable (default: all)",
        "at_once": "routers of the inventory at a time (default: what it says, else 8)",
        "tolerate": "percent of a ring that may fail (default: what the inventory says, else 0)",
        "state": "file that keeps what became of each router (default: beside the inventory)",
        "user": "user of the router (default admin); the password is in $MT_ROUTER_PASSWORD",
        "arch": "platform of the image to hand over from dist/; without it the router pulls",
        "settings": "your settings script (default: routeros/settings-tailscale.rsc)",
        "disk": "disk slot for image and tar (default: internal flash)",
        "serve_on": "this machine's address that the router can reach, for --arch",
        "ca": "file with the CA of the router's certificate",
        "apply": "do it; without this only the plan is shown",
        **COMMON,
    },
)
@command
def deploy(
    c,
    only,
    host="",
    inventory="",
    at_once="",
    tolerate="",
    state="",
    user="",
    arch="",
    settings="",
    disk="",
    serve_on="",
    ca="",
    apply=False,
    json=False,
    debug=False,
):
    """Show how routers would be installed or updated over REST, and with --apply do it.

    Exit codes of an inventory: 5 if a ring failed and the later ones were not begun, 6 if all were
    gone through and some routers failed, or cannot be deployed to.
    """
    one = {"host": host, "user": user, "arch": arch, "settings": settings, "disk": disk}
    one |= {"serve-on": serve_on, "ca": ca}
    many = {"only": only, "at-once": at_once, "tolerate": tolerate, "state": state}
    if bool(host) == bool(inventory):
        raise errors.UserError("which router?", cure="--host ADDRESS, or --inventory FILE for many")
    if odd := [name for name, value in (one if inventory else many).items() if value]:
        raise errors.UserError(
            f"--{odd[0]} has no meaning with --{'inventory' if inventory else 'host'}",
            cure="the inventory says it for each router" if inventory else "leave it out",
        )
    if inventory:
        deploying.fleet(inventory, only, at_once, tolerate, state, apply, json)
    else:
        deploying.single(host, user or "admin", arch, settings, disk, serve_on, ca, apply, json)
