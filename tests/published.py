"""A published image as anybody reads it: anonymous GETs of the OCI distribution API, no more.

Used by tests/reproducible.py to compare a rebuilt release with what a registry has. It shares no
code with the client that publishes, so that one error cannot hide in both.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

ACCEPT = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "oci.image.index.v1",
        "oci.image.manifest.v1",
        "docker.distribution.manifest.list.v2",
    )
)
SECONDS = 60


class NotReadable(Exception):
    """The registry does not give what was asked for, or gives other bytes."""


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass
class Published:
    """A repository in a registry, `host/name`; http only on the loopback interface."""

    address: str
    token: str = ""

    def url(self, kind: str, reference: str) -> str:
        host, _, name = self.address.partition("/")
        local = re.fullmatch(r"(localhost|127\.0\.0\.1|\[::1\])(:\d+)?", host)
        return f"{'http' if local else 'https'}://{host}/v2/{name}/{kind}/{reference}"

    def get(self, kind: str, reference: str) -> bytes:
        """Return a manifest or blob; a digest's bytes are compared with it."""
        url = self.url(kind, reference)
        try:
            answer = self._ask(url)
            if answer.status_code == 401 and self._log_in(answer.headers["WWW-Authenticate"]):
                answer = self._ask(url)
        except (requests.RequestException, KeyError) as error:
            raise NotReadable(f"{url}: {error}") from error
        if answer.status_code != 200:
            raise NotReadable(f"{url}: HTTP {answer.status_code} {answer.reason}")
        got = sha256(answer.content)
        if reference.startswith("sha256:") and got != reference:
            raise NotReadable(f"{url}: these are the bytes of {got}")
        return answer.content

    def _ask(self, url: str) -> requests.Response:
        headers = {"Accept": ACCEPT}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        with requests.Session() as session:
            session.trust_env = not url.startswith("http://")  # no .netrc on the loopback
            return session.get(url, headers=headers, timeout=SECONDS)

    def _log_in(self, challenge: str) -> bool:
        """Fetch an anonymous token, as a Bearer challenge says (distribution's auth/token)."""
        fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        if not challenge.lower().startswith("bearer ") or "realm" not in fields:
            return False
        words = {key: fields[key] for key in ("service", "scope") if key in fields}
        answer = requests.get(fields["realm"], params=words, timeout=SECONDS)
        body = answer.json() if answer.status_code == 200 else {}
        self.token = body.get("token") or body.get("access_token") or ""
        return bool(self.token)


def files(layer: bytes) -> dict[str, str]:
    """Return {path in a layer: what stands for it}."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            body = sha256(content.read()) if content else member.linkname
            found[member.name] = f"{member.type!r} {member.mode:o} {member.mtime} {body}"
    return found


def differences(theirs: Published, digest: str, layout: Path) -> list[str]:
    """Name what differs between a published index and the one of an OCI layout."""

    def here(reference: str) -> bytes:
        return (layout / "blobs" / "sha256" / reference.removeprefix("sha256:")).read_bytes()

    def platforms(index: bytes) -> dict[str, str]:
        found = {}
        for row in json.loads(index).get("manifests", []):
            platform = row.get("platform", {})
            parts = [platform.get(key) for key in ("os", "architecture", "variant")]
            found["/".join(part for part in parts if part)] = row["digest"]
        return found

    mine = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    one, other = platforms(here(mine)), platforms(theirs.get("manifests", digest))
    found = [f"{name}: only in the rebuilt index" for name in one.keys() - other.keys()]
    found += [f"{name}: only in the published index" for name in other.keys() - one.keys()]
    for name in sorted(one.keys() & other.keys()):
        if one[name] == other[name]:
            continue
        rebuilt = json.loads(here(one[name]))
        published = json.loads(theirs.get("manifests", other[name]))
        if rebuilt["config"]["digest"] != published["config"]["digest"]:
            a = json.loads(here(rebuilt["config"]["digest"]))
            b = json.loads(theirs.get("blobs", published["config"]["digest"]))
            keys = sorted(key for key in a.keys() | b.keys() if a.get(key) != b.get(key))
            found.append(f"{name}: the configuration's {', '.join(keys)}")
        if rebuilt["layers"] != published["layers"]:
            trees: list[dict[str, Any]] = [{}, {}]
            for row in rebuilt["layers"]:
                trees[0] |= files(here(row["digest"]))
            for row in published["layers"]:
                trees[1] |= files(theirs.get("blobs", row["digest"]))
            a, b = trees
            paths = sorted(path for path in a.keys() | b.keys() if a.get(path) != b.get(path))
            found.append(f"{name}: {', '.join(paths) or 'the packing of its layer'}")
    return sorted(found) or ["the index itself: order or annotations"]
