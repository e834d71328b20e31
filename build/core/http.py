"""HTTP: the only place that sends requests.

Certificates, proxies, timeouts, retries, redirects, the length of answers and what messages may
tell are the same for registries, forges, routers and sources. Source of the rules: RFC 9110.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, BinaryIO, TypeVar
from urllib.parse import urljoin

from build.core import log
from build.core.address import origin, shown, split_login, weaker
from build.core.answer import Answer, retry_after
from build.core.certificates import authority, certificates
from build.core.errors import BuildFailed, Error

# requests is imported where it is used: it costs 100 ms that a build with nothing to fetch need not
# pay.
if TYPE_CHECKING:
    import requests

ATTEMPTS = 6
PAUSE, LONGEST_PAUSE = 0.5, 60.0
"""Seconds before the second attempt, each later one waits twice as long; the longest pause."""

TIMEOUTS = (10.0, 60.0)
"""Seconds to connect, and without a byte of the answer."""

PASSING = {408, 429, 500, 502, 503, 504}
"""Statuses that may be gone the next time. No other request that is refused is sent again."""

REDIRECTS = {301, 302, 303, 307, 308}
REDIRECTIONS = 5

MOST = 4 << 20
"""Bytes of an answer unless the caller expects more."""

T = TypeVar("T")


class HttpError(BuildFailed):
    """A server is away or does what it should not."""


class TransientError(Exception):
    """A fault that may be gone the next time; `wait` is the pause in seconds that was asked for.

    `sent`: the server may have handled the request.
    """

    def __init__(self, reason: str, wait: float | None = None, *, sent: bool = True) -> None:
        super().__init__(reason)
        self.wait, self.sent = wait, sent


class TooLongError(TransientError):
    """An answer of more bytes than are wanted."""


def phrase(error: Exception) -> str:
    """Return what a failed request means to people, "" if that is not known."""
    text = str(error)
    for mark, said in (
        ("NameResolution", "its name cannot be resolved (no network?)"),
        ("Failed to resolve", "its name cannot be resolved (no network?)"),
        ("407 Proxy", "the proxy wants another login"),
        ("Unable to connect to proxy", "the proxy does not let us through"),
        ("Connection refused", "the connection was refused"),
        ("timed out", "it did not answer in time"),
        ("IncompleteRead", "the transfer broke off"),
        ("CERTIFICATE_VERIFY_FAILED", "its certificate is not trusted"),
        ("SSL", "it does not speak TLS as it should"),
        ("onnection aborted", "the connection was cut"),
        ("onnection broken", "the connection was cut"),
        ("reset by peer", "the connection was cut"),
    ):
        if mark in text:
            return said
    return ""


def passing(answer: Answer, said: str = "") -> TransientError:
    """Return the fault that an answer with a passing status is; `said` is what it says besides."""
    wait = retry_after(answer.headers.get("Retry-After"))
    return TransientError(f"{shown(answer.address)}: HTTP {answer.status}{said}", wait)


def form(field: str, name: str, content: bytes) -> tuple[bytes, str]:
    """Return body and content type of a form (RFC 7578) with one file."""
    import urllib3

    body, kind = urllib3.encode_multipart_formdata({field: (name, content)})
    return body, kind


def _nobody(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keep requests from adding what it finds in ~/.netrc."""
    return request


class Transport:
    """Sends requests. What fails for good is raised as `error`, the caller's kind of Error.

    `ca` is a file of certificates to trust instead of all others, the environment's included;
    raises UserError if it is none, also where no request needs it. `sleep` takes seconds;
    `session` is for tests.
    """

    def __init__(
        self,
        *,
        error: type[Error] = HttpError,
        ca: str = "",
        session: requests.Session | None = None,
        sleep: Callable[[float], None] = time.sleep,
        attempts: int = ATTEMPTS,
        timeouts: tuple[float, float] = TIMEOUTS,
    ) -> None:
        import requests

        self.error, self._ca = error, authority(ca) if ca else ""
        self._session = session or requests.Session()
        self._session.auth = _nobody
        self._sleep, self._attempts, self._timeouts = sleep, attempts, timeouts

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def repeat(self, what: str, action: Callable[[], T]) -> T:
        """Return what `action` returns, tried again after passing faults.

        Raises `error` when the attempts are used up.
        """
        for attempt in range(self._attempts):
            try:
                return action()
            except TransientError as fault:
                if attempt + 1 == self._attempts:
                    raise self.error(
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

    def follow(
        self,
        method: str,
        address: str,
        headers: Callable[[str], Mapping[str, str]],
        body: bytes = b"",
        *,
        most: int = MOST,
        leave: bool = True,
        sink: Callable[[bytes], object] | None = None,
    ) -> Answer:
        """Send a request and follow redirects; `headers` gives those for each address on the way.

        No redirect changes the method or leaves TLS, none that is not a reading leaves the server,
        and with `leave` false none at all does. Raises as `exchange`, and `error` for such a one.
        """
        for _ in range(REDIRECTIONS):
            answer = self.exchange(method, address, headers(address), body, most=most, sink=sink)
            if answer.status not in REDIRECTS or "Location" not in answer.headers:
                return answer
            try:
                where = urljoin(address, answer.headers["Location"])
            except ValueError:
                where = ""
            reading = method in ("GET", "HEAD")
            same = origin(where) == origin(address)
            kept = reading or (answer.status in (307, 308) and same)
            if origin(where) == ("", "") or weaker(address, where) or not kept:
                raise self._redirected(method, address, where)
            if not (leave or same):
                raise self._redirected(method, address, where)
            address = where
        raise self.error(f"{method} {shown(address)}: too many redirects")

    def _redirected(self, method: str, address: str, where: str) -> Error:
        return self.error(
            f"{method} {shown(address)} is redirected to {shown(where) or 'no address'}",
            why="following it would send the request elsewhere, or another one",
            cure=f"if that is the new address, use it: {shown(where)}" if where else "",
        )

    def exchange(
        self,
        method: str,
        address: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | BinaryIO = b"",
        *,
        most: int = MOST,
        sink: Callable[[bytes], object] | None = None,
    ) -> Answer:
        """Send one request, follow no redirect, and return the answer with its body.

        A login in the address becomes a header. With `sink` the body of an answer 200 goes there
        in pieces. Raises TransientError if there is no answer, TooLongError for one of more than
        `most` bytes, `error` if the host cannot show that it is itself or the address is none.
        """
        received, count = bytearray(), 0
        with contextlib.closing(self._send(method, address, headers or {}, body)) as answer:
            taking = sink if answer.status_code == 200 else None
            limit = most if taking or not sink else MOST
            for chunk in self._chunks(answer, address):
                count += len(chunk)
                if count > limit:
                    raise TooLongError(f"{shown(address)}: an answer of more than {limit} bytes")
                if taking:
                    taking(chunk)
                else:
                    received += chunk
        return Answer(answer.status_code, answer.headers, bytes(received), address)

    def _send(
        self, method: str, address: str, headers: Mapping[str, str], body: bytes | BinaryIO
    ) -> requests.Response:
        target, login = split_login(address)
        if origin(target) == ("", ""):
            raise self.error(f"{shown(address)} is no address that begins with http:// or https://")
        # The bytes as they are: an archive that a server calls "encoded" is what was pinned, and
        # nothing small unpacks to something large here.
        own = {"Accept-Encoding": "identity"} | ({"Authorization": login} if login else {})
        # Given with each request: requests lets the environment win over a session's setting.
        verify = certificates(self._ca) if target.startswith("https:") else True
        try:
            return self._session.request(
                method,
                target,
                headers={**own, **headers},
                data=body or None,
                timeout=self._timeouts,
                verify=verify,
                allow_redirects=False,
                stream=True,
            )
        except (OSError, ValueError) as error:  # all of requests' are an OSError
            fault = self._fault(address, error)
        # Raised here and not chained: the words of the library quote addresses with their queries.
        raise fault

    def _chunks(self, answer: requests.Response, address: str) -> Iterator[bytes]:
        import urllib3

        try:
            yield from answer.raw.stream(1 << 16, decode_content=False)
            return
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            fault = self._fault(address, error)
        raise fault

    def _fault(self, address: str, error: Exception) -> Exception:
        import requests

        said = phrase(error) or type(error).__name__
        if "certificate" in said:
            cure = "name its authority in SSL_CERT_FILE or REQUESTS_CA_BUNDLE"
            if self._ca:
                cure = f"only what {self._ca} holds is trusted: name its authority's file instead"
            return self.error(f"{shown(address)}: {said}", cure=cure)
        if isinstance(error, ValueError):
            return self.error(f"{shown(address)} is not a usable address", why=said)
        unsent = isinstance(error, requests.ConnectTimeout) or "refused" in said
        return TransientError(f"{shown(address)}: {said}", sent=not unsent)
