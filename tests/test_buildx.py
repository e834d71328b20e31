"""The assembler that calls docker buildx, with a docker that plays back a layout made before."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import images, programs
from fakes.images import EPOCH, RELEASE

from build.config import targets
from build.core import cache, digest
from build.core.artifacts import RootfsEntry
from build.core.errors import BuildFailed, GateFailed, UserError
from build.gates import audit
from build.image import buildx, dist, engine, oci, rootfs
from build.pipeline import order

ROOT = Path(__file__).resolve().parent.parent
ALL = targets.targets()

# What the stand-in answers is in files beside it; without one it says what a good docker does.
DOCKER = """
from pathlib import Path
here, words = Path(__file__).parent, sys.argv[1:]
said = {"version": "github.com/docker/buildx v9.9.9 abc", "inspect": "Driver: docker\\nDriver: x",
        "info": json.dumps({"ServerVersion": "99.1", "Driver": "overlayfs",
                            "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]})}
kind = words[1] if words[0] == "buildx" else words[0]
answer = here / kind
if answer.exists():
    code, _, text = answer.read_text().partition(" ")
    print(text)
    sys.exit(int(code))
if kind != "build":
    print("WARNING: something about its configuration\\n" * (here / "warn").exists() + said[kind])
    sys.exit()
output = dict(row.partition("=")[::2] for row in words[words.index("--output") + 1].split(","))
(here / "context.tar").write_bytes(sys.stdin.buffer.read())
Path(output["dest"]).write_bytes((here / "layout.tar").read_bytes())
"""


@pytest.fixture
def docker(places: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A docker on PATH that knows buildx and has an engine."""
    monkeypatch.setenv("PATH", f"{places / 'bin'}:{os.environ['PATH']}")
    return programs.program(places / "bin", "docker", DOCKER)


@pytest.fixture
def job(places: Path) -> buildx.Job:
    trees = {name: images.files(places, target) for name, target in ALL.items()}
    return buildx.Job(ALL, trees, RELEASE, EPOCH)


def playing(docker: Path, job: buildx.Job) -> None:
    """Let the stand-in give the layout that our own assembler makes for a job."""
    box = docker.parent / "made"
    box.mkdir()
    entries = {
        name: oci.assemble(ALL[name], tree, job.release, job.epoch)
        for name, tree in job.trees.items()
    }
    dist._layout(box, entries, job.release)
    with tarfile.open(docker.parent / "layout.tar", "w") as archive:
        archive.add(box, arcname=".")


def write(places: Path, job: buildx.Job) -> tuple[dict[str, Any], list[str]]:
    gate, assembler = order._by_buildx(job)
    entries = images.images(places)
    return dist.write(entries, dict(ALL), RELEASE, gate, whole=True, assembler=assembler)


# --- Dockerfile and context ---------------------------------------------------------------------


def test_the_dockerfile() -> None:
    lines = buildx.dockerfile(RELEASE).splitlines()
    assert lines[:3] == ["FROM scratch", "ARG TARGETPLATFORM", "COPY ${TARGETPLATFORM}/ /"]
    assert [line.split()[0] for line in lines].count("COPY") == 1, "one layer"
    assert not [line for line in lines if line.startswith(("RUN", "ADD", "WORKDIR", "# "))]
    settings = oci.settings(RELEASE)
    assert f"ENTRYPOINT {json.dumps(settings['Entrypoint'])}" in lines
    assert f"CMD {json.dumps(settings['Cmd'])}" in lines
    assert f'LABEL "org.opencontainers.image.version"="{RELEASE.tag}"' in lines


def test_a_value_that_a_dockerfile_would_read_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = oci.settings(RELEASE) | {"Env": ['A=$HOME "x" \\'], "Labels": {}}
    monkeypatch.setattr(oci, "settings", lambda release: settings)
    assert 'ENV A="\\$HOME \\"x\\" \\\\"' in buildx.dockerfile(RELEASE).splitlines()
    settings["Env"] = ["A=two\nlines"]
    with pytest.raises(UserError, match="cannot be written into a Dockerfile"):
        buildx.dockerfile(RELEASE)


def test_the_context(job: buildx.Job) -> None:
    with tarfile.open(fileobj=io.BytesIO(buildx.context(job))) as archive:
        found = {member.name: member for member in archive}
        text = archive.extractfile("Dockerfile")
        assert text is not None
        assert text.read().decode() == buildx.dockerfile(RELEASE)
    assert {member.mtime for member in found.values()} == {EPOCH}
    assert {(member.uid, member.gid) for member in found.values()} == {(0, 0)}
    del found["Dockerfile"]
    for name, target in ALL.items():
        for path, kind, mode, content in rootfs.identity(job.trees[name]):
            member = found.pop(f"{target.platform}/{path}")
            if kind == "link":
                assert member.linkname == content
            else:
                assert f"{member.mode:04o}" == mode
    assert found == {}


def test_a_damaged_file_does_not_go_into_the_context(job: buildx.Job) -> None:
    busybox = next(entry for entry in job.trees["armv7"].entries if entry.path == "bin/busybox")
    assert busybox.source is not None
    busybox.source.write_bytes(b"other")
    with pytest.raises(cache.Damaged):
        buildx.context(job)


def test_what_the_record_depends_on(job: buildx.Job, monkeypatch: pytest.MonkeyPatch) -> None:
    known = job.made_from()
    assert known == job.made_from()
    assert replace(job, epoch=EPOCH + 1).made_from() != known
    assert replace(job, trees=dict(job.trees) | {"arm64": job.trees["armv5"]}).made_from() != known
    monkeypatch.setattr(buildx, "ARGUMENTS", (*buildx.ARGUMENTS, "--more"))
    assert job.made_from() != known


# --- the product --------------------------------------------------------------------------------


def test_it_is_assembled_once(places: Path, docker: Path, job: buildx.Job) -> None:
    playing(docker, job)
    record, written = write(places, job)
    assert buildx.PRODUCT in written
    assert "oci" not in record
    row = record[buildx.PRODUCT]
    assert row["builder"] == {"buildx": "v9.9.9", "driver": "docker", "engine": "99.1"}
    assert audit.layout_faults(places / "dist" / buildx.PRODUCT, ALL) == []
    before = len(programs.calls(docker))
    assert write(places, job)[1] == []
    assert len(programs.calls(docker)) == before, "a warm repeat asks docker for nothing"


def test_how_docker_is_called(
    places: Path, docker: Path, job: buildx.Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///somewhere")
    monkeypatch.setenv("BUILDX_GIT_LABELS", "full")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    playing(docker, job)
    write(places, job)
    call = programs.calls(docker)[-1]
    assert {"--no-cache", "--provenance=false", "--sbom=false"} <= set(call["argv"])
    assert "--platform=linux/amd64,linux/arm64,linux/arm/v7,linux/arm/v5" in call["argv"]
    assert call["argv"][call["argv"].index("--output") + 1].endswith(",rewrite-timestamp=true")
    assert call["env"]["SOURCE_DATE_EPOCH"] == str(EPOCH)
    assert call["env"]["DOCKER_HOST"] == "unix:///somewhere"
    assert "BUILDX_GIT_LABELS" not in call["env"], "it would change the image"
    assert call["argv"][-1] == "-", "the context is a tar"
    assert (docker.parent / "context.tar").read_bytes() == buildx.context(job)


def other(entry: RootfsEntry, change: str, places: Path) -> RootfsEntry:
    if change == "mode":
        return replace(entry, mode=0o700)
    if change == "link":
        return replace(entry, target="elsewhere")
    path = places / "other"
    path.write_bytes(b"other")
    return replace(entry, source=path, size=5, sha256=digest.of_file(path))


@pytest.mark.parametrize(
    ("path", "change", "says"),
    [
        ("usr/local/bin/entrypoint.sh", "mode", "'mode': '0700'"),
        ("bin/sh", "link", "'link': 'elsewhere'"),
        ("usr/local/bin/entrypoint.sh", "content", "usr/local/bin/entrypoint.sh: wanted "),
    ],
)
def test_another_tree_is_refused(
    places: Path, docker: Path, job: buildx.Job, path: str, change: str, says: str
) -> None:
    """Negative control of the comparison: one entry of one platform."""
    entries = tuple(
        other(entry, change, places) if entry.path == path else entry
        for entry in job.trees["armv5"].entries
    )
    spoiled = dict(job.trees) | {"armv5": replace(job.trees["armv5"], entries=entries)}
    playing(docker, replace(job, trees=spoiled))
    with pytest.raises(GateFailed) as caught:
        write(places, job)
    assert f"armv5: {path}: wanted " in caught.value.why
    assert says in caught.value.why
    assert caught.value.why.count("wanted") == 1
    assert not (places / "dist" / buildx.PRODUCT).exists()


def test_other_times_and_other_labels_are_refused(
    places: Path, docker: Path, job: buildx.Job
) -> None:
    playing(docker, replace(job, epoch=EPOCH - 1))
    with pytest.raises(GateFailed) as caught:
        write(places, job)
    assert f"'mtime': {EPOCH - 1}" in caught.value.why


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("layout.tar", b"no tar", "cannot be unpacked"),
        ("layout.tar", b"", "cannot be unpacked"),
        ("build", b"1 no space left on device", "docker ended with exit status 1"),
    ],
)
def test_a_build_that_fails(
    places: Path, docker: Path, job: buildx.Job, name: str, content: bytes, why: str
) -> None:
    playing(docker, job)
    (docker.parent / name).write_bytes(content)
    with pytest.raises(BuildFailed, match=why):
        write(places, job)
    assert [path.name for path in (places / "dist").iterdir()] == [".lock"]
    assert not list((places / "cache" / "tmp").iterdir())


def test_a_tar_that_is_no_layout(places: Path, docker: Path, job: buildx.Job) -> None:
    with tarfile.open(docker.parent / "layout.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("file"), io.BytesIO())
    with pytest.raises(BuildFailed, match="no OCI layout"):
        write(places, job)


def test_a_dist_that_cannot_be_written(
    places: Path, docker: Path, job: buildx.Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    (places / "file").write_text("")
    monkeypatch.setenv("MT_DIST", str(places / "file"))
    playing(docker, job)
    with pytest.raises(UserError, match="cannot write"):
        write(places, job)
    assert programs.calls(docker) == [], "said before docker was asked"


# --- the engine ---------------------------------------------------------------------------------


@pytest.mark.parametrize("warns", [False, True])
def test_a_good_engine(docker: Path, warns: bool) -> None:
    if warns:
        (docker.parent / "warn").write_text("")
    assert engine.require() == {"buildx": "v9.9.9", "driver": "docker", "engine": "99.1"}


def test_a_buildkit_of_its_own_needs_no_image_store(docker: Path) -> None:
    text = "Name: b\nDriver: docker-container\nStatus: running\nBuildKit version: v0.34.2\n"
    (docker.parent / "inspect").write_text(f"0 {text}")
    (docker.parent / "info").write_text("1 not to be asked")
    assert engine.require()["engine"] == "v0.34.2"


@pytest.mark.parametrize(
    ("question", "answer", "what", "cure"),
    [
        ("version", "1 docker: 'buildx' is not a docker command.", "no buildx plugin", "install"),
        ("inspect", "0 Driver: \nError:  Cannot connect", "engine does not answer", "start it"),
        ("inspect", "1 ERROR: no builder", "engine does not answer", "start it"),
        ("info", '0 {"ServerVersion": "20.10", "Driver": "o"}', "the old store", "daemon.json"),
        ("info", '0 {"ServerVersion": "26", "DriverStatus": [["Backing", "x"]]}', "old", "snapsh"),
        ("info", "0 nonsense", "cannot be understood", "docker info"),
        ("info", "0 []", "cannot be understood", "docker info"),
        ("info", '0 {"ServerVersion": "26", "DriverStatus": 7}', "cannot be understood", "info"),
    ],
)
def test_an_engine_that_cannot(
    docker: Path, question: str, answer: str, what: str, cure: str
) -> None:
    (docker.parent / question).write_text(answer)
    with pytest.raises(UserError) as caught:
        engine.require()
    assert what in caught.value.what
    assert cure in caught.value.cure
    assert "needs no engine" in caught.value.cure


def test_no_docker_at_all(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(places))
    with pytest.raises(UserError, match="there is no docker command here"):
        engine.require()


def test_an_engine_that_hangs(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs.program(places / "bin", "docker", "import signal; signal.pause()")
    monkeypatch.setenv("PATH", f"{places / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(engine, "PATIENCE", 0.3)
    with pytest.raises(UserError, match="did not answer within"):
        engine.require()


# --- the request --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["docker", "", "OCI", "buildx "])
def test_a_name_that_is_no_assembler(name: str) -> None:
    argv = [sys.executable, "-m", "invoke", "build-all", "--assembler", name]
    done = subprocess.run(argv, cwd=ROOT, text=True, capture_output=True, timeout=60)
    assert done.returncode == 2, done.stderr
    assert f"--assembler '{name}' is not known" in done.stderr
    assert "one of: oci, buildx" in done.stderr


def test_a_missing_docker_is_said_before_anything_is_built(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(request: order.Request) -> order.Result:
        raise AssertionError(request)

    monkeypatch.setattr(order, "_build_once", never)
    monkeypatch.setattr(order.tools, "require", lambda: None)
    monkeypatch.setenv("PATH", str(places))
    request = order.Request([], order.release_of(), whole=True, assembler="buildx")
    with pytest.raises(UserError, match="no docker command"):
        order.build(request)
