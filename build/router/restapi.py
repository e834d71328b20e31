"""The wire to a router: its REST interface, and a file that it can fetch from here.

Facts about REST: MikroTik's manual, "REST API". All values are strings; a request lasts
60 s at most, so long work is started with ``/rest/execute`` and watched; ``GET`` of a single
container hangs, so lists are read and filtered by the caller.
"""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from build.core.errors import UserError

TIMEOUT = 65.0


class DeployError(UserError):
    """Something about the router or the plan that stops the deployment; says what to do."""


class Client:
    """The REST interface of one router."""

    def __init__(
        self,
        address: str,
        user: str,
        password: str,
        verify: bool | str = True,
        session: requests.Session | None = None,
    ) -> None:
        """address: https://router (or http:// on a trusted wire). verify: as requests takes it."""
        self.base = address.rstrip("/") + "/rest"
        self.session = session or requests.Session()
        self.session.auth = (user, password)
        self.session.verify = verify

    def call(self, method: str, path: str, body: Mapping[str, str] | None = None) -> Any:
        """One request; the decoded answer. Raises DeployError for an error of any kind."""
        try:
            answer = self.session.request(method, f"{self.base}/{path}", json=body, timeout=TIMEOUT)
        except requests.RequestException as problem:
            raise DeployError(f"no answer from {self.base}: {problem}") from problem
        if answer.status_code == 401:
            raise DeployError("the router refuses this user or password")
        if answer.status_code >= 400:
            try:
                told = answer.json()
                detail = told.get("detail") or told.get("message") or answer.text
            except ValueError:
                detail = answer.text
            raise DeployError(f"{method} {path}: {answer.status_code} {detail}")
        return answer.json() if answer.content else None

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
