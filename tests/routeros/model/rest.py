"""A router's REST interface in front of the model (facts, section 4).

Time passes for the model with every request: ``pace`` seconds, which is what lets jobs that
``/rest/execute`` started come to their end while a client polls.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.routeros.lang import ParseError, RscError, RuntimeFault
from tests.routeros.lang.host import CommandCall
from tests.routeros.lang.values import Array, Id, Nil, Nothing, Value, to_str
from tests.routeros.model.fetch import Transport
from tests.routeros.model.registry import Answer
from tests.routeros.model.router import Router
from tests.routeros.model.served import served
from tests.routeros.model.tables import Record, Table

FILE_LIMIT = 60 * 1024


class Loopback:
    """Lets the model's fetch reach real servers on 127.0.0.1; the rest goes where it went."""

    def __init__(self, other: Transport) -> None:
        self.other = other

    def request(self, method: str, url: str, headers: Mapping[str, str], check: bool) -> Answer:
        parts = urlsplit(url)
        if parts.hostname != "127.0.0.1":
            return self.other.request(method, url, headers, check)
        connection = http.client.HTTPConnection(parts.netloc, timeout=5)
        connection.request(method, parts.path)
        reply = connection.getresponse()
        body = reply.read().decode("latin-1")
        connection.close()
        return Answer(reply.status, dict(reply.getheaders()), body)


class RestFault(Exception):
    """An error answer."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Rest:
    """Turns requests into commands."""

    def __init__(
        self, router: Router, user: str = "admin", password: str = "secret", pace: float = 5.0
    ) -> None:
        self.router = router
        self.credentials = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self.pace = pace
        self.requests: list[str] = []
        self.refused: list[str] = []
        self.lock = threading.Lock()

    def answer(self, method: str, path: str, credentials: str, body: bytes) -> tuple[int, Any]:
        """Status and JSON for one request."""
        with self.lock:
            self.requests.append(f"{method} {path}")
            if credentials != self.credentials:
                return 401, {"error": 401, "message": "Unauthorized"}
            try:
                result = self._run(
                    method, path.removeprefix("/rest/").strip("/"), json.loads(body) if body else {}
                )
                self.router.advance(self.pace)
            except RestFault as fault:
                self.refused.append(f"{method} {path}: {fault}")
                return fault.status, {
                    "error": fault.status,
                    "message": "Bad Request",
                    "detail": str(fault),
                }
            except (RuntimeFault, ParseError) as fault:
                self.refused.append(f"{method} {path}: {fault.message}")
                return 400, {"error": 400, "message": "Bad Request", "detail": fault.message}
            return 200, result

    def _run(self, method: str, path: str, values: dict[str, str]) -> Any:
        if path == "execute":
            # a job of its own: the answer does not wait for it, and its errors stay there
            self.router.clock.after(0.1, lambda: self._job(values["script"]))
            return {"ret": "*1"}
        menu, key = self._locate(path)
        if method == "GET":
            if key and path.startswith("container/"):
                raise RestFault(504, "hangs on a router: list and filter instead")
            return self._rows(menu)
        if method == "PUT":
            if path == "file" and len(values.get("contents", "")) > FILE_LIMIT:
                raise RestFault(400, "contents too long")
            self._known(path, "add", values)
            if not isinstance(menu, Table):
                raise RestFault(400, "no such command")
            return {".id": menu.add(dict(values))}
        if method in ("PATCH", "DELETE"):
            if not isinstance(menu, Table) or key not in menu.items:
                raise RestFault(404, "no such item")
            if method == "PATCH":
                self._known(path.rpartition("/")[0], "set", values)
                menu.change(key, dict(values))
            else:
                menu.discard(key)
            return {}
        return self._command(path, values)

    def _job(self, script: str) -> None:
        try:
            self.router.run(script, "rest")
        except RscError as problem:
            self.router.log.write("error", problem.message)

    def _locate(self, path: str) -> tuple[Any, str]:
        words = tuple(path.split("/"))
        if words[0] == "container" and self.router.package != "installed":
            raise RestFault(400, "no such command or directory (container)")
        if words in self.router.menus:
            return self.router.menus[words], ""
        if words[:-1] in self.router.menus:
            return self.router.menus[words[:-1]], words[-1]
        if words == ("tool", "fetch"):
            return None, ""
        raise RestFault(400, f"no such command or directory ({words[-1]})")

    def _known(self, path: str, verb: str, values: Mapping[str, str]) -> None:
        """Refuse a field that the version's command lacks, as routers do."""
        spec = self.router.schema.command(tuple(path.split("/")), verb)
        for name in values:
            if name not in spec.args:
                raise RestFault(400, f"unknown parameter {name}")

    def _rows(self, menu: Any) -> Any:
        if isinstance(menu, Record):
            return {name: _text(value) for name, value in menu.all().items()}
        return [
            {
                name: _text(value)
                for name, value in menu.view(key).items()
                if not isinstance(value, (Nothing, Nil))
            }
            for key in menu.matching(None)
        ]

    def _command(self, path: str, values: Mapping[str, str]) -> Any:
        words = path.split("/")
        spec = self.router.schema.command(tuple(words[:-1]), words[-1])
        args: dict[str, Value] = {}
        for name, value in values.items():
            args["number" if name in (".id", "numbers") else name] = (
                Id(value) if name == ".id" else value
            )
        call = CommandCall(tuple(words[:-1]), spec, args, frozenset(), frozenset(), None, 0)
        result = self.router.command(call)
        return [] if not isinstance(result, Array) else {"ret": to_str(result)}


def _text(value: Value) -> str:
    return to_str(value)


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A router that loses its power says nothing; any other fault is one of the model."""
        if not isinstance(sys.exc_info()[1], ConnectionAbortedError):
            super().handle_error(request, client_address)


@contextmanager
def serve(rest: Rest, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """The interface on loopback; gives its address (with `tls` the host is ``localhost``)."""

    class Handler(BaseHTTPRequestHandler):
        def reply(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            status, result = rest.answer(
                self.command,
                urlsplit(self.path).path,
                self.headers.get("Authorization", ""),
                self.rfile.read(size),
            )
            body = json.dumps(result).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_PATCH = do_POST = do_DELETE = reply

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test output quiet."""

    server = _Server(("127.0.0.1", 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    with served(server) as port:
        yield f"https://localhost:{port}" if tls else f"http://127.0.0.1:{port}"
