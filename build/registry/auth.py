"""Requests to one registry as somebody: logins, tokens, redirects, and nothing told to strangers.

Formats: RFC 9110 (challenges), the token authentication of the distribution project
(distribution.github.io/distribution/spec/auth/token).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NoReturn
from urllib.parse import quote, urljoin, urlsplit

from build.core import redact
from build.core.address import origin, shown, weaker
from build.core.answer import Answer
from build.core.errors import UserError
from build.core.http import MOST, PASSING, Transport, passing
from build.registry import credentials
from build.registry.credentials import Credentials
from build.registry.transport import RegistryError

CHALLENGE, TOKEN = 8192, 65536
"""Characters of a challenge that are read, and of a token that is taken."""

_PART = re.compile(
    r'(?P<key>[\w-]+)\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^\s,"]*))'
    r"|(?P<scheme>[A-Za-z][\w-]*)"
)


def challenges(header: str) -> dict[str, dict[str, str]]:
    """Return {scheme in lower case: its parameters} of a WWW-Authenticate header."""
    found: dict[str, dict[str, str]] = {}
    for part in _PART.finditer(header[:CHALLENGE]):
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
        return f", it says: {redact.remark(text, 200)}"

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
            raise passing(answer, self.said(answer))

    def _follow(
        self,
        method: str,
        address: str,
        scope: str,
        headers: Mapping[str, str],
        body: bytes,
        most: int,
    ) -> Answer:
        def own(where: str) -> dict[str, str]:
            value = self._authorization(scope) if self._ours(where) else ""
            return {**headers, **({"Authorization": value} if value else {})}

        return self.transport.follow(method, address, own, body, most=most)

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
        try:
            realm = urljoin(self.base, challenge.get("realm", ""))
        except ValueError:
            realm = ""
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
        answer = self.transport.exchange("GET", address, headers)
        if answer.status in (401, 403):
            self._refuse("GET", answer, login=True)
        self._passing(answer)
        table = answer.json() if answer.status == 200 else None
        token = table.get("token") or table.get("access_token") if isinstance(table, dict) else None
        if not isinstance(token, str) or not re.fullmatch(rf"[!-~]{{1,{TOKEN}}}", token):
            raise RegistryError(f"{shown(realm)} gives no token", why=f"HTTP {answer.status}")
        redact.know(token)
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
