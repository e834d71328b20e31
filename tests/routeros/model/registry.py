"""A registry with anonymous tokens: one set of answers, given in process or over a socket.

The answers follow the OCI distribution spec as far as a router asks: a token, and HEAD or GET
of a manifest by tag or digest. Debian's docker-registry 2.8.2: without an Accept of the index
type an index is a 404.
"""

from __future__ import annotations

import hashlib
import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.routeros.model.served import served

INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True)
class Image:
    """What a router gets when it pulls.

    behaviour: good, crash (exits), dead (does not start), deaf (no answer to ping), mute (tailscale
    status fails), login (needs a login). size: bytes on flash once extracted. transfer: bytes
    while pulling.
    """

    name: str
    behaviour: str = "good"
    size: int = 4_200_000
    transfer: int = 4_000_000
    ram: int = 40 << 20

    @cached_property
    def digest(self) -> str:
        """The digest of its index; any stable function of what it is."""
        return "sha256:" + hashlib.sha256(repr(self).encode()).hexdigest()


@dataclass
class Answer:
    """One HTTP answer."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""


@dataclass
class Registry:
    """The contents and the faults of one registry host.

    style: the token service is at /token (ghcr, Docker Hub) or /v2/token (gitea), or "none".
    certificate: whether its certificate stands a check. answers: how often each path was asked.
    """

    host: str = "ghcr.example"
    style: str = "/token"
    images: dict[str, Image] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    down: bool = False
    certificate: bool = True
    broken_pulls: bool = False
    token_status: int = 200
    needs_service: bool = False
    token: str = "anonymous:"
    asked: list[str] = field(default_factory=list)

    def push(self, repository: str, tag: str, image: Image) -> str:
        """Store an image and let a tag point to it; gives the digest."""
        self.images[image.digest] = image
        self.tags[f"{repository}:{tag}"] = image.digest
        return image.digest

    def pull(self, reference: str) -> Image | None:
        """The image for ``host/repository@digest`` or ``host/repository:tag``; None if the
        registry cannot give it."""
        host, _, rest = reference.partition("/")
        if self.down or self.broken_pulls or host != self.host:
            return None
        repository, at, digest = rest.partition("@")
        if not at:
            digest = self.tags.get(repository, "")
        return self.images.get(digest)

    def answer(self, method: str, url: str, headers: Mapping[str, str]) -> Answer:
        """The answer to a request; ``url`` may be a path or a whole address."""
        parts = urlsplit(url)
        self.asked.append(f"{method} {parts.path}")
        if self.down:
            return Answer(503)
        query = parse_qs(parts.query)
        if parts.path == self.style:
            lacking = self.needs_service and not query.get("service")
            if self.token_status != 200 or not query.get("scope") or lacking:
                return Answer(self.token_status if self.token_status != 200 else 400)
            return Answer(
                200,
                {"Content-Type": "application/json"},
                json.dumps({"token": self._token(query["scope"][0])}),
            )
        if parts.path.startswith("/v2/") and "/manifests/" in parts.path:
            repository, _, reference = parts.path[4:].partition("/manifests/")
            return self._manifest(repository, reference, headers)
        return Answer(404)

    def _token(self, scope: str) -> str:
        return self.token + scope if self.token.endswith(":") else self.token

    def _manifest(self, repository: str, reference: str, headers: Mapping[str, str]) -> Answer:
        lower = {name.lower(): value for name, value in headers.items()}
        wanted = "Bearer " + self._token(f"repository:{repository}:pull")
        if self.style != "none" and lower.get("authorization") != wanted:
            return Answer(401, {"WWW-Authenticate": "Bearer"})
        if INDEX not in lower.get("accept", ""):
            return Answer(404)
        digest = self.tags.get(f"{repository}:{reference}", reference)
        if digest not in self.images:
            return Answer(404)
        body = json.dumps({"mediaType": INDEX, "name": self.images[digest].name})
        return Answer(200, {"Content-Type": INDEX, "Docker-Content-Digest": digest}, body)


@contextmanager
def serve(registry: Registry, certificate: Path, key: Path) -> Iterator[int]:
    """Serve a registry over HTTPS on loopback; gives the port."""

    class Handler(BaseHTTPRequestHandler):
        def reply(self) -> None:
            answer = registry.answer(self.command, self.path, dict(self.headers.items()))
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body.encode())))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body.encode())

        do_GET = reply
        do_HEAD = reply

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test output quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with served(server) as port:
        yield port
