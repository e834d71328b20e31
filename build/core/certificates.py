"""Which authorities are trusted when a server shows its certificate."""

from __future__ import annotations

import functools
import os
import ssl
from pathlib import Path

from build.core.errors import UserError

BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


def certificates(ca: str = "") -> str | bool:
    """Return what requests should trust: `ca`, else what the environment names, else the machine's.

    Raises UserError if that file or folder is not there, or if the file holds no certificates.
    """
    if ca:
        return authority(ca)
    for name in BUNDLES:
        path = os.environ.get(name, "")
        if not path:
            continue
        # SSL_CERT_DIR may list several folders; requests takes one.
        found = [part for part in (path, *path.split(":")) if part and Path(part).exists()]
        if not found:
            raise _unreadable(path, f"${name}", "there is no such file")
        if reason := _fault(found[0]):
            raise _unreadable(found[0], f"${name}", reason)
        return found[0]
    paths = ssl.get_default_verify_paths()
    return paths.cafile or paths.capath or True


def authority(ca: str) -> str:
    """Return `ca`. Raises UserError if that is no file of certificates."""
    try:
        if Path(ca).is_file():
            reason = _fault(ca)
        else:
            reason = "that is no file" if Path(ca).exists() else "there is no such file"
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
    if reason:
        raise _unreadable(ca, "the option for the CA", reason)
    return ca


@functools.cache
def _fault(path: str) -> str:
    """Return why a file does not do, "" if it does.

    What is no regular file is not read: a device has no end, a pipe gives its content once.
    """
    if not Path(path).is_file():
        return ""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError:
        return "it holds no certificates in PEM format"
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _unreadable(path: str, name: str, reason: str) -> UserError:
    return UserError(
        f"the certificates in {path} cannot be read",
        why=f"{name} names it, and {reason}",
        cure="name a file of certificates in PEM format",
    )
