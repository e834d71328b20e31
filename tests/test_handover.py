"""From the job that proves to the job that publishes: the file, its digest, what was left."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from fakes import releases
from fakes.releases import Made, make

from build.core import digest, git, marks, paths
from build.core.errors import GateFailed, UserError
from build.core.version import parse_release
from build.image import record
from build.release import evidence, handover
from build.router import bootstrap

TAG = "v1.102.5-mt.3"
COMMIT = "c" * 40


# --- evidence -----------------------------------------------------------------------------------


def needs(**jobs: tuple[str, dict[str, str]]) -> dict[str, str]:
    table = {name: {"result": result, "outputs": out} for name, (result, out) in jobs.items()}
    return {evidence.NEEDS: json.dumps(table)}


def test_every_job_has_to_have_proved_this_commit() -> None:
    good = ("success", {"tests": COMMIT})
    evidence.require(["tests"], COMMIT, needs(tests=good))
    with pytest.raises(UserError, match="which jobs"):
        evidence.require([], COMMIT, needs(tests=good))


@pytest.mark.parametrize(
    "job",
    [
        ("success", {}),  # stopped, and reported as a success
        ("success", {"tests": ""}),
        ("success", {"tests": "d" * 40}),  # left by another run
        ("failure", {"tests": COMMIT}),
        ("skipped", {}),
        ("cancelled", {}),
    ],
)
def test_a_job_that_left_nothing_has_proved_nothing(job: tuple[str, dict[str, str]]) -> None:
    environ = needs(images=("success", {"images": COMMIT}), tests=job)
    with pytest.raises(GateFailed, match="tests: "):
        evidence.require(["images", "tests"], COMMIT, environ)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"other": {}}', '{"tests": 1}'])
def test_nonsense_for_the_jobs_is_told(text: str) -> None:
    with pytest.raises(UserError, match="says nothing of the job tests"):
        evidence.require(["tests"], COMMIT, {evidence.NEEDS: text})


@pytest.mark.parametrize(("second", "code"), [(True, 0), (False, 3)])
def test_the_command_asks_for_each_job(second: bool, code: int) -> None:
    commit = git.Git(paths.ROOT).state().commit
    left = needs(tests=("success", {"tests": commit}), images=("success", {}))
    if second:
        left = needs(
            **dict.fromkeys(("tests", "images"), ("success", {"tests": commit, "images": commit}))
        )
    done = subprocess.run(
        [sys.executable, "-m", "invoke", "evidence", "--require", "tests", "--require", "images"],
        cwd=paths.ROOT, env=os.environ | left, text=True, capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    said = "images: nothing" if code else f"{commit} tests images"
    assert said in done.stdout + done.stderr


def outputs(file: Path) -> dict[str, str]:
    """Read a file of outputs as Actions does (its documentation: NAME<<END, lines, END)."""
    found, lines = {}, iter(file.read_text().splitlines())
    for line in lines:
        name, end = line.split("<<")
        value = []
        while (row := next(lines)) != end:
            value.append(row)
        found[name] = "\n".join(value)
    return found


def test_a_value_cannot_end_itself(places: Path) -> None:
    environ = {evidence.OUTPUT: str(places / "out")}
    hostile = "x\nEOF\nhandover=sha256:1\nhandover<<EOF\n"
    evidence.write("report", hostile, environ)
    evidence.write("tests", COMMIT, environ)
    assert outputs(places / "out") == {"report": hostile, "tests": COMMIT}
    with pytest.raises(UserError, match="60,000 allowed"):
        evidence.write("report", "x" * 60_001, environ)


def test_where_there_are_no_outputs_a_folder_serves(places: Path) -> None:
    assert evidence.read("tests", {}) == ""
    evidence.write("tests", COMMIT, {})
    evidence.require(["tests"], COMMIT, {})
    with pytest.raises(GateFailed):
        evidence.require(["tests", "images"], COMMIT, {})


# --- the file -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("made"), TAG)


@pytest.fixture
def proved(made: Made, places: Path) -> Path:
    """A dist/ as `nox -s prove` leaves it: products, records of the gate, the report."""
    folder = places / "dist"
    shutil.copytree(
        made.layout.parent, folder, ignore=shutil.ignore_patterns("cache", *made.manifests)
    )
    releases.passed(made)
    return folder


def test_what_was_proved_arrives_whole(proved: Path, made: Made) -> None:
    wanted = handover.pack("## Report\n")
    before = digest.tree_manifest(proved)
    assert wanted == f"sha256:{digest.of_file(handover.path())}"
    proved.rename(proved.with_name("kept"))
    handover.unpack(wanted)
    after = digest.tree_manifest(proved)
    # The marks have the same names, in another order.
    assert after.keys() - before.keys() == set()
    del before[record.LOCK], after[record.LOCK]
    assert after == {name: row for name, row in before.items() if name in after}
    records = {f"runtime-{name}.json" for name in made.manifests}
    records |= {f"machine-{name}.json" for name in made.manifests if name.startswith("arm")}
    assert {"oci/index.json", "build.json", "SHA256SUMS", "report.md", *records} <= after.keys()


def test_clean_knows_all_that_was_handed_over(proved: Path) -> None:
    """In the job that proves and in the one that unpacks; files of others stay."""
    wanted = handover.pack("## Report\n")
    assert not marks.marked(proved) and marks.marked(handover.path().parent)
    kept = {path: path.read_bytes() for path in proved.rglob("*") if path.is_file()}
    (proved / "letters.txt").write_text("mine")
    record.delete(record.deletable(proved))
    assert [path.name for path in proved.iterdir()] == ["letters.txt"]
    shutil.rmtree(proved)
    handover.unpack(wanted)
    assert {path for path in proved.rglob("*") if path.is_file()} == kept.keys()
    # A report that comes later is one more, and what is put there by hand is nobody's of ours.
    record.keep("figures.json", "{}")
    (proved / "figures.html").write_text("mine")
    record.delete(record.deletable(proved))
    assert [path.name for path in proved.iterdir()] == ["figures.html"]


def test_another_file_is_not_taken(proved: Path) -> None:
    wanted = handover.pack("## Report\n")
    proved.rename(proved.with_name("kept"))
    content = bytearray(handover.path().read_bytes())
    content[700] ^= 1
    handover.path().write_bytes(content)
    with pytest.raises(GateFailed, match="not what was proved"):
        handover.unpack(wanted)
    assert not proved.exists()


@pytest.mark.parametrize("wanted", ["", "sha256", "md5:1"])
def test_without_a_digest_nothing_is_taken(proved: Path, wanted: str) -> None:
    """What a job that was stopped hands over."""
    handover.pack("## Report\n")
    with pytest.raises(UserError, match="no digest says what was proved"):
        handover.unpack(wanted)


def test_what_is_in_dist_is_not_replaced(proved: Path) -> None:
    wanted = handover.pack("## Report\n")
    with pytest.raises(UserError, match="not empty"):
        handover.unpack(wanted)
    with pytest.raises(UserError, match="is not there"):
        handover.path().unlink()
        handover.unpack(wanted)


@pytest.mark.parametrize(
    "name", ["runtime-armv5.json", "machine-armv5.json", "build.json", "SHA256SUMS"]
)
def test_half_a_proof_is_not_handed_over(proved: Path, name: str) -> None:
    (proved / name).unlink()
    with pytest.raises(UserError):
        handover.pack("## Report\n")
    assert not handover.path().exists()


def test_a_changed_product_is_not_handed_over(proved: Path) -> None:
    (archive,) = proved.glob("*-arm64.tar")
    archive.write_bytes(archive.read_bytes()[:-1] + b"x")
    with pytest.raises(GateFailed, match=archive.name):
        handover.pack("## Report\n")


def test_a_file_that_leads_outside_is_not_unpacked(places: Path) -> None:
    handover.path().parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(handover.path(), "w") as bundle:
        member = tarfile.TarInfo("../outside")
        bundle.addfile(member)
    wanted = f"sha256:{digest.of_file(handover.path())}"
    with pytest.raises(Exception, match="leads outside"):
        handover.unpack(wanted)
    assert not (places / "outside").exists()


# --- the release on the forge -------------------------------------------------------------------


def test_files_of_a_release_are_those_that_were_proved(proved: Path, made: Made) -> None:
    with pytest.raises(UserError, match=r"report\.md is not there"):
        handover.files_of(parse_release(TAG))
    handover.pack("## Report\n")
    files, text = handover.files_of(parse_release(TAG))
    archives = [f"mikrotik-tailscale-{TAG}-{name}.tar" for name in made.manifests]
    assert sorted(path.name for path in files) == ["SHA256SUMS", *sorted(archives)]
    assert text == "## Report\n"
    with pytest.raises(UserError, match=r"is not of v1\.102\.5-mt\.4"):
        handover.files_of(parse_release("v1.102.5-mt.4"))


def test_the_scripts_follow_the_published_image(places: Path) -> None:
    files = handover.scripts(TAG, "registry.example/team/tailscale")
    assert [path.name for path in files] == [
        f"{name}-tailscale.rsc"
        for name in "bootstrap install library settings status uninstall update".split()
    ], "the bootstrap goes up first: `missing` does not ask for it"
    for path in files[1:]:
        assert bootstrap.digest(path.read_text()) in files[0].read_text()
    settings = next(path for path in files if path.name.startswith("settings")).read_text()
    assert "registry.example/team/tailscale" in settings
    assert "OWNER" not in settings
    assert TAG in "".join(path.read_text() for path in files)
    with pytest.raises(UserError, match="not REGISTRY/REPOSITORY"):
        handover.scripts(TAG, 'x";/system/reset-configuration')


def test_a_release_is_owed_until_all_of_it_is_there() -> None:
    scripts = {
        f"{name}-tailscale.rsc"
        for name in "install library settings status uninstall update".split()
    }
    whole = {"SHA256SUMS", "SHA256SUMS.sig", *scripts}
    assert handover.missing(TAG, "sha256:1", whole) == []
    assert handover.missing(TAG, "", whole) == [f"the image {TAG}"]
    for name in whole:
        assert handover.missing(TAG, "sha256:1", whole - {name}) == [name]
