"""Commands for routers: their scripts, and deploying to one."""

from __future__ import annotations

import os
from pathlib import Path

from invoke import task

from build.commands.common import COMMON, command, text_file
from build.config import targets
from build.core import errors, log, paths
from build.image import dist
from build.pipeline import order
from build.registry.repository import parse_repository
from build.router import deploy as deployment
from build.router import planning, render, restapi, state
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
    help={
        "host": "the router's address: https://router, or http:// on a wire of your own",
        "user": "user of the router (default admin); the password is in $MT_ROUTER_PASSWORD",
        "arch": "platform of the image to hand over from dist/; without it the router pulls",
        "settings": "your settings script (default: routeros/settings-tailscale.rsc)",
        "disk": "disk slot for image and tar (default: internal flash)",
        "serve_on": "this machine's address that the router can reach, for --arch",
        "ca": "file with the CA of the router's certificate",
        "apply": "do it; without this only the plan is shown",
        **COMMON,
    }
)
@command
def deploy(
    c,
    host,
    user="admin",
    arch="",
    settings="",
    disk="",
    serve_on="",
    ca="",
    apply=False,
    json=False,
    debug=False,
):
    """Show how a router would be installed or updated over REST, and with --apply do it."""
    password = os.environ.get("MT_ROUTER_PASSWORD")
    if password is None:
        raise errors.UserError("no password", cure="put the router's into $MT_ROUTER_PASSWORD")
    try:
        f"{user}{password}".encode()
    except UnicodeEncodeError as error:
        raise errors.UserError(
            "--user or $MT_ROUTER_PASSWORD is not UTF-8", why=error.reason
        ) from None
    if arch and apply and not serve_on:
        raise errors.UserError(
            "from which address can the router fetch the image?",
            cure="--serve-on with this machine's address in the router's network",
        )
    scripts = {
        name: (paths.ROOT / "routeros" / f"{name}.rsc").read_text() for name in render.SCRIPTS
    }
    if settings:
        scripts["settings-tailscale"] = text_file("settings", settings)
    image, digest_ = None, ""
    if arch:
        target = targets.target(arch)
        release = order.release_of()
        image = paths.dist_dir() / dist.archive_name(target, release)
        record = dist.read_record()
        if image.name not in record:
            raise errors.UserError(f"{image} is not built", cure=f"invoke build --arch {arch}")
        digest_ = record.get("oci", {}).get("index") or f"sha256:{record[image.name]['sha256']}"
        arch = target.name
    client = restapi.Client(host, user, password, ca)
    wanted = planning.Wanted(scripts, image, arch, digest_, disk)
    steps = planning.plan(state.read(client), wanted)
    if json:
        report.print_json(
            {"actions": [row.text for row in steps.actions], "problems": list(steps.problems)}
        )
    else:
        print("\n".join(steps.lines()) or "nothing to do")
    if steps.problems:
        raise errors.UserError("this router cannot be deployed to", why="; ".join(steps.problems))
    if apply:
        deployment.apply(
            client,
            steps,
            wanted,
            lambda text: log.note(host, text),
            lambda path: restapi.offer(path, serve_on),
        )
    elif steps.actions and not json:
        print("nothing was changed; --apply does it")
