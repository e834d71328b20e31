"""Images: golden bytes, the same wherever and by whomever they are made, and taken by peers."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from fakes import images
from fakes.images import RELEASE
from goldens import golden, image_golden, rootfs_golden

from build.config import targets
from build.core.cache import Damaged
from build.core.errors import UserError
from build.image import dist, oci, rootfs

ROOT = Path(__file__).resolve().parent.parent
RENEW = "wanted? ./dev python -m tests.renew"


def test_the_golden_images(places: Path) -> None:
    assert json.loads(json.dumps(image_golden(places))) == golden("image-golden.json"), RENEW


def test_the_golden_root_file_system(places: Path) -> None:
    assert rootfs_golden(places) == golden("rootfs-golden.json"), RENEW


def test_a_changed_byte_changes_the_golden(places: Path) -> None:
    """Negative control: other binaries give other digests."""
    files = images.files(places, targets.target("arm64"))
    binary = images.binary(places, "busybox", targets.target("armv5"))
    other = rootfs.collect(
        {"busybox": binary, "tailscale.combined": binary}, [*images.APPLETS, "more"]
    )
    one, two = (
        oci.assemble(targets.target("arm64"), tree, RELEASE, images.EPOCH)
        for tree in (files, other)
    )
    assert one.facts["manifest"]["digest"] != two.facts["manifest"]["digest"]


def test_the_same_bytes_elsewhere(places: Path) -> None:
    """Another process, working folder, umask, locale, time zone and hash seed."""
    code = (
        "import json, os, sys\n"
        "os.umask(0o077)\n"
        f"sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'tests')!r}]\n"
        "from pathlib import Path\n"
        "from goldens import image_golden\n"
        "print(json.dumps(image_golden(Path('elsewhere').absolute())))\n"
    )
    env = os.environ | {
        "TZ": "Asia/Kathmandu",
        "LC_ALL": "C",
        "PYTHONHASHSEED": "7",
        "MT_CACHE": str(places / "other cache"),
        "SOURCE_DATE_EPOCH": "1",
    }
    (places / "cwd").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=places / "cwd",
        env=env,
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == golden("image-golden.json")


def test_the_layers_tar(places: Path) -> None:
    entry = images.images(places)["arm64"]
    layer = entry.data / "blobs" / "sha256" / entry.facts["layer"]["digest"][7:]
    with tarfile.open(layer) as tar:
        members = tar.getmembers()
    names = [member.name for member in members]
    assert names == sorted(names, key=str.encode)
    assert {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in members} == {
        (0, 0, "", "", images.EPOCH)
    }
    by_name = {member.name: member for member in members}
    assert by_name["tmp"].mode == 0o1777
    assert by_name["var/lib/tailscale"].mode == 0o700
    assert by_name["usr/local/bin/tailscaled"].linkname == "tailscale.combined"
    assert by_name["bin/sh"].linkname == "busybox"
    assert by_name["usr/local/bin/entrypoint.sh"].mode == 0o755
    # The gzip header carries neither name nor time.
    assert layer.read_bytes()[3:8] == bytes(5)


def test_the_configuration() -> None:
    config = oci.image_config(targets.target("armv5"), "sha256:x", RELEASE, images.EPOCH)
    inner = config["config"]
    assert config["created"] == "2023-11-14T22:13:20Z"
    assert (config["architecture"], config["variant"]) == ("arm", "v5")
    assert inner["Cmd"] == [
        "--no-logs-no-support",
        "--state=/var/lib/tailscale/tailscaled.state",
        "--socket=/var/run/tailscale/tailscaled.sock",
        "--statedir=/var/lib/tailscale",
    ]
    assert inner["Entrypoint"] == ["/usr/local/bin/entrypoint.sh"]
    assert inner["Volumes"] == {"/var/lib/tailscale": {}}
    assert inner["Healthcheck"]["Test"] == ["CMD", "/usr/local/bin/healthcheck.sh"]
    assert inner["Healthcheck"]["Interval"] == 60_000_000_000
    assert inner["Labels"]["org.opencontainers.image.version"] == RELEASE.tag
    assert not [text for text in inner["Labels"].values() if "{" in text]
    plain = oci.image_config(targets.target("amd64"), "sha256:x", RELEASE, images.EPOCH)
    assert "variant" not in plain


def test_a_binary_that_changed_under_the_build(places: Path) -> None:
    files = images.files(places, targets.target("arm64"))
    entry = next(row for row in files.entries if row.path == "bin/busybox")
    assert entry.source
    entry.source.write_bytes(b"other")
    with pytest.raises(Damaged):
        oci.layer_tar(files, images.EPOCH)


# --- the root file system as data ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("applets", "fault"),
    [
        (["ash", "ash"], "bin/ash is there twice"),
        (["busybox"], "bin/busybox is there twice"),
        (["../evil"], "bin/../evil is not a plain relative path"),
        (["no/such"], "bin/no/such has no directory bin/no"),
        (["a//b"], "bin/a//b is not a plain relative path"),
    ],
)
def test_a_root_file_system_that_cannot_be(places: Path, applets: list[str], fault: str) -> None:
    target = targets.target("arm64")
    made = {name: images.binary(places, name, target) for name in ("busybox", "tailscale.combined")}
    with pytest.raises(UserError) as caught:
        rootfs.collect(made, applets)
    assert fault in caught.value.why


def test_a_source_that_nobody_made(places: Path) -> None:
    with pytest.raises(UserError, match="names the file 'busybox'"):
        rootfs.collect({}, [])


def test_unpacking_gives_what_the_listing_says(places: Path) -> None:
    files = images.files(places, targets.target("arm64"))
    previous = os.umask(0o077)
    try:
        rootfs.unpack(files, places / "tree")
    finally:
        os.umask(previous)
    for path, kind, mode, content in rootfs.identity(files):
        place = places / "tree" / path
        if kind == "link":
            assert str(place.readlink()) == content
        else:
            assert f"{place.stat().st_mode & 0o7777:04o}" == mode
    assert files.size == sum(
        place.stat().st_size
        for place in (places / "tree").rglob("*")
        if place.is_file() and not place.is_symlink()
    )


# --- peers --------------------------------------------------------------------------------------


def peer(name: str) -> str:
    """The peer's program; .ci/run installs them, at home they may be missing."""
    path = shutil.which(name)
    if not path:
        assert "CI" not in os.environ, f"{name} has to be installed in CI"
        pytest.skip(f"{name} is not installed here; .ci/run installs it")
    return path


@pytest.fixture
def folder(places: Path) -> Path:
    everything = targets.targets()
    dist.write(images.images(places), dict(everything), RELEASE, lambda *_: None, whole=True)
    return places / "dist"


def ran(*argv: str | Path) -> str:
    done = subprocess.run([str(word) for word in argv], text=True, capture_output=True)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


@pytest.mark.parametrize("name", targets.targets())
def test_skopeo_takes_each_image_of_the_layout(places: Path, folder: Path, name: str) -> None:
    skopeo, target = peer("skopeo"), targets.target(name)
    chosen = [f"--override-arch={target.oci_architecture}", "--override-os=linux"]
    if target.oci_variant:
        chosen.append(f"--override-variant={target.oci_variant}")
    said = json.loads(ran(skopeo, *chosen, "inspect", f"oci:{folder}/oci:{RELEASE.tag}"))
    wanted = golden("image-golden.json")[name]
    assert said["Layers"] == [wanted["layer"]["digest"]]
    assert said["Labels"]["org.opencontainers.image.version"] == RELEASE.tag
    # Copying makes skopeo read and verify every blob.
    ran(skopeo, *chosen, "copy", f"oci:{folder}/oci:{RELEASE.tag}", f"dir:{places}/copied")
    copied = json.loads((places / "copied" / "manifest.json").read_text())
    assert copied["layers"][0]["digest"] == wanted["layer"]["digest"]


def test_skopeo_copies_all_platforms(places: Path, folder: Path) -> None:
    skopeo = peer("skopeo")
    source = f"oci:{folder}/oci:{RELEASE.tag}"
    ran(skopeo, "copy", "--all", "--preserve-digests", source, f"oci:{places}/copied:x")
    (copied,) = json.loads((places / "copied" / "index.json").read_text())["manifests"]
    assert copied["digest"] == f"sha256:{golden('image-golden.json')['index']}"


@pytest.mark.parametrize("name", targets.targets())
def test_skopeo_takes_each_archive(places: Path, folder: Path, name: str) -> None:
    path = folder / dist.archive_name(targets.target(name), RELEASE)
    said = json.loads(ran(peer("skopeo"), "inspect", "--config", f"docker-archive:{path}"))
    assert said["config"]["Cmd"][0] == "--no-logs-no-support"
    assert said["rootfs"]["diff_ids"] == [golden("image-golden.json")[name]["diff_id"]]


def test_skopeo_refuses_a_damaged_layout(places: Path, folder: Path) -> None:
    """Negative control: the peer does look at the bytes."""
    skopeo = peer("skopeo")
    layer = golden("image-golden.json")["amd64"]["layer"]["digest"][7:]
    path = folder / "oci" / "blobs" / "sha256" / layer
    path.write_bytes(gzip.compress(b"other"))
    words = ["--override-arch=amd64", "copy", f"oci:{folder}/oci:{RELEASE.tag}", f"dir:{places}/c"]
    assert subprocess.run([skopeo, *words], capture_output=True).returncode != 0


def test_umoci_unpacks_what_the_listing_says(places: Path, folder: Path) -> None:
    umoci = peer("umoci")
    # umoci unpacks one manifest: the layout of a single platform, without the index between.
    name = "arm64"
    wanted = golden("image-golden.json")[name]["manifest"]
    box = places / "single"
    shutil.copytree(folder / "oci", box)
    named = {key: wanted[key] for key in ("mediaType", "digest", "size")}
    named["annotations"] = {"org.opencontainers.image.ref.name": "x"}
    (box / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
    ran(umoci, "unpack", "--rootless", "--image", f"{box}:x", places / "bundle")
    tree = places / "bundle" / "rootfs"
    for path, kind, mode, content in golden("rootfs-golden.json"):
        place = tree / path
        if kind == "link":
            assert str(place.readlink()) == content
        else:
            assert f"{place.stat().st_mode & 0o7777:04o}" == mode
    found = {str(place.relative_to(tree)) for place in tree.rglob("*")}
    assert found == {row[0] for row in golden("rootfs-golden.json")}
