"""A web server in this process whose answers, faults included, are scripted per path."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Answer:
    """One answer: `body` with `status`; `claims` more bytes in Content-Length than are sent."""

    body: bytes = b""
    status: int = 200
    claims: int = 0
    kind: str = "application/octet-stream"


@dataclass
class Web:
    """The running server: `plays` maps a path to its answers, the last of which is repeated."""

    address: str = ""
    plays: dict[str, list[Answer]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)

    def play(self, path: str, *answers: Answer) -> str:
        """Script a path; returns its address."""
        self.plays[path] = list(answers)
        return self.address + path

    def asked(self, path: str) -> int:
        """How often the path was asked for."""
        return self.requests.count(path)


@contextmanager
def serving() -> Iterator[Web]:
    """Yield a server on a free port of the loopback interface."""
    web = Web()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            with lock:
                web.requests.append(path)
                web.logins.append(self.headers.get("Authorization", ""))
                answers = web.plays.get(path) or [Answer(b"nothing here", 404)]
                answer = answers.pop(0) if len(answers) > 1 else answers[0]
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.kind)
            self.send_header("Content-Length", str(len(answer.body) + answer.claims))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(answer.body)
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    web.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
