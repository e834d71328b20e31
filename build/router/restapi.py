"""The wire to a router: its REST interface, and a file that it can fetch from here.

Facts about REST: MikroTik's manual, "REST API". All values are strings; a request lasts
60 s at most, so long work is started with ``/rest/execute`` and watched; ``GET`` of a single
container hangs, so lists are read and filtered by the caller.
"""

from __future__ import annotations

import functools
import http.server
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from build.core import answer, redact
from build.core.address import basic, origin
from build.core.errors import UserError
from build.core.http import TransientError, Transport

TIMEOUTS = (10.0, 65.0)


class DeployError(UserError):
    """Something about the router or the plan that stops the deployment; says what to do."""


class Client:
    """The REST interface of one router."""

    def __init__(
        self,
        address: str,
        user: str,
        password: str,
        ca: str = "",
        wire: Transport | None = None,
    ) -> None:
        """address: https://router (or http:// on a trusted wire). ca: file of its authority.

        The password goes to that address and nowhere else.
        """
        self.base = address.rstrip("/") + "/rest"
        self.transport = wire or Transport(error=DeployError, ca=ca, timeouts=TIMEOUTS)
        self._login = basic(user, password)
        redact.know(password, self._login)

    def call(self, method: str, path: str, body: Mapping[str, str] | None = None) -> Any:
        """One request; the decoded answer. Raises DeployError for an error of any kind."""
        data = b"" if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if data else {}
        try:
            got = self.transport.follow(
                method,
                f"{self.base}/{path}",
                lambda where: self._own(where) | headers,
                data,
                leave=False,
            )
        except TransientError as problem:
            # Not sent again: a router that is slow may have done it.
            raise DeployError(f"no answer from {self.base}: {problem}") from None
        if got.status == 401:
            raise DeployError("the router refuses this user or password")
        try:
            told = answer.decoded(got.body) if got.body else None
        except ValueError as problem:
            told = problem
        if got.status >= 300:
            detail = ""
            if isinstance(told, dict):
                detail = str(told.get("detail") or told.get("message") or "")
            detail = detail or got.body[:300].decode(errors="replace")
            raise DeployError(f"{method} {path}: {got.status} {detail}")
        if isinstance(told, ValueError):
            raise DeployError(f"{method} {path}: the router's answer is no JSON", why=str(told))
        return told

    def _own(self, where: str) -> dict[str, str]:
        return {"Authorization": self._login} if origin(where) == origin(self.base) else {}

    def rows(self, path: str) -> list[dict[str, str]]:
        """A list menu."""
        found = self.call("GET", path)
        return found if isinstance(found, list) else [found]

    def execute(self, script: str) -> None:
        """Start a script in the background."""
        self.call("POST", "execute", {"script": script})


@contextmanager
def offer(image: Path, address: str) -> Iterator[str]:
    """Serve one folder's file over HTTP on a free port of ``address`` while the block runs.

    REST cannot take files of this size (60 KB limit), so the router fetches it from here. The
    wire should be yours; what arrives is compared by its size before it is used.
    """
    handler = functools.partial(_Quiet, directory=str(image.parent))
    server = http.server.ThreadingHTTPServer((address, 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{address}:{server.server_address[1]}/{image.name}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: progress is shown by ``apply``."""

    def list_directory(self, path: Any) -> None:
        """Offer the file alone, not the list of its neighbours."""
        self.send_error(403)
