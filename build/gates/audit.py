"""The gate on images: everything they claim is worked out again from their bytes.

All faults are collected, each as "what: wanted …, got …", before anything is raised.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from build.config.targets import Target
from build.core import digest
from build.core.errors import BuildFailed, GateFailed
from build.gates import elf
from build.image import oci

BINARY = "usr/local/bin/tailscale.combined"
SHELL = "bin/busybox"


def elf_faults(path: Path, target: Target, *, name: str, float_abi: str = "") -> list[str]:
    """Return what is wrong with a binary for a platform; `float_abi` is checked if given."""
    try:
        facts = elf.read(path)
    except BuildFailed as error:
        return [f"{name}: {error}"]
    wanted = {"machine": target.elf_machine, "bits": target.elf_class}
    if float_abi:
        wanted["float_abi"] = float_abi
    faults = [
        f"{name}: {key} for {target.name} wanted {value}, got {getattr(facts, key)}"
        for key, value in wanted.items()
        if getattr(facts, key) != value
    ]
    if not facts.static:
        loads = facts.interpreter or ", ".join(facts.needed)
        faults.append(f"{name}: wanted a static binary, got one that loads {loads}")
    return faults


def go_faults(path: Path, target: Target) -> list[str]:
    """Return what the build settings inside an uncompressed Go binary say wrongly.

    Format: the go command writes lines `build\\tKEY=value` (runtime/debug.BuildInfo).
    """
    content = path.read_bytes()
    wanted = {"GOARCH": target.goarch, "CGO_ENABLED": "0", **target.go_env}
    return [
        f"{path.name}: build setting wanted {key}={value}, got another or none"
        for key, value in wanted.items()
        if f"build\t{key}={value}\n".encode() not in content
    ]


def check_binary(path: Path, target: Target, *, go: bool) -> None:
    """Raise GateFailed if an uncompressed binary is not one for the platform."""
    if go:
        faults = elf_faults(path, target, name=path.name) + go_faults(path, target)
    else:
        faults = elf_faults(path, target, name=path.name, float_abi=target.elf_float)
    if faults:
        raise GateFailed(f"{path.name} for {target.name} is wrong", why="; ".join(faults))


def _rows(value: Any, what: str, faults: list[str]) -> list[dict[str, Any]]:
    """Return a list of JSON objects; what is none is a fault."""
    if isinstance(value, list) and all(isinstance(row, dict) for row in value):
        return value
    faults.append(f"{what}: wanted a list of objects, got {value!r:.80}")
    return []


def _object(value: Any, what: str, faults: list[str]) -> dict[str, Any]:
    """Return a JSON object; what is none is a fault."""
    if isinstance(value, dict):
        return value
    faults.append(f"{what}: wanted an object, got {value!r:.80}")
    return {}


def _blob(layout: Path, entry: Mapping[str, Any], faults: list[str], used: set[str]) -> bytes:
    used.add(str(entry.get("digest", "")).partition(":")[2])
    algorithm, _, name = str(entry.get("digest", "")).partition(":")
    path = layout / "blobs" / algorithm / name
    if not path.is_file():
        faults.append(f"blob {entry.get('digest')}: not in the layout")
        return b""
    content = path.read_bytes()
    if digest.of_bytes(content) != name:
        faults.append(f"blob {name}: its bytes have sha256 {digest.of_bytes(content)}")
    if len(content) != entry.get("size"):
        faults.append(f"blob {name}: wanted {entry.get('size')} bytes, got {len(content)}")
    return content


def _json(content: bytes, what: str, faults: list[str]) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except ValueError as error:
        faults.append(f"{what} is not JSON: {error}")
        return {}
    return _object(value, what, faults)


def layout_faults(layout: Path, wanted: Mapping[str, Target]) -> list[str]:
    """Return every fault of an OCI layout that should hold one image for each wanted platform."""
    faults: list[str] = []
    used: set[str] = set()
    found = {}
    for name in ("oci-layout", "index.json"):
        if not (layout / name).is_file():
            faults.append(f"{name}: not in the layout")
            continue
        found[name] = _json((layout / name).read_bytes(), name, faults)
    version = found.get("oci-layout", {}).get("imageLayoutVersion")
    if "oci-layout" in found and version != "1.0.0":
        faults.append(f"oci-layout: wanted version 1.0.0, got {version}")
    if "index.json" not in found:
        return faults
    named = _rows(found["index.json"].get("manifests"), "index.json", faults)
    if len(named) != 1:
        return [*faults, f"index.json: wanted one image index, got {len(named)}"]
    inner = _json(_blob(layout, named[0], faults, used), "the image index", faults)
    entries = _rows(inner.get("manifests"), "the image index", faults)
    platforms = [entry.get("platform") for entry in entries]
    for target in wanted.values():
        if platforms.count(oci.platform(target)) != 1:
            faults.append(f"index: wanted {target.platform} once, got {platforms}")
    if len(entries) != len(wanted):
        faults.append(f"index: wanted {len(wanted)} images, got {len(entries)}")
    for target in wanted.values():
        for entry in entries:
            if entry.get("platform") == oci.platform(target):
                faults += _image_faults(layout, entry, target, used)
    if not faults:
        blobs = {path.name for path in (layout / "blobs").glob("*/*")}
        faults += [f"blob {name}: nothing names it" for name in sorted(blobs - used)]
    return faults


def _image_faults(
    layout: Path, entry: Mapping[str, Any], target: Target, used: set[str]
) -> list[str]:
    faults: list[str] = []
    manifest = _json(_blob(layout, entry, faults, used), "manifest", faults)
    stated = _object(manifest.get("config"), "manifest: config", faults)
    config = _json(_blob(layout, stated, faults, used), "config", faults)
    tars = []
    for layer in _rows(manifest.get("layers"), "manifest: layers", faults):
        content = _blob(layout, layer, faults, used)
        if layer.get("mediaType") != oci.LAYER:
            faults.append(f"layer: wanted {oci.LAYER}, got {layer.get('mediaType')}")
        try:
            tars.append(gzip.decompress(content))
        except (OSError, EOFError, zlib.error) as error:
            faults.append(f"layer {layer.get('digest')}: {error}")
    faults += config_faults(config, tars, target)
    return [f"{target.name}: {fault}" for fault in faults + tree_faults(tars, target)]


def config_faults(config: Mapping[str, Any], tars: list[bytes], target: Target) -> list[str]:
    """Return what a configuration says wrongly about its uncompressed layers and platform."""
    faults: list[str] = []
    diff_ids = [f"sha256:{digest.of_bytes(tar)}" for tar in tars]
    stated = _object(config.get("rootfs"), "config: rootfs", faults).get("diff_ids")
    if stated != diff_ids:
        faults.append(f"config: diff_ids wanted {diff_ids}, got {stated}")
    here = {key: config.get(key) for key in ("architecture", "os", "variant") if config.get(key)}
    if here != oci.platform(target):
        faults.append(f"config: platform wanted {oci.platform(target)}, got {here}")
    inner = _object(config.get("config"), "config: config", faults)
    for key in ("Entrypoint", "Cmd"):
        if not inner.get(key):
            # RouterOS 7.22 refuses to start an image without: "no command specified".
            faults.append(f"config: {key} is missing")
    return faults


def tree_faults(tars: list[bytes], target: Target) -> list[str]:
    """Return what is wrong with the files in an image's uncompressed layers."""
    faults = []
    carriers = 0
    for tar in tars:
        try:
            with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
                names = archive.getnames()
                carriers += BINARY in names
                for name in (BINARY, SHELL):
                    if name in names:
                        faults += _member_faults(archive, name, target)
        except tarfile.TarError as error:
            faults.append(f"layer: not a tar ({error})")
    if carriers != 1:
        faults.append(f"{BINARY}: wanted in exactly one layer, got {carriers}")
    elif len(tars) != 1:
        # What a second layer changes is stored twice.
        faults.append(f"layers: wanted one, got {len(tars)}")
    return faults


def _member_faults(archive: tarfile.TarFile, name: str, target: Target) -> list[str]:
    stream = archive.extractfile(name)
    if stream is None or not archive.getmember(name).mode & 0o111:
        return [f"{name}: wanted an executable file"]
    with tempfile.NamedTemporaryFile() as copy:
        copy.write(stream.read())
        copy.flush()
        return elf_faults(Path(copy.name), target, name=name)


def archive_faults(path: Path, target: Target) -> list[str]:
    """Return every fault of a platform's docker-archive."""
    faults: list[str] = []
    try:
        with tarfile.open(path) as archive:
            content = {
                member.name: archive.extractfile(member).read()  # type: ignore[union-attr]
                for member in archive
                if member.isfile()
            }
    except (tarfile.TarError, OSError) as error:
        return [f"{path.name}: not a readable tar ({error})"]
    try:
        (manifest,) = json.loads(content["manifest.json"])
        config = content[manifest["Config"]]
        layers = [content[name] for name in manifest["Layers"]]
    except (KeyError, ValueError, TypeError) as error:
        return [f"{path.name}: manifest.json does not name what is there ({error})"]
    if manifest["Config"] != f"{digest.of_bytes(config)}.json":
        faults.append(f"{manifest['Config']}: its bytes have sha256 {digest.of_bytes(config)}")
    if extra := set(content) - {"manifest.json", manifest["Config"], *manifest["Layers"]}:
        faults.append(f"unexpected {sorted(extra)}")
    faults += config_faults(_json(config, "config", faults), layers, target)
    return [f"{path.name}: {fault}" for fault in faults + tree_faults(layers, target)]


def require(faults: list[str], what: str) -> None:
    """Raise GateFailed that lists the faults, if there are any."""
    if faults:
        raise GateFailed(
            f"{what} did not pass the audit",
            why="".join(f"\n    {fault}" for fault in faults),
            cure="this is a fault of the build: do not publish; `invoke inspect` shows the image",
        )
