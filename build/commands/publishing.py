"""Commands that sign and send to a registry."""

from __future__ import annotations

import os
from pathlib import Path

from invoke import task

from build.commands.common import COMMON, HEAD, client_of, command, named_release
from build.config.pins import pins
from build.core import errors, git, log, paths
from build.core.artifacts import Attachment
from build.image import dist
from build.release import planning, referrers, signature
from build.release import publish as publication
from build.release import rollback as moving
from build.views import report


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


def _attachments(layout_: Path, index: str, tag: str, where: str, sign: bool) -> list[Attachment]:
    """Return what is published beside the images of a layout: bills of materials, the signature."""
    beside = referrers.of_dist(layout_.parent, index, pins()["tailscale"].epoch)
    if not beside:
        log.warn(f"no bills of materials lie beside {layout_}: none are published")
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
        "stable": "let :stable follow; --no-stable leaves it where it is",
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
    sign=True,
    remote="origin",
    json=False,
    debug=False,
):
    """Send a release to a registry: all by digest, then its tag, then :stable (exit code 3)."""
    folder = Path(layout) if layout else paths.dist_dir() / "oci"
    if release == HEAD:
        repository = git.Git(paths.ROOT)
        planning.require_on_main(repository, repository.state().commit, remote)
    with client_of(to, plain_http) as client:
        named, index = publication.head_of(folder)
        named = named_release(release) if release else named
        beside = _attachments(folder, index, named.tag, client.place.text, sign)
        wanted = publication.plan(client, folder, named, beside, stable=stable)
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
        "to": "release that :stable shall be, such as v1.102.5-mt.1",
        "at": "REGISTRY/REPOSITORY (default: $MT_REPOSITORY)",
        "dry_run": "only show what would be moved",
        "plain_http": "speak to the registry without TLS; this machine's own needs no word",
        **COMMON,
    }
)
@command
def rollback(c, to, at="", dry_run=False, plain_http=False, json=False, debug=False):
    """Move :stable to a release that is in the registry, after reading that whole."""
    with client_of(at, plain_http) as client:
        wanted = moving.plan(client, to)
        if wanted.moves and not dry_run:
            moving.apply(client, wanted)
    before = wanted.before_release.tag if wanted.before_release else wanted.before
    if json:
        facts = {"place": client.place.text, "from": before, "to": wanted.release.tag}
        digests = {"before": wanted.before, "index": wanted.index.digest}
        report.print_json({**facts, **digests, "moved": wanted.moves and not dry_run})
        return
    name = f"{client.place.text}:stable"
    if not wanted.moves:
        print(f"{name} is {wanted.release.tag} already, {wanted.index.digest}")
        return
    verb = "would move" if dry_run else "moved"
    print(f"{name} {verb} from {before or 'nothing'} to {wanted.release.tag}")
    print(f"{client.place.text}@{wanted.index.digest}")
