"""A registry: one set of answers, given in process or over a socket, with scripted faults.

The answers follow the OCI distribution specification 1.1 and, where that leaves a choice, Debian's
docker-registry 2.8.2: an index is a 404 without its type in Accept, an upload that has nothing yet
says `Range: 0-0`, a manifest is refused whose blobs are missing. `tests/test_registry_real.py` runs
the same cases against that registry.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qs, urlsplit

import requests
from requests.adapters import BaseAdapter
from urllib3 import HTTPHeaderDict, HTTPResponse

INDEXES = ("vnd.oci.image.index.v1+json", "manifest.list.v2+json")
_PATH = re.compile(r"/v2/(?P<name>.+?)/(?P<kind>blobs/uploads|blobs|manifests|tags|referrers)/")

FAULTS = ("cut before", "cut after", "half", "500", "429", "wrong", "forget")
"""`cut before` and `cut after` the request was handled; `half` of an answer (of a chunk: half of it
arrives); `wrong` digest or bytes; `forget`: a blob was said to be stored and is not."""


class Cut(Exception):
    """The connection ends without an answer."""


@dataclass
class Answer:
    """One HTTP answer; `claims` more bytes in Content-Length than there are."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    claims: int = 0


@dataclass
class Request:
    """One HTTP request; `path` is with its query."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""

    @property
    def query(self) -> dict[str, str]:
        return {name: row[-1] for name, row in parse_qs(urlsplit(self.path).query).items()}


def of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass
class Registry:
    """What it keeps, how it checks who asks, and its faults by the number of the request (from 1).

    login: "" (anybody), basic or bearer; users: {name: (password, may push)}. uses: how often a
    token is good before it has expired. realm: address of the token service. mounting, referrers,
    relative: what it can do, and how it writes Location. lenient: it takes manifests whose blobs
    it does not have. least: bytes of a chunk that it wants.
    """

    address: str = "http://127.0.0.1:5000"
    login: str = ""
    users: dict[str, tuple[str, bool]] = field(default_factory=dict)
    anonymous: bool = False
    uses: int = 10**9
    realm: str = ""
    mounting: bool = True
    referrers: bool = False
    relative: bool = False
    lenient: bool = False
    least: int = 0
    page: int = 0
    faults: dict[int, str] = field(default_factory=dict)
    always: str = ""
    retry_after: str = "0"
    storage: str = ""
    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], tuple[bytes, str]] = field(default_factory=dict)
    tags: dict[tuple[str, str], str] = field(default_factory=dict)
    uploads: dict[str, bytearray] = field(default_factory=dict)
    tokens: dict[str, list[Any]] = field(default_factory=dict)
    seen: list[Request] = field(default_factory=list)
    before: Any = None
    lock: threading.RLock = field(default_factory=threading.RLock)

    def handle(self, request: Request) -> Answer:
        """Answer one request, faults included. Raises Cut."""
        with self.lock:
            self.seen.append(request)
            number = len(self.seen)
            if self.before:
                self.before(number, request)
            fault = self.faults.get(number, self.always)
            if fault == "cut before":
                raise Cut
            if fault in ("500", "429"):
                return Answer(int(fault), {"Retry-After": self.retry_after})
            if fault == "half" and request.method in ("PATCH", "PUT") and request.body:
                request.body = request.body[: len(request.body) // 2]
                if request.method == "PATCH":
                    self._answer(request)
                raise Cut
            answer = self._answer(request)
            if request.method == "HEAD":
                answer.body = b""
            if fault == "cut after":
                raise Cut
            if fault == "half":
                if not answer.body:
                    raise Cut
                answer.claims = len(answer.body) - len(answer.body) // 2
                answer.body = answer.body[: len(answer.body) // 2]
            if fault == "wrong":
                answer.body = bytes(byte ^ 1 for byte in answer.body)
                if "Docker-Content-Digest" in answer.headers:
                    answer.headers["Docker-Content-Digest"] = of(b"something else")
            if fault == "forget" and request.method == "PUT" and "digest=" in request.path:
                self.blobs.popitem()
            return answer

    def _answer(self, request: Request) -> Answer:
        path = urlsplit(request.path).path
        if path == "/token":
            return self._token(request)
        if path.startswith("/storage/"):
            return Answer(200, {}, self.blobs[tuple(path[9:].rsplit("/", 1))])  # type: ignore[index]
        match = _PATH.match(path + "/")
        if not match:
            return self._error(404, "NAME_UNKNOWN")
        name, kind = match["name"], match["kind"]
        rest = (path + "/")[match.end() :].strip("/")
        if refusal := self._refusal(request, name):
            return refusal
        if kind == "blobs":
            return self._blob(request, name, rest)
        if kind == "blobs/uploads":
            return self._upload(request, name, rest)
        if kind == "manifests":
            return self._manifest(request, name, rest)
        if kind == "tags":
            return self._tags(request, name)
        return self._referrers(name, rest)

    # --- who asks ---------------------------------------------------------------------------------

    def _refusal(self, request: Request, name: str) -> Answer | None:
        pushes = request.method not in ("GET", "HEAD") or "/uploads/" in request.path
        given = request.headers.get("Authorization", "")
        if self.login == "basic":
            rights = self._user(given)
            if rights is None:
                challenge = {"WWW-Authenticate": 'Basic realm="the registry"'}
                return self._error(401, "UNAUTHORIZED", challenge)
            return self._error(403, "DENIED") if pushes and not rights else None
        if self.login == "bearer":
            scope = f"repository:{name}:{'pull,push' if pushes else 'pull'}"
            row = self.tokens.get(given.removeprefix("Bearer "))
            if row and row[1] > 0 and (scope in row[0] or f"{scope},push" in row[0]):
                row[1] -= 1
                return None
            realm = self.realm or f"{self.address}/token"
            challenge = f'Bearer realm="{realm}",service="fake registry",scope="{scope}"'
            return self._error(401, "UNAUTHORIZED", {"WWW-Authenticate": challenge})
        return None

    def _user(self, given: str) -> bool | None:
        """Whether the user may push, None for nobody we know."""
        if not given.startswith("Basic "):
            return None
        user, _, password = base64.b64decode(given[6:]).decode().partition(":")
        known = self.users.get(user)
        return known[1] if known and known[0] == password else None

    def _token(self, request: Request) -> Answer:
        given = request.headers.get("Authorization", "")
        rights = self._user(given)
        if rights is None and (given or not self.anonymous):
            return self._error(401, "UNAUTHORIZED")
        wanted = parse_qs(urlsplit(request.path).query).get("scope", [])
        scopes = [s if rights else s.replace(",push", "") for s in wanted]
        token = f"token-{len(self.tokens)}-of-nobody-else"
        self.tokens[token] = [scopes, self.uses]
        return Answer(200, {}, json.dumps({"token": token, "expires_in": 60}).encode())

    # --- blobs ------------------------------------------------------------------------------------

    def _blob(self, request: Request, name: str, wanted: str) -> Answer:
        content = self.blobs.get((name, wanted))
        if content is None:
            return self._error(404, "BLOB_UNKNOWN")
        if self.storage and request.method == "GET":
            return Answer(307, {"Location": f"{self.storage}/storage/{name}/{wanted}?signature=s"})
        headers = {"Docker-Content-Digest": wanted, "Content-Length": str(len(content))}
        return Answer(200, headers, content if request.method == "GET" else b"")

    def _upload(self, request: Request, name: str, session: str) -> Answer:
        if request.method == "POST":
            wanted, source = request.query.get("mount", ""), request.query.get("from", "")
            if self.mounting and (source, wanted) in self.blobs:
                self.blobs[name, wanted] = self.blobs[source, wanted]
                return Answer(201, {"Docker-Content-Digest": wanted})
            session = f"upload-{len(self.uploads)}"
            self.uploads[session] = bytearray()
            return self._progress(202, name, session)
        if session not in self.uploads:
            return self._error(404, "BLOB_UPLOAD_UNKNOWN")
        held = self.uploads[session]
        if request.method == "GET":
            return self._progress(204, name, session)
        if request.method == "PATCH":
            start = int(request.headers.get("Content-Range", "0-").partition("-")[0])
            if start != len(held):
                return self._error(416, "RANGE_INVALID")
            held += request.body
            return self._progress(202, name, session)
        held += request.body
        wanted = request.query.get("digest", "")
        del self.uploads[session]
        if of(bytes(held)) != wanted:
            return self._error(400, "DIGEST_INVALID")
        self.blobs[name, wanted] = bytes(held)
        return Answer(201, {"Docker-Content-Digest": wanted})

    def _progress(self, status: int, name: str, session: str) -> Answer:
        base = "" if self.relative else self.address
        where = f"{base}/v2/{name}/blobs/uploads/{session}?_state=secret-state"
        end = max(0, len(self.uploads[session]) - 1)
        headers = {"Location": where, "Range": f"0-{end}"}
        if self.least:
            headers["OCI-Chunk-Min-Length"] = str(self.least)
        return Answer(status, headers)

    # --- manifests --------------------------------------------------------------------------------

    def _manifest(self, request: Request, name: str, reference: str) -> Answer:
        if request.method == "PUT":
            return self._put(request, name, reference)
        wanted = self.tags.get((name, reference), reference)
        content, kind = self.manifests.get((name, wanted), (b"", ""))
        accepted = request.headers.get("Accept", "")
        if not kind or (any(mark in kind for mark in INDEXES) and kind not in accepted):
            return self._error(404, "MANIFEST_UNKNOWN")
        headers = {"Docker-Content-Digest": wanted, "Content-Type": kind}
        return Answer(200, headers, content if request.method == "GET" else b"")

    def _put(self, request: Request, name: str, reference: str) -> Answer:
        try:
            table = json.loads(request.body)
        except ValueError:
            return self._error(400, "MANIFEST_INVALID")
        wanted = of(request.body)
        if reference.startswith("sha256:") and reference != wanted:
            return self._error(400, "DIGEST_INVALID")
        lacking = [row["digest"] for row in table.get("manifests", [])]
        lacking = [row for row in lacking if (name, row) not in self.manifests]
        blobs = [table["config"], *table["layers"]] if "config" in table else []
        lacking += [row["digest"] for row in blobs if (name, row["digest"]) not in self.blobs]
        if lacking and not self.lenient and "subject" not in table:
            return self._error(400, "MANIFEST_BLOB_UNKNOWN")
        self.manifests[name, wanted] = (request.body, request.headers["Content-Type"])
        if not reference.startswith("sha256:"):
            self.tags[name, reference] = wanted
        headers = {"Docker-Content-Digest": wanted}
        if self.referrers and "subject" in table:
            headers["OCI-Subject"] = table["subject"]["digest"]
        return Answer(201, headers)

    def _tags(self, request: Request, name: str) -> Answer:
        every = sorted(tag for where, tag in self.tags if where == name)
        if not every:
            return self._error(404, "NAME_UNKNOWN")
        after = request.query.get("last", "")
        rest = [tag for tag in every if tag > after]
        shown, headers = rest[: self.page or None], {}
        if len(shown) < len(rest):
            headers = {"Link": f'</v2/{name}/tags/list?last={shown[-1]}>; rel="next"'}
        return Answer(200, headers, json.dumps({"name": name, "tags": shown}).encode())

    def _referrers(self, name: str, subject: str) -> Answer:
        if not self.referrers:
            return self._error(404, "NOT_FOUND")
        rows = []
        for (where, key), (content, kind) in self.manifests.items():
            if where == name and json.loads(content).get("subject", {}).get("digest") == subject:
                rows.append({"mediaType": kind, "digest": key, "size": len(content)})
        return Answer(200, {}, json.dumps({"schemaVersion": 2, "manifests": rows}).encode())

    def _error(self, status: int, code: str, headers: dict[str, str] | None = None) -> Answer:
        body = json.dumps({"errors": [{"code": code, "message": f"the words for {code}"}]})
        return Answer(status, headers or {}, body.encode())


# --- how to reach it ------------------------------------------------------------------------------


class Adapter(BaseAdapter):
    """Lets requests reach registries in this process; `hosts` maps scheme and host to each."""

    def __init__(self, hosts: dict[str, Registry]) -> None:
        super().__init__()
        self.hosts = hosts

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:  # type: ignore[override]
        parts = urlsplit(request.url or "")
        asked = Request(
            request.method or "",
            f"{parts.path}?{parts.query}" if parts.query else parts.path,
            dict(request.headers),
            request.body or b"",  # type: ignore[arg-type]
        )
        try:
            answer = self.hosts[f"{parts.scheme}://{parts.netloc}"].handle(asked)
        except Cut:
            raise requests.ConnectionError("Connection aborted", request=request) from None
        found = requests.Response()
        found.status_code, found.url, found.request = answer.status, request.url or "", request
        found.headers.update(answer.headers)
        length = len(answer.body) + answer.claims
        if request.method != "HEAD":
            found.headers["Content-Length"] = str(length)
        found.raw = HTTPResponse(
            io.BytesIO(answer.body),
            HTTPHeaderDict(found.headers),
            status=answer.status,
            preload_content=False,
            request_method=request.method,
        )
        return found

    def close(self) -> None:
        pass


def session(**hosts: Registry) -> requests.Session:
    """A session that reaches registries by their own addresses."""
    made = requests.Session()
    made.trust_env = False
    adapter = Adapter({one.address: one for one in hosts.values()})
    made.mount("http://", adapter)
    made.mount("https://", adapter)
    return made


class Handles(Protocol):
    """What can answer over a socket; it is told its address."""

    address: str

    def handle(self, request: Request) -> Answer: ...


Served = TypeVar("Served", bound=Handles)


@contextmanager
def serving(registry: Served, tls: ssl.SSLContext | None = None) -> Iterator[Served]:
    """Give the same answers on a free port of the loopback interface."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body are two writes; without this each answer waits 40 ms for an acknowledgement.
        disable_nagle_algorithm = True

        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            body = self.rfile.read(length)
            asked = Request(self.command, self.path, dict(self.headers.items()), body)
            try:
                answer = registry.handle(asked)
            except Cut:
                self.close_connection = True
                return
            self.send_response(answer.status)
            headers = {"Content-Length": str(len(answer.body)), **answer.headers}
            if answer.claims:
                headers["Content-Length"] = str(len(answer.body) + answer.claims)
                self.close_connection = True
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = handle_any

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    registry.address = f"http://127.0.0.1:{server.server_address[1]}"
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        registry.address = f"https://localhost:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# --- what must always hold ------------------------------------------------------------------------


def holes(registry: Registry, name: str) -> list[str]:
    """What is wrong with the tags of a repository: each must name something whole."""
    return [
        f"{tag}: {fault}"
        for (where, tag), wanted in registry.tags.items()
        if where == name
        for fault in _holes(registry, name, wanted)
    ]


def _holes(registry: Registry, name: str, wanted: str) -> list[str]:
    content, _ = registry.manifests.get((name, wanted), (b"", ""))
    if of(content) != wanted:
        return [f"manifest {wanted} is missing or altered"]
    table = json.loads(content)
    found = [
        fault
        for row in table.get("manifests", [])
        for fault in _holes(registry, name, row["digest"])
    ]
    blobs = [table["config"], *table["layers"]] if "config" in table else []
    for row in blobs:
        if of(registry.blobs.get((name, row["digest"]), b"")) != row["digest"]:
            found.append(f"blob {row['digest']} is missing or altered")
    return found
