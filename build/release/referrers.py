"""SBOMs as OCI artifacts that refer to the images they are about.

Format: OCI image specification 1.1, "Guidelines for artifact usage".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from build.core import digest
from build.core.artifacts import Attachment
from build.image import dist, oci
from build.sbom.document import MEDIA_TYPE

EMPTY = "application/vnd.oci.empty.v1+json"
_NOTHING = b"{}"


def of_dist(folder: Path, index: str, epoch: int) -> list[Attachment]:
    """Return the artifacts for the SBOMs in dist/ that are about an image index's platforms.

    `index` is the digest of the index; `epoch` the time of the images in seconds since 1970.
    """
    record = dist.read_record(folder)
    whole = record.get("oci", {})
    if whole.get("index") != index:
        return []
    made = []
    for target, subject in zip(whole["from"]["of"], whole["from"]["manifests"], strict=True):
        for name, row in record.items():
            if dist.is_sbom(name) and row["from"]["of"] == [target]:
                made.append(attachment(subject, (folder / name).read_bytes(), name, epoch))
    return made


def attachment(subject: dict[str, Any], sbom: bytes, name: str, epoch: int) -> Attachment:
    """Return the artifact that holds an SBOM.

    `subject` is the descriptor of a platform's manifest, `name` the file name under which clients
    store the SBOM, `epoch` the time of the image in seconds since 1970.
    """
    layer = oci.descriptor(MEDIA_TYPE, sbom)
    layer["annotations"] = {"org.opencontainers.image.title": name}
    manifest = {
        "schemaVersion": 2,
        "mediaType": oci.MANIFEST,
        "artifactType": MEDIA_TYPE,
        "config": oci.descriptor(EMPTY, _NOTHING),
        "layers": [layer],
        "subject": {key: subject[key] for key in ("mediaType", "digest", "size")},
        "annotations": {"org.opencontainers.image.created": oci.timestamp(epoch)},
    }
    return Attachment(digest.canonical_json(manifest), oci.MANIFEST, (_NOTHING, sbom))
