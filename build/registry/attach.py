"""What goes beside a release: signatures, SBOMs; found by tag or by their subject.

Format: OCI distribution specification 1.1, "Pushing manifests with subject", with its fallback for
registries that have no referrers API.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from build.core import digest, log
from build.core.artifacts import Attachment
from build.core.errors import UserError
from build.core.version import parse_release
from build.image import oci
from build.registry import published
from build.registry.client import Client, Manifest, referrers_tag
from build.registry.published import CHANNELS

_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


def check(attachments: Sequence[Attachment]) -> None:
    """Raise UserError if an attachment would take a tag that releases have, or one that is none."""
    for one in attachments:
        if not one.tag:
            continue
        try:
            reserved = one.tag in CHANNELS or bool(parse_release(one.tag))
        except UserError:
            reserved = False
        if reserved or not _TAG.fullmatch(one.tag):
            raise UserError(f"an attachment cannot have the tag '{one.tag}'")


def push(client: Client, one: Attachment) -> None:
    """Bring an attachment into the repository, see to it that it is found, and read it back.

    Raises RegistryError if that cannot be done.
    """
    manifest = Manifest(one.manifest, one.media_type)
    with log.step("publish", one.tag or "attachment"):
        for blob in one.blobs:
            client.push_blob(f"sha256:{digest.of_bytes(blob)}", blob, lambda count: None)
        noted = client.push_manifest(manifest)
        for blob in one.blobs:
            client.blob(f"sha256:{digest.of_bytes(blob)}", len(blob))
        if one.tag:
            # It may be moved: a signature made again has other bytes and is as good.
            published.set_tag(client, one.tag, manifest, published.ANYTHING)
        published.require(client, one.tag or manifest.digest)
        subject = manifest.table.get("subject")
        if subject and not noted:
            _refer(client, manifest, str(subject["digest"]))


def _refer(client: Client, manifest: Manifest, subject: str) -> None:
    """Add a manifest to the index of referrers that a registry without that API wants as a tag."""
    tag = referrers_tag(subject)
    before = client.manifest(tag)
    table: dict[str, Any] = before.table if before else {"schemaVersion": 2, "mediaType": oci.INDEX}
    rows: list[dict[str, Any]] = list(table.get("manifests", []))
    if any(row.get("digest") == manifest.digest for row in rows):
        return
    own = manifest.table
    row = oci.descriptor(manifest.media_type, manifest.content)
    row["artifactType"] = own.get("artifactType") or own.get("config", {}).get("mediaType", "")
    if own.get("annotations"):
        row["annotations"] = own["annotations"]
    content = digest.canonical_json({**table, "manifests": [*rows, row]})
    allowed = {before.digest if before else ""}
    published.set_tag(client, tag, Manifest(content, oci.INDEX), allowed)
