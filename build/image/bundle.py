"""An image out of its OCI layout, every digest checked, ready to be unpacked and changed."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from build.config.targets import Target
from build.core import digest
from build.core.errors import UserError
from build.image import oci


@dataclass(frozen=True)
class Bundle:
    """One platform's image: manifest `digest`, OCI configuration, the layer's tar.

    `changes` are files {path: content} that replace the layer's: how a broken image is made.
    """

    target: Target
    digest: str
    config: dict[str, Any]
    layer: bytes = field(repr=False)
    changes: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    def changed(self, changes: Mapping[str, bytes]) -> Bundle:
        """Return it with other content for some files; it has no digest then."""
        return replace(self, digest="", changes={**self.changes, **changes})

    @property
    def entrypoint(self) -> str:
        """The text of the entrypoint script, changes included."""
        (path,) = self.config["Entrypoint"]
        return self.file(path.lstrip("/")).decode()

    def file(self, name: str) -> bytes:
        """Return the content of a file, changes included. Raises KeyError if it is not there."""
        if name in self.changes:
            return self.changes[name]
        with tarfile.open(fileobj=io.BytesIO(self.layer)) as archive:
            stream = archive.extractfile(name)
            assert stream is not None
            return stream.read()

    def unpack(self, folder: Path) -> None:
        """Write the root file system into a folder, as root with the layer's owners and modes."""
        with tarfile.open(fileobj=io.BytesIO(self.layer)) as archive:
            # Python 3.11.4 brought filters, and extractall's argument with them. As an attribute
            # the choice is heard where there are some and does no harm where there are none.
            archive.extraction_filter = getattr(tarfile, "tar_filter", None)
            archive.extractall(folder)
        for path, content in self.changes.items():
            (folder / path).write_bytes(content)


def _blob(layout: Path, name: str) -> bytes:
    content = (layout / "blobs" / "sha256" / name.removeprefix("sha256:")).read_bytes()
    if f"sha256:{digest.of_bytes(content)}" != name:
        raise UserError(f"{layout}: blob {name} is damaged", cure="build the image again")
    return content


def _manifests(layout: Path, target: Target) -> list[str]:
    """Return the digests of a platform's manifests in an OCI layout."""
    (outer,) = json.loads((layout / "index.json").read_bytes())["manifests"]
    index = json.loads(_blob(layout, outer["digest"]))
    wanted = oci.platform(target)
    return [row["digest"] for row in index["manifests"] if row["platform"] == wanted]


def holds(layout: Path, target: Target) -> bool:
    """Whether an OCI layout has an image for a platform. Raises UserError if it is damaged."""
    try:
        return bool(_manifests(layout, target))
    except (OSError, ValueError, KeyError):
        return False


def read(layout: Path, target: Target) -> Bundle:
    """Return a platform's image from an OCI layout. Raises UserError if it is not whole."""
    try:
        (found,) = _manifests(layout, target)
        manifest = json.loads(_blob(layout, found))
        (layer,) = manifest["layers"]
        config = json.loads(_blob(layout, manifest["config"]["digest"]))
        tar = gzip.decompress(_blob(layout, layer["digest"]))
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{layout} holds no image for {target.name}",
            why=str(error),
            cure=f"invoke build --arch {target.name}",
        ) from error
    if config["rootfs"]["diff_ids"] != [f"sha256:{digest.of_bytes(tar)}"]:
        raise UserError(f"{layout}: the layer is not the one its configuration names")
    return Bundle(target, found, config["config"], tar)
