"""Addresses of the web: which server, which login, and how they are shown.

Formats: RFC 3986, RFC 7617 (Basic).
"""

from __future__ import annotations

import base64
import re
from urllib.parse import unquote, urlsplit


def origin(address: str) -> tuple[str, str]:
    """Return scheme and host with port: what two addresses share if they mean one server.

    Nothing that is no address of the web is the same server as anything: ("", "").
    """
    try:
        parts = urlsplit(address)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (ValueError, KeyError):
        return "", ""
    return parts.scheme, f"{(parts.hostname or '').lower()}:{port}"


def shown(address: str) -> str:
    """Return an address for people: without user and query, which may hold secrets."""
    plain = re.split(r"[?#]", address, maxsplit=1)[0]
    scheme, mark, rest = plain.partition("://") if "://" in plain else ("", "", plain)
    host, slash, path = rest.partition("/")
    text = f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}"
    return "".join(c if c.isprintable() else "?" for c in text)[:300]


def weaker(before: str, after: str) -> bool:
    """Say whether a step from one address to the next would leave TLS."""
    return origin(before)[0] == "https" and origin(after)[0] != "https"


def basic(user: str, password: str) -> str:
    """Return the value of an `Authorization` header (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def split_login(address: str) -> tuple[str, str]:
    """Return an address without its login, and the value of a header that has it or ""."""
    scheme, mark, rest = address.partition("://")
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    login, at, name = host.rpartition("@")
    if not at:
        return address, ""
    user, _, password = login.partition(":")
    return f"{scheme}{mark}{name}{rest[len(host) :]}", basic(unquote(user), unquote(password))
