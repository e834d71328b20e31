"""Bumping a pin: all of its block is renewed or nothing, and no version that should not be."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import subprocess
import tarfile
import threading
from pathlib import Path

import pytest
from fakes.web import Answer, Web

from build.bump import bump, candidate, changes
from build.config import features, pins
from build.config.pins import pin
from build.core import cache, digest
from build.core.errors import BuildFailed, Error, GateFailed, SourceError, UserError
from build.router import render
from build.sources import obtain

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(__file__).resolve().parent / "data"
OLD, NEW = "1.38.0", "1.39.2"


def tarball(mtime: int) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:bz2") as bundle:
        for name, age in (("Makefile", 9000), ("NEWS", 0)):
            info = tarfile.TarInfo(f"busybox/{name}")
            info.size, info.mtime = 3, mtime - age
            bundle.addfile(info, io.BytesIO(b"abc"))
    return stream.getvalue()


BODY = tarball(1_800_000_059)


def laid_out(places: Path) -> Path:
    """Lay out as much of a checkout as a bump writes to; returns its pins.toml."""
    for name in ("build/data/pins.toml", "docs/SOURCES.md"):
        path = places / "repository" / name
        path.parent.mkdir(parents=True)
        path.write_text((ROOT / name).read_text())
    shutil.copytree(ROOT / "routeros", places / "repository" / "routeros")
    return places / "repository" / "build" / "data" / "pins.toml"


@pytest.fixture
def repository(places: Path, web: Web, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a git repository with our pins, whose busybox comes from the fake server."""
    file = laid_out(places)
    text = file.read_text()
    own = f"{web.address}/busybox-{{version}}.tar.bz2"
    text = text.replace("https://busybox.net/downloads/busybox-{version}.tar.bz2", own)
    file.write_text(text.replace(f'"{pin("busybox").version}"', f'"{OLD}"'))
    monkeypatch.setattr(pins, "FILE", file)
    git(places / "repository", "init", "-q")
    git(places / "repository", "add", "-A")
    git(places / "repository", "commit", "-qm", "x")
    web.play(f"/busybox-{NEW}.tar.bz2", Answer(BODY))
    return file


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=x", "-c", "user.email=x@localhost"]
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


def differing(before: str, after: str) -> dict[str, str]:
    """Return {field: new value} of the lines that differ; the files have equally many."""
    pairs = zip(before.splitlines(), after.splitlines(), strict=True)
    rows = [new.split(" = ") for old, new in pairs if old != new]
    return dict(rows)


def untouched(file: Path, text: str) -> None:
    assert file.read_text() == text
    assert [path.name for path in file.parent.iterdir()] == ["pins.toml"]
    assert list((cache.prepare() / "tmp").iterdir()) == []


def test_the_block_is_renewed_and_nothing_else(repository: Path) -> None:
    before = repository.read_text()
    done = bump.bump("busybox", NEW)
    assert done.written
    assert differing(before, repository.read_text()) == {
        "version": f'"{NEW}"',
        "size": f"{len(BODY):_}",
        "sha256": f'"{digest.of_bytes(BODY)}"',
        "hash_from": '"locally computed"',
        "epoch": "1_800_000_000",
    }
    assert pins.load(repository)["busybox"] == done.after
    assert done.after.epoch % 60 == 0
    page = repository.parents[2] / "docs" / "SOURCES.md"
    assert f"| sha256 | `{done.after.sha256}` |" in page.read_text()
    assert obtain.fetch(done.after, offline=True).read_bytes() == BODY, "no second download"
    assert any(done.after.why in line for line in bump.summary(done))


def test_there_and_back_is_where_it_was(repository: Path, web: Web) -> None:
    bump.bump("busybox", NEW)
    once = repository.read_text()
    web.play("/busybox-1.40.0.tar.bz2", Answer(tarball(1_810_000_000)))
    bump.bump("busybox", "1.40.0")
    assert repository.read_text() != once
    bump.bump("busybox", NEW, force=True)
    assert repository.read_text() == once


def test_a_dry_run_finds_the_same_and_writes_nothing(repository: Path) -> None:
    text = repository.read_text()
    dry = bump.bump("busybox", NEW, dry_run=True)
    untouched(repository, text)
    page = repository.parents[2] / "docs" / "SOURCES.md"
    assert page.read_text() == (ROOT / "docs" / "SOURCES.md").read_text()
    assert not dry.written
    wet = bump.bump("busybox", NEW)
    assert dataclasses.replace(dry, written=True) == wet
    assert json.loads(json.dumps(wet.as_json()))["after"]["version"] == NEW


@pytest.mark.parametrize("version", [OLD, f"v{OLD}"])
def test_the_same_version_asks_nobody(repository: Path, web: Web, version: str) -> None:
    text = repository.read_text()
    done = bump.bump("busybox", version)
    assert (done.written, done.before) == (False, done.after)
    assert web.requests == []
    untouched(repository, text)


def test_what_renovate_left_is_completed(repository: Path) -> None:
    """It has changed the version; the sums are still those of the version before."""
    text = repository.read_text()
    half = text.replace(f'version = "{OLD}"', f'version = "{NEW}"')
    assert half != text
    repository.write_text(half)
    done = bump.bump("busybox", NEW)
    assert (done.before.version, done.after.version) == (OLD, NEW)
    complete = repository.read_text()
    assert pins.load(repository)["busybox"].sha256 == digest.of_bytes(BODY)
    again = bump.bump("busybox", NEW)
    assert not again.written
    assert repository.read_text() == complete


def test_a_downgrade_that_renovate_left_is_refused_too(repository: Path) -> None:
    repository.write_text(repository.read_text().replace(f'"{OLD}"', '"1.36.0"'))
    with pytest.raises(UserError, match="older than the pinned"):
        bump.bump("busybox", "1.36.0")


@pytest.mark.parametrize(
    ("name", "version", "says"),
    [
        ("nothing", "1.0", "no pin is called 'nothing'"),
        ("../busybox", "1.0", "no pin is called"),
        ("tailscale", "1.999.1", "not a stable release"),
        ("tailscale", "2.0", "not a stable release"),
        ("tailscale", "1.998.0rc1", "not the version of a release"),
        ("tailscale", "1.998.0-pre", "not the version of a release"),
        ("busybox", "1.37.0", "older than the pinned"),
        ("go", "1.25.99", "older than the pinned 1."),
        ("go", "1.99rc1", "not the version of a release"),
        *[
            ("busybox", text, "not the version of a release")
            for text in ("", "latest", "../../x", "1.39.2\n", "-1", "1", "1.039.2", "٣.1.0")
        ],
    ],
)
def test_a_version_that_is_not_taken(
    repository: Path, web: Web, name: str, version: str, says: str
) -> None:
    text = repository.read_text()
    with pytest.raises(UserError, match=says):
        bump.bump(name, version)
    assert web.requests == []
    untouched(repository, text)


def test_a_version_that_does_not_exist(repository: Path, web: Web) -> None:
    text = repository.read_text()
    with pytest.raises(SourceError, match=r"there is no busybox 9\.9\.9 to be had") as caught:
        bump.bump("busybox", "9.9.9")
    assert f"{web.address}/busybox-9.9.9.tar.bz2: HTTP 404" in caught.value.why
    untouched(repository, text)


def test_bytes_that_are_no_archive(repository: Path, web: Web) -> None:
    text = repository.read_text()
    web.play("/busybox-1.41.0.tar.bz2", Answer(b"<html>this is not what you want</html>"))
    with pytest.raises(SourceError, match="no archive"):
        bump.bump("busybox", "1.41.0")
    untouched(repository, text)


def test_debians_tarball_is_said_to_be_that(
    repository: Path, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MT_DEBIAN_MIRROR", f"{web.address}/debian")
    web.play("/debian/pool/main/b/busybox/busybox_1.41.0.orig.tar.bz2", Answer(BODY))
    done = bump.bump("busybox", "1.41.0")
    assert done.after.hash_from == "locally computed; Debian's orig tarball"


def test_a_file_marked_read_only(repository: Path, web: Web) -> None:
    repository.chmod(0o444)
    text = repository.read_text()
    with pytest.raises(UserError, match="is read-only"):
        bump.bump("busybox", NEW)
    assert web.requests == []
    untouched(repository, text)
    assert bump.bump("busybox", NEW, dry_run=True).after.version == NEW


def test_the_mode_of_the_file_stays(repository: Path) -> None:
    repository.chmod(0o640)
    bump.bump("busybox", NEW)
    assert repository.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("fault", [KeyboardInterrupt, OSError, BuildFailed("x"), MemoryError])
@pytest.mark.parametrize("where", ["candidate.make", "impact.of", "_updated", "shutil.copymode"])
def test_stopped_half_way(
    repository: Path, monkeypatch: pytest.MonkeyPatch, where: str, fault: BaseException
) -> None:
    text = repository.read_text()

    def stop(*_: object) -> None:
        raise fault

    monkeypatch.setattr(f"build.bump.bump.{where}", stop)
    with pytest.raises((KeyboardInterrupt, OSError, MemoryError, Error)):
        bump.bump("busybox", NEW)
    untouched(repository, text)


def test_a_text_that_reads_back_otherwise_is_not_put_in_place(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = repository.read_text()
    wrong = text.replace("GPL-2.0-only", "MIT")
    monkeypatch.setattr(bump, "_updated", lambda *_: wrong)
    with pytest.raises(BuildFailed, match="would not say what it should"):
        bump.bump("busybox", NEW)
    untouched(repository, text)


def test_two_at_once_both_count(repository: Path, web: Web) -> None:
    upx = f"{web.address}/upx-{{version}}.tar"
    text = repository.read_text()
    (address,) = [line for line in text.splitlines() if "upx/releases" in line]
    repository.write_text(text.replace(address, f'urls = ["{upx}"]'))
    web.play("/upx-4.3.0.tar", Answer(BODY))
    calls = [("busybox", NEW), ("upx", "4.3.0")]
    threads = [threading.Thread(target=bump.bump, args=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = pins.load(repository)
    assert {name: found[name].version for name, _ in calls} == dict(calls)


def test_sizes_are_those_of_both_versions(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a cap that is exceeded leaves the file alone."""
    sizes = {OLD: 1000, NEW: 1100}

    def build(request: bump.order.Request) -> bump.order.Result:
        assert not request.products, "dist/ is not for a version that nobody has taken yet"
        row = bump.size.Measure("arm64", "busybox", sizes[pin("busybox").version], 1050, 0)
        return bump.order.Result(measures=[row])

    monkeypatch.setattr(bump.order, "build", build)
    text = repository.read_text()
    with pytest.raises(GateFailed, match="larger than its cap"):
        bump.bump("busybox", NEW, build=True)
    untouched(repository, text)
    sizes[NEW] = 900
    done = bump.bump("busybox", NEW, build=True)
    assert [(row.before, row.size) for row in done.measures] == [(1000, 900)]
    assert pin("busybox").version != NEW, "the other pin stood in for it only meanwhile"


# --- Go -----------------------------------------------------------------------------------------


def test_the_toolchain_is_named_as_people_do() -> None:
    go = dataclasses.replace(pin("go"), version="0.0.1-go1.26.8.linux-amd64")
    for asked in ("1.26.9", "go1.26.9"):
        assert bump.version_in_pins(go, asked) == "0.0.1-go1.26.9.linux-amd64"
    assert bump.plain_version(go) == "1.26.8"


def test_no_block_has_its_version_twice() -> None:
    """What a bump would have to change in a second place."""
    for block in (ROOT / "build/data/pins.toml").read_text().split("\n[")[1:]:
        found = pin(block.partition("]")[0])
        rows = [row for row in block.splitlines() if not row.startswith(("why", "version"))]
        assert bump.plain_version(found) not in "\n".join(rows), found.name


def go_draft(said: str) -> tuple[pins.Pin, obtain.Draft]:
    wanted = dataclasses.replace(pin("tailscale"), version="1.110.0")
    return wanted, obtain.Draft(Path("x"), "x", database=said)


@pytest.mark.parametrize(
    ("said", "verified"),
    [("", False), ("123\ntailscale.com v1.110.0 h1:a=\ntailscale.com v1.110.0/go.mod h1:b=", True)],
)
def test_the_database_is_heard(said: str, verified: bool) -> None:
    wanted, found = go_draft(said)
    assert candidate._verified(wanted, "h1:a=", found.database) is verified
    text = candidate._hash_from(wanted, found, verified)
    assert ("is the Go checksum database's" in text) is verified


@pytest.mark.parametrize("said", ["tailscale.com v1.110.0 h1:other=", "tailscale.com v1.1.0 h1:a="])
def test_the_database_says_otherwise(said: str) -> None:
    with pytest.raises(SourceError, match="not what the Go checksum database knows"):
        candidate._verified(go_draft("")[0], "h1:a=", said)


@pytest.mark.parametrize(
    ("why", "tried"),
    [
        ("Get sum.golang.org/lookup/x: dial tcp: no such host", [True, False]),
        ("SECURITY ERROR: sum.golang.org says otherwise", [True]),
        ("404 Not Found", [True]),
    ],
)
def test_only_a_silent_database_is_done_without(
    places: Path, monkeypatch: pytest.MonkeyPatch, why: str, tried: list[bool]
) -> None:
    asked = []

    def draft(wanted: pins.Pin, folder: Path, *, database: bool = True) -> obtain.Draft:
        asked.append(database)
        if database:
            raise SourceError("x", why=why, cure="y")
        return obtain.Draft(folder, "x")

    monkeypatch.setattr(obtain, "draft", draft)
    try:
        assert candidate._draft(pin("tailscale"), places).database == ""
    except SourceError as error:
        assert why in error.why
        assert tried == [True]
    assert asked == tried


# --- what a version changes ---------------------------------------------------------------------


def graph(version: str) -> dict[str, features.Feature]:
    rows = json.loads((DATA / f"features-{version}.json").read_text())
    return {n: features.Feature(n, row["desc"], tuple(row["deps"])) for n, row in rows.items()}


def test_features_that_differ() -> None:
    before, after = graph("v1.102.5"), graph("v1.104.5")
    verdicts = features.load_verdicts()
    found = {row.name: row for row in changes.of_features(before, after, verdicts)}
    assert (found["udptransport"].change, found["udptransport"].verdict) == ("new", "needed")
    assert found["portmapper"].deps == ("nattraversal",)
    assert found["portmapper"].change == "deps"
    assert "dns" not in found
    back = {row.name: row.change for row in changes.of_features(after, before, verdicts)}
    assert back["udptransport"] == "gone"
    assert changes.of_features(after, after, verdicts) == []


def test_a_feature_to_decide_is_named() -> None:
    after = graph("v1.104.5")
    verdicts = features.load_verdicts()
    assert changes.undecided(after, verdicts, "1.104.5") == []
    ours = {n: v for n, v in verdicts.features.items() if n != "udptransport"}
    less = dataclasses.replace(verdicts, features=ours)
    (row,) = [r for r in changes.of_features({}, after, less) if r.name == "udptransport"]
    assert row.verdict == "undecided"
    assert any("'udptransport'" in line for line in changes.undecided(after, less, "1.104.5"))


GO_MOD = """module tailscale.com

go 1.26.6 // a comment

require example.test/single v1.0.0

require (
	example.test/direct v1.2.3
	example.test/quoted v0.0.0-2026 // why
	example.test/far v2.0.0+incompatible // indirect
)

tool (
	example.test/direct/cmd/x
)

replace example.test/far => ./far
"""


def test_a_go_mod_is_read() -> None:
    found = changes.parse_go_mod(GO_MOD)
    assert found.go == "1.26.6"
    assert found.requires == {
        "example.test/single": "v1.0.0",
        "example.test/direct": "v1.2.3",
        "example.test/quoted": "v0.0.0-2026",
        "example.test/far": "v2.0.0+incompatible",
    }
    assert found.indirect == {"example.test/far"}
    with pytest.raises(BuildFailed):
        changes.parse_go_mod("module x\n")


def test_modules_that_differ() -> None:
    before = changes.parse_go_mod(GO_MOD)
    after = changes.parse_go_mod(
        GO_MOD.replace("v1.2.3", "v1.3.0").replace("example.test/single", "example.test/other")
    )
    rows = changes.of_modules(before, after, ["example.test/direct"])
    assert [(row.module, row.before, row.after, row.ours) for row in rows] == [
        ("example.test/direct", "v1.2.3", "v1.3.0", True),
        ("example.test/other", "", "v1.0.0", False),
        ("example.test/single", "v1.0.0", "", False),
    ]


# --- the real registries ------------------------------------------------------------------------


@pytest.mark.network
@pytest.mark.parametrize(
    ("name", "version", "expected"),
    [
        (
            "tailscale",
            "1.102.4",
            {
                "h1": "h1:FcAkb7MgfFFUIUASg18Mv5cAiraxb+eMgOQaOKqKyPo=",
                "epoch": 1_789_062_334,  # 2026-09-10T17:45:34Z
                "hash_from": "locally computed; the h1 sum is the Go checksum database's",
            },
        ),
        (
            "cmake",
            "4.1.3",
            {"sha256": "81f11b72bc59cbe547d9f283487ef0519bf68176edffcdfa1a4dc5a52f292369"},
        ),
        (
            "busybox",
            "1.37.0",
            {"sha256": "3311dff32e746499f4df0d5df04d7eb396382d7e108bb9250e7b519b837043a4"},
        ),
    ],
)
def test_a_real_release(
    places: Path,
    shared_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    version: str,
    expected: dict[str, object],
) -> None:
    """One of each kind, from where it really is; what is expected was seen by other means."""
    monkeypatch.delenv("MT_APT_DIR")
    file = laid_out(places)
    monkeypatch.setattr(pins, "FILE", file)
    done = bump.bump(name, version, force=True)
    known = pins.load(file)
    assert {key: getattr(known[name], key) for key in expected} == expected
    assert done.verified is (True if name == "tailscale" else None)
    # The scripts follow the release that Tailscale's version makes, and no other pin.
    folder = places / "repository" / "routeros"
    values = render.Values(release=f"v{known['tailscale'].version}-mt.1")
    for script, text in render.render_all(folder / "templates", None, values).items():
        assert (folder / script).read_text() == text


@pytest.mark.network
@pytest.mark.parametrize("name", ["tailscale", "cmake"])
def test_a_release_that_no_registry_has(
    places: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    file = laid_out(places)
    monkeypatch.setattr(pins, "FILE", file)
    text = file.read_text()
    with pytest.raises(SourceError, match="to be had"):
        bump.bump(name, "77.88.99")
    assert file.read_text() == text
