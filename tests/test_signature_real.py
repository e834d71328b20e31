"""Signatures and SBOMs in a real registry, seen by cosign, oras, skopeo, openssl."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import distribution
import pytest
from conftest import SHARED_CACHE
from cryptography.hazmat.primitives.asymmetric import ec
from distribution import Registry
from fakes import images
from test_signature import changed

from build.config import targets
from build.core import digest
from build.core.artifacts import Attachment
from build.core.errors import GateFailed
from build.image import dist
from build.release import referrers, signature
from build.sbom import document

pytestmark = pytest.mark.slow

PASSWORD = "swordfish-9000"
REPOSITORY = "team/tailscale"
ALL = targets.targets()


@dataclass
class Scene:
    """A registry with a published image, its signature and the SBOMs; a folder with the keys."""

    registry: Registry
    folder: Path
    path: str
    image: str
    key: ec.EllipticCurvePrivateKey
    manifests: list[dict[str, object]] = field(default_factory=list)

    @property
    def repository(self) -> str:
        return f"{self.registry.host}/{REPOSITORY}"

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        env = {"PATH": self.path, "HOME": str(self.folder), "COSIGN_PASSWORD": PASSWORD}
        return subprocess.run(
            words, cwd=self.folder, env=env, text=True, capture_output=True, timeout=120
        )

    def cosign_verify(
        self, image: str, key: str = "cosign.pub"
    ) -> subprocess.CompletedProcess[str]:
        words = ["verify", "--key", key, "--insecure-ignore-tlog=true"]
        words += ["--allow-http-registry", f"{self.repository}@{image}"]
        return self.run("cosign", *words)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("signed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MT_CACHE", str(SHARED_CACHE))
        path = distribution.debs(folder / "debs", "cosign", "oras")
        patch.setenv("MT_CACHE", str(folder / "cache"))
        patch.setenv("MT_DIST", str(folder / "dist"))
        patch.setenv("MT_WORK", str(folder / "work"))
        made = images.images(folder)
        record, _ = dist.write(made, ALL, images.RELEASE, lambda path, of: None, whole=True)
    image = record["oci"]["index"]
    signature.write_pair(folder / "signing", PASSWORD)
    (folder / "cosign.pub").write_bytes((folder / "signing.pub").read_bytes())
    key = signature.private_key((folder / "signing").read_bytes(), PASSWORD)
    manifests = [entry.facts["manifest"] for entry in made.values()]
    with distribution.registry(folder / "registry") as registry:
        registry.push_layout(folder / "dist" / "oci", images.RELEASE.tag, REPOSITORY)
        found = Scene(registry, folder, path, image, key, manifests)
        made_by_us = signature.sign(found.repository, image, key, {"tag": images.RELEASE.tag})
        registry.push(REPOSITORY, made_by_us)
        yield found


def test_cosign_verifies(scene: Scene) -> None:
    done = scene.cosign_verify(scene.image)
    assert done.returncode == 0, done.stderr
    (said,) = json.loads(done.stdout)
    assert said["critical"]["image"]["docker-manifest-digest"] == scene.image
    assert said["critical"]["identity"]["docker-reference"] == scene.repository
    assert said["optional"] == {"tag": images.RELEASE.tag}
    # By tag too, as people do; cosign resolves it.
    words = ("verify", "--key", "cosign.pub", "--insecure-ignore-tlog=true")
    done = scene.run("cosign", *words, f"{scene.repository}:{images.RELEASE.tag}")
    assert done.returncode == 0, done.stderr


def test_cosign_refuses_another_key(scene: Scene) -> None:
    signature.write_pair(scene.folder / "wrong")
    done = scene.cosign_verify(scene.image, "wrong.pub")
    assert done.returncode != 0
    assert "invalid signature" in done.stderr


def test_cosign_refuses_an_unsigned_digest(scene: Scene) -> None:
    done = scene.cosign_verify(str(scene.manifests[0]["digest"]))
    assert done.returncode != 0
    assert "no signatures found" in done.stderr


@pytest.mark.parametrize("how", ["payload", "moved", "removed layer"])
def test_cosign_refuses_a_changed_signature(scene: Scene, how: str) -> None:
    """Someone who may write to the registry, without the key."""
    mine = signature.sign(scene.repository, scene.image, scene.key)
    victim = str(scene.manifests[1]["digest"])
    tag = signature.tag_of(victim)
    if how == "payload":
        manifest, blobs = changed(mine, image=victim)
        forged = Attachment(manifest, mine.media_type, blobs, tag)
    elif how == "moved":
        forged = replace(mine, tag=tag)
    else:
        bare = json.loads(mine.manifest) | {"layers": []}
        forged = replace(mine, tag=tag, manifest=digest.canonical_json(bare))
    scene.registry.push(REPOSITORY, forged)
    done = scene.cosign_verify(victim)
    assert done.returncode != 0, done.stdout
    # And we agree.
    with pytest.raises(GateFailed):
        signature.verify(
            scene.repository,
            victim,
            forged.manifest,
            forged.blobs,
            scene.key.public_key(),
        )


def test_we_verify_what_cosign_signed(scene: Scene) -> None:
    """cosign signs a platform's manifest with a key of its own, and our check reads it."""
    done = scene.run("cosign", "generate-key-pair", "--output-key-prefix", "theirs")
    assert done.returncode == 0, done.stderr
    image = str(scene.manifests[2]["digest"])
    words = ("sign", "--key", "theirs.key", "--tlog-upload=false", "-y")
    done = scene.run("cosign", *words, f"{scene.repository}@{image}")
    assert done.returncode == 0, done.stderr
    assert scene.cosign_verify(image, "theirs.pub").returncode == 0
    with scene.registry.client(REPOSITORY) as client:
        found = client.manifest(signature.tag_of(image))
        assert found is not None
        blobs = [client.blob(row["digest"], row["size"]) for row in found.table["layers"]]
    public = signature.public_key((scene.folder / "theirs.pub").read_bytes())
    assert signature.verify(scene.repository, image, found.content, blobs, public) == {}


def test_a_blob_by_cosign_and_openssl(scene: Scene) -> None:
    sums, sig = scene.folder / "SHA256SUMS", scene.folder / "SHA256SUMS.sig"
    sums.write_text("abc  file\n")
    sig.write_bytes(signature.sign_bytes(sums.read_bytes(), scene.key))
    words = ["cosign", "verify-blob", "--key", "cosign.pub", "--insecure-ignore-tlog=true"]
    words += ["--signature", sig.name, sums.name]
    openssl = ["openssl", "dgst", "-sha256", "-verify", "cosign.pub"]
    openssl += ["-signature", sig.name, sums.name]
    assert scene.run(*words).returncode == 0, scene.run(*words).stderr
    assert scene.run(*openssl).stdout == "Verified OK\n"
    sums.write_text("abd  file\n")
    assert scene.run(*words).returncode != 0, "negative control"
    assert scene.run(*openssl).returncode != 0, "negative control"


def test_oras_finds_the_sboms(scene: Scene) -> None:
    sboms = [
        (row, f'{{"sbom": {i}}}'.encode(), f"sbom-{i}.cdx.json")
        for i, row in enumerate(scene.manifests)
    ]
    for row in sboms:
        scene.registry.push(REPOSITORY, referrers.attachment(*row, images.EPOCH))
    for row, sbom, name in sboms:
        reference = f"{scene.repository}@{row['digest']}"
        done = scene.run("oras", "discover", "--format", "json", reference)
        assert done.returncode == 0, done.stderr
        (found,) = json.loads(done.stdout)["manifests"]
        assert found["artifactType"] == document.MEDIA_TYPE
        where = scene.folder / f"pulled-{name}"
        artifact = f"{scene.repository}@{found['digest']}"
        done = scene.run("oras", "pull", "--output", str(where), artifact)
        assert done.returncode == 0, done.stderr
        assert (where / name).read_bytes() == sbom
    # The image itself is still what it was, for all who do not ask for SBOMs.
    done = scene.run(
        distribution.program("skopeo", "skopeo"),
        "inspect",
        "--raw",
        "--tls-verify=false",
        f"docker://{scene.repository}:{images.RELEASE.tag}",
    )
    assert f"sha256:{digest.of_bytes(done.stdout.encode())}" == scene.image
    index = f"{scene.repository}@{scene.image}"
    done = scene.run("oras", "discover", "--format", "json", index)
    assert not json.loads(done.stdout)["manifests"], "negative control: the index has no SBOM"
