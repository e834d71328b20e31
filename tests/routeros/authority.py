"""A certificate authority made on the spot, for the servers of the tests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Files:
    """PEM files: the authority, and a certificate with its key."""

    authority: Path
    certificate: Path
    key: Path


def make(folder: Path, host: str) -> Files:
    """An authority and a certificate for one host name, valid for a day around now."""
    folder.mkdir()
    now = datetime.now(UTC)
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"test authority {folder.name}")])
    root = ec.generate_private_key(ec.SECP256R1())
    leaf = ec.generate_private_key(ec.SECP256R1())

    def build(
        subject: x509.Name, public: ec.EllipticCurvePublicKey, authority: bool
    ) -> x509.Certificate:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
            .sign(root, hashes.SHA256())
        )

    files = Files(folder / "ca.pem", folder / "leaf.pem", folder / "leaf.key")
    pem = serialization.Encoding.PEM
    files.authority.write_bytes(build(issuer, root.public_key(), True).public_bytes(pem))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    files.certificate.write_bytes(build(subject, leaf.public_key(), False).public_bytes(pem))
    files.key.write_bytes(
        leaf.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files
