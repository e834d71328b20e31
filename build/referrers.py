"""Bills of materials as OCI artifacts that refer to the images they are about.

Formats: OCI image specification 1.1, "Guidelines for artifact usage"; OCI distribution
specification 1.1, "Referrers tag schema" for registries without the referrers API.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from build import digest, image
from build.artifacts import Attachment
from build.sbom import MEDIA_TYPE

EMPTY = "application/vnd.oci.empty.v1+json"
_NOTHING = b"{}"


def attachments(bills: Iterable[tuple[dict[str, Any], bytes, str]], epoch: int) -> list[Attachment]:
    """Return what goes into a registry for bills of materials, in the order to push.

    `bills` are (descriptor of a platform's manifest, its bill, file name of the bill); `epoch` is
    the time of the images in seconds since 1970. Of each there is the artifact and, under a tag,
    the index by which clients find it where the registry has no referrers API; a registry that has
    one does no harm with it.
    """
    created = image.timestamp(epoch)
    made: list[Attachment] = []
    for subject, bill, name in bills:
        artifact = attachment(subject, bill, created, name)
        made += [artifact, fallback(subject, artifact, created)]
    return made


def attachment(subject: dict[str, Any], bill: bytes, created: str, name: str) -> Attachment:
    """Return the artifact that holds a bill.

    `subject` is the descriptor of a platform's manifest, `created` a date by RFC 3339, `name` the
    file name under which clients store the bill.
    """
    layer = image.descriptor(MEDIA_TYPE, bill)
    layer["annotations"] = {"org.opencontainers.image.title": name}
    manifest = {
        "schemaVersion": 2,
        "mediaType": image.MANIFEST,
        "artifactType": MEDIA_TYPE,
        "config": image.descriptor(EMPTY, _NOTHING),
        "layers": [layer],
        "subject": {key: subject[key] for key in ("mediaType", "digest", "size")},
        "annotations": {"org.opencontainers.image.created": created},
    }
    return Attachment(digest.canonical_json(manifest), image.MANIFEST, (_NOTHING, bill))


def fallback(subject: dict[str, Any], of: Attachment, created: str) -> Attachment:
    """Return the index that lists an artifact for registries without the referrers API."""
    row = image.descriptor(of.media_type, of.manifest)
    row["artifactType"] = MEDIA_TYPE
    row["annotations"] = {"org.opencontainers.image.created": created}
    tag = subject["digest"].replace(":", "-")
    return Attachment(image.index([row]), image.INDEX, (), tag)
