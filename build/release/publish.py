"""A layout to a registry: everything by digest first, then its tag, `:next`, `:stable` last of all.

`plan` only reads; `apply` does what the plan says. Whatever fails on the way, `:next` and `:stable`
are the old release or the new one, whole.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from build.config import targets
from build.core import digest, log
from build.core.artifacts import Attachment
from build.core.errors import GateFailed, UserError
from build.core.version import Release, first_of, parse_release
from build.gates import audit, records
from build.image import oci
from build.registry import attach, published
from build.registry.client import Client, Manifest
from build.registry.published import CHANNELS, STABLE

REF_NAME = "org.opencontainers.image.ref.name"


@dataclass(frozen=True)
class Part:
    """One thing to send: `kind` is `blob` or `manifest`, `there` whether the registry has it."""

    kind: str
    what: str
    digest: str
    size: int
    source: Path | bytes
    media_type: str = ""
    there: bool = False

    def read(self) -> bytes:
        """Return the bytes. Raises UserError if they are no longer what was checked."""
        content = self.source.read_bytes() if isinstance(self.source, Path) else self.source
        if f"sha256:{digest.of_bytes(content)}" != self.digest:
            raise UserError(f"{self.what} has changed since it was checked", cure="start again")
        return content


@dataclass(frozen=True)
class Channel:
    """A tag that moves: the digest it has ("" for none), whether it `follows` to this release.

    `release` is the one it is at (None: none of ours).
    """

    name: str
    follows: bool
    before: str
    release: Release | None


@dataclass(frozen=True)
class Plan:
    """What a publication would do. `parts` are in the order of sending, the index comes last.

    `tag_there` says that the release's tag has this very index already. `channels` are in the
    order of moving.
    """

    release: Release
    parts: tuple[Part, ...]
    attachments: tuple[Attachment, ...]
    tag_there: bool
    channels: tuple[Channel, ...]

    @property
    def index(self) -> Manifest:
        """The index of all platforms."""
        return Manifest(self.parts[-1].read(), oci.INDEX)

    def rows(self, done: bool = False) -> list[tuple[str, str, int, str]]:
        """Return (what, digest, bytes, what happens or happened to it) for a table."""
        send = "sent" if done else "to be sent"
        rows = [(p.what, p.digest, p.size, "there" if p.there else send) for p in self.parts]
        for one in self.attachments:
            of = digest.of_bytes(one.manifest)
            rows.append((one.tag or "attachment", f"sha256:{of}", len(one.manifest), send))
        index = self.index.digest
        setting = "set" if done else "to be set"
        rows.append((f":{self.release.tag}", index, 0, "there" if self.tag_there else setting))
        for channel in self.channels:
            state = "there"
            if not channel.follows:
                state = "left alone"
            elif channel.before != index:
                before = channel.release.tag if channel.release else channel.before[:19]
                state = f"{setting}, was {before or 'free'}"
            of = index if channel.follows else channel.before
            rows.append((f":{channel.name}", of, 0, state))
        return rows


def head_of(layout: Path) -> tuple[Release, str]:
    """Return the release that a layout is named after, and its index' digest. Raises UserError."""
    try:
        (entry,) = json.loads((layout / "index.json").read_bytes())["manifests"]
        return parse_release(str(entry["annotations"][REF_NAME])), str(entry["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(
            f"{layout} is not the OCI layout of a release",
            cure="invoke build-all --release v<TAILSCALE>-mt.<N>, or --layout with another folder",
        ) from None


def _parts(layout: Path, release: Release) -> list[Part]:
    """Check a layout, its labels and the runtime gate's records; return all that is in it."""
    named, _ = head_of(layout)
    if named != release:
        raise UserError(
            f"the layout {layout} holds {named.tag}, not {release.tag}",
            cure=f"invoke build-all --release {release.tag}",
        )
    if release.revision == 0:
        raise UserError(
            f"{release.tag} is a build that nobody released",
            why="the revision 0 stands for such builds, which differ under one name",
            cure=f"invoke build-all --release {first_of(str(release.tailscale)).tag}",
        )
    wanted = targets.targets()
    audit.require(audit.layout_faults(layout, wanted), str(layout))
    outer = json.loads((layout / "index.json").read_bytes())["manifests"][0]
    index = _part(layout, "manifest", "index", outer)
    names = {json.dumps(oci.platform(t), sort_keys=True): name for name, t in wanted.items()}
    blobs: list[Part] = []
    manifests: list[Part] = []
    for entry in json.loads(index.read())["manifests"]:
        name = names[json.dumps(entry["platform"], sort_keys=True)]
        manifest = _part(layout, "manifest", f"manifest {name}", entry)
        table = json.loads(manifest.read())
        config = _part(layout, "blob", f"config {name}", table["config"])
        if (label := published.version_of(config.read())) != release:
            raise UserError(
                f"the image for {name} says it is {label.tag if label else 'no release'}",
                cure=f"invoke build-all --release {release.tag}",
            )
        layers = [_part(layout, "blob", f"layer {name}", layer) for layer in table["layers"]]
        blobs += [*layers, config]
        manifests.append(manifest)
    _gate(layout, manifests)
    return [*blobs, *manifests, index]


def _part(layout: Path, kind: str, what: str, entry: dict[str, Any]) -> Part:
    path = layout / "blobs" / "sha256" / entry["digest"].removeprefix("sha256:")
    return Part(kind, what, entry["digest"], entry["size"], path, entry["mediaType"])


def _gate(layout: Path, manifests: Sequence[Part]) -> None:
    """Raise GateFailed unless each platform's image has passed the runtime gate."""
    refused = []
    for part in manifests:
        try:
            records.require(part.what.removeprefix("manifest "), part.digest)
        except GateFailed as error:
            refused.append(f"{error.what}: {error.why}")
    if refused:
        raise GateFailed(
            "nothing is published that has not passed the runtime gate",
            why="".join(f"\n    {row}" for row in refused),
            cure=f"invoke verify --layout {layout}; invoke verify --machine --layout {layout}",
        )


def plan(
    client: Client,
    layout: Path,
    release: Release,
    attachments: Sequence[Attachment] = (),
    *,
    stable: bool = True,
) -> Plan:
    """Check a layout and say what is to be done to publish it; nothing is sent.

    `:next` follows every release that is newer than its own, `:stable` as it is told. Raises
    GateFailed if it is not in order or has not passed the runtime gate, UserError if it is
    not of this release, if the tag has another digest, or if `:stable` would move backwards.
    """
    parts = _parts(layout, release)
    attach.check(attachments)
    with log.step("registry", "look at what is there"):
        found = [replace(part, there=_is_there(client, part)) for part in parts]
        index = parts[-1].digest
        tagged = client.head(release.tag)
        channels = tuple(_channel(client, name, release, stable) for name in CHANNELS)
    if tagged not in ("", index):
        raise UserError(
            f"{client.place.text}:{release.tag} is published and is {tagged}, not {index}",
            why="a release never changes once it has its tag",
            cure="publish another revision (mt.N+1); `nox -s reproducible` tells why this build "
            "differs",
        )
    last = channels[-1]
    if stable and last.release and last.release > release:
        raise UserError(
            f"{release.tag} is older than {last.release.tag}, which :{STABLE} is",
            cure="--no-stable publishes it all the same; to move routers back, "
            f"invoke rollback --to {release.tag}",
        )
    return Plan(
        release=release,
        parts=tuple(found),
        attachments=tuple(attachments),
        tag_there=bool(tagged),
        channels=channels,
    )


def _channel(client: Client, name: str, release: Release, stable: bool) -> Channel:
    before, is_at = published.standing(client, name)
    newer = is_at is None or is_at <= release
    return Channel(name, stable if name == STABLE else newer, before, is_at)


def _is_there(client: Client, part: Part) -> bool:
    return client.has_blob(part.digest) if part.kind == "blob" else bool(client.head(part.digest))


def apply(client: Client, wanted: Plan, *, mount_from: str = "") -> None:
    """Do what a plan says, read it all back, and move the channels as the very last thing.

    `mount_from` is a repository of the same registry that may have the blobs. Raises UserError if
    somebody else has set a tag meanwhile, RegistryError for anything else that went wrong.
    """
    index = wanted.index
    for part in wanted.parts:
        # Asked for again even if the plan says there: that was then.
        with log.step("publish", part.what, part.size) as advance:
            if part.kind == "blob":
                client.push_blob(part.digest, part.read(), advance, mount_from)
            elif client.head(part.digest) != part.digest:
                client.push_manifest(Manifest(part.read(), part.media_type))
    for one in wanted.attachments:
        attach.push(client, one)
    said = published.read_back(client, index.digest, index.digest)
    if said != {wanted.release}:
        raise UserError(f"the images in the registry say they are {said}")
    # From here on the release has a name. All that it names was read back a moment ago.
    with log.step("publish", f":{wanted.release.tag}"):
        published.set_tag(client, wanted.release.tag, index, {"", index.digest})
    published.read_back(client, wanted.release.tag, index.digest)
    for channel in wanted.channels:
        if channel.follows:
            with log.step("publish", f":{channel.name}"):
                published.set_tag(client, channel.name, index, {channel.before, index.digest})
