"""``/tool/fetch``: over a real TLS socket, or straight into a registry object for speed."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from tests.routeros.lang.errors import RuntimeFault
from tests.routeros.lang.host import CommandCall
from tests.routeros.lang.values import NOTHING, Array, Duration, Value, length, to_str
from tests.routeros.model.facts import Behaviour
from tests.routeros.model.registry import Answer, Registry
from tests.routeros.model.storage import Storage

USER_LIMIT = 64 * 1024  # facts 3.2: output=user holds 64 KB


class Transport(Protocol):
    """How a request reaches its server."""

    def request(self, method: str, url: str, headers: Mapping[str, str], check: bool) -> Answer:
        """Send a request. Raises RuntimeFault if there is no answer or the check fails."""


class Direct:
    """No socket: the registries' own answers, by host name."""

    def __init__(self, registries: list[Registry]) -> None:
        self.registries = {registry.host: registry for registry in registries}

    def request(self, method: str, url: str, headers: Mapping[str, str], check: bool) -> Answer:
        registry = self.registries.get(urlsplit(url).netloc)
        if registry is None:
            raise RuntimeFault("failure: resolving error")
        if check and not registry.certificate:
            raise RuntimeFault("failure: ssl: certificate verification failed")
        return registry.answer(method, url, headers)


class Socket:
    """Real HTTPS to loopback ports; host names are looked up here, certificates are checked."""

    def __init__(self, ports: Mapping[str, int], authority: Path) -> None:
        self.ports = dict(ports)
        self.authority = authority

    def request(self, method: str, url: str, headers: Mapping[str, str], check: bool) -> Answer:
        parts = urlsplit(url)
        if parts.netloc not in self.ports:
            raise RuntimeFault("failure: resolving error")
        context = ssl.create_default_context(cafile=str(self.authority))
        if not check:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        try:
            plain = socket.create_connection(("127.0.0.1", self.ports[parts.netloc]), timeout=5)
            with context.wrap_socket(plain, server_hostname=parts.netloc) as secure:
                connection = http.client.HTTPConnection(parts.netloc)
                connection.sock = secure
                connection.request(method, path, headers=dict(headers))
                reply = connection.getresponse()
                return Answer(reply.status, dict(reply.getheaders()), reply.read().decode())
        except ssl.SSLError as problem:
            raise RuntimeFault(f"failure: ssl: {problem.reason}") from None
        except OSError as problem:
            raise RuntimeFault(f"failure: connection: {problem}") from None


def header_fields(value: Value) -> dict[str, str]:
    """``http-header-field``: an array of fields, or one text with commas between them."""
    parts = (
        [to_str(item) for item in value.items]
        if isinstance(value, Array)
        else to_str(value).split(",")
    )
    fields: dict[str, str] = {}
    for part in parts:
        name, _, text = part.partition(":")
        if name.strip():
            known = fields.get(name.strip())
            fields[name.strip()] = f"{known}, {text.strip()}" if known else text.strip()
    return fields


class Fetch:
    """The command itself."""

    def __init__(self, transport: Transport, storage: Storage, behaviour: Behaviour) -> None:
        self.transport = transport
        self.storage = storage
        self.headers_in_array = behaviour.headers_in_array
        self.ampersand_refused = behaviour.ampersand_refused

    def address(self, args: Mapping[str, Value]) -> str:
        """The address, given whole or in parts. Raises RuntimeFault for one that is none."""
        if "url" not in args:
            host = to_str(args.get("host", args["address"]))
            return f"{to_str(args['mode'])}://{host}/{to_str(args['src-path'])}"
        url = to_str(args["url"])
        if self.ampersand_refused and "&" in url:
            raise RuntimeFault("failure: Please provide IP address or host")
        return url

    def run(self, call: CommandCall) -> Value:
        """Fetch. Raises RuntimeFault "Fetch failed with status N" for an HTTP error."""
        args = call.args
        check = to_str(args.get("check-certificate", "no")) not in ("no", "false")
        method = to_str(args.get("http-method", "get")).upper()
        answer = self.transport.request(
            method, self.address(args), header_fields(args.get("http-header-field", "")), check
        )
        if answer.status >= 400:
            raise RuntimeFault(
                f"Fetch failed with status {answer.status}", attributes={"code": answer.status}
            )
        body = "" if method == "HEAD" else answer.body
        output = to_str(args.get("output", "file"))
        if output == "file":
            self.storage.put(to_str(args.get("dst-path", "fetched")), length(body), "file", body)
        if "as-value" not in call.flags:
            return NOTHING
        result = Array(
            [], {"status": "finished", "duration": Duration(0), "downloaded": length(body) // 1024}
        )
        if output.startswith("user"):
            if length(body) > USER_LIMIT:
                raise RuntimeFault("failure: data too large for a variable")
            result.keyed["data"] = body
        if output == "user-with-headers":
            fields = [f"{name}: {value}" for name, value in answer.headers.items()]
            if self.headers_in_array:
                result.keyed["http-headers"] = Array(list(fields))
            else:
                head = "\r\n".join([f"HTTP/1.1 {answer.status} OK", *fields])
                result.keyed["data"] = f"{head}\r\n\r\n{body}"
        return result
