"""Images to dist/: an OCI layout and RouterOS' archives, replaced whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from build.config.targets import Target
from build.core import cache, digest, log
from build.core.artifacts import Artifact
from build.core.errors import GateFailed, UserError
from build.core.paths import dist_dir
from build.core.version import Release
from build.image import oci
from build.image.record import FRESH, owned
from build.image.record import RECORD as RECORD
from build.image.record import SIGNATURE as SIGNATURE
from build.image.record import SUMS as SUMS
from build.image.record import read_record as read_record

Beside = Mapping[str, tuple[str, Artifact]]
"""{file name: (platform it belongs to, content)}"""

Check = Callable[[Path, dict[str, Target]], None]


@dataclass(frozen=True)
class Assembler:
    """Another way to make the layout of all platforms, instead of `oci/`.

    `product` is its name in dist/, `made_from` all that decides its content, as JSON.
    `write(folder)` fills a new folder and returns what to record: at least the `index`'s digest.
    """

    product: str
    made_from: Mapping[str, Any]
    write: Callable[[Path], dict[str, Any]]


def archive_name(target: Target, release: Release) -> str:
    """Return the file name of a platform's archive for `/container/add file=`."""
    return f"{oci.REPOSITORY}-{release.tag}-{target.name}.tar"


def symbols_name(target: str, long: str) -> str:
    """Return the file name of a platform's symbols; the long version names the build."""
    return f"symbols-{target}-{long}.xz"


def sbom_name(target: str, long: str) -> str:
    """Return the file name of a platform's SBOM."""
    return f"sbom-{target}-{long}.cdx.json"


def is_sbom(name: str) -> bool:
    """Say whether a file of dist/ is a platform's SBOM."""
    return name.startswith("sbom-") and name.endswith(".cdx.json")


def sums(record: dict[str, Any]) -> str:
    """Return the text of SHA256SUMS for a record, in the form of sha256sum(1).

    Of an OCI layout its index.json is listed, which leads to everything else by digest.
    """
    found = {}
    for name, row in record.items():
        if "sha256" in row:
            found[name] = row["sha256"]
        else:
            found[f"{name}/index.json"] = row["files"]["index.json"].split(" ")[2]
    return "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(found.items()))


def _layout(folder: Path, images: dict[str, cache.Entry], release: Release) -> str:
    """Write an OCI layout into a new folder and return the digest of the image index."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for entry in images.values():
        for name in entry.files:
            if name.startswith("blobs/"):
                shutil.copyfile(cache.checked(entry.artifact(name)), folder / name)
    content = oci.index([entry.facts["manifest"] for entry in images.values()])
    inner = oci.descriptor(oci.INDEX, content)
    (blobs / digest.of_bytes(content)).write_bytes(content)
    inner["annotations"] = {
        "org.opencontainers.image.ref.name": release.tag,
        # In full, as Docker and containerd keep names: a short one is loaded and never found.
        "io.containerd.image.name": f"docker.io/library/{oci.REPOSITORY}:{release.tag}",
    }
    outer = {"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": [inner]}
    (folder / "oci-layout").write_bytes(digest.canonical_json({"imageLayoutVersion": "1.0.0"}))
    (folder / "index.json").write_bytes(digest.canonical_json(outer))
    return str(inner["digest"])


def _wanted(
    images: dict[str, cache.Entry],
    names: dict[str, str],
    beside: Beside,
    whole: bool,
    assembler: Assembler | None,
) -> dict[str, dict[str, Any]]:
    """Return {product in dist/: what it is made from}."""
    wanted: dict[str, dict[str, Any]] = {
        name: {"file": artifact.sha256, "of": [target]}
        for name, (target, artifact) in beside.items()
    }
    for target, entry in images.items():
        wanted[names[target]] = {
            "archive": entry.files["archive.tar"],
            "manifest": entry.facts["manifest"],
            "of": [target],
        }
        if not whole:
            wanted[f"oci-{target}"] = {"manifest": entry.facts["manifest"], "of": [target]}
    if whole and assembler:
        wanted[assembler.product] = {**assembler.made_from, "of": list(images)}
    elif whole:
        every = [entry.facts["manifest"] for entry in images.values()]
        wanted["oci"] = {"manifests": every, "of": list(images)}
    return wanted


def _same(dist: Path, name: str, record: dict[str, Any], want: dict[str, Any]) -> bool:
    """Say whether a product in dist/ was made from the same and still is what it was then."""
    known = record.get(name)
    if not known or known["from"] != want:
        return False
    path = dist / name
    if path.is_dir():
        return bool(digest.tree_manifest(path) == known.get("files"))
    return path.is_file() and digest.of_file(path) == known.get("sha256")


def _says(path: Path, record: dict[str, Any]) -> bool:
    return path.is_file() and path.read_bytes() == sums(record).encode()


def write(
    images: dict[str, cache.Entry],
    targets: dict[str, Target],
    release: Release,
    check: Check,
    *,
    whole: bool,
    beside: Beside = MappingProxyType({}),
    assembler: Assembler | None = None,
) -> tuple[dict[str, Any], list[str]]:
    """Bring dist/ up to date for these images; returns its record and the products written.

    `beside` are plain files that go with a platform's image. With `whole` the images go into one
    multi-platform layout, `oci/` or the `assembler`'s, else each into `oci-<name>/`. A product
    appears by a rename after `check(path, its platforms)` did not raise; one that is right already
    is left alone. SHA256SUMS lists all of them. Raises UserError if the folder cannot be written.
    """
    dist = dist_dir()
    names = {name: archive_name(targets[name], release) for name in images}
    wanted = _wanted(images, names, beside, whole, assembler)
    record = read_record(dist)
    unchanged = all(_same(dist, name, record, want) for name, want in wanted.items())
    if unchanged and _says(dist / SUMS, record):
        return record, []
    with log.step("all", f"write and audit {dist.name}/"), owned(dist, [*wanted]):
        record = read_record(dist)
        stale = [name for name, want in wanted.items() if not _same(dist, name, record, want)]
        fresh = dist / FRESH
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        try:
            for name in stale:
                if name in beside:
                    record[name] = _copy(beside[name][1], fresh / name, wanted[name], release)
                    continue
                by = assembler if assembler and name == assembler.product else None
                record[name] = _make(fresh / name, wanted[name], images, release, by)
                check(fresh / name, {of: targets[of] for of in wanted[name]["of"]})
            for name in stale:
                _replace(fresh / name, dist / name)
            _forget(dist, record, wanted)
            text = json.dumps(record, indent=1, sort_keys=True) + "\n"
            (fresh / RECORD).write_text(text)
            _replace(fresh / RECORD, dist / RECORD)
            if not _says(dist / SUMS, record):
                # A signature of the old sums would only look like a forged one.
                (dist / SIGNATURE).unlink(missing_ok=True)
                (fresh / SUMS).write_text(sums(record))
                _replace(fresh / SUMS, dist / SUMS)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return record, stale


def require_unchanged() -> None:
    """Raise GateFailed if a product is not what SHA256SUMS says, UserError if that is missing."""
    dist, record = dist_dir(), read_record()
    if not record or not _says(dist / SUMS, record):
        raise UserError(f"{dist / SUMS} is not there or not up to date", cure="invoke build-all")
    wrong = [name for name, row in record.items() if not _same(dist, name, record, row["from"])]
    if wrong:
        raise GateFailed(
            f"what {SUMS} lists is not what is in {dist}",
            why=f"changed: {', '.join(wrong)}",
            cure="invoke build-all",
        )


def sign(make: Callable[[bytes], bytes]) -> Path:
    """Write SHA256SUMS.sig, what `make` gives for SHA256SUMS. Raises as `require_unchanged`."""
    dist = dist_dir()
    require_unchanged()
    with owned(dist):
        require_unchanged()
        fresh = dist / f".{SIGNATURE}"
        fresh.write_bytes(make((dist / SUMS).read_bytes()))
        fresh.replace(dist / SIGNATURE)
    return dist / SIGNATURE


def _copy(artifact: Artifact, path: Path, want: dict[str, Any], release: Release) -> dict[str, Any]:
    shutil.copyfile(cache.checked(artifact), path)
    known = {"size": artifact.size, "sha256": artifact.sha256}
    return {"from": want, "tag": release.tag, **known}


def _make(
    path: Path,
    want: dict[str, Any],
    images: dict[str, cache.Entry],
    release: Release,
    assembler: Assembler | None,
) -> dict[str, Any]:
    if "archive" in want:
        archive = images[want["of"][0]].artifact("archive.tar")
        return _copy(archive, path, want, release)
    if assembler:
        facts = assembler.write(path)
    else:
        chosen = {name: images[name] for name in want["of"]}
        facts = {"index": _layout(path, chosen, release)}
    return {"from": want, "files": digest.tree_manifest(path), "tag": release.tag, **facts}


def _replace(fresh: Path, place: Path) -> None:
    if place.is_dir():
        # A directory cannot be renamed over another: the old one steps aside for an instant.
        old = fresh.parent / f"{place.name}.old"
        place.rename(old)
    fresh.rename(place)


def _forget(dist: Path, record: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Remove archives and what is beside them of other builds: dist/ holds one of each platform."""
    for name in [known for known in record if known not in wanted]:
        stale_tag = not name.startswith("oci") and record[name]["from"]["of"][0] in {
            part for want in wanted.values() for part in want["of"]
        }
        if stale_tag or not (dist / name).exists():
            # Somebody's folder of that name stays; `unlink` takes a link, not what it leads to.
            if not (dist / name).is_dir() or (dist / name).is_symlink():
                (dist / name).unlink(missing_ok=True)
            del record[name]
