"""What must not drift: each golden in tests/data/ and the function that works it out anew."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from fakes import images

from build.config import targets
from build.config.pins import Pin, pin
from build.core import digest
from build.golang import tailscale
from build.golang.gotool import Go
from build.image import oci, rootfs

DATA = Path(__file__).resolve().parent / "data"


def golden(name: str) -> Any:
    """Return a stored golden."""
    return json.loads((DATA / name).read_text())


def image_golden(folder: Path) -> dict[str, Any]:
    """Images from fixed dummy binaries: every digest, and the configuration to show why."""
    entries = images.images(folder)
    found: dict[str, Any] = {"index": index_digest(entries)}
    for name, entry in entries.items():
        manifest = entry.facts["manifest"]
        blob = entry.data / "blobs" / "sha256" / manifest["digest"].removeprefix("sha256:")
        content = json.loads(blob.read_bytes())
        config = entry.data / "blobs" / "sha256" / content["config"]["digest"][7:]
        found[name] = {
            "manifest": manifest,
            "diff_id": entry.facts["diff_id"],
            "layer": content["layers"][0],
            "config": json.loads(config.read_bytes()),
            "archive_sha256": digest.of_file(entry.data / "archive.tar"),
        }
    return found


def index_digest(entries: dict[str, Any]) -> str:
    return digest.of_bytes(oci.index([entry.facts["manifest"] for entry in entries.values()]))


def rootfs_golden(folder: Path) -> list[list[str]]:
    """The listing of one platform's root file system: path, kind, mode, content or target."""
    return rootfs.identity(images.files(folder, targets.target("arm64")))


def fixed_pins() -> tuple[Pin, Pin]:
    """Tailscale and Go in versions that stay when the pins are bumped."""
    go = dataclasses.replace(pin("go"), version="0.0.1-go1.26.8.linux-amd64")
    return dataclasses.replace(pin("tailscale"), version="1.102.5", substitutes=()), go


def compile_golden(folder: Path) -> dict[str, Any]:
    """The go command's words of each recipe and the environment of each platform."""
    go = Go(*fixed_pins(), trees=None)  # type: ignore[arg-type]
    words = {
        recipe.name: tailscale.compile_words(
            go, recipe, ["ts_omit_a", "ts_omit_b"], images.RELEASE.long, Path("OUT")
        )
        for recipe in (tailscale.OURS, tailscale.UPSTREAM)
    }
    platforms = {t.name: {"GOARCH": t.goarch, **t.go_env} for t in targets.targets().values()}
    return {"words": words, "platforms": platforms}


GOLDENS = {
    "image-golden.json": image_golden,
    "rootfs-golden.json": rootfs_golden,
    "compile-golden.json": compile_golden,
}
