"""SBOMs: valid, complete, the same bytes each time; and those of the real images."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cyclonedx.schema._res
import pytest
from conftest import SHARED_CACHE
from fakes import images

from build.config import licences, substitutes, targets
from build.config.pins import pin
from build.core import cache, digest
from build.core.artifacts import Artifact, Rootfs
from build.core.errors import BuildFailed
from build.golang import buildinfo
from build.image import dist
from build.native import compress
from build.pipeline import order
from build.release import referrers
from build.sbom import document, inventory
from build.sbom.inventory import Component

ALL = targets.targets()
SERIAL = uuid.UUID(int=7)


def subject(places: Path, name: str = "arm64") -> document.Subject:
    entry = images.images(places)[name]
    return document.Subject(
        name="mikrotik-tailscale",
        tag=images.RELEASE.tag,
        target=ALL[name],
        manifest=entry.facts["manifest"],
        epoch=images.EPOCH,
        binary=Artifact(places / "none", 0, "0" * 64),
        files=Rootfs(()),
        packed="lzma",
    )


def components(tmp_path: Path) -> list[Component]:
    text = tmp_path / "LICENSE"
    text.write_text("Do as you like. © 2026")
    texts = {"LICENSE": text}
    program = Component(
        "p",
        "application",
        "program",
        "1",
        "pkg:golang/example.com/p@1",
        "MIT AND Zlib",
        texts=texts,
        sha256="1" * 64,
        origin=pin("busybox"),
        h1="h1:abc=",
        changes=(Path("patches/p/1.patch"),),
        needs=("l",),
        path="usr/bin/p",
        note="a note",
    )
    return [program, Component("l", "library", "lib", "2", "pkg:generic/lib@2", "MIT", texts)]


def test_an_sbom(tmp_path: Path) -> None:
    about = subject(tmp_path)
    text = document.render(about, components(tmp_path), SERIAL)
    assert document.schema_faults(text) == ""
    sbom = json.loads(text)
    assert (sbom["bomFormat"], sbom["specVersion"]) == ("CycloneDX", "1.6")
    main = sbom["metadata"]["component"]
    assert main["version"] == images.RELEASE.tag
    assert main["purl"].startswith(f"pkg:oci/mikrotik-tailscale@{about.manifest['digest']}?")
    assert main["licenses"] == [{"expression": "MIT AND Zlib"}]
    rows = {row["bom-ref"]: row for row in sbom["components"]}
    assert rows["l"]["licenses"] == [{"license": {"id": "MIT"}}]
    assert rows["p"]["pedigree"]["patches"][0]["diff"]["url"] == "patches/p/1.patch"
    facts = {r["name"].partition(":")[2]: r["value"] for r in rows["p"]["properties"]}
    assert facts["h1"] == "h1:abc="
    assert facts["source-sha256"] == pin("busybox").sha256
    assert "©" in rows["p"]["evidence"]["licenses"][0]["license"]["text"]["content"]
    needs = {row["ref"]: row.get("dependsOn", []) for row in sbom["dependencies"]}
    assert needs == {"image": ["p"], "p": ["l"], "l": []}


def test_the_same_bytes_whatever_the_order(tmp_path: Path) -> None:
    about, parts = subject(tmp_path), components(tmp_path)
    text = document.render(about, parts, SERIAL)
    assert document.render(about, parts, SERIAL) == text
    assert document.render(about, parts[::-1], SERIAL) == text


def test_the_schema_is_checked(tmp_path: Path) -> None:
    """Negative control: what is not in the schema is refused, as is a damaged SBOM."""
    sbom = json.loads(document.render(subject(tmp_path), components(tmp_path), SERIAL))
    sbom["components"][0]["colour"] = "red"
    assert "colour" in document.schema_faults(json.dumps(sbom))
    del sbom["components"][0]["colour"]
    assert document.schema_faults(json.dumps(sbom)) == ""
    sbom["components"][0]["licenses"] = [{"license": {"id": "GPL-9000"}}]
    assert document.schema_faults(json.dumps(sbom)) != ""


@pytest.mark.parametrize("expression", ["GPL-9000", "MIT AND Foo-1", "?"])
def test_a_licence_that_is_none(tmp_path: Path, expression: str) -> None:
    broken = Component("x", "library", "x", "1", "", expression)
    with pytest.raises((BuildFailed, Exception), match="SPDX"):
        document.render(subject(tmp_path), [broken], SERIAL)


def test_artifacts_that_refer_to_images(places: Path) -> None:
    made = images.images(places)
    beside = {}
    for name in made:
        sbom = places / f"{name}.json"
        sbom.write_text(f'{{"sbom of": "{name}"}}')
        about = Artifact(sbom, sbom.stat().st_size, digest.of_file(sbom))
        beside[dist.sbom_name(name, "1.102.5")] = (name, about)
    record, _ = dist.write(
        made, ALL, images.RELEASE, lambda path, of: None, whole=True, beside=beside
    )
    index = record["oci"]["index"]
    artifacts = referrers.of_dist(places / "dist", index, images.EPOCH)
    assert artifacts == referrers.of_dist(places / "dist", index, images.EPOCH)
    assert len(artifacts) == len(ALL)
    for (name, entry), artifact in zip(made.items(), artifacts, strict=True):
        manifest = json.loads(artifact.manifest)
        assert manifest["subject"]["digest"] == entry.facts["manifest"]["digest"]
        assert "platform" not in manifest["subject"]
        assert manifest["layers"][0]["annotations"] == {
            "org.opencontainers.image.title": dist.sbom_name(name, "1.102.5")
        }
        named = [manifest["config"], *manifest["layers"]]
        assert [row["digest"] for row in named] == [
            f"sha256:{digest.of_bytes(blob)}" for blob in artifact.blobs
        ]
        assert json.loads(artifact.blobs[1]) == {"sbom of": name}
        assert artifact.tag == ""
    assert referrers.of_dist(places / "dist", f"sha256:{'0' * 64}", images.EPOCH) == []


def test_the_values_that_go_list_prints() -> None:
    assert buildinfo._values('{"a": 1}\n{"b": {"c": 2}}\n\n') == [{"a": 1}, {"b": {"c": 2}}]
    assert buildinfo._values("") == []
    sums = "example.com/m v1.0.0 h1:abc=\nexample.com/m v1.0.0/go.mod h1:def=\n"
    assert buildinfo.go_sums(sums)["example.com/m", "v1.0.0"] == "h1:abc="


# The real images.


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[order.Result]:
    folder = tmp_path_factory.mktemp("sboms")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MT_CACHE", str(SHARED_CACHE))
        patch.setenv("MT_DIST", str(folder / "dist"))
        patch.setenv("MT_WORK", str(folder / "work"))
        request = order.Request(
            list(ALL.values()), order.release_of(), whole=True, check_size=False
        )
        yield order.build(request)


def sbom_of(built: order.Result, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((built.sboms[name].data / document.FILE).read_text())
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_the_sbom_of_a_real_image(built: order.Result, name: str) -> None:
    sbom = sbom_of(built, name)
    assert document.schema_faults(json.dumps(sbom)) == ""
    assert sbom["metadata"]["component"]["hashes"][0]["content"] == (
        built.images[name].facts["manifest"]["digest"].removeprefix("sha256:")
    )
    rows = {row["name"]: row for row in sbom["components"]}
    assert [n for n, row in rows.items() if not row.get("licenses")] == []
    versions = {n: row.get("version") for n, row in rows.items()}
    assert versions["tailscale.com"] == f"v{pin('tailscale').version}"
    assert versions["busybox"] == pin("busybox").version
    assert inventory.STUB in versions
    assert versions["std"] in pin("go").version
    assert versions["musl"] and versions["Mozilla CA certificates"]
    # Each file of the image is somebody's, with its digest.
    files = {e.path: e.sha256 for e in built.rootfs[name].entries if e.kind == "file"}
    named = {}
    for row in rows.values():
        facts = {p["name"].partition(":")[2]: p["value"] for p in row.get("properties", [])}
        if "path" in facts:
            named[facts["path"]] = row["hashes"][0]["content"]
    assert named == files
    patched = {n for n, row in rows.items() if "pedigree" in row}
    assert {"tailscale.com", "golang.org/x/crypto", "std"} <= patched
    # Go modules come with the sum by which the go command knows them.
    for n, row in rows.items():
        if row.get("purl", "").startswith("pkg:golang/"):
            facts = {p["name"].partition(":")[2]: p["value"] for p in row["properties"]}
            assert facts["h1"].startswith("h1:"), n
            assert row["evidence"]["licenses"], n


@pytest.mark.slow
def test_the_binarys_own_strings_have_each_module(built: order.Result, shared_cache: Path) -> None:
    """The list of modules against the linked binary's bytes, read without the go command."""
    sbom = sbom_of(built, "arm64")
    go = order.go_command()
    program = order.tailscale.build(
        go, ALL["arm64"], order.release_of(), linker=order.lean_linker(go)
    )
    content = program.artifact("tailscale.combined").path.read_bytes()
    deps = {
        tuple(part.decode() for part in line.split(b"\t")[1:3])
        for line in content.split(b"\n")
        if line.startswith(b"dep\t")
    }
    listed = {
        (row["name"], row["version"])
        for row in sbom["components"]
        if row.get("purl", "").startswith("pkg:golang/")
    }
    extra = {(n, v) for n, v in listed if n not in ("std", "tailscale.com")}
    # The go command notes which version was asked for, the SBOM lists what was linked.
    for one in substitutes.of(pin("tailscale")):
        assert (one.module, one.wanted) in deps
        deps = deps - {(one.module, one.wanted)} | {(one.module, one.taken)}
    assert extra == deps
    assert len(deps) > 20


@pytest.mark.slow
def test_another_validator_agrees(built: order.Result, tmp_path: Path) -> None:
    schema = Path(cyclonedx.schema._res.__file__).parent / "bom-1.6.SNAPSHOT.schema.json"
    file = built.sboms["armv5"].data / document.FILE
    argv = [sys.executable, "-m", "check_jsonschema", "--schemafile", str(schema)]
    # The schemas that this one refers to lie beside it, not at the address that it gives itself.
    argv += ["--base-uri", schema.as_uri()]
    done = subprocess.run([*argv, str(file)], text=True, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    broken = tmp_path / "broken.json"
    broken.write_text(file.read_text().replace('"MPL-2.0"', '"MPL-9"'))
    done = subprocess.run([*argv, str(broken)], text=True, capture_output=True, timeout=120)
    assert done.returncode == 1, "negative control"


@pytest.mark.slow
def test_the_stage_makes_the_same_bytes_again(built: order.Result, shared_cache: Path) -> None:
    before = built.sboms["arm64"]
    text = (before.data / document.FILE).read_bytes()
    cache.discard(before)
    request = order.Request([ALL["arm64"]], order.release_of(), check_size=False)
    again = order.build(request)
    assert again.ran == ["sbom arm64"]
    assert (again.sboms["arm64"].data / document.FILE).read_bytes() == text


@pytest.mark.slow
def test_an_unknown_module_stops_the_build(
    built: order.Result, shared_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = licences.TABLE.read_text()
    read = licences.load()["gvisor.dev/gvisor"].files["LICENSE"]
    blocks = text.split('\n["go4.org/mem"]')
    rest = blocks[1].partition('\n["go4.org/netipx"]')
    (tmp_path / "t.toml").write_text(blocks[0] + rest[1] + rest[2].replace(read, read[::-1]))
    load = licences.load
    monkeypatch.setattr(licences, "TABLE", tmp_path / "t.toml")
    monkeypatch.setattr(licences, "load", lambda: load(tmp_path / "t.toml"))
    request = order.Request([ALL["arm64"]], order.release_of(), check_size=False)
    with pytest.raises(BuildFailed) as caught:
        order.build(request)
    assert caught.value.why == (
        "go4.org/mem: is not in the table; gvisor.dev/gvisor: LICENSE is changed"
    )
    assert '["go4.org/mem"]' in caught.value.cure
    assert not (tmp_path / "dist").exists()


@pytest.mark.slow
@pytest.mark.parametrize("method", compress.METHODS)
def test_the_decompressor_is_the_one_that_is_in_the_image(shared_cache: Path, method: str) -> None:
    request = order.Request([ALL["arm64"]], order.release_of(), compress=method, check_size=False)
    facts = order.build(request).sboms["arm64"].facts
    names = [name for name, *_ in facts["components"]]
    assert ("upx" in names, inventory.STUB in names) == (method == "upx", method == "lzma")
    assert ("GPL-2.0-or-later" in facts["licence"]) is (method == "upx")
