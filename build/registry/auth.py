"""Requests to one registry as somebody: logins, tokens, redirects, and nothing told to strangers.

Formats: RFC 9110 (challenges), the token authentication of the distribution project
(distribution.github.io/distribution/spec/auth/token).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NoReturn
from urllib.parse import quote, urljoin, urlsplit

from build.core.errors import UserError
from build.registry import credentials
from build.registry.credentials import Credentials
from build.registry.transport import (
    PASSING,
    Answer,
    RegistryError,
    TransientError,
    Transport,
    origin,
    retry_after,
    shown,
    weaker,
)

REDIRECTS = {301, 302, 303, 307, 308}
REDIRECTIONS = 5

MOST = 4 << 20
"""Bytes of an answer that is not a blob; registries take no larger manifest either."""

_PART = re.compile(
    r'(?P<key>[\w-]+)\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^\s,"]*))'
    r"|(?P<scheme>[A-Za-z][\w-]*)"
)


def challenges(header: str) -> dict[str, dict[str, str]]:
    """Return {scheme in lower case: its parameters} of a WWW-Authenticate header."""
    found: dict[str, dict[str, str]] = {}
    for part in _PART.finditer(header):
        if part["scheme"]:
            current = found.setdefault(part["scheme"].lower(), {})
        elif found:
            current[part["key"].lower()] = part["quoted"] or part["bare"] or ""
    return found


class Session:
    """Requests to the registry at `base` (scheme and host), as somebody or, with None, anybody."""

    def __init__(self, base: str, known: Credentials | None, transport: Transport) -> None:
        self.base, self.transport, self._known = base, transport, known
        self._basic = False
        self._tokens: dict[str, str] = {}

    def send(
        self,
        method: str,
        address: str,
        scope: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        most: int = MOST,
    ) -> Answer:
        """Send one request and return the answer, whatever its status is.

        `address` may be relative; `scope` is the access a token must give; an answer longer than
        `most` bytes is a fault. Raises TransientError for what may be gone the next time,
        UserError where access is refused, RegistryError for a redirect that must not be followed.
        """
        target = urljoin(self.base, address)
        answer = self._follow(method, target, scope, headers or {}, body, most)
        if answer.status == 401 and self._ours(answer.address):
            self._authorise(method, answer, scope)
            answer = self._follow(method, target, scope, headers or {}, body, most)
        if answer.status in (401, 403):
            self._refuse(method, answer, login=answer.status == 401 and not self._tokens)
        self._passing(answer)
        return answer

    def said(self, answer: Answer) -> str:
        """Return the registry's own words in an answer, secrets hidden; "" if it has none."""
        try:
            row = answer.json()["errors"][0]
            text = f"{row.get('code', '')} {row.get('message', '')}"
        except (KeyError, IndexError, TypeError, AttributeError):
            return ""
        known = self._known.secrets if self._known else ()
        for secret in (*self._tokens.values(), *known):
            text = text.replace(secret, "***")
        return ", it says: " + "".join(c for c in text.strip()[:200] if c.isprintable())

    def expect(self, answer: Answer, status: int, what: str) -> None:
        """Raise RegistryError if an answer has not the status that it should have."""
        if answer.status != status:
            raise RegistryError(
                f"{what}: {shown(answer.address)} answers with HTTP {answer.status}",
                why=self.said(answer).removeprefix(", it says: "),
            )

    def _ours(self, address: str) -> bool:
        return origin(address) == origin(self.base)

    def _passing(self, answer: Answer) -> None:
        if answer.status in PASSING:
            wait = retry_after(answer.headers.get("Retry-After"))
            reason = f"{shown(answer.address)}: HTTP {answer.status}{self.said(answer)}"
            raise TransientError(reason, wait)

    def _follow(
        self,
        method: str,
        address: str,
        scope: str,
        headers: Mapping[str, str],
        body: bytes,
        most: int,
    ) -> Answer:
        for _ in range(REDIRECTIONS):
            own = dict(headers)
            if self._ours(address) and (value := self._authorization(scope)):
                own["Authorization"] = value
            answer = self.transport.exchange(method, address, own, body, most)
            if answer.status not in REDIRECTS or "Location" not in answer.headers:
                return answer
            where = urljoin(address, answer.headers["Location"])
            if method not in ("GET", "HEAD") or weaker(address, where):
                raise RegistryError(f"{method} {shown(address)} is redirected to {shown(where)}")
            address = where
        raise RegistryError(f"{method} {shown(address)}: too many redirects")

    def _authorization(self, scope: str) -> str:
        if self._known and self._basic:
            return self._known.basic
        return f"Bearer {self._tokens[scope]}" if scope in self._tokens else ""

    def _authorise(self, method: str, answer: Answer, scope: str) -> None:
        """Do what a 401 asks for: log in, or get a token, a new one if the old one has expired."""
        asked = challenges(answer.headers.get("WWW-Authenticate", ""))
        if "bearer" in asked:
            self._tokens.pop(scope, None)
            self._tokens[scope] = self._token(asked["bearer"], scope)
        elif "basic" in asked and self._known and not self._basic:
            self._basic = True
        else:
            self._refuse(method, answer, login=True)

    def _token(self, challenge: Mapping[str, str], scope: str) -> str:
        realm = urljoin(self.base, challenge.get("realm", ""))
        if weaker(self.base, realm):
            raise RegistryError(
                f"{self.base} sends us to {shown(realm)} for a token",
                why="the password would be readable on the way there",
            )
        query = [f"scope={part}" for part in scope.split(" ")]
        if service := challenge.get("service"):
            query.insert(0, f"service={quote(service, safe='')}")
        address = realm + ("&" if "?" in realm else "?") + "&".join(query)
        headers = {"Authorization": self._known.basic} if self._known else {}
        answer = self.transport.exchange("GET", address, headers, b"", MOST)
        if answer.status in (401, 403):
            self._refuse("GET", answer, login=True)
        self._passing(answer)
        table = answer.json() if answer.status == 200 else None
        token = table.get("token") or table.get("access_token") if isinstance(table, dict) else None
        if not isinstance(token, str) or not re.fullmatch(r"[!-~]+", token):
            raise RegistryError(f"{shown(realm)} gives no token", why=f"HTTP {answer.status}")
        return token

    def _refuse(self, method: str, answer: Answer, *, login: bool) -> NoReturn:
        cure = credentials.CURE
        if self._known is None:
            what = "does not allow this without a login"
        elif login:
            what = "refuses this user or password"
        else:
            what = "does not allow this user to do this"
            cure = f"use an account or a token that may write there: {cure}"
        raise UserError(
            f"{urlsplit(self.base).netloc} {what}",
            why=f"{method} {shown(answer.address)}: HTTP {answer.status}{self.said(answer)}",
            cure=cure,
        )
