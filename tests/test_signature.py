"""Signatures: what passes, and every way in which they must not."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from build.core import digest
from build.core.artifacts import Attachment
from build.core.errors import GateFailed, UserError
from build.image import dist
from build.release import signature

REPOSITORY = "registry.example/team/tailscale"
IMAGE = f"sha256:{'ab' * 32}"
PASSWORD = "swordfish-9000"

PRIVATE, PUBLIC = signature.make_pair()
KEY = signature.private_key(PRIVATE)
CHECK = signature.public_key(PUBLIC)


def changed(attachment: Attachment, **values: Any) -> tuple[bytes, tuple[bytes, ...]]:
    """The same signature with another payload, in a manifest whose digests are right."""
    config, payload = attachment.blobs
    content = json.loads(payload)
    critical = content["critical"]
    if "image" in values:
        critical["image"]["docker-manifest-digest"] = values["image"]
    if "repository" in values:
        critical["identity"]["docker-reference"] = values["repository"]
    if "optional" in values:
        content["optional"] = values["optional"]
    fresh = digest.canonical_json(content)
    manifest = json.loads(attachment.manifest)
    manifest["layers"][0] |= {"digest": f"sha256:{digest.of_bytes(fresh)}", "size": len(fresh)}
    return digest.canonical_json(manifest), (config, fresh)


def test_what_is_signed_verifies() -> None:
    made = signature.sign(REPOSITORY, IMAGE, KEY, {"tag": "v1.102.5-mt.1"})
    facts = signature.verify(REPOSITORY, IMAGE, made.manifest, made.blobs, CHECK)
    assert facts == {"tag": "v1.102.5-mt.1"}
    assert made.tag == f"sha256-{'ab' * 32}.sig"
    assert signature.sign(REPOSITORY, IMAGE, KEY).manifest != made.manifest


def test_the_same_key_gives_the_same_bytes() -> None:
    assert signature.sign(REPOSITORY, IMAGE, KEY) == signature.sign(REPOSITORY, IMAGE, KEY)
    assert signature.sign_bytes(b"a", KEY) != signature.sign_bytes(b"b", KEY)


def test_the_payload_is_what_cosign_reads() -> None:
    made = signature.sign(REPOSITORY, IMAGE, KEY)
    assert json.loads(made.blobs[1]) == {
        "critical": {
            "identity": {"docker-reference": REPOSITORY},
            "image": {"docker-manifest-digest": IMAGE},
            "type": "cosign container image signature",
        },
        "optional": None,
    }
    manifest = json.loads(made.manifest)
    (layer,) = manifest["layers"]
    assert layer["mediaType"] == "application/vnd.dev.cosign.simplesigning.v1+json"
    assert base64.b64decode(layer["annotations"]["dev.cosignproject.cosign/signature"])
    assert layer["digest"] == f"sha256:{digest.of_bytes(made.blobs[1])}"
    assert manifest["config"]["digest"] == f"sha256:{digest.of_bytes(made.blobs[0])}"


def refused(manifest: bytes, blobs: tuple[bytes, ...], **other: Any) -> str:
    wanted = {"repository": REPOSITORY, "image": IMAGE, "key": CHECK} | other
    with pytest.raises(GateFailed) as caught:
        signature.verify(wanted["repository"], wanted["image"], manifest, blobs, wanted["key"])
    return caught.value.why


def test_another_key() -> None:
    made = signature.sign(REPOSITORY, IMAGE, KEY)
    _, public = signature.make_pair()
    assert "does not match" in refused(made.manifest, made.blobs, key=signature.public_key(public))


def test_another_digest_or_repository() -> None:
    made = signature.sign(REPOSITORY, IMAGE, KEY)
    other = f"sha256:{'cd' * 32}"
    assert f"digest: wanted {other}" in refused(made.manifest, made.blobs, image=other)
    assert "repository: wanted x/y" in refused(made.manifest, made.blobs, repository="x/y")


@pytest.mark.parametrize(
    "values",
    [
        {"image": f"sha256:{'cd' * 32}"},
        {"repository": "evil.example/x"},
        {"optional": {"tag": "v9"}},
    ],
    ids=lambda values: next(iter(values)),
)
def test_a_changed_payload(values: dict[str, Any]) -> None:
    made = signature.sign(REPOSITORY, IMAGE, KEY)
    manifest, blobs = changed(made, **values)
    wanted = {"image": values["image"]} if "image" in values else {}
    if "repository" in values:
        wanted["repository"] = values["repository"]
    assert "does not match" in refused(manifest, blobs, **wanted)


@pytest.mark.parametrize(
    "how",
    ["garbage", "empty", "no layers", "list", "no annotation", "not base64", "no blob", "foreign"],
)
def test_a_damaged_signature(how: str) -> None:
    made = signature.sign(REPOSITORY, IMAGE, KEY)
    manifest, blobs = json.loads(made.manifest), made.blobs
    (layer,) = manifest["layers"]
    if how == "no layers":
        manifest["layers"] = []
    elif how == "list":
        manifest = []
    elif how == "no annotation":
        del layer["annotations"]
    elif how == "not base64":
        layer["annotations"][signature.ANNOTATION] = "***"
    elif how == "no blob":
        blobs = ()
    elif how == "foreign":
        layer["mediaType"] = "text/plain"
    raw = {"garbage": b"\xff{", "empty": b""}.get(how) or json.dumps(manifest).encode()
    assert refused(b"" if how == "empty" else raw, blobs)


def test_one_good_signature_among_others() -> None:
    """cosign adds a second signer's layer to the same manifest."""
    other, _ = signature.make_pair()
    mine = signature.sign(REPOSITORY, IMAGE, KEY)
    theirs = signature.sign(REPOSITORY, IMAGE, signature.private_key(other), {"by": "them"})
    manifest = json.loads(theirs.manifest)
    manifest["layers"] += json.loads(mine.manifest)["layers"]
    both = json.dumps(manifest).encode()
    assert signature.verify(REPOSITORY, IMAGE, both, mine.blobs + theirs.blobs, CHECK) == {}


@pytest.mark.parametrize("text", ["", "v1", "sha256:abc", f"sha512:{'ab' * 32}", IMAGE.upper()])
def test_what_is_no_digest(text: str) -> None:
    with pytest.raises(UserError, match="is not a digest"):
        signature.sign(REPOSITORY, text, KEY)


# Keys.


def pem_of(key: Any, password: str = "") -> bytes:
    lock: Any = serialization.NoEncryption()
    if password:
        lock = serialization.BestAvailableEncryption(password.encode())
    form = serialization.PrivateFormat.PKCS8
    return bytes(key.private_bytes(serialization.Encoding.PEM, form, lock))


RSA = rsa.generate_private_key(65537, 2048)
LOCKED, _ = signature.make_pair(PASSWORD)


def nameless(value: object) -> str:
    """Keys are others in each process, and workers must give a test the same name."""
    return "key" if isinstance(value, bytes) else str(value)


@pytest.mark.parametrize(
    ("pem", "password", "says"),
    [
        (pem_of(RSA), "", "not for this kind"),
        (pem_of(ec.generate_private_key(ec.SECP384R1())), "", "secp384r1"),
        (pem_of(ed25519.Ed25519PrivateKey.generate()), "", "not for this kind"),
        (LOCKED, "", "is encrypted"),
        (LOCKED, "wrong", "the password is wrong"),
        (b"", "", "not in PEM form"),
        (b"garbage", "", "not in PEM form"),
        (PUBLIC, "", "not in PEM form"),
        (PRIVATE[:100], "", "not in PEM form"),
        (b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nabc\n", "x", "cosign's own form"),
    ],
    ids=nameless,
)
def test_a_key_that_will_not_do(pem: bytes, password: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        signature.private_key(pem, password)
    assert says in str(caught.value)
    assert not password or password == "x" or password not in str(caught.value).split()
    assert "PRIVATE" not in str(caught.value)


def test_a_password_that_is_not_needed() -> None:
    """One setting serves encrypted and plain keys."""
    assert signature.public_pem(signature.private_key(PRIVATE, "unneeded")) == PUBLIC
    assert signature.private_key(LOCKED, PASSWORD)


@pytest.mark.parametrize("pem", [b"", b"garbage", PRIVATE], ids=nameless)
def test_a_public_key_that_is_none(pem: bytes) -> None:
    with pytest.raises(UserError, match="public key cannot be read"):
        signature.public_key(pem)


def test_a_public_key_of_another_kind() -> None:
    der = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    with pytest.raises(UserError, match="not for this kind"):
        signature.public_key(RSA.public_key().public_bytes(*der))


@pytest.mark.parametrize("how", ["path", "text"])
def test_the_key_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    (tmp_path / "key").write_bytes(LOCKED)
    value = str(tmp_path / "key") if how == "path" else LOCKED.decode()
    monkeypatch.setenv("MT_SIGNING_KEY", value)
    monkeypatch.setenv("MT_SIGNING_PASSWORD", PASSWORD)
    assert signature.key_from_environment()


def test_no_key_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no signing key"):
        signature.key_from_environment()
    # Base64 without its frame: a secret that must not be shown.
    secret = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg" + "A" * 300
    monkeypatch.setenv("MT_SIGNING_KEY", secret)
    with pytest.raises(UserError) as caught:
        signature.key_from_environment()
    assert secret[:20] not in str(caught.value)


@pytest.mark.parametrize("password", ["", PASSWORD])
def test_a_pair_in_files(tmp_path: Path, password: str) -> None:
    path = tmp_path / "signing"
    public = signature.write_pair(path, password)
    assert public == tmp_path / "signing.pub"
    assert path.stat().st_mode & 0o777 == 0o600
    assert (b"ENCRYPTED" in path.read_bytes()) == bool(password)
    key = signature.private_key(path.read_bytes(), password)
    assert signature.public_pem(key) == public.read_bytes()
    assert {p.name for p in tmp_path.iterdir()} >= {"signing", "signing.pub"}
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".signing")]


@pytest.mark.parametrize("there", ["signing", "signing.pub"])
def test_a_key_is_never_overwritten(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("precious")
    with pytest.raises(UserError, match="cannot write a key pair"):
        signature.write_pair(tmp_path / "signing")
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == [there]
    assert (tmp_path / there).read_text() == "precious"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot write a key pair"):
        signature.write_pair(tmp_path / "no" / "signing")


# The signature of a file.


def test_openssl_agrees(tmp_path: Path) -> None:
    assert shutil.which("openssl"), "apt install openssl"
    (tmp_path / "sums").write_bytes(b"abc\n")
    (tmp_path / "sig").write_bytes(signature.sign_bytes(b"abc\n", KEY))
    (tmp_path / "pub").write_bytes(PUBLIC)
    argv = ["openssl", "dgst", "-sha256", "-verify", "pub", "-signature", "sig", "sums"]
    done = subprocess.run(argv, cwd=tmp_path, text=True, capture_output=True, timeout=60)
    assert done.stdout == "Verified OK\n", done.stderr
    (tmp_path / "sums").write_bytes(b"abd\n")
    done = subprocess.run(argv, cwd=tmp_path, text=True, capture_output=True, timeout=60)
    assert done.returncode == 1, "negative control"


def test_verify_bytes() -> None:
    made = signature.sign_bytes(b"abc", KEY)
    signature.verify_bytes(b"abc", made, CHECK)
    for content, sig in ((b"abd", made), (b"abc", made[:-1]), (b"abc", b"")):
        with pytest.raises(GateFailed):
            signature.verify_bytes(content, sig, CHECK)


def test_signing_without_products(places: Path) -> None:
    with pytest.raises(UserError, match="not there"):
        dist.sign(lambda content: b"x")
