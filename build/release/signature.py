"""Signatures with a key pair, as cosign makes and verifies them, and nothing that needs a network.

ECDSA over P-256 with SHA-256. An image is signed by signing a "simple signing" payload that names
its repository and digest; the payload is the layer of an OCI manifest under `sha256-<hex>.sig`.
Formats: cosign's specs/SIGNATURE_SPEC.md; the payload is atomic container signature, form 1.
The nonce comes from key and message (RFC 6979), so signing twice gives the same bytes.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from build.core import digest
from build.core.artifacts import Attachment
from build.core.errors import Error, GateFailed, UserError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
ANNOTATION = "dev.cosignproject.cosign/signature"
TYPE = "cosign container image signature"

KEY, PASSWORD = "MT_SIGNING_KEY", "MT_SIGNING_PASSWORD"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# cryptography is imported in functions: it costs 50 ms that a command without keys need not pay.


def _curve(key: Any, kind: type[Any], what: str) -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec

    if not isinstance(key, kind) or not isinstance(key.curve, ec.SECP256R1):
        raise UserError(
            f"{what} is not for this kind of signature",
            why=f"it is {getattr(getattr(key, 'curve', None), 'name', type(key).__name__)}",
            cure="use an ECDSA key on the curve P-256, such as `invoke signing-key` makes",
        )
    return key


def private_key(pem: bytes, password: str = "") -> ec.EllipticCurvePrivateKey:
    """Read a private key: PEM, PKCS #8, encrypted or not. Raises UserError, never with secrets."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    locked = b"ENCRYPTED" in pem
    if locked and not password:
        raise UserError("the signing key is encrypted", cure=f"put its password into ${PASSWORD}")
    try:
        key = serialization.load_pem_private_key(pem, password.encode() if locked else None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The library's own text may quote what it was given; it is not passed on.
        why = "the password is wrong, or the key is damaged" if locked else "it is not in PEM form"
        if b"COSIGN" in pem or b"SIGSTORE" in pem:
            why = "it is in cosign's own form"
        raise UserError(
            "the signing key cannot be read",
            why=why,
            cure=f"put a PEM (PKCS #8) or its path into ${KEY}, the password into ${PASSWORD}",
        ) from None
    return _curve(key, ec.EllipticCurvePrivateKey, "the signing key")  # type: ignore[no-any-return]


def public_key(pem: bytes) -> ec.EllipticCurvePublicKey:
    """Read a public key in PEM form. Raises UserError."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise UserError("the public key cannot be read", why="it is not in PEM form") from None
    return _curve(key, ec.EllipticCurvePublicKey, "the public key")  # type: ignore[no-any-return]


def key_from_environment() -> ec.EllipticCurvePrivateKey:
    """Return the key that $MT_SIGNING_KEY holds or names. Raises UserError."""
    value = os.environ.get(KEY, "")
    if not value:
        raise UserError("no signing key", cure=f"put a key (PEM) or the path of one into ${KEY}")
    if "-----BEGIN" in value:
        pem = value.encode()
    else:
        try:
            pem = Path(value).expanduser().read_bytes()
        except (OSError, ValueError) as error:
            # Not the value: it may be a secret in a wrong form.
            why = getattr(error, "strerror", None) or "it is neither a path nor a PEM"
            raise UserError(
                f"the file that ${KEY} names cannot be read",
                why=str(why),
                cure="check its path, or put the PEM itself into the variable",
            ) from None
    return private_key(pem, os.environ.get(PASSWORD, ""))


def make_pair(password: str = "") -> tuple[bytes, bytes]:
    """Return a new pair as PEM: (private, encrypted if there is a password; public)."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    lock: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password:
        lock = serialization.BestAvailableEncryption(password.encode())
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, lock), public_pem(key)


def public_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the public half of a key as PEM."""
    from cryptography.hazmat.primitives import serialization

    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def write_pair(path: Path, password: str = "") -> Path:
    """Make a pair: `path` (mode 0600) and `path`.pub, whose path is returned.

    Raises UserError if one of them exists or cannot be written: a key is never overwritten.
    """
    private, public = make_pair(password)
    half = path.with_name(f"{path.name}.pub")
    made: list[Path] = []
    try:
        # A link, unlike a rename, fails where a file is already.
        for place, content, mode in ((path, private, 0o600), (half, public, 0o644)):
            fresh = place.with_name(f".{place.name}.{os.getpid()}")
            try:
                with os.fdopen(
                    os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode), "wb"
                ) as f:
                    f.write(content)
                os.link(fresh, place)
                made.append(place)
            finally:
                fresh.unlink(missing_ok=True)
    except OSError as error:
        for place in made:
            place.unlink()
        raise UserError(
            f"cannot write a key pair to {path}",
            why=error.strerror or str(error),
            cure="choose another file; a key is never overwritten",
        ) from error
    return half


def sign_bytes(content: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the signature (DER) of these bytes."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    return key.sign(content, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))


def verify_bytes(content: bytes, signature: bytes, key: ec.EllipticCurvePublicKey) -> None:
    """Check a signature (DER) of these bytes. Raises GateFailed."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        key.verify(signature, content, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise GateFailed(
            "the signature does not match", why="another key made it, or the content was changed"
        ) from None


def tag_of(image: str) -> str:
    """Return the tag under which cosign looks for signatures of a digest."""
    if not _DIGEST.fullmatch(image):
        raise UserError(f"'{image}' is not a digest", why="it reads sha256:<64 hex digits>")
    return f"{image.replace(':', '-')}.sig"


def sign(
    repository: str,
    image: str,
    key: ec.EllipticCurvePrivateKey,
    facts: Mapping[str, str] | None = None,
) -> Attachment:
    """Return the signature of an image index or manifest, for a registry.

    `repository` is `registry/name` without a tag, `image` the digest, `facts` are signed too.
    """
    tag = tag_of(image)
    content = {
        "critical": {
            "identity": {"docker-reference": repository},
            "image": {"docker-manifest-digest": image},
            "type": TYPE,
        },
        "optional": dict(facts) if facts else None,
    }
    payload = digest.canonical_json(content)
    config = digest.canonical_json(
        {
            "architecture": "",
            "config": {},
            "os": "",
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest.of_bytes(payload)}"]},
        }
    )
    signature = base64.b64encode(sign_bytes(payload, key)).decode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _descriptor(CONFIG, config),
        "layers": [_descriptor(PAYLOAD, payload) | {"annotations": {ANNOTATION: signature}}],
    }
    return Attachment(digest.canonical_json(manifest), MANIFEST, (config, payload), tag)


def _descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    sha256 = f"sha256:{digest.of_bytes(content)}"
    return {"mediaType": media_type, "digest": sha256, "size": len(content)}


def verify(
    repository: str,
    image: str,
    manifest: bytes,
    blobs: Sequence[bytes],
    key: ec.EllipticCurvePublicKey,
) -> dict[str, str]:
    """Return the facts that were signed with an image, after checking its signature.

    `manifest` and `blobs` are what the registry has under `tag_of(image)`; one good signature among
    several is enough. Raises GateFailed for a wrong key, digest, repository or payload.
    """
    by_digest = {f"sha256:{digest.of_bytes(blob)}": blob for blob in blobs}
    faults: list[str] = []
    try:
        layers = [row for row in json.loads(manifest)["layers"] if row["mediaType"] == PAYLOAD]
    except (ValueError, KeyError, TypeError):
        layers = []
    for layer in layers:
        try:
            payload = by_digest[layer["digest"]]
            signature = base64.b64decode(layer["annotations"][ANNOTATION], validate=True)
            verify_bytes(payload, signature, key)
            content = json.loads(payload)
            critical = content["critical"]
            wanted = {
                "type": (critical["type"], TYPE),
                "digest": (critical["image"]["docker-manifest-digest"], image),
                "repository": (critical["identity"]["docker-reference"], repository),
            }
            wrong = [f"{k}: wanted {w}, got {got}" for k, (got, w) in wanted.items() if got != w]
            if not wrong:
                return dict(content.get("optional") or {})
            faults += wrong
        except Error as error:
            faults.append(f"{error.what}: {error.why}")
        except (ValueError, KeyError, TypeError, binascii.Error) as error:
            faults.append(f"the payload or its signature is not there or damaged ({error!r})")
    raise GateFailed(
        f"{repository}@{image} has no valid signature",
        why="; ".join(faults) or "no signature is there",
        cure="do not use it; see docs/VERIFY.md",
    )
