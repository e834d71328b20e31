"""Commands that sign and send to a registry."""

from __future__ import annotations

import os
from pathlib import Path

from invoke import task

from build.commands.common import COMMON, HEAD, client_of, command, named_release, one_of, whole
from build.config.pins import pins
from build.core import errors, git, log, paths
from build.core.artifacts import Attachment
from build.image import dist
from build.registry.published import CHANNELS, NEXT, STABLE
from build.release import channels, planning, referrers, signature
from build.release import publish as publication
from build.views import report

SOAK = "MT_SOAK"


@task(help={"out": "file for the private key; the public one goes beside it as FILE.pub", **COMMON})
@command
def signing_key(c, out, json=False, debug=False):
    """Make a key pair for signatures; $MT_SIGNING_PASSWORD encrypts the private key."""
    password = os.environ.get(signature.PASSWORD, "")
    if not password:
        log.warn(f"${signature.PASSWORD} is empty: the private key is not encrypted")
    if not Path(out).name:
        raise errors.UserError(f"--out '{out}' names no file", cure="signing, for example")
    public = signature.write_pair(Path(out), password)
    if json:
        report.print_json({"private": out, "public": str(public)})
    else:
        print(f"{out}\n{public}")


@task(help=COMMON)
@command
def sign(c, json=False, debug=False):
    """Sign dist/SHA256SUMS with the key in $MT_SIGNING_KEY, into dist/SHA256SUMS.sig."""
    key = signature.key_from_environment()
    path = dist.sign(lambda content: signature.sign_bytes(content, key))
    if json:
        report.print_json({"signature": str(path)})
    else:
        print(path)


def _soak(typed: str) -> int:
    """Return the days that were typed, else those of the environment, else none."""
    if typed:
        return whole("soak", typed, 0, channels.LONGEST_SOAK)
    try:
        return whole("soak", os.environ.get(SOAK) or "0", 0, channels.LONGEST_SOAK)
    except errors.UserError as error:
        raise errors.UserError(
            f"${SOAK} is '{os.environ[SOAK]}', no whole number of days", cure=error.cure
        ) from error


def _attachments(layout_: Path, index: str, tag: str, where: str, sign: bool) -> list[Attachment]:
    """Return what is published beside the images of a layout: SBOMs, the signature."""
    beside = referrers.of_dist(layout_.parent, index, pins()["tailscale"].epoch)
    if not beside:
        log.warn(f"no SBOMs lie beside {layout_}: none are published")
    if sign:
        key = signature.key_from_environment()
        beside.append(signature.sign(where, index, key, {"tag": tag}))
    return beside


@task(
    help={
        "to": "REGISTRY/REPOSITORY (default: $MT_REPOSITORY)",
        "release": "tag to publish, or HEAD for the commit's (default: the layout's)",
        "layout": "OCI layout of all platforms (default: oci in dist/)",
        "dry_run": "only show what would be sent",
        "plain_http": "speak to the registry without TLS; this machine's own needs no word",
        "mount_from": "repository of the same registry that may have the blobs already",
        "stable": "let :stable follow at once; --no-stable leaves it where it is",
        "soak": f"days before :stable may follow, by promote (default: ${SOAK}, else 0: at once)",
        "sign": "sign with the key in $MT_SIGNING_KEY; --no-sign publishes without a signature",
        "remote": "with --release HEAD: git remote whose main branch has to have the commit",
        **COMMON,
    }
)
@command
def publish(
    c,
    to="",
    release="",
    layout="",
    dry_run=False,
    plain_http=False,
    mount_from="",
    stable=True,
    soak="",
    sign=True,
    remote="origin",
    json=False,
    debug=False,
):
    """Send a release to a registry: all by digest, then its tag, :next, :stable (exit code 3)."""
    at_once = _soak(soak) == 0 and stable
    folder = Path(layout) if layout else paths.dist_dir() / "oci"
    if release == HEAD:
        repository = git.Git(paths.ROOT)
        planning.require_on_main(repository, repository.state().commit, remote)
    with client_of(to, plain_http) as client:
        named, index = publication.head_of(folder)
        named = named_release(release) if release else named
        beside = _attachments(folder, index, named.tag, client.place.text, sign)
        wanted = publication.plan(client, folder, named, beside, stable=at_once)
        if not dry_run:
            publication.apply(client, wanted, mount_from=mount_from)
    columns = ("what", "digest", ">bytes", "state")
    rows = wanted.rows(done=not dry_run)
    if json:
        keys = ("what", "digest", "size", "state")
        parts = [dict(zip(keys, row, strict=True)) for row in rows]
        head = {"release": named.tag, "index": wanted.index.digest, "dry_run": dry_run}
        report.print_json({**head, "place": client.place.text, "parts": parts})
        return
    report.table(
        f"{named.tag} in {client.place.text}",
        columns,
        [(what, of[:19], f"{size:,}" if size else "", state) for what, of, size, state in rows],
    )
    print(f"{client.place.text}@{wanted.index.digest}")
    if dry_run:
        print("nothing was sent; without --dry-run it is")


@task(
    help={
        "to": "release that the channel shall be, such as v1.102.5-mt.1",
        "channel": f"{STABLE}, which takes :{NEXT} with it if that is withdrawn too, or {NEXT}",
        "at": "REGISTRY/REPOSITORY (default: $MT_REPOSITORY)",
        "dry_run": "only show what would be moved",
        "plain_http": "speak to the registry without TLS; this machine's own needs no word",
        **COMMON,
    }
)
@command
def rollback(
    c, to, channel=STABLE, at="", dry_run=False, plain_http=False, json=False, debug=False
):
    """Move :stable to a release that is in the registry, after reading that whole."""
    one_of("channel", channel, CHANNELS)
    with client_of(at, plain_http) as client:
        wanted = channels.back(client, to, channel)
        if not dry_run:
            channels.apply(client, [one for one in wanted if one.moves])
    _show_moves(client.place.text, wanted, dry_run, json)


@task(
    help={
        "to": f"release that :{STABLE} shall be (default: the one that :{NEXT} is)",
        "soak": f"days that it must have been out (default: ${SOAK}, else 0)",
        "at": "REGISTRY/REPOSITORY (default: $MT_REPOSITORY)",
        "dry_run": "only show what would be moved",
        "plain_http": "speak to the registry without TLS; this machine's own needs no word",
        **COMMON,
    }
)
@command
def promote(c, to="", soak="", at="", dry_run=False, plain_http=False, json=False, debug=False):
    """Move :stable forward to what :next is, once it has been out for its soak (exit code 3)."""
    days = _soak(soak)
    with client_of(at, plain_http) as client:
        wanted = channels.forward(client, to)
        if wanted[-1].moves:
            channels.require_soaked(git.Git(paths.ROOT), wanted[-1].release, days)
            if not dry_run:
                channels.apply(client, wanted)
    _show_moves(client.place.text, wanted, dry_run, json)


def _show_moves(place: str, wanted: list[channels.Move], dry_run: bool, json: bool) -> None:
    last = wanted[-1]
    if json:
        facts = {"place": place, "from": last.was, "to": last.release.tag}
        digests = {"before": last.before, "index": last.index.digest}
        moved = [one.channel for one in wanted if one.moves and not dry_run]
        report.print_json({**facts, **digests, "moved": bool(moved), "channels": moved})
        return
    for one in wanted:
        name = f"{place}:{one.channel}"
        if one.moves:
            verb = "would move" if dry_run else "moved"
            print(f"{name} {verb} from {one.was or 'nothing'} to {one.release.tag}")
        else:
            print(f"{name} is {one.release.tag} already, {one.index.digest}")
    if last.moves:
        print(f"{place}@{last.index.digest}")
