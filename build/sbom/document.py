"""The SBOM of a platform's image: CycloneDX 1.6 as JSON.

The same inputs give the same bytes: the serial number is a UUID of everything else in the SBOM, the
time that of the image. Format: ECMA-424 first edition (CycloneDX 1.6), package URLs by ECMA-427.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from build.config import licences
from build.config.pins import pin
from build.config.targets import Target
from build.core import cache, digest
from build.core.artifacts import Artifact, Rootfs
from build.core.errors import BuildFailed, UserError
from build.core.paths import PATCHES, ROOT
from build.golang import modules
from build.golang.gotool import Go
from build.sbom import inventory
from build.sbom.inventory import Component
from build.sources import obtain, patching

if TYPE_CHECKING:
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component as Row

FILE = "sbom.cdx.json"
MEDIA_TYPE = "application/vnd.cyclonedx+json"
_NO_SERIAL = uuid.UUID(int=0)
_OF_PIN = ("version", "file", "size", "sha256", "urls", "h1")
"""What an SBOM says of a pin."""


@dataclass(frozen=True)
class Subject:
    """The image that an SBOM is about.

    `name` and `tag` are those of the release, `manifest` is the descriptor of the platform's
    manifest, `epoch` its time in seconds since 1970. `binary` is the Go binary before compression;
    `packed` is the way in which what is in `files` was compressed (`compress.METHODS`).
    """

    name: str
    tag: str
    target: Target
    manifest: dict[str, Any]
    epoch: int
    binary: Artifact
    files: Rootfs
    packed: str


def build(go: Go, subject: Subject) -> cache.Entry:
    """Return the object with `sbom.cdx.json` of one platform's image.

    Its facts list each component with version, purl and licence, and the image's `licence`.
    Raises BuildFailed if a licence is not known, or the SBOM does not match its schema.
    """
    decompressor = ["upx"] if subject.packed == "upx" else []
    found_in = [pin(name) for name in ("tailscale", "go", "zig", "busybox", *decompressor)]
    inputs = {
        "name": "sbom",
        "target": subject.target.name,
        "platform": [subject.target.platform, subject.target.oci_architecture],
        "image": [subject.name, subject.tag, subject.manifest["digest"]],
        "epoch": subject.epoch,
        "binary": subject.binary.sha256,
        "packed": subject.packed,
        "pins": {wanted.name: [getattr(wanted, name) for name in _OF_PIN] for wanted in found_in},
        "trees": {wanted.name: obtain.tree_key(wanted) for wanted in found_in},
        "modules": modules.key(go),
        # The SBOM names the patches of the linker and of modules too.
        "patches": digest.of_json(patching.patches_identity(PATCHES)),
        "licences": digest.of_file(licences.TABLE),
        "own": {name: digest.of_file(path) for name, path in licences.files(ROOT).items()},
    }

    def make(out: Path, scratch: Path) -> dict[str, Any]:
        binary = cache.checked(subject.binary)
        found = inventory.collect(
            go, subject.target, binary, subject.files, packed=subject.packed, scratch=scratch
        )
        text = render(subject, found, _NO_SERIAL)
        serial = uuid.uuid5(uuid.NAMESPACE_OID, digest.of_bytes(text.encode()))
        text = text.replace(str(_NO_SERIAL), str(serial), 1)
        if faults := schema_faults(text):
            raise BuildFailed("the SBOM does not match its schema", why=faults)
        (out / FILE).write_text(text)
        rows = [[c.name, c.version, c.purl, c.licence] for c in found]
        whole = licences.conjunction(c.licence for c in found)
        return {"components": rows, "licence": whole}

    return cache.obtain("sbom", subject.target.name, inputs, make, title="SBOM")


def schema_faults(text: str) -> str:
    """Check an SBOM strictly against CycloneDX's own schema; returns what is wrong, or ""."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    return str(fault) if fault else ""


def _licence(expression: str) -> Any:
    from cyclonedx.model.license import DisjunctiveLicense, LicenseExpression
    from cyclonedx.spdx import is_expression, is_supported_id

    if is_supported_id(expression):
        return DisjunctiveLicense(id=expression)
    if is_expression(expression):
        return LicenseExpression(expression)
    raise BuildFailed(
        f"'{expression}' is no SPDX licence expression", cure="correct build/data/licences.toml"
    )


def _row(component: Component) -> Row:
    """Return a component in the library's terms."""
    from cyclonedx.model import (
        AttachedText,
        ExternalReference,
        ExternalReferenceType,
        HashAlgorithm,
        HashType,
        Property,
        XsUri,
    )
    from cyclonedx.model.component import Component as Row
    from cyclonedx.model.component import (
        ComponentType,
        Diff,
        Patch,
        PatchClassification,
        Pedigree,
    )
    from cyclonedx.model.component_evidence import ComponentEvidence
    from cyclonedx.model.license import DisjunctiveLicense
    from packageurl import PackageURL

    def sha256(value: str) -> list[HashType]:
        return [HashType(alg=HashAlgorithm.SHA_256, content=value)] if value else []

    origin = component.origin
    facts = {"path": component.path, "h1": component.h1, "note": component.note}
    if origin:
        facts |= {"source": origin.file, "source-sha256": origin.sha256}
        facts |= {"source-size": str(origin.size)}
    texts = {name: path.read_text(errors="replace") for name, path in component.texts.items()}
    changes = [
        Patch(type=PatchClassification.UNOFFICIAL, diff=Diff(url=XsUri(str(path))))
        for path in component.changes
    ]
    source = ExternalReferenceType.SOURCE_DISTRIBUTION
    references = [
        ExternalReference(type=source, url=XsUri(url), hashes=sha256(origin.sha256))
        for url in (origin.urls if origin else ())
        if origin
    ]
    return Row(
        bom_ref=component.ref,
        type=ComponentType(component.kind),
        name=component.name,
        version=component.version or None,
        purl=PackageURL.from_string(component.purl) if component.purl else None,
        cpe=component.cpe or None,
        hashes=sha256(component.sha256),
        licenses=[_licence(component.licence)],
        # The texts that binary distributions have to come with.
        evidence=ComponentEvidence(
            licenses=[
                DisjunctiveLicense(name=name, text=AttachedText(content=text))
                for name, text in texts.items()
            ]
        )
        if texts
        else None,
        pedigree=Pedigree(patches=changes) if changes else None,
        external_references=references,
        properties=[
            Property(name=f"{inventory.OWN}:{key}", value=value)
            for key, value in facts.items()
            if value
        ],
    )


def _bom(subject: Subject, found: Sequence[Component], serial: uuid.UUID) -> Bom:
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component as Row
    from cyclonedx.model.component import ComponentType
    from packageurl import PackageURL

    sha256 = subject.manifest["digest"]
    platform = subject.target.platform
    main = Row(
        bom_ref="image",
        type=ComponentType.CONTAINER,
        name=subject.name,
        version=subject.tag,
        purl=PackageURL(
            type="oci",
            name=subject.name,
            version=sha256,
            qualifiers={"arch": subject.target.oci_architecture, "tag": subject.tag},
        ),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=sha256.removeprefix("sha256:"))],
        licenses=[_licence(licences.conjunction(c.licence for c in found))],
        properties=[Property(name=f"{inventory.OWN}:platform", value=platform)],
    )
    rows = {component.ref: _row(component) for component in found}
    bom = Bom(
        serial_number=serial,
        version=1,
        metadata=BomMetaData(component=main, timestamp=datetime.fromtimestamp(subject.epoch, UTC)),
        components=rows.values(),
    )
    bom.register_dependency(main, [rows[c.ref] for c in found if c.path])
    for component in found:
        bom.register_dependency(rows[component.ref], [rows[ref] for ref in component.needs])
    return bom


def render(subject: Subject, found: Sequence[Component], serial: uuid.UUID) -> str:
    """Return the SBOM's text for these components."""
    from cyclonedx.output.json import JsonV1Dot6

    text = JsonV1Dot6(_bom(subject, found, serial)).output_as_string()
    return json.dumps(json.loads(text), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def components(text: str) -> tuple[list[list[str]], str]:
    """Return (name, version, licence) of each component of a rendered document, and the image's.

    Raises UserError if it is none that `render` wrote.
    """
    try:
        bom = json.loads(text)
        rows = [
            [row["name"], row.get("version", ""), _expression(row)] for row in bom["components"]
        ]
        return rows, _expression(bom["metadata"]["component"])
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError("this is not an SBOM of ours", why=repr(error)) from error


def _expression(row: dict[str, Any]) -> str:
    (found,) = row["licenses"]
    return str(found["expression"] if "expression" in found else found["license"]["id"])
