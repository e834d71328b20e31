"""Which authorities are trusted when a server shows its certificate."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from build.core.errors import UserError

BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


def certificates(ca: str = "") -> str | bool:
    """Return what requests should trust: `ca`, else what the environment names, else the machine's.

    Raises UserError if that file or folder is not there.
    """
    named = [("the CA file", ca), *((f"${name}", os.environ.get(name, "")) for name in BUNDLES)]
    for name, path in named:
        if not path:
            continue
        # SSL_CERT_DIR may list several folders; requests takes one.
        found = [part for part in (path, *path.split(":")) if part and Path(part).exists()]
        if not found:
            raise UserError(
                f"the certificates in {path} cannot be read",
                why=f"{name} names it, and there is no such file",
                cure="name a file of certificates in PEM format",
            )
        return found[0]
    paths = ssl.get_default_verify_paths()
    return paths.cafile or paths.capath or True
