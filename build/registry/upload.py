"""Bringing one blob into a repository: mounted, in one piece, or in chunks that survive a cut.

Format: OCI distribution specification 1.1, "Pushing blobs".
"""

from __future__ import annotations

import re
from urllib.parse import quote, urljoin

from build.core import log
from build.core.answer import Answer
from build.core.http import TransientError
from build.registry.auth import Session
from build.registry.transport import RegistryError

OCTETS = "application/octet-stream"
FORGOTTEN = {400, 404, 416}
"""The bytes got mixed up on the way, or the registry has dropped the upload: begin again."""

CHUNK_FAULTS = 4
"""Faults of chunks in a row after which the upload begins again."""

_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,18})")


class Upload:
    """The sending of `source`, whose digest is `wanted`; `path` is the repository's, `/v2/NAME`.

    `advance` takes the bytes sent since it was last told.
    """

    def __init__(
        self, session: Session, path: str, wanted: str, source: bytes, advance: log.Advance
    ) -> None:
        self._session, self._path = session, path
        self._wanted, self._source, self._advance = wanted, source, advance
        self._scope = f"repository:{path.removeprefix('/v2/')}:pull,push"
        self._where = ""
        self._done = 0

    def run(self, chunk: int, mount_from: str = "") -> str:
        """Send the blob, in chunks if it is larger than `chunk` bytes; returns `sent`.

        With `mount_from`, a repository of the same registry, that is asked for it first; if it has
        it the return value is `mounted`. Raises TransientError if the upload has to begin again.
        """
        address, scope = f"{self._path}/blobs/uploads/", self._scope
        if mount_from:
            address += f"?mount={self._wanted}&from={quote(mount_from, safe='')}"
            scope += f" repository:{mount_from}:pull"
        answer = self._session.send("POST", address, scope)
        if mount_from and answer.status == 201:
            return "mounted"
        self._session.expect(answer, 202, "beginning an upload")
        self._done = 0
        self._go_on(answer)
        least = re.fullmatch(r"[0-9]{1,12}", answer.headers.get("OCI-Chunk-Min-Length", ""))
        chunk = max(chunk, int(least[0]) if least else 0)
        if len(self._source) > chunk:
            self._chunks(chunk)
        where = f"{self._where}{'&' if '?' in self._where else '?'}digest={self._wanted}"
        rest = self._source[self._done :]
        answer = self._send("PUT", where, rest, {})
        self._session.expect(answer, 201, f"sending blob {self._wanted}")
        self._advance(len(rest))
        return "sent"

    def _chunks(self, size: int) -> None:
        faults = 0
        while self._done < len(self._source):
            end = min(self._done + size, len(self._source))
            before = self._done
            try:
                ranges = {"Content-Range": f"{self._done}-{end - 1}"}
                answer = self._send("PATCH", self._where, self._source[self._done : end], ranges)
                self._session.expect(answer, 202, "sending a chunk")
                faults = 0
            except TransientError as fault:
                faults += 1
                answer = self._status(fault, faults)
            self._go_on(answer)
            self._done = self._arrived(answer)
            if not before <= self._done <= end:
                raise TransientError(f"the registry has {self._done} bytes of {end}")
            self._advance(self._done - before)

    def _status(self, fault: TransientError, faults: int) -> Answer:
        """After a fault of a chunk, ask how much has arrived; gives up after a few in a row."""
        if faults > CHUNK_FAULTS:
            raise fault
        transport, what = self._session.transport, f"sending blob {self._wanted}"
        transport.pause(what, fault, faults - 1)
        answer = transport.repeat(what, lambda: self._session.send("GET", self._where, self._scope))
        if answer.status != 204:
            raise fault
        return answer

    def _send(self, method: str, where: str, body: bytes, more: dict[str, str]) -> Answer:
        headers = {"Content-Type": OCTETS, **more}
        answer = self._session.send(method, where, self._scope, headers=headers, body=body)
        if answer.status in FORGOTTEN:
            raise TransientError(f"the upload was not accepted: HTTP {answer.status}")
        return answer

    def _go_on(self, answer: Answer) -> None:
        where = answer.headers.get("Location", self._where)
        if not where:
            raise RegistryError(f"{self._session.base} does not say where to send a blob")
        try:
            self._where = urljoin(answer.address, where)
        except ValueError:
            raise RegistryError(
                f"{self._session.base} names no usable address for a blob"
            ) from None

    def _arrived(self, answer: Answer) -> int:
        match = _RANGE.fullmatch(answer.headers.get("Range", ""))
        if not match:
            raise RegistryError(f"{self._session.base} does not say how much it has of a blob")
        # docker-registry says 0-0 for nothing. If one byte is meant, the digest will not be right
        # and the upload begins again.
        return int(match[1]) + 1 if match[1] != "0" else 0
