"""Root file system to OCI image: one layer, configuration, manifest; and RouterOS' own archive.

No engine, no root, no registry; the same root file system gives the same bytes everywhere.
Formats: OCI image specification 1.1; the docker-archive is what `docker load` has always taken.
"""

from __future__ import annotations

import io
import tarfile
import time
from pathlib import Path
from typing import Any

import deflate

from build.config.targets import Target
from build.core import cache, digest
from build.core.artifacts import Artifact, Rootfs
from build.core.version import Release
from build.image import rootfs

CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"

GZIP_LEVEL = 9
REPOSITORY = "mikrotik-tailscale"


def timestamp(epoch: int) -> str:
    """Return seconds since 1970 as RFC 3339, as OCI wants dates."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))


def layer_tar(files: Rootfs, epoch: int) -> bytes:
    """Return the layer's tar: sorted, owned by 0:0 without names, every time `epoch`."""
    stream = io.BytesIO()
    # PAX is the format the OCI specification names; GNU extensions are not always read.
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        add_tree(archive, files, epoch)
    return stream.getvalue()


def add_tree(archive: tarfile.TarFile, files: Rootfs, epoch: int, above: str = "") -> None:
    """Add a root file system to a tar, below the folder `above`, which ends in a slash.

    Raises cache.Damaged if a file is not what it was when it was made.
    """
    for entry in files.entries:
        info = tarfile.TarInfo(above + entry.path)
        info.mtime = epoch
        if entry.kind == "dir":
            info.type, info.mode = tarfile.DIRTYPE, entry.mode
            archive.addfile(info)
        elif entry.kind == "link":
            info.type, info.mode, info.linkname = tarfile.SYMTYPE, 0o777, entry.target
            archive.addfile(info)
        else:
            assert entry.source is not None
            info.size, info.mode = entry.size, entry.mode
            source = cache.checked(Artifact(entry.source, entry.size, entry.sha256))
            archive.addfile(info, io.BytesIO(source.read_bytes()))


def settings(release: Release) -> dict[str, Any]:
    """Return what a container of the image starts with: the `config` of its configuration."""
    wanted = rootfs.plan()["image"]
    labels = {
        key: text.replace("{tag}", release.tag).replace("{tailscale}", str(release.tailscale))
        for key, text in wanted["labels"].items()
    }
    health = wanted["healthcheck"]
    return {
        "Env": wanted["env"],
        "Entrypoint": wanted["entrypoint"],
        "Cmd": wanted["cmd"],
        "Volumes": {path: {} for path in wanted["volumes"]},
        "WorkingDir": "/",
        # Docker's addition to the OCI image configuration; durations are nanoseconds.
        "Healthcheck": {
            "Test": ["CMD", *health["command"]],
            "Interval": health["interval"] * 10**9,
            "Timeout": health["timeout"] * 10**9,
            "StartPeriod": health["start_period"] * 10**9,
            "Retries": health["retries"],
        },
        "Labels": labels,
    }


def image_config(target: Target, diff_id: str, release: Release, epoch: int) -> dict[str, Any]:
    """Return the OCI image configuration. RouterOS picks by architecture and variant."""
    config: dict[str, Any] = {
        "created": timestamp(epoch),
        "architecture": target.oci_architecture,
        "os": "linux",
        "config": settings(release),
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": timestamp(epoch), "created_by": "mikrotik-tailscale"}],
    }
    if target.oci_variant:
        config["variant"] = target.oci_variant
    return config


def platform(target: Target) -> dict[str, str]:
    """Return the platform object of an index entry."""
    wanted = {"architecture": target.oci_architecture, "os": "linux"}
    return wanted | ({"variant": target.oci_variant} if target.oci_variant else {})


def descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    """Return an OCI descriptor of these bytes."""
    sha256 = f"sha256:{digest.of_bytes(content)}"
    return {"mediaType": media_type, "digest": sha256, "size": len(content)}


def docker_archive(tar: bytes, config: bytes, tag: str, epoch: int) -> bytes:
    """Return the tar for `/container/add file=`: one image, one uncompressed layer.

    RouterOS versions differ in what else they take; this form is taken by all that were reported.
    """
    config_name = f"{digest.of_bytes(config)}.json"
    layer_name = f"{digest.of_bytes(tar)}/layer.tar"
    manifest = [
        {"Config": config_name, "RepoTags": [f"{REPOSITORY}:{tag}"], "Layers": [layer_name]}
    ]
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in (
            ("manifest.json", digest.canonical_json(manifest)),
            (config_name, config),
            (layer_name, tar),
        ):
            info = tarfile.TarInfo(name)
            info.mtime, info.size, info.mode = epoch, len(content), 0o644
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def assemble(target: Target, files: Rootfs, release: Release, epoch: int) -> cache.Entry:
    """Return the object with one platform's image.

    It holds `blobs/sha256/<hex>` of layer, configuration and manifest, and `archive.tar`; its
    facts give the descriptors, sizes in bytes.
    """
    inputs = {
        "name": "image",
        "target": target.name,
        "platform": platform(target),
        "rootfs": rootfs.identity(files),
        "config": digest.of_json(rootfs.plan()["image"]),
        "tag": release.tag,
        "epoch": epoch,
        "gzip": [deflate.__version__, GZIP_LEVEL],
    }

    def make(out: Path, scratch: Path) -> dict[str, Any]:
        tar = layer_tar(files, epoch)
        # libdeflate, pinned with our other packages: Python's own zlib differs between machines.
        layer = bytes(deflate.gzip_compress(tar, GZIP_LEVEL))
        diff_id = f"sha256:{digest.of_bytes(tar)}"
        config = digest.canonical_json(image_config(target, diff_id, release, epoch))
        manifest: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, config),
            "layers": [descriptor(LAYER, layer)],
        }
        content = digest.canonical_json(manifest)
        blobs = out / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        for blob in (layer, config, content):
            (blobs / digest.of_bytes(blob)).write_bytes(blob)
        archive = docker_archive(tar, config, release.tag, epoch)
        (out / "archive.tar").write_bytes(archive)
        entry = descriptor(MANIFEST, content) | {"platform": platform(target)}
        return {"manifest": entry, "diff_id": diff_id, "layer": manifest["layers"][0]}

    return cache.obtain("image", target.name, inputs, make, title="image")


def index(manifests: list[dict[str, Any]]) -> bytes:
    """Return the multi-platform index for the platforms' manifest descriptors."""
    return digest.canonical_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests})
