"""The audit: a right image passes, and each planted fault is reported by name."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.elf import elf as make_elf
from fakes.images import RELEASE, images

from build.config import targets
from build.config.targets import Target
from build.core import digest
from build.core.errors import BuildFailed, GateFailed
from build.gates import audit, elf
from build.image import dist, oci

ALL = targets.targets()
ARM64 = targets.target("arm64")


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory):
    """Give dist/ with the whole layout and the four archives of dummy images; read only."""
    folder = tmp_path_factory.mktemp("products")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("cache", "dist", "work"):
            patch.setenv(f"MT_{name.upper()}", str(folder / name))
        entries = images(folder)
        dist.write(entries, dict(ALL), RELEASE, lambda *_: None, whole=True)
    return folder / "dist"


class Layout:
    """A copy of the whole layout whose parts can be changed with all digests kept right."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def blob(self, entry: dict[str, Any]) -> Path:
        return self.folder / "blobs" / "sha256" / entry["digest"][7:]

    def load(self, entry: dict[str, Any]) -> Any:
        return json.loads(self.blob(entry).read_bytes())

    def store(self, content: bytes) -> dict[str, Any]:
        sha256 = digest.of_bytes(content)
        (self.folder / "blobs" / "sha256" / sha256).write_bytes(content)
        return {"digest": f"sha256:{sha256}", "size": len(content)}

    @property
    def outer(self) -> dict[str, Any]:
        return json.loads((self.folder / "index.json").read_bytes())

    @property
    def inner(self) -> dict[str, Any]:
        return self.load(self.outer["manifests"][0])

    def entry(self, target: str = "arm64") -> dict[str, Any]:
        platform = oci.platform(targets.target(target))
        (found,) = [row for row in self.inner["manifests"] if row["platform"] == platform]
        return found

    def manifest(self, target: str = "arm64") -> dict[str, Any]:
        return self.load(self.entry(target))

    def tars(self, target: str = "arm64") -> list[bytes]:
        layers = self.manifest(target)["layers"]
        return [gzip.decompress(self.blob(layer).read_bytes()) for layer in layers]

    def set_inner(self, inner: dict[str, Any]) -> None:
        outer = self.outer
        outer["manifests"][0] |= self.store(json.dumps(inner).encode())
        (self.folder / "index.json").write_text(json.dumps(outer))

    def set_manifest(self, manifest: Any, target: str = "arm64") -> None:
        old, inner = self.entry(target), self.inner
        for row in inner["manifests"]:
            if row == old:
                row |= self.store(json.dumps(manifest).encode())
        self.set_inner(inner)

    def set_config(self, change: Callable[[dict[str, Any]], Any], target: str = "arm64") -> None:
        manifest = self.manifest(target)
        config = self.load(manifest["config"])
        change(config)
        manifest["config"] |= self.store(json.dumps(config).encode())
        self.set_manifest(manifest, target)

    def set_tars(self, *tars: bytes, target: str = "arm64") -> None:
        manifest = self.manifest(target)
        kind = {"mediaType": oci.LAYER}
        manifest["layers"] = [kind | self.store(gzip.compress(tar, mtime=0)) for tar in tars]
        self.set_manifest(manifest, target)
        ids = [f"sha256:{digest.of_bytes(tar)}" for tar in tars]
        self.set_config(lambda config: config["rootfs"].update(diff_ids=ids), target)


def repacked(tar: bytes, changes: dict[str, bytes | None], mode: int = 0) -> bytes:
    """The tar with other content for some files; None drops one, a mode replaces theirs."""
    stream = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(tar)) as old,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in old:
            content = old.extractfile(member)
            data = content.read() if content else b""
            if member.name in changes:
                changed = changes[member.name]
                if changed is None:
                    continue
                data, member.size, member.mode = changed, len(changed), mode or member.mode
            new.addfile(member, io.BytesIO(data))
    return stream.getvalue()


@pytest.fixture
def box(products: Path, places: Path) -> Layout:
    shutil.copytree(products / "oci", places / "oci")
    return Layout(places / "oci")


def faults(box: Layout, wanted: dict[str, Target] = ALL) -> list[str]:
    return audit.layout_faults(box.folder, wanted)


def only(box: Layout, *parts: str) -> None:
    """Expect one fault that has all the parts."""
    found = faults(box)
    assert len(found) == 1, found
    assert all(part in found[0] for part in parts), found


def test_a_right_layout_passes(box: Layout) -> None:
    assert faults(box) == []
    audit.require(faults(box), "oci")


def test_each_helper_leaves_a_right_layout(box: Layout) -> None:
    """Negative control of the helpers: changing nothing through them plants no fault."""
    box.set_inner(box.inner)
    box.set_manifest(box.manifest())
    box.set_config(lambda config: None)
    box.set_tars(*[repacked(tar, {}) for tar in box.tars()])
    # The helpers leave the replaced blobs behind, nothing else.
    assert [text for text in faults(box) if not text.endswith("nothing names it")] == []


@pytest.mark.parametrize("part", ["layer", "config", "manifest", "index"])
@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_a_flipped_byte_in_any_blob(box: Layout, part: str, place: str) -> None:
    entry = {
        "layer": box.manifest()["layers"][0],
        "config": box.manifest()["config"],
        "manifest": box.entry(),
        "index": box.outer["manifests"][0],
    }[part]
    content = bytearray(box.blob(entry).read_bytes())
    content[{"first": 0, "middle": len(content) // 2, "last": -1}[place]] ^= 1
    box.blob(entry).write_bytes(content)
    assert any(f"blob {entry['digest'][7:]}: its bytes have sha256" in text for text in faults(box))


def test_a_missing_blob(box: Layout) -> None:
    entry = box.manifest()["layers"][0]
    box.blob(entry).unlink()
    assert any(f"{entry['digest']}: not in the layout" in text for text in faults(box))


def test_a_wrong_size(box: Layout) -> None:
    manifest = box.manifest()
    manifest["layers"][0]["size"] += 1
    box.set_manifest(manifest)
    only(box, f"wanted {manifest['layers'][0]['size']} bytes, got")


def test_a_wrong_diff_id(box: Layout) -> None:
    box.set_config(lambda config: config["rootfs"].update(diff_ids=["sha256:" + "0" * 64]))
    only(box, "arm64: config: diff_ids wanted", "0" * 64)


@pytest.mark.parametrize("target", ["armv5", "armv7"])
def test_a_config_without_variant(box: Layout, target: str) -> None:
    box.set_config(lambda config: config.pop("variant"), target)
    only(box, f"{target}: config: platform wanted", "got {'architecture': 'arm', 'os': 'linux'}")


def test_an_index_without_variant(box: Layout) -> None:
    """RouterOS gives an EN7562CT the v7 image then, which dies with SIGILL."""
    inner = box.inner
    for row in inner["manifests"]:
        if row["platform"].get("variant") == "v5":
            del row["platform"]["variant"]
    box.set_inner(inner)
    only(box, "index: wanted linux/arm/v5 once, got")


def test_another_architecture_in_the_config(box: Layout) -> None:
    box.set_config(lambda config: config.update(architecture="riscv64"))
    only(box, "config: platform wanted", "riscv64")


def test_an_extra_platform(box: Layout) -> None:
    inner = box.inner
    extra = inner["manifests"][0] | {"platform": {"architecture": "mips", "os": "linux"}}
    inner["manifests"].append(extra)
    box.set_inner(inner)
    only(box, "index: wanted 4 images, got 5")


def test_the_same_platform_twice(box: Layout) -> None:
    inner = box.inner
    inner["manifests"].append(box.entry("armv7"))
    box.set_inner(inner)
    assert any("wanted linux/arm/v7 once" in text for text in faults(box))


def test_a_missing_platform(box: Layout) -> None:
    inner = box.inner
    inner["manifests"].pop()
    box.set_inner(inner)
    assert any("index: wanted 4 images, got 3" in text for text in faults(box))


def test_fewer_platforms_were_wanted(box: Layout) -> None:
    assert any("wanted 1 images, got 4" in text for text in faults(box, {"arm64": ARM64}))


def test_swapped_images(box: Layout) -> None:
    inner = box.inner
    rows = {row["platform"].get("variant"): row for row in inner["manifests"]}
    rows["v5"]["platform"], rows["v7"]["platform"] = rows["v7"]["platform"], rows["v5"]["platform"]
    box.set_inner(inner)
    found = faults(box)
    assert any(text.startswith("armv5: config: platform") for text in found)
    assert any(text.startswith("armv7: config: platform") for text in found)


def test_the_binary_in_two_layers(box: Layout) -> None:
    (tar,) = box.tars()
    box.set_tars(tar, tar)
    only(box, f"{audit.BINARY}: wanted in exactly one layer, got 2")


def test_a_second_layer(box: Layout) -> None:
    (tar,) = box.tars()
    box.set_tars(tar, repacked(tar, {audit.BINARY: None}))
    only(box, "layers: wanted one, got 2")


def test_no_binary_at_all(box: Layout) -> None:
    (tar,) = box.tars()
    box.set_tars(repacked(tar, {audit.BINARY: None}))
    only(box, f"{audit.BINARY}: wanted in exactly one layer, got 0")


def test_the_wrong_machine(box: Layout) -> None:
    (tar,) = box.tars()
    box.set_tars(repacked(tar, {audit.BINARY: make_elf("EM_X86_64")}))
    only(box, f"{audit.BINARY}: machine for arm64 wanted EM_AARCH64, got EM_X86_64")


def test_the_wrong_class(box: Layout) -> None:
    (tar,) = box.tars()
    box.set_tars(repacked(tar, {audit.BINARY: make_elf("EM_AARCH64", 32)}))
    only(box, "bits for arm64 wanted 64, got 32")


@pytest.mark.parametrize(
    ("options", "loads"),
    [
        ({"interpreter": "/lib/ld-musl-aarch64.so.1"}, "/lib/ld-musl-aarch64.so.1"),
        ({"needed": ("libc.so", "libm.so")}, "libc.so, libm.so"),
    ],
)
def test_a_dynamic_binary(box: Layout, options: dict[str, Any], loads: str) -> None:
    (tar,) = box.tars()
    box.set_tars(repacked(tar, {audit.SHELL: make_elf(**options)}))
    only(box, f"{audit.SHELL}: wanted a static binary, got one that loads {loads}")


def test_something_that_is_no_binary(box: Layout) -> None:
    (tar,) = box.tars()
    box.set_tars(repacked(tar, {audit.BINARY: b"#!/bin/sh\n"}))
    only(box, "is not a readable ELF file")


def test_a_binary_that_cannot_be_executed(box: Layout) -> None:
    (tar,) = box.tars()
    content = make_elf("EM_AARCH64")
    box.set_tars(repacked(tar, {audit.BINARY: content}, mode=0o644))
    only(box, f"{audit.BINARY}: wanted an executable file")


@pytest.mark.parametrize("key", ["Cmd", "Entrypoint"])
@pytest.mark.parametrize("how", ["missing", "empty"])
def test_nothing_to_run(box: Layout, key: str, how: str) -> None:
    def change(config: dict[str, Any]) -> None:
        config["config"].pop(key) if how == "missing" else config["config"].update({key: []})

    box.set_config(change)
    only(box, f"config: {key} is missing")


def test_another_kind_of_layer(box: Layout) -> None:
    manifest = box.manifest()
    manifest["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.v1.tar+zstd"
    box.set_manifest(manifest)
    only(box, "layer: wanted", "tar+zstd")


def test_a_layer_that_is_no_tar(box: Layout) -> None:
    box.set_tars(b"not a tar at all")
    assert any("layer: not a tar" in text for text in faults(box))


@pytest.mark.parametrize("text", ["[]", "null", "{}", "not json", '{"layers": 7}', '{"config": 1}'])
def test_a_manifest_that_is_none(box: Layout, text: str) -> None:
    inner = box.inner
    inner["manifests"][1] |= box.store(text.encode())
    box.set_inner(inner)
    assert faults(box), "reported, and not a traceback"


@pytest.mark.parametrize("text", ["[]", "{}", "not json", '{"manifests": 7}', '{"manifests": [7]}'])
def test_an_index_that_is_none(box: Layout, text: str) -> None:
    (box.folder / "index.json").write_text(text)
    assert faults(box)


@pytest.mark.parametrize("name", ["index.json", "oci-layout"])
def test_a_file_of_the_layout_is_missing(box: Layout, name: str) -> None:
    (box.folder / name).unlink()
    only(box, f"{name}: not in the layout")


def test_a_wrong_layout_version(box: Layout) -> None:
    (box.folder / "oci-layout").write_text('{"imageLayoutVersion": "2.0.0"}')
    only(box, "oci-layout: wanted version 1.0.0")


def test_a_blob_that_nobody_names(box: Layout) -> None:
    box.store(b"left over")
    only(box, f"blob {digest.of_bytes(b'left over')}: nothing names it")


def test_all_faults_are_reported_together(box: Layout) -> None:
    box.set_config(lambda config: config["config"].pop("Cmd"))
    box.set_config(lambda config: config.pop("variant"), "armv5")
    found = faults(box)
    assert len(found) == 2
    with pytest.raises(GateFailed) as caught:
        audit.require(found, "oci")
    assert caught.value.exit_code == 3
    assert all(text in caught.value.why for text in found)


# --- the docker-archive -------------------------------------------------------------------------


@pytest.fixture
def archive(products: Path, places: Path) -> Path:
    path = places / dist.archive_name(ARM64, RELEASE)
    shutil.copyfile(products / path.name, path)
    return path


def rewrite(path: Path, change: Callable[[dict[str, bytes]], Any]) -> None:
    with tarfile.open(path) as old:
        content = {member.name: old.extractfile(member).read() for member in old}  # type: ignore[union-attr]
    change(content)
    with tarfile.open(path, "w") as new:
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            new.addfile(info, io.BytesIO(data))


def edit(content: dict[str, bytes], **changes: Any) -> None:
    (manifest,) = json.loads(content["manifest.json"])
    content["manifest.json"] = json.dumps([manifest | changes]).encode()


def test_right_archives_pass(products: Path) -> None:
    for target in ALL.values():
        path = products / dist.archive_name(target, RELEASE)
        assert audit.archive_faults(path, target) == []


def test_the_archive_of_another_platform(products: Path) -> None:
    path = products / dist.archive_name(targets.target("armv7"), RELEASE)
    found = audit.archive_faults(path, targets.target("armv5"))
    assert any("config: platform wanted" in text for text in found)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda c: edit(c, Layers=["nothing/layer.tar"]), "does not name what is there"),
        (lambda c: edit(c, Config="nothing.json"), "does not name what is there"),
        (lambda c: c.pop("manifest.json"), "does not name what is there"),
        (lambda c: c.update({"manifest.json": b"[]"}), "does not name what is there"),
        (lambda c: c.update({"manifest.json": b"7"}), "does not name what is there"),
        (lambda c: c.update({"manifest.json": b"[{}, {}]"}), "does not name what is there"),
        (lambda c: c.update({"extra": b"x"}), "unexpected ['extra']"),
    ],
)
def test_a_wrong_archive(archive: Path, change: Callable[[Any], Any], named: str) -> None:
    rewrite(archive, change)
    found = audit.archive_faults(archive, ARM64)
    assert len(found) == 1, found
    assert named in found[0]


def test_an_archive_that_names_a_wrong_layer(archive: Path) -> None:
    def change(content: dict[str, bytes]) -> None:
        (name,) = [name for name in content if name.endswith("/layer.tar")]
        other = repacked(content[name], {audit.SHELL: make_elf(padding=b"other")})
        content.pop(name)
        content["f" * 64 + "/layer.tar"] = other
        edit(content, Layers=["f" * 64 + "/layer.tar"])

    rewrite(archive, change)
    assert any("config: diff_ids wanted" in text for text in audit.archive_faults(archive, ARM64))


def test_an_archive_whose_config_changed(archive: Path) -> None:
    def change(content: dict[str, bytes]) -> None:
        (name,) = [name for name in content if name.endswith(".json") and name != "manifest.json"]
        content[name] += b" "

    rewrite(archive, change)
    (found,) = audit.archive_faults(archive, ARM64)
    assert "its bytes have sha256" in found


@pytest.mark.parametrize("how", ["cut", "empty", "noise", "missing"])
def test_an_archive_that_is_none(archive: Path, how: str) -> None:
    content = archive.read_bytes()
    archive.write_bytes({"cut": content[: len(content) // 2], "noise": b"x" * 5000}.get(how, b""))
    if how == "missing":
        archive.unlink()
    assert audit.archive_faults(archive, ARM64)


# --- binaries before they are compressed --------------------------------------------------------


@pytest.mark.parametrize("target", ALL.values(), ids=ALL)
def test_each_platforms_own_binary(places: Path, target: Target) -> None:
    content = make_elf(target.elf_machine, target.elf_class, target.elf_float)
    (places / "busybox").write_bytes(content)
    audit.check_binary(places / "busybox", target, go=False)
    others = [other for other in ALL.values() if other.name != target.name]
    for other in others:
        with pytest.raises(GateFailed):
            audit.check_binary(places / "busybox", other, go=False)


def test_the_wrong_float_abi(places: Path) -> None:
    (places / "busybox").write_bytes(make_elf("EM_ARM", 32, "hard"))
    with pytest.raises(GateFailed) as caught:
        audit.check_binary(places / "busybox", targets.target("armv5"), go=False)
    assert "float_abi for armv5 wanted soft, got hard" in caught.value.why


def go_binary(target: Target, **changes: str) -> bytes:
    settings = {"GOARCH": target.goarch, "CGO_ENABLED": "0", **target.go_env} | changes
    text = "".join(f"build\t{key}={value}\n" for key, value in settings.items())
    return make_elf(target.elf_machine, target.elf_class, padding=text.encode())


@pytest.mark.parametrize("target", ALL.values(), ids=ALL)
def test_the_go_settings_inside_a_binary(places: Path, target: Target) -> None:
    path = places / "tailscale.combined"
    path.write_bytes(go_binary(target))
    audit.check_binary(path, target, go=True)
    wrong = {"CGO_ENABLED": "1"} | dict.fromkeys(target.go_env, "x")
    for key, value in wrong.items():
        path.write_bytes(go_binary(target, **{key: value}))
        with pytest.raises(GateFailed) as caught:
            audit.check_binary(path, target, go=True)
        assert f"build setting wanted {key}=" in caught.value.why


def test_elf_facts(places: Path) -> None:
    path = places / "x"
    path.write_bytes(make_elf("EM_ARM", 32, "soft", interpreter="/lib/ld.so", needed=("libc.so",)))
    facts = elf.read(path)
    assert (facts.machine, facts.bits, facts.float_abi) == ("EM_ARM", 32, "soft")
    assert (facts.interpreter, facts.needed) == ("/lib/ld.so", ("libc.so",))
    assert not facts.static
    for content in (b"", b"\x7fELF", make_elf()[:30], b"MZ" * 100):
        path.write_bytes(content)
        with pytest.raises(BuildFailed, match="not a readable ELF file"):
            elf.read(path)
    with pytest.raises(BuildFailed):
        elf.read(places / "nothing")
