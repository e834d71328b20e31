"""Publishing and rolling back against a registry in this process, with a fault at every request."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import registry as fake
from fakes import releases
from fakes.registry import FAULTS, Registry, holes
from fakes.releases import Made

from build.config import targets
from build.core import digest, git
from build.core.artifacts import Attachment
from build.core.errors import Error, GateFailed, UserError
from build.core.version import parse_release
from build.gates import audit, records
from build.image import oci
from build.registry import published
from build.registry.client import Client, Manifest
from build.registry.repository import parse_repository
from build.registry.transport import RegistryError, transport
from build.release import channels, publish

NAME = "owner/mikrotik-tailscale"
OLD, NEW = "v1.102.5-mt.6", "v1.102.5-mt.7"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Made]:
    folder = tmp_path_factory.mktemp("releases")
    return {tag: releases.make(folder, tag) for tag in (OLD, NEW)}


@pytest.fixture(autouse=True)
def gate(made: dict[str, Made], monkeypatch: pytest.MonkeyPatch, places: Path) -> None:
    """The gate's sources are hashed once only: it is asked hundreds of times here."""
    identity = records.gate_identity()
    monkeypatch.setattr(records, "gate_identity", lambda: identity)
    releases.passed(made[NEW])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Made]:
    """The same with one platform: for the loops with a fault at each request."""
    folder = tmp_path_factory.mktemp("small")
    return {tag: releases.make(folder, tag, "armv5") for tag in (OLD, NEW)}


@pytest.fixture
def quick(small: dict[str, Made], monkeypatch: pytest.MonkeyPatch) -> dict[str, Made]:
    """One platform, whose layout is audited only once; the other tests audit as people do."""
    only = {"armv5": targets.target("armv5")}
    assert audit.layout_faults(small[NEW].layout, only) == []
    monkeypatch.setattr(targets, "targets", lambda: only)
    monkeypatch.setattr(audit, "layout_faults", lambda *_: [])
    releases.passed(small[NEW])
    return small


def client(
    registry: Registry, *, attempts: int = 6, chunk: int = 3000, known: Any = None
) -> Client:
    """A client that reaches the registry in process and never really sleeps."""
    wire = transport(
        session=fake.session(it=registry), sleep=lambda seconds: None, attempts=attempts
    )
    where = parse_repository(f"127.0.0.1:5000/{NAME}")
    return Client(where, known, wire=wire, chunk=chunk)


def holding(made: Made, **options: Any) -> Registry:
    """A registry that has a release with its tag, `:next` and `:stable`."""
    registry = Registry(**options)
    for of, content in releases.blobs(made).items():
        if kind := releases.kind_of(content):
            registry.manifests[NAME, of] = (content, kind)
        else:
            registry.blobs[NAME, of] = content
    names = (made.release.tag, "next", "stable")
    registry.tags = {(NAME, name): made.index for name in names}
    return registry


def run(registry: Registry, made: Made, **options: Any) -> publish.Plan:
    """Publish a release as `invoke publish` does."""
    beside = options.pop("attachments", ())
    stable = options.pop("stable", True)
    mount = options.pop("mount_from", "")
    with client(registry, **options) as one:
        wanted = publish.plan(one, made.layout, made.release, beside, stable=stable)
        publish.apply(one, wanted, mount_from=mount)
        return wanted


def stable(registry: Registry) -> str:
    return registry.tags.get((NAME, "stable"), "")


@pytest.fixture
def registry(made: dict[str, Made]) -> Registry:
    """The old release is out."""
    return holding(made[OLD])


# --- what is sent, and in which order -------------------------------------------------------------


def test_first_publication_to_an_empty_repository(made: dict[str, Made]) -> None:
    registry = Registry()
    run(registry, made[NEW])
    names = (NEW, "next", "stable")
    assert registry.tags == {(NAME, name): made[NEW].index for name in names}
    assert holes(registry, NAME) == []


def test_the_order_of_writing(registry: Registry, made: dict[str, Made]) -> None:
    run(registry, made[NEW])
    written = [r.path.rpartition("/")[2] for r in registry.seen if r.method == "PUT"]
    written = [word.partition("?")[0] for word in written]
    manifests = [word for word in written if not word.startswith("upload-")]
    assert manifests == [*made[NEW].manifests.values(), made[NEW].index, NEW, "next", "stable"]
    assert [w.startswith("upload-") for w in written] == [True] * 8 + [False] * 8
    last = registry.seen[-1]
    assert (last.method, last.path.rpartition("/")[2]) == ("HEAD", "stable")


def test_everything_is_read_back_before_it_has_a_name(
    registry: Registry, made: dict[str, Made]
) -> None:
    run(registry, made[NEW])
    tagged = next(
        i for i, r in enumerate(registry.seen) if r.method == "PUT" and r.path.endswith(NEW)
    )
    read = {r.path.rpartition("/")[2] for r in registry.seen[:tagged] if r.method == "GET"}
    assert read >= releases.blobs(made[NEW]).keys()


def test_a_plan_only_reads(registry: Registry, made: dict[str, Made]) -> None:
    with client(registry) as one:
        wanted = publish.plan(one, made[NEW].layout, made[NEW].release)
    assert {r.method for r in registry.seen} == {"GET", "HEAD"}
    assert stable(registry) == made[OLD].index
    states = {what: state for what, _, _, state in wanted.rows()}
    assert states[":stable"] == f"to be set, was {OLD}"
    assert states["index"] == "to be sent"


def test_publishing_again_writes_nothing(registry: Registry, made: dict[str, Made]) -> None:
    run(registry, made[NEW])
    before = dict(registry.tags)
    registry.seen.clear()
    wanted = run(registry, made[NEW])
    assert {r.method for r in registry.seen} == {"GET", "HEAD"}
    assert registry.tags == before
    assert {state for *_, state in wanted.rows()} == {"there"}


def test_stable_can_be_left_alone(registry: Registry, made: dict[str, Made]) -> None:
    run(registry, made[NEW], stable=False)
    assert stable(registry) == made[OLD].index
    assert registry.tags[NAME, NEW] == registry.tags[NAME, "next"] == made[NEW].index


def test_blobs_are_mounted_from_another_repository(made: dict[str, Made]) -> None:
    registry = Registry()
    for of, content in releases.blobs(made[NEW]).items():
        if not releases.kind_of(content):
            registry.blobs["owner/other", of] = content
    run(registry, made[NEW], mount_from="owner/other")
    assert not [r for r in registry.seen if r.method in ("PATCH", "PUT") and "uploads" in r.path]
    assert holes(registry, NAME) == []


@pytest.mark.parametrize("options", [{"mounting": False}, {"relative": True}])
def test_other_manners_of_registries(made: dict[str, Made], options: dict[str, Any]) -> None:
    registry = Registry(**options)
    run(registry, made[NEW], mount_from="owner/other")
    assert holes(registry, NAME) == []
    assert stable(registry) == made[NEW].index


# --- what is refused ------------------------------------------------------------------------------


def refused(registry: Registry, made: Made, kind: type[Error] = UserError, **options: Any) -> Error:
    """Publish, which must fail without having written anything."""
    before = (dict(registry.tags), dict(registry.blobs), dict(registry.manifests))
    with pytest.raises(kind) as caught:
        run(registry, made, **options)
    assert (registry.tags, registry.blobs, registry.manifests) == before
    assert not [r for r in registry.seen if r.method not in ("GET", "HEAD")]
    return caught.value


def test_a_tag_never_moves(registry: Registry, made: dict[str, Made]) -> None:
    registry.tags[NAME, NEW] = made[OLD].index
    error = refused(registry, made[NEW])
    assert "is published and is" in error.what
    assert "mt.N+1" in error.cure


def test_stable_does_not_go_back_by_itself(made: dict[str, Made]) -> None:
    releases.passed(made[OLD])
    registry = holding(made[NEW])
    error = refused(registry, made[OLD])
    assert "is older than" in error.what
    assert f"invoke rollback --to {OLD}" in error.cure
    run(registry, made[OLD], stable=False)
    assert stable(registry) == registry.tags[NAME, "next"] == made[NEW].index
    assert registry.tags[NAME, OLD] == made[OLD].index


@pytest.mark.parametrize("kind", [records.RUNTIME, records.MACHINE])
@pytest.mark.parametrize("how", ["none", "another image", "failed canary", "the other kind's"])
def test_without_the_runtime_gate_nothing_is_sent(
    registry: Registry, made: dict[str, Made], how: str, kind: str
) -> None:
    path = records.path_of("armv5", kind)
    table = json.loads(path.read_text())
    if how == "none":
        path.unlink()
    elif how == "another image":
        path.write_text(json.dumps({**table, "image": made[OLD].manifests["armv5"]}))
    elif how == "the other kind's":
        (other,) = {records.RUNTIME, records.MACHINE} - {kind}
        path.write_text(records.path_of("armv5", other).read_text())
    else:
        table["canaries"][0]["ok"] = False
        path.write_text(json.dumps(table))
    error = refused(registry, made[NEW], GateFailed)
    assert error.exit_code == 3
    assert "armv5" in error.why
    assert "invoke verify --layout" in error.cure and "--machine --layout" in error.cure
    assert registry.seen == []


def copied(made: Made, places: Path) -> Made:
    import shutil

    shutil.copytree(made.layout, places / "copy")
    return dataclasses.replace(made, layout=places / "copy")


def test_a_damaged_layout_is_not_sent(
    registry: Registry, made: dict[str, Made], places: Path
) -> None:
    spoilt = copied(made[NEW], places)
    blob = max((spoilt.layout / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    assert "did not pass the audit" in refused(registry, spoilt, GateFailed).what
    assert registry.seen == []


def test_another_release_than_the_layouts(registry: Registry, made: dict[str, Made]) -> None:
    wrong = dataclasses.replace(made[NEW], release=made[OLD].release)
    assert f"holds {NEW}, not {OLD}" in refused(registry, wrong).what


def test_a_layout_named_after_a_release_that_its_images_are_not(
    registry: Registry, made: dict[str, Made], places: Path
) -> None:
    wrong = copied(made[OLD], places)
    path = wrong.layout / "index.json"
    path.write_text(path.read_text().replace(OLD, NEW))
    wrong = dataclasses.replace(wrong, release=made[NEW].release)
    assert f"says it is {OLD}" in refused(registry, wrong).what


def test_what_nobody_released(registry: Registry, tmp_path: Path) -> None:
    unreleased = releases.make(tmp_path / "x", "v1.102.5-mt.0")
    assert "nobody released" in refused(registry, unreleased).what


def test_no_layout(registry: Registry, made: dict[str, Made], places: Path) -> None:
    nothing = dataclasses.replace(made[NEW], layout=places / "nothing")
    assert "is not the OCI layout of a release" in refused(registry, nothing).what


@pytest.mark.parametrize("tag", ["stable", "next", NEW, "../x", "a b", "-x", "x" * 129])
def test_an_attachment_takes_no_tag_of_ours(
    registry: Registry, made: dict[str, Made], tag: str
) -> None:
    beside = [Attachment(b"{}", oci.MANIFEST, tag=tag)]
    assert "an attachment cannot" in refused(registry, made[NEW], attachments=beside).what


# --- faults at every request ----------------------------------------------------------------------


def count(made: dict[str, Made]) -> int:
    registry = holding(made[OLD])
    run(registry, made[NEW], attachments=[sbom(made[NEW])])
    return len(registry.seen)


def wrongs(registry: Registry, made: dict[str, Made]) -> list[str]:
    """The invariant: each tag names something whole, a channel is the old or the new release."""
    found = holes(registry, NAME)
    for name in ("next", "stable"):
        if registry.tags.get((NAME, name)) not in (made[OLD].index, made[NEW].index):
            found.append(f"{name} is {registry.tags.get((NAME, name))}")
    if registry.tags[NAME, OLD] != made[OLD].index:
        found.append("the old release's tag was moved")
    if registry.tags.get((NAME, NEW), made[NEW].index) != made[NEW].index:
        found.append("the new release's tag is something else")
    if stable(registry) == made[NEW].index and (NAME, NEW) not in registry.tags:
        found.append("stable was moved before the release had its tag")
    if stable(registry) == made[NEW].index != registry.tags[NAME, "next"]:
        found.append("stable was moved before next")
    return found


@pytest.mark.parametrize(
    ("fault", "lenient"),
    [*((fault, False) for fault in FAULTS), ("cut before", True), ("forget", True)],
)
def test_killed_at_each_request(quick: dict[str, Made], fault: str, lenient: bool) -> None:
    """One attempt per request: the first fault ends the run as a kill would. Then a second run."""
    beside = [sbom(quick[NEW])]
    ended = 0
    for number in range(1, count(quick) + 1):
        registry = holding(quick[OLD], faults={number: fault}, lenient=lenient)
        try:
            run(registry, quick[NEW], attempts=1, attachments=beside)
        except Error:
            ended += 1
        assert wrongs(registry, quick) == [], f"{fault} at {number}"
        registry.faults = {}
        run(registry, quick[NEW], attempts=1, attachments=beside)
        assert wrongs(registry, quick) == [], f"{fault} at {number}, second run"
        assert stable(registry) == quick[NEW].index
    assert ended > 3, "the fault did not end anything"


@pytest.mark.parametrize("fault", ["cut before", "cut after", "half", "429", "wrong"])
def test_a_fault_at_each_request_is_lived_through(quick: dict[str, Made], fault: str) -> None:
    for number in range(1, count(quick) + 1):
        registry = holding(quick[OLD], faults={number: fault})
        try:
            run(registry, quick[NEW], attachments=[sbom(quick[NEW])])
        except Error:
            # A registry that lies is not lived with: a wrong digest of a tag is somebody else's.
            assert fault == "wrong", f"{fault} at {number}"
            continue
        finally:
            assert wrongs(registry, quick) == [], f"{fault} at {number}"
        assert stable(registry) == quick[NEW].index


def test_the_invariant_catches_a_publisher_that_tags_first(quick: dict[str, Made]) -> None:
    """Negative control: the same faults at a publisher that sets `:stable` before the rest."""
    caught = 0
    index = Manifest(releases.blobs(quick[NEW])[quick[NEW].index], oci.INDEX)
    for number in range(1, count(quick) + 1):
        registry = holding(quick[OLD], faults={number: "cut before"}, lenient=True)
        try:
            with client(registry, attempts=1) as one:
                wanted = publish.plan(one, quick[NEW].layout, quick[NEW].release)
                published.set_tag(one, "stable", index, {quick[OLD].index})
                publish.apply(one, wanted)
        except Error:
            caught += bool(wrongs(registry, quick))
    assert caught > 5


def test_a_blob_that_rots_in_the_registry(registry: Registry, made: dict[str, Made]) -> None:
    """What was said to be stored is read back before it gets a name."""
    contents = releases.blobs(made[NEW])
    of = max(contents, key=lambda name: len(contents[name]))
    registry.blobs[NAME, of] = b"rotten"
    with pytest.raises(RegistryError, match="given up"):
        run(registry, made[NEW])
    assert (NAME, NEW) not in registry.tags
    assert stable(registry) == made[OLD].index


def test_stable_is_untouched_if_reading_back_fails(
    registry: Registry, made: dict[str, Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published, "read_back", lambda *_: {None})
    with pytest.raises(UserError, match="say they are"):
        run(registry, made[NEW])
    assert stable(registry) == made[OLD].index
    assert (NAME, NEW) not in registry.tags


# --- two publishers at once -----------------------------------------------------------------------


def interfering(registry: Registry, tag: str, before: str, value: str) -> None:
    """Somebody else sets a tag just before its PUT or the HEAD before that."""

    def hook(number: int, request: fake.Request) -> None:
        if request.path.endswith(f"/manifests/{tag}") and request.method == before and armed:
            if before == "HEAD" and not any(r.method == "PUT" for r in registry.seen):
                return  # that is still the plan
            armed.clear()
            registry.tags[NAME, tag] = value

    armed = [True]
    registry.before = hook


@pytest.mark.parametrize("tag", [NEW, "next", "stable"])
def test_a_tag_set_by_somebody_else_meanwhile(made: dict[str, Made], tag: str) -> None:
    registry = holding(made[OLD])
    other = "sha256:" + "7" * 64
    registry.manifests[NAME, other] = (b"{}", oci.INDEX)
    interfering(registry, tag, "HEAD", other)
    with pytest.raises(UserError, match="points to") as caught:
        run(registry, made[NEW])
    assert "somebody else" in caught.value.why
    assert registry.tags[NAME, tag] == other
    if tag == NEW:
        assert stable(registry) == made[OLD].index


def test_a_tag_moved_right_after_it_was_set(registry: Registry, made: dict[str, Made]) -> None:
    def hook(number: int, request: fake.Request) -> None:
        sets = [r for r in registry.seen if r.method == "PUT" and r.path.endswith("/stable")]
        if sets and request.method == "HEAD":
            registry.tags[NAME, "stable"] = made[OLD].index

    registry.before = hook
    with pytest.raises(RegistryError, match="right after it was set"):
        run(registry, made[NEW])


# --- attachments ----------------------------------------------------------------------------------


def sbom(made: Made, text: bytes = b'{"bomFormat": "CycloneDX"}') -> Attachment:
    manifest = {
        "schemaVersion": 2,
        "mediaType": oci.MANIFEST,
        "artifactType": "application/vnd.cyclonedx+json",
        "config": oci.descriptor("application/vnd.oci.empty.v1+json", b"{}"),
        "layers": [oci.descriptor("application/vnd.cyclonedx+json", text)],
        "subject": {"mediaType": oci.INDEX, "digest": made.index, "size": 1},
        "annotations": {"x": "y"},
    }
    return Attachment(digest.canonical_json(manifest), oci.MANIFEST, (b"{}", text))


@pytest.mark.parametrize("api", [True, False])
def test_an_attachment_is_found_by_its_subject(made: dict[str, Made], api: bool) -> None:
    registry = Registry(referrers=api)
    one, two = sbom(made[NEW]), sbom(made[NEW], b"another")
    run(registry, made[NEW], attachments=[one, two])
    run(registry, made[NEW], attachments=[two, one])
    with client(registry) as asking:
        rows = asking.referrers(made[NEW].index)
    wanted = {f"sha256:{digest.of_bytes(each.manifest)}" for each in (one, two)}
    assert {row["digest"] for row in rows} == wanted
    assert len(rows) == 2
    assert ((NAME, made[NEW].index.replace(":", "-")) in registry.tags) is not api


def test_an_attachment_with_a_tag_may_be_renewed(made: dict[str, Made]) -> None:
    registry = Registry(referrers=True)
    for text in (b"one signature", b"another"):
        signature = dataclasses.replace(sbom(made[NEW], text), tag="sha256-1.sig")
        run(registry, made[NEW], attachments=[signature])
        of = f"sha256:{digest.of_bytes(signature.manifest)}"
        assert registry.tags[NAME, "sha256-1.sig"] == of


# --- rolling back ---------------------------------------------------------------------------------


@pytest.fixture
def both(registry: Registry, made: dict[str, Made]) -> Registry:
    """Both releases are out; `:stable` is the new one."""
    run(registry, made[NEW])
    registry.seen.clear()
    return registry


def roll(registry: Registry, tag: str, channel: str = "stable", **options: Any) -> channels.Move:
    with client(registry, **options) as one:
        wanted = channels.back(one, tag, channel)
        channels.apply(one, [each for each in wanted if each.moves])
        return wanted[-1]


def promote(registry: Registry, tag: str = "") -> channels.Move:
    with client(registry) as one:
        wanted = channels.forward(one, tag)
        channels.apply(one, wanted)
        return wanted[-1]


def puts(registry: Registry) -> list[str]:
    return [r.path.rpartition("/")[2] for r in registry.seen if r.method == "PUT"]


def test_rolling_back_and_forward(both: Registry, made: dict[str, Made]) -> None:
    """What is withdrawn leaves both channels, so that nothing promotes it again."""
    wanted = roll(both, OLD)
    assert wanted.before_release == made[NEW].release
    assert stable(both) == both.tags[NAME, "next"] == made[OLD].index
    assert puts(both) == ["next", "stable"]
    assert both.tags[NAME, NEW] == made[NEW].index
    assert not roll(both, OLD).moves
    assert not promote(both).moves
    promote(both, NEW)
    assert stable(both) == both.tags[NAME, "next"] == made[NEW].index
    assert puts(both)[2:] == ["next", "stable"]
    promote(both, NEW)
    assert len(puts(both)) == 4


def foreign(registry: Registry) -> str:
    """Let `:next` be an index that is none of ours; returns its digest."""
    content = b'{"manifests": []}'
    of = f"sha256:{digest.of_bytes(content)}"
    registry.manifests[NAME, of] = (content, oci.INDEX)
    registry.tags[NAME, "next"] = of
    return of


def test_what_soaks_stays_when_stable_goes_back(both: Registry, made: dict[str, Made]) -> None:
    other = foreign(both)
    roll(both, OLD)
    assert stable(both) == made[OLD].index
    assert both.tags[NAME, "next"] == other


def test_next_alone_goes_back(registry: Registry, made: dict[str, Made]) -> None:
    run(registry, made[NEW], stable=False)
    roll(registry, OLD, "next")
    assert stable(registry) == registry.tags[NAME, "next"] == made[OLD].index
    assert not promote(registry).moves


def test_promoting_what_has_soaked(registry: Registry, made: dict[str, Made]) -> None:
    run(registry, made[NEW], stable=False)
    assert stable(registry) == made[OLD].index
    wanted = promote(registry)
    assert (wanted.before_release, wanted.release) == (made[OLD].release, made[NEW].release)
    assert stable(registry) == made[NEW].index


def test_nothing_is_promoted_backwards(both: Registry, made: dict[str, Made]) -> None:
    with pytest.raises(UserError, match="is older than") as caught:
        promote(both, OLD)
    assert f"invoke rollback --to {OLD}" in caught.value.cure
    assert stable(both) == made[NEW].index


def test_nothing_to_promote(registry: Registry) -> None:
    del registry.tags[NAME, "next"]
    with pytest.raises(UserError, match=":next is not there"):
        promote(registry)
    foreign(registry)
    with pytest.raises(UserError, match=":next is no release of ours"):
        promote(registry)


def test_promoting_what_is_not_there(registry: Registry) -> None:
    with pytest.raises(UserError, match=r"has no release v1\.102\.5-mt\.9"):
        promote(registry, "v1.102.5-mt.9")
    with pytest.raises(UserError, match="is not a release tag"):
        promote(registry, "next")
    assert puts(registry) == []


def test_what_is_withdrawn_while_it_is_read_is_not_promoted(
    registry: Registry, made: dict[str, Made]
) -> None:
    run(registry, made[NEW], stable=False)
    registry.seen.clear()
    asked = 0

    def withdraw(number: int, request: fake.Request) -> None:
        nonlocal asked
        if request.path.endswith("/manifests/next"):
            asked += 1
            if asked == 2:
                registry.tags[NAME, "next"] = made[OLD].index

    registry.before = withdraw
    with pytest.raises(UserError, match="somebody has moved it meanwhile"):
        promote(registry)
    assert stable(registry) == made[OLD].index


def test_another_build_under_next_is_not_promoted(
    registry: Registry, made: dict[str, Made]
) -> None:
    """What `:next` says of itself is not believed: the release's own tag has to be the same."""
    run(registry, made[NEW], stable=False)
    other = json.dumps(json.loads(registry.manifests[NAME, made[NEW].index][0]) | {"x": 1}).encode()
    of = f"sha256:{digest.of_bytes(other)}"
    registry.manifests[NAME, of] = (other, oci.INDEX)
    registry.tags[NAME, "next"] = of
    with pytest.raises(UserError, match=f":next is {of}"):
        promote(registry)
    assert stable(registry) == made[OLD].index


def test_a_publication_while_something_is_promoted(
    registry: Registry, made: dict[str, Made]
) -> None:
    """Whoever comes second is told; `:stable` stays what the first one made of it."""
    run(registry, made[NEW], stable=False)
    other = foreign(registry)
    with client(registry) as one:
        wanted = channels.forward(one, NEW)
        registry.tags[NAME, "stable"] = other
        with pytest.raises(UserError, match="somebody else has set it") as caught:
            channels.apply(one, wanted)
    assert ":stable points to" in caught.value.what
    assert stable(registry) == other


@pytest.mark.parametrize(
    ("age", "commit", "days", "ripe"),
    [
        (1, 2000, 0, "ripe"),
        (6.96, 2000, 7, "6.9"),  # not "7.0"
        (7.1, 2000, 7, "ripe"),
        (-3, 2000, 1, "0.0"),  # the clock was moved back since
        (2000, 2.05, 7, "2.0"),  # the clock of who made the tag was behind
    ],
)
def test_a_soak_is_counted_from_the_tag(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    age: float,
    commit: float,
    days: int,
    ripe: str,
) -> None:
    """The date of a real annotated tag counts, and that of its commit if it is the later one."""
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "x")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "x@example.org")
    monkeypatch.setenv("GIT_COMMITTER_DATE", f"@{time.time() - commit * 86_400:.0f} +0000")
    one = git.Git(tmp_path)
    one.run("init", "--quiet")
    one.run("commit", "--quiet", "--allow-empty", "--message", "x")
    monkeypatch.setenv("GIT_COMMITTER_DATE", f"@{time.time() - age * 86_400:.0f} +0000")
    one.tag(NEW, "HEAD", "released")
    release = parse_release(NEW)
    if ripe == "ripe":
        channels.require_soaked(one, release, days)
    else:
        said = re.escape(f"is out for {ripe} days, and its soak is {days}")
        with pytest.raises(GateFailed, match=said):
            channels.require_soaked(one, release, days)
    with pytest.raises(UserError, match="has no tag"):
        channels.require_soaked(one, parse_release(OLD), 1)


def test_rolling_back_to_what_is_not_there(both: Registry) -> None:
    both.page = 1
    with pytest.raises(UserError) as caught:
        roll(both, "v1.102.5-mt.5")
    assert caught.value.cure == f"one of: {NEW}, {OLD}"
    with pytest.raises(UserError, match="is not a release tag"):
        roll(both, "latest")
    with pytest.raises(UserError) as caught:
        roll(Registry(), OLD)
    assert "no release at all" in caught.value.cure


def test_no_rollback_to_something_damaged(both: Registry, made: dict[str, Made]) -> None:
    config = json.loads(both.manifests[NAME, made[OLD].manifests["armv5"]][0])["config"]
    del both.blobs[NAME, config["digest"]]
    with pytest.raises(RegistryError):
        roll(both, OLD)
    assert stable(both) == made[NEW].index


def test_no_rollback_to_something_under_a_wrong_name(both: Registry, made: dict[str, Made]) -> None:
    both.tags[NAME, "v1.102.5-mt.3"] = made[OLD].index
    with pytest.raises(UserError, match=f"says it is {OLD}"):
        roll(both, "v1.102.5-mt.3")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_rollback_with_a_fault_at_each_request(quick: dict[str, Made], fault: str) -> None:
    registry = holding(quick[OLD])
    run(registry, quick[NEW])
    registry.seen.clear()
    roll(registry, OLD)
    for number in range(1, len(registry.seen) + 1):
        registry.tags[NAME, "next"] = registry.tags[NAME, "stable"] = quick[NEW].index
        registry.seen.clear()
        registry.faults = {number: fault}
        try:
            roll(registry, OLD, attempts=1)
        except Error:
            assert holes(registry, NAME) == []
        registry.faults = {}
        roll(registry, OLD, attempts=1)
        assert stable(registry) == registry.tags[NAME, "next"] == quick[OLD].index


@pytest.fixture
def served(made: dict[str, Made]) -> Iterator[Registry]:
    registry = holding(made[OLD])
    with fake.serving(registry):
        yield registry


def test_over_a_socket(served: Registry, made: dict[str, Made]) -> None:
    """The same over real connections, with cuts: the adapter above is only quicker."""
    where = parse_repository(f"{served.address.removeprefix('http://')}/{NAME}")
    served.faults = {5: "cut before", 9: "cut after", 14: "half", 40: "half", 60: "cut after"}
    with Client(where, None, wire=transport(sleep=lambda s: None), chunk=3000) as one:
        publish.apply(one, publish.plan(one, made[NEW].layout, made[NEW].release))
    assert wrongs(served, made) == []
    assert stable(served) == made[NEW].index


def test_the_command(served: Registry, made: dict[str, Made]) -> None:
    """As people start it: JSON and nothing else, and no password, with a traceback neither."""
    served.login, served.users = "basic", {"ci": ("a-password", True)}
    argv = [sys.executable, "-m", "invoke", "publish", "--json", "--debug", "--no-sign"]
    argv += ["--layout", str(made[NEW].layout), "--to", f"{served.address[7:]}/{NAME}"]

    def started(password: str) -> subprocess.CompletedProcess[str]:
        login = {"MT_REGISTRY_USER": "ci", "MT_REGISTRY_PASSWORD": password}
        root = Path(__file__).resolve().parent.parent
        env = {**os.environ, **login}
        done = subprocess.run(argv, cwd=root, env=env, text=True, capture_output=True, timeout=60)
        assert password not in done.stdout + done.stderr
        return done

    wrong = started("another-password")
    assert wrong.returncode == 2
    assert "Traceback" in wrong.stderr
    assert "refuses this user or password" in wrong.stderr
    done = started("a-password")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["release"], found["index"]) == (NEW, made[NEW].index)
    assert stable(served) == made[NEW].index
