"""A proxy in front of a real registry that spoils chosen requests; it passes on all others."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from fakes.registry import Answer, Cut, Request

FAULTS = ("cut before", "cut after", "half", "500")

SLOW = 1.0
"""Seconds that a slow answer takes at most; the client of the tests waits a third of that."""


@dataclass
class Proxy:
    """`faults` by the number of the request (from 1); `before` is called ahead of each.

    `half`: of a request's body one half reaches the registry, or one half of the answer comes back.
    `slow`: the registry has handled it, the answer comes when the client has given up.
    """

    upstream: str
    address: str = ""
    faults: dict[int, str] = field(default_factory=dict)
    before: Callable[[int, Request], None] | None = None
    seen: list[Request] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    def handle(self, request: Request) -> Answer:
        self.seen.append(request)
        number = len(self.seen)
        if self.before:
            self.before(number, request)
        fault = self.faults.get(number, "")
        if fault == "cut before":
            raise Cut
        if fault == "500":
            return Answer(500)
        if fault == "half" and request.body:
            self._half(request)
            raise Cut
        answer = self._pass(request)
        if fault == "slow":
            self.closing.wait(SLOW)
        if fault in ("cut after", "slow") or (fault == "half" and not answer.body):
            raise Cut
        if fault == "half":
            answer.claims = len(answer.body) - len(answer.body) // 2
            answer.body = answer.body[: len(answer.body) // 2]
        return answer

    def _pass(self, request: Request) -> Answer:
        connection = http.client.HTTPConnection(self.upstream, timeout=120)
        with contextlib.closing(connection):
            connection.request(request.method, request.path, request.body, request.headers)
            found = connection.getresponse()
            dropped = ("connection", "transfer-encoding", "date")
            headers = {k: v for k, v in found.getheaders() if k.lower() not in dropped}
            return Answer(found.status, headers, found.read())

    def _half(self, request: Request) -> None:
        """Send a request that breaks off in the middle of its body."""
        connection = http.client.HTTPConnection(self.upstream, timeout=120)
        with contextlib.closing(connection):
            connection.putrequest(request.method, request.path, skip_host=True)
            for name, value in request.headers.items():
                connection.putheader(name, value)
            connection.endheaders(request.body[: len(request.body) // 2])
