"""Requests and their answers: what goes wrong on the way is tried again, addresses are compared.

Format of Retry-After: RFC 9110.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests

from build.core import log
from build.core.errors import BuildFailed
from build.sources import obtain

ATTEMPTS = 6
PAUSE, LONGEST_PAUSE = 0.5, 60.0
"""Seconds before the second attempt, each later one waits twice as long; the longest pause."""

TIMEOUTS = (10.0, 60.0)
"""Seconds to connect, and without a byte of the answer."""

PASSING = {408, 425, 429, 500, 502, 503, 504}

T = TypeVar("T")


class RegistryError(BuildFailed):
    """The registry is away or does what it should not."""


class TransientError(Exception):
    """A fault that may be gone the next time; `wait` is the pause in seconds that was asked for."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


def origin(address: str) -> tuple[str, str]:
    """Return scheme and host with port: what two addresses share if they mean one server."""
    parts = urlsplit(address)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    return parts.scheme, f"{(parts.hostname or '').lower()}:{port}"


def shown(address: str) -> str:
    """Return an address for people: without user and query, which may hold secrets."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds that a Retry-After header asks for, None if it does not say."""
    if not value:
        return None
    try:
        seconds = float(int(value))
    except ValueError:
        try:
            wanted = parsedate_to_datetime(value)
        except ValueError:
            return None
        if wanted.tzinfo is None:
            wanted = wanted.replace(tzinfo=UTC)
        seconds = (wanted - (now or datetime.now(UTC))).total_seconds()
    return max(0.0, seconds)


def weaker(before: str, after: str) -> bool:
    """Say whether a step from one address to the next would leave TLS."""
    return origin(before)[0] == "https" and origin(after)[0] != "https"


@dataclass(frozen=True)
class Answer:
    """An answer with its body read. `address` is who gave it, after redirects."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    address: str

    def json(self) -> Any:
        """Return the body as JSON, None if it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class _NoAuth(requests.auth.AuthBase):
    """Keeps requests from adding what it finds in ~/.netrc."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class Transport:
    """Sends single requests. `sleep` takes seconds; `session` is for tests."""

    def __init__(
        self,
        *,
        session: requests.Session | None = None,
        sleep: Callable[[float], None] = time.sleep,
        attempts: int = ATTEMPTS,
        timeouts: tuple[float, float] = TIMEOUTS,
    ) -> None:
        self._session = session or requests.Session()
        self._session.auth = _NoAuth()
        self._session.verify = obtain.certificates()
        self._sleep, self._attempts, self._timeouts = sleep, attempts, timeouts

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def repeat(self, what: str, action: Callable[[], T]) -> T:
        """Return what `action` returns, tried again after passing faults.

        Raises RegistryError when the attempts are used up.
        """
        for attempt in range(self._attempts):
            try:
                return action()
            except TransientError as fault:
                if attempt + 1 == self._attempts:
                    raise RegistryError(
                        f"{what}: given up after {self._attempts} attempts",
                        why=str(fault),
                        cure="run the same command again: what was done is not done twice",
                    ) from None
                self.pause(what, fault, attempt)
        raise AssertionError("no attempt")

    def pause(self, what: str, fault: TransientError, attempt: int) -> None:
        """Wait before an attempt after the `attempt`th (from 0), as long as the fault asks for."""
        seconds = PAUSE * 2**attempt if fault.wait is None else fault.wait
        seconds = min(seconds, LONGEST_PAUSE)
        # Who waits is told why.
        tell = log.note if seconds >= 2 else log.detail
        tell("", f"{what}: {fault}; again in {seconds:.1f} s")
        self._sleep(seconds)

    def exchange(
        self, method: str, address: str, headers: Mapping[str, str], body: bytes, most: int
    ) -> Answer:
        """Send a request, follow no redirect, and return the answer with its body of `most` bytes.

        Raises TransientError if there is no answer or a longer one, RegistryError if the host
        cannot show that it is itself.
        """
        received = bytearray()
        try:
            with self._session.request(
                method,
                address,
                headers=headers,
                data=body or None,
                timeout=self._timeouts,
                allow_redirects=False,
                stream=True,
            ) as answer:
                for chunk in answer.iter_content(1 << 16):
                    received += chunk
                    if len(received) > most:
                        raise TransientError(
                            f"{shown(address)}: an answer of more than {most} bytes"
                        )
            return Answer(answer.status_code, answer.headers, bytes(received), address)
        except requests.RequestException as error:
            # Not chained: the words of the library quote addresses with their queries.
            phrase = obtain.network_phrase(error) or type(error).__name__
            final = isinstance(error, requests.exceptions.SSLError) and "certificate" in phrase
        if final:
            raise RegistryError(
                f"{shown(address)}: {phrase}",
                cure="name its authority in SSL_CERT_FILE or REQUESTS_CA_BUNDLE",
            )
        raise TransientError(f"{shown(address)}: {phrase}")
