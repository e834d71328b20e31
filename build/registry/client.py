"""Blobs and manifests of one repository in a registry.

Format: OCI distribution specification 1.1. Everything read is compared with its digest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

from build.core import digest, log
from build.core.address import origin
from build.core.answer import Answer, decoded
from build.core.http import TransientError, Transport
from build.image import oci
from build.registry.auth import Session
from build.registry.credentials import Credentials
from build.registry.repository import Repository
from build.registry.transport import RegistryError, transport
from build.registry.upload import Upload

DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
# Without the index types registries answer with 404, or with a manifest of their own making.
ACCEPT = ", ".join((oci.INDEX, oci.MANIFEST, DOCKER_LIST, DOCKER_MANIFEST))

CHUNK = 5 << 20
"""Bytes that one request of an upload carries; a smaller blob is sent in one piece.

Registries that pass the chunks on to S3 take no smaller ones: that is its least part.
"""

LARGEST = 64 << 20
"""Bytes of a blob that is read, whatever a manifest says; our largest layer has a quarter of it."""

TAGS, CHARS = 100_000, 8192
"""Tags of a repository that are read, and characters of the header that names the next page."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_REFERENCE = re.compile(r"[\w][\w.-]{0,127}|sha256:[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True)
class Manifest:
    """A manifest or an index as the registry keeps it."""

    content: bytes
    media_type: str

    @property
    def digest(self) -> str:
        """Its digest, worked out from its bytes."""
        return f"sha256:{digest.of_bytes(self.content)}"

    @property
    def table(self) -> dict[str, Any]:
        """Its JSON. Raises RegistryError if it is no object."""
        try:
            table = decoded(self.content)
        except ValueError:
            table = None
        if not isinstance(table, dict):
            raise RegistryError(f"the manifest {self.digest} is not a JSON object")
        return table


def referrers_tag(subject: str) -> str:
    """Return the tag that stands in for the referrers API where a registry has none."""
    return subject.replace(":", "-")


def _next(before: str, address: str) -> str:
    try:
        return urljoin(before, address)
    except ValueError:
        raise RegistryError("the list of tags goes on at no usable address") from None


def _is_digest(reference: str) -> bool:
    return _DIGEST.fullmatch(reference) is not None


class Client:
    """One repository, used as somebody (`known`) or anonymously.

    A blob of more than `chunk` bytes is uploaded in chunks, one of more than `largest` bytes is
    not read. `wire` is for tests.
    """

    def __init__(
        self,
        place: Repository,
        known: Credentials | None,
        *,
        wire: Transport | None = None,
        chunk: int = CHUNK,
        largest: int = LARGEST,
    ) -> None:
        self.place, self._chunk, self._largest = place, chunk, largest
        self.transport = wire or transport()
        self._session = Session(place.base, known, self.transport)
        self._path = f"/v2/{place.repository}"
        self._pull = f"repository:{place.repository}:pull"
        self._push = f"{self._pull},push"

    def __enter__(self) -> Client:
        """Return itself; the connections are closed when the block is left."""
        return self

    def __exit__(self, *problem: object) -> None:
        """Close the connections."""
        self.transport.close()

    def head(self, reference: str) -> str:
        """Return the digest that a tag or digest has in the registry, "" if it is not there."""

        def ask() -> str:
            answer = self._ask("HEAD", reference)
            if answer.status == 404:
                return ""
            self._session.expect(answer, 200, f"asking for {reference}")
            found = answer.headers.get("Docker-Content-Digest", "")
            if not found:
                # The header is optional; the bytes tell as well.
                again = self.manifest(reference)
                return again.digest if again else ""
            if not _DIGEST.fullmatch(found) or (_is_digest(reference) and found != reference):
                raise TransientError(
                    f"asked for {reference}, the registry answers with '{found:.80}'"
                )
            return found

        return self.transport.repeat(f"asking for {reference}", ask)

    def manifest(self, reference: str) -> Manifest | None:
        """Return a manifest by tag or digest, None if it is not there."""

        def get() -> Manifest | None:
            answer = self._ask("GET", reference)
            if answer.status == 404:
                return None
            self._session.expect(answer, 200, f"reading {reference}")
            found = Manifest(answer.body, answer.headers.get("Content-Type", "").split(";")[0])
            stated = answer.headers.get("Docker-Content-Digest", found.digest)
            wanted = reference if _is_digest(reference) else stated
            if found.digest != wanted:
                raise TransientError(
                    f"{reference}: wanted {wanted:.80}, got bytes with {found.digest}"
                )
            return found

        return self.transport.repeat(f"reading {reference}", get)

    def put_manifest(self, reference: str, manifest: Manifest) -> bool:
        """Store a manifest under a tag or its digest, in one request that is not tried again.

        Returns whether the registry took note of its subject by itself. Raises TransientError.
        """
        address = f"{self._path}/manifests/{reference}"
        headers = {"Content-Type": manifest.media_type}
        body = manifest.content
        answer = self._session.send("PUT", address, self._push, headers=headers, body=body)
        self._session.expect(answer, 201, f"storing {reference}")
        stated = answer.headers.get("Docker-Content-Digest", manifest.digest)
        if stated != manifest.digest:
            raise RegistryError(f"stored {manifest.digest}, the registry calls it {stated:.80}")
        return "OCI-Subject" in answer.headers

    def push_manifest(self, manifest: Manifest) -> bool:
        """Store a manifest under its digest; returns the same as `put_manifest`."""
        what = f"storing {manifest.digest}"
        return self.transport.repeat(what, lambda: self.put_manifest(manifest.digest, manifest))

    def tags(self) -> list[str]:
        """Return all tags of the repository, in the registry's order."""
        found: dict[str, None] = {}
        address = f"{self._path}/tags/list"
        while address:
            answer = self._get(address, "listing the tags")
            if answer.status == 404:
                return []
            self._session.expect(answer, 200, "listing the tags")
            table = answer.json()
            rows = table.get("tags") if isinstance(table, dict) else None
            before = len(found)
            found |= dict.fromkeys(str(tag) for tag in rows) if isinstance(rows, list) else {}
            if len(found) > TAGS:
                raise RegistryError(f"{self.place.text} says that it has more than {TAGS} tags")
            more = re.search(r'<([^>]+)>; *rel="?next"?', answer.headers.get("Link", "")[:CHARS])
            # A page without a new tag would be followed by itself.
            address = _next(answer.address, more[1]) if more and len(found) > before else ""
            if address and origin(address) != origin(self.place.base):
                raise RegistryError("the list of tags goes on at another host")
        return list(found)

    def referrers(self, subject: str) -> list[dict[str, Any]]:
        """Return the descriptors of what refers to a digest, by the registry's API or by tag."""
        answer = self._get(f"{self._path}/referrers/{subject}", "listing referrers")
        if answer.status == 200:
            table = answer.json()
        else:
            found = self.manifest(referrers_tag(subject))
            table = found.table if found else {}
        rows = table.get("manifests") if isinstance(table, dict) else None
        return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []

    def has_blob(self, wanted: str) -> bool:
        """Say whether a blob is in the repository."""

        def ask() -> bool:
            answer = self._session.send("HEAD", self._blob(wanted), self._pull)
            if answer.status != 404:
                self._session.expect(answer, 200, f"asking for blob {wanted}")
            return answer.status == 200

        return self.transport.repeat(f"asking for blob {wanted}", ask)

    def blob(self, wanted: str, size: int) -> bytes:
        """Return a blob of a known size in bytes. Raises RegistryError if it cannot be had.

        Digest and size may come from a manifest that somebody else wrote.
        """
        if type(size) is not int or not 0 <= size <= self._largest:
            raise RegistryError(
                f"{self.place.text} says that blob {wanted!s:.80} has {size!s:.40} bytes",
                why=f"nothing of ours has more than {self._largest:,}",
            )

        def get() -> bytes:
            answer = self._session.send("GET", self._blob(wanted), self._pull, most=size)
            self._session.expect(answer, 200, f"reading blob {wanted}")
            got = f"sha256:{digest.of_bytes(answer.body)}"
            if got != wanted:
                count = len(answer.body)
                raise TransientError(f"wanted {size} bytes of {wanted}, got {count} bytes of {got}")
            return answer.body

        return self.transport.repeat(f"reading blob {wanted}", get)

    def push_blob(
        self, wanted: str, source: bytes, advance: log.Advance, mount_from: str = ""
    ) -> str:
        """Bring a blob into the repository; returns how: `there`, `mounted` or `sent`.

        With `mount_from`, a repository of the same registry, that is asked for it first. `advance`
        takes the bytes sent since it was last told.
        """
        upload = Upload(self._session, self._path, wanted, source, advance)

        def push() -> str:
            # After a fault too: the answer alone may have been lost.
            return "there" if self.has_blob(wanted) else upload.run(self._chunk, mount_from)

        return self.transport.repeat(f"sending blob {wanted}", push)

    def _ask(self, method: str, reference: str) -> Answer:
        # It may come from an index that somebody else wrote.
        if not (isinstance(reference, str) and _REFERENCE.fullmatch(reference)):
            raise RegistryError(f"'{reference!s:.80}' is neither a tag nor a digest")
        address = f"{self._path}/manifests/{reference}"
        return self._session.send(method, address, self._pull, headers={"Accept": ACCEPT})

    def _get(self, address: str, what: str) -> Answer:
        return self.transport.repeat(what, lambda: self._session.send("GET", address, self._pull))

    def _blob(self, wanted: str) -> str:
        if not (isinstance(wanted, str) and _is_digest(wanted)):
            raise RegistryError(f"{self.place.text} names a blob '{wanted!s:.80}', no digest")
        return f"{self._path}/blobs/{wanted}"
