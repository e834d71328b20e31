"""Releases of dummy images, in layouts and with passing records: what publishing starts from."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

import pytest

from build.config import targets
from build.core.version import Release, parse_release
from build.gates import records
from build.gates.records import Record, Verdict
from build.image import dist
from fakes import images


@dataclass(frozen=True)
class Made:
    """A release: its layout, the digest of its index, and its images' digests by platform."""

    release: Release
    layout: Path
    index: str
    manifests: dict[str, str]


def make(folder: Path, tag: str, *names: str) -> Made:
    """Write the layout of a release (`names`: only these platforms) with a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MT_CACHE", str(folder / "cache"))
        patch.setenv("MT_DIST", str(folder / tag))
        # What cannot be compressed makes layers that differ and are worth chunks.
        made = images.images(folder / tag, tag, random.Random(tag).randbytes(4000))
        made = {name: made[name] for name in names or made}
        release, every = parse_release(tag), {name: targets.target(name) for name in made}
        record, _ = dist.write(made, every, release, lambda *_: None, whole=True)
    manifests = {name: entry.facts["manifest"]["digest"] for name, entry in made.items()}
    return Made(release, folder / tag / "oci", record["oci"]["index"], manifests)


def passed(made: Made) -> None:
    """Write the records of a passed runtime gate for each of its images."""
    for name, of in made.manifests.items():
        for kind in records.kinds_for(name):
            plain = "kernel" if name == "amd64" else "user"
            tunnel = records.MACHINE if kind == records.MACHINE else plain
            wanted = records.wanted_for(tunnel)
            verdicts = tuple(Verdict(canary.name, True, 0.1, "seen") for canary in wanted)
            records.write(Record(name, of, records.gate_identity(), tunnel, 0.0, 1.0, {}, verdicts))


def blobs(made: Made) -> dict[str, bytes]:
    """Return every blob of the layout, manifests included."""
    found = (made.layout / "blobs" / "sha256").iterdir()
    return {f"sha256:{path.name}": path.read_bytes() for path in found}


def kind_of(content: bytes) -> str:
    """Return the media type that a manifest says it has, "" for another blob."""
    try:
        return str(json.loads(content).get("mediaType", ""))
    except (ValueError, AttributeError):
        return ""
