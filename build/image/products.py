"""What dist/ has, for looking at it: nothing here is built, written or fetched.

Each product is compared with its record before a word is said about it.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from build.config.targets import Target, targets
from build.core import digest
from build.core.artifacts import Rootfs, RootfsEntry
from build.core.errors import UserError
from build.core.paths import dist_dir
from build.core.version import Release, parse_release
from build.image.record import read_record


@dataclass(frozen=True)
class Image:
    """A platform's image as dist/ has it.

    `descriptor` is that of its manifest, `config` the whole OCI configuration, `files` the root
    file system with sizes in bytes and sha256 of what is in the layer.
    """

    target: Target
    release: Release
    archive: Path
    descriptor: dict[str, Any]
    config: dict[str, Any]
    files: Rootfs

    def manifest(self) -> dict[str, Any]:
        """Return the manifest out of a layout in dist/. Raises UserError if none has it."""
        name = self.descriptor["digest"].removeprefix("sha256:")
        for product, row in read_record().items():
            blob = dist_dir() / product / "blobs" / "sha256" / name
            if "files" in row and blob.is_file():
                content = blob.read_bytes()
                if digest.of_bytes(content) == name:
                    found: dict[str, Any] = json.loads(content)
                    return found
        raise _absent(f"a layout with the image of {self.target.name}", self.target.name)


def _absent(what: str, arch: str = "", release: Release | None = None, why: str = "") -> UserError:
    words = f"invoke build --arch {arch}" if arch else "invoke build-all"
    if release and release.revision:
        words += f" --release {release.tag}"
    return UserError(
        f"{dist_dir()} has no {what}",
        why=why or "this command looks at what is built; it builds nothing",
        cure=f"build it first: {words}",
    )


def _require(name: str, row: dict[str, Any], arch: str) -> Path:
    """Return the path of a file of dist/ that is what the record says, or raise UserError."""
    path = dist_dir() / name
    try:
        sha256 = digest.of_file(path)
    except OSError as error:
        raise _absent(name, arch, why=error.strerror or str(error)) from error
    if sha256 != row.get("sha256"):
        raise _absent(name, arch, why=f"{path} was changed after it was built")
    return path


def image(target: Target, release: Release | None = None) -> Image:
    """Return the image that dist/ has of a platform; `release` is the one it has to be of.

    Raises UserError that says how to build it if it is not there, or is not what was built.
    """
    record = read_record()
    for name, row in record.items():
        if "archive" not in row["from"] or row["from"]["of"] != [target.name]:
            continue
        found = parse_release(str(row.get("tag")))
        if release and found != release:
            why = f"the one of {target.name} is of {found.tag}"
            raise _absent(f"image of {release.tag}", target.name, release, why)
        path = _require(name, row, target.name)
        return _read(path, target, found, record, row)
    raise _absent(f"image of {target.name}", target.name, release)


def images(chosen: Sequence[Target], release: Release | None = None) -> list[Image]:
    """Return the images of several platforms, all of which have to be there."""
    if not any("archive" in row["from"] for row in read_record().values()):
        one = chosen[0].name if len(chosen) == 1 else ""
        raise _absent("images", one, release)
    return [image(target, release) for target in chosen]


def there() -> list[Target]:
    """Return the platforms of which dist/ has an image, in the order of the table."""
    rows = read_record().values()
    names = {row["from"]["of"][0] for row in rows if "archive" in row["from"]}
    return [target for target in targets().values() if target.name in names]


def beside(target: Target, kind: str, release: Release | None = None) -> Path:
    """Return a file that goes with a platform's image; `kind` is what its name begins with.

    Raises UserError that says how to build it if it is not there, or is of another release.
    """
    tags = []
    for name, row in read_record().items():
        if name.startswith(f"{kind}-{target.name}-") and row["from"]["of"] == [target.name]:
            if release is None or row.get("tag") == release.tag:
                return _require(name, row, target.name)
            tags.append(row.get("tag"))
    why = f"what is there is of {', '.join(map(str, tags))}" if tags else ""
    what = f"{kind} of {target.name}" + (f" {release.tag}" if release else "")
    raise _absent(what, target.name, release, why)


def require_unchanged(names: Sequence[str]) -> list[Path]:
    """Return the paths of these files of dist/, each compared with its record."""
    record = read_record()
    return [_require(name, record[name], "") for name in names if "sha256" in record[name]]


def _read(
    path: Path, target: Target, release: Release, record: dict[str, Any], row: dict[str, Any]
) -> Image:
    try:
        with tarfile.open(path) as archive:
            (about,) = json.load(_member(archive, "manifest.json"))
            text = _member(archive, about["Config"]).read()
            (layer,) = about["Layers"]
            with tarfile.open(fileobj=_member(archive, layer)) as tree:
                entries = tuple(_entry(tree, info) for info in tree)
        config = json.loads(text)
        descriptor = row["from"].get("manifest") or _descriptor(target, record)
        return Image(target, release, path, descriptor, config, Rootfs(entries))
    except (tarfile.TarError, ValueError, KeyError, TypeError) as error:
        raise _absent(f"readable image of {target.name}", target.name, why=str(error)) from error


def _descriptor(target: Target, record: dict[str, Any]) -> dict[str, Any]:
    """Return the manifest's descriptor from a layout's row: older records have it only there."""
    for row in record.values():
        made_from = row["from"]
        every = made_from.get("manifests") or [made_from.get("manifest")]
        if target.name in made_from["of"]:
            found = every[made_from["of"].index(target.name) if len(every) > 1 else 0]
            if found:
                return dict(found)
    raise KeyError("no layout says which manifest it is")


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    stream = archive.extractfile(name)
    if stream is None:
        raise ValueError(f"{name} is not a file in it")
    return stream


def _entry(tree: tarfile.TarFile, info: tarfile.TarInfo) -> RootfsEntry:
    if info.isdir():
        return RootfsEntry(info.name, "dir", info.mode)
    if info.issym():
        return RootfsEntry(info.name, "link", info.mode, target=info.linkname)
    sha256 = digest.of_bytes(_member(tree, info.name).read())
    return RootfsEntry(info.name, "file", info.mode, size=info.size, sha256=sha256)
