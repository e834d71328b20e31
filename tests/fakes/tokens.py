"""A token service for docker-registry: JSON web tokens signed with ES256, made by hand.

Format: RFC 7515 and RFC 7519; the claims are those of the distribution project's
"Token authentication implementation". The key's certificate travels in the header `x5c`.
"""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

from fakes.registry import Answer, Request

SERVICE, ISSUER = "test registry", "test issuer"

LEEWAY = 60
"""Seconds that docker-registry takes a token after its end."""


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass
class Tokens:
    """The service: `users` maps names to (password, may push); anybody may pull.

    `lasts` is how many seconds docker-registry takes a token; `ends` when the last one is dead.
    """

    users: dict[str, tuple[str, bool]]
    address: str = ""
    lasts: int = 300
    ends: float = 0
    issued: list[str] = field(default_factory=list)
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    def __post_init__(self) -> None:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ISSUER)])
        now = datetime.now(UTC)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )

    def bundle(self, path: Path) -> Path:
        """Write the certificate that the registry is to trust."""
        path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        return path

    def handle(self, request: Request) -> Answer:
        given = request.headers.get("Authorization", "").removeprefix("Basic ")
        user, _, password = base64.b64decode(given).decode().partition(":")
        known = self.users.get(user)
        if user and (known is None or known[0] != password):
            return Answer(401)
        access = []
        for scope in parse_qs(urlsplit(request.path).query).get("scope", []):
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            granted = [a for a in actions.split(",") if a == "pull" or (known and known[1])]
            access.append({"type": kind, "name": name, "actions": granted})
        token = self.token(user, access)
        self.issued.append(token)
        return Answer(200, {}, json.dumps({"token": token}).encode())

    def token(self, user: str, access: list[dict[str, Any]]) -> str:
        now = int(time.time())
        end = now + self.lasts - LEEWAY
        self.ends = end + LEEWAY
        der = self.certificate.public_bytes(serialization.Encoding.DER)
        header = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
        claims = {"iss": ISSUER, "sub": user, "aud": SERVICE, "access": access, "exp": end}
        claims |= {"nbf": now - 2 * LEEWAY, "iat": now, "jti": str(len(self.issued))}
        signed = ".".join(_encoded(json.dumps(part).encode()) for part in (header, claims))
        r, s = decode_dss_signature(self.key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"
