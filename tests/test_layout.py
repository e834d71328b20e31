"""dist/: each product replaced whole or not at all, and only where it has to be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from fakes import images
from fakes.images import RELEASE

from build.config import targets
from build.config.targets import Target
from build.core import cache
from build.core.errors import GateFailed, UserError
from build.core.version import parse_release
from build.gates import audit
from build.image import dist

ROOT = Path(__file__).resolve().parent.parent
ALL = targets.targets()
TAR = dist.archive_name(ALL["arm64"], RELEASE)


def check(path: Path, chosen: dict[str, Target]) -> None:
    """The pipeline's own gate."""
    if path.is_dir():
        audit.require(audit.layout_faults(path, chosen), path.name)
    else:
        audit.require(audit.archive_faults(path, *chosen.values()), path.name)


def write(
    places: Path, *names: str, release: str = RELEASE.tag, gate: Any = check
) -> tuple[dict[str, Any], list[str]]:
    made = images.images(places, release)
    chosen = {name: made[name] for name in (names or ALL)}
    wanted = {name: ALL[name] for name in chosen}
    return dist.write(chosen, wanted, parse_release(release), gate, whole=not names)


def state(places: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of every file in dist/, which a rewrite would change."""
    return {
        str(path.relative_to(places)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in (places / "dist").rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def products(places: Path) -> set[str]:
    return {path.name for path in (places / "dist").iterdir() if path.name != ".lock"}


def test_all_platforms(places: Path) -> None:
    record, written = write(places)
    names = {dist.archive_name(target, RELEASE) for target in ALL.values()}
    assert products(places) == {*names, "oci", "build.json", "SHA256SUMS"}
    assert set(written) == {*names, "oci"}
    assert set(record) == {*names, "oci"}
    assert json.loads((places / "dist" / "build.json").read_text()) == record
    index = json.loads((places / "dist" / "oci" / "index.json").read_text())
    assert index["manifests"][0]["digest"] == record["oci"]["index"]
    assert index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"] == RELEASE.tag


def test_one_platform(places: Path) -> None:
    write(places, "arm64")
    assert products(places) == {TAR, "oci-arm64", "build.json", "SHA256SUMS"}


def test_untouched_when_right(places: Path) -> None:
    write(places)
    before = state(places)
    _, written = write(places)
    assert written == []
    assert state(places) == before


def test_a_product_that_is_right_is_not_audited_again(places: Path) -> None:
    write(places)

    def never(path: Path, chosen: dict[str, Target]) -> None:
        raise AssertionError(path)

    write(places, gate=never)


@pytest.mark.parametrize("how", ["flipped", "lost", "extra", "lost blob", "folder", "mode"])
def test_a_damaged_product_is_rewritten_and_no_other(places: Path, how: str) -> None:
    write(places)
    folder = places / "dist"
    blob = next((folder / "oci" / "blobs" / "sha256").iterdir())
    damaged = TAR
    if how == "flipped":
        content = bytearray((folder / TAR).read_bytes())
        content[1000] ^= 1
        (folder / TAR).write_bytes(content)
    elif how == "lost":
        (folder / TAR).unlink()
    elif how == "folder":
        (folder / TAR).unlink()
        (folder / TAR).mkdir()
    else:
        damaged = "oci"
        if how == "extra":
            (folder / "oci" / "extra").write_text("x")
        elif how == "mode":
            blob.chmod(0o600)
        else:
            blob.unlink()
    before = state(places)
    record, written = write(places)
    assert written == [damaged]
    after = state(places)
    same = {path for path, row in after.items() if before.get(path) == row}
    assert {p for p in after if not p.startswith(f"dist/{damaged}")} - same == {"dist/build.json"}
    assert audit.layout_faults(folder / "oci", ALL) == []
    assert audit.archive_faults(folder / TAR, ALL["arm64"]) == []
    assert write(places)[1] == []
    assert record == dist.read_record()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", "null", '{"oci": {}}', '{"oci": 7}', '{"x": {"from": 1}}']
)
def test_a_broken_record_only_costs_a_rewrite(places: Path, text: str) -> None:
    write(places)
    (places / "dist" / "build.json").write_text(text)
    _, written = write(places)
    assert len(written) == 5
    assert write(places)[1] == []
    assert set(dist.read_record()) == set(written)


def test_a_product_that_does_not_pass_never_gets_its_name(places: Path) -> None:
    write(places, "arm64")
    before = state(places)

    def refuse(path: Path, chosen: dict[str, Target]) -> None:
        assert path.exists()
        audit.require(["planted"], path.name)

    with pytest.raises(GateFailed, match="did not pass the audit"):
        write(places, "arm64", release="v1.102.5-mt.8", gate=refuse)
    assert state(places) == before
    assert write(places, "arm64")[1] == []


def test_a_new_release_removes_the_old_archives(places: Path) -> None:
    write(places)
    write(places, release="v1.102.5-mt.8")
    tars = {name for name in products(places) if name.endswith(".tar")}
    assert tars == {
        dist.archive_name(target, parse_release("v1.102.5-mt.8")) for target in ALL.values()
    }
    assert set(dist.read_record()) == {*tars, "oci"}


def test_files_of_others_stay(places: Path) -> None:
    (places / "dist").mkdir()
    (places / "dist" / "notes.txt").write_text("mine")
    (places / "dist" / "mikrotik-tailscale-v0.0.1-mt.1-arm64.tar").write_text("mine too")
    write(places)
    assert (places / "dist" / "notes.txt").read_text() == "mine"
    assert (places / "dist" / "mikrotik-tailscale-v0.0.1-mt.1-arm64.tar").exists()


def test_another_platform_beside_the_first(places: Path) -> None:
    write(places, "arm64")
    _, written = write(places, "armv5")
    assert all("arm64" not in name for name in written)
    assert {"oci-arm64", "oci-armv5", TAR} <= products(places)


def test_what_a_killed_writer_left(places: Path) -> None:
    write(places)
    folder = places / "dist"
    (folder / ".fresh").mkdir()
    (folder / "oci").rename(folder / ".fresh" / "oci.old")
    _, written = write(places)
    assert written == ["oci"]
    assert not (folder / ".fresh").exists()
    assert audit.layout_faults(folder / "oci", ALL) == []


def test_a_damaged_image_in_the_cache_is_not_copied(places: Path) -> None:
    made = images.images(places)
    path = made["arm64"].data / "archive.tar"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(cache.Damaged):
        write(places, "arm64")
    assert products(places) == set()


@pytest.mark.parametrize("block", ["file", "file above"])
def test_a_dist_that_cannot_be(places: Path, monkeypatch: pytest.MonkeyPatch, block: str) -> None:
    (places / "block").write_text("")
    folder = places / "block" if block == "file" else places / "block" / "dist"
    monkeypatch.setenv("MT_DIST", str(folder))
    with pytest.raises(UserError) as caught:
        write(places, "arm64")
    assert "cannot write" in caught.value.what
    assert "MT_DIST" in caught.value.cure


def checked_sums(places: Path) -> str:
    """What sha256sum itself says of dist/."""
    argv = ["sha256sum", "--strict", "-c", "SHA256SUMS"]
    done = subprocess.run(argv, cwd=places / "dist", text=True, capture_output=True, timeout=60)
    return done.stdout if done.returncode == 0 else f"failed: {done.stdout}{done.stderr}"


def test_the_sums_are_right_after_any_build(places: Path) -> None:
    write(places)
    assert checked_sums(places).count(": OK\n") == len(ALL) + 1
    assert "oci/index.json: OK" in checked_sums(places)
    write(places, "arm64")
    assert "oci-arm64/index.json: OK" in checked_sums(places)
    write(places, "armv5", release="v1.102.5-mt.8")
    assert checked_sums(places).count(": OK\n") == len(ALL) + 3
    path = places / "dist" / TAR
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert checked_sums(places).startswith("failed:"), "negative control"


@pytest.mark.parametrize("how", ["lost", "changed", "folder"])
def test_damaged_sums_are_written_again(places: Path, how: str) -> None:
    write(places)
    path = places / "dist" / "SHA256SUMS"
    before, products_ = path.read_bytes(), state(places)
    path.unlink()
    if how == "changed":
        path.write_text("other")
    elif how == "folder":
        path.mkdir()
    _, written = write(places)
    assert written == []
    assert path.read_bytes() == before
    assert {n for n, row in state(places).items() if products_[n] != row} <= {
        "dist/SHA256SUMS",
        "dist/build.json",
    }


def test_a_signature_of_other_sums_goes(places: Path) -> None:
    write(places)
    seen: list[bytes] = []

    def make(content: bytes) -> bytes:
        seen.append(content)
        return b"signed"

    path = dist.sign(make)
    assert path == places / "dist" / "SHA256SUMS.sig"
    assert path.read_bytes() == b"signed"
    assert seen == [(places / "dist" / "SHA256SUMS").read_bytes()]
    write(places)
    assert path.exists(), "nothing changed"
    write(places, release="v1.102.5-mt.8")
    assert not path.exists()


def test_only_what_is_right_is_signed(places: Path) -> None:
    write(places)
    path = places / "dist" / TAR
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(GateFailed, match="is not what is in"):
        dist.sign(lambda content: b"signed")
    write(places)
    (places / "dist" / "SHA256SUMS").write_text("other\n")
    with pytest.raises(UserError, match="not up to date"):
        dist.sign(lambda content: b"signed")
    assert not (places / "dist" / "SHA256SUMS.sig").exists()


def in_mounted_dist(places: Path, options: str, after: str) -> list[str]:
    """Write dist/ where it is a file system of its own; returns what is said."""
    (places / "dist").mkdir()
    code = f"""
        import sys
        sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
        import subprocess
        from pathlib import Path
        from build.core import errors
        from test_layout import write, check
        places = Path({str(places)!r})

        def attempt(*names, **more):
            try:
                print(sorted(write(places, *names, **more)[1]))
            except errors.Error as error:
                print(type(error).__name__, str(error).replace(chr(10), " "))
            print(sorted(path.name for path in (places / "dist").iterdir()))
    """
    script = f"mount -t tmpfs -o {options} none {places / 'dist'} && exec {sys.executable} -"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        input=textwrap.dedent(code) + textwrap.dedent(after),
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.root
def test_a_read_only_dist(places: Path) -> None:
    said = in_mounted_dist(
        places,
        "size=1m",
        """
        attempt("arm64")
        subprocess.run(["mount", "-o", "remount,ro", str(places / "dist")], check=True)
        attempt("arm64")
        attempt("arm64", release="v1.102.5-mt.8")
        """,
    )
    assert said[0] == f"['{TAR}', 'oci-arm64']"
    assert said[2] == "[]", "nothing to write, nothing to complain about"
    assert said[4].startswith("UserError cannot write")
    assert "MT_DIST" in said[4]
    assert said[1] == said[3] == said[5]


@pytest.mark.root
def test_a_full_dist(places: Path) -> None:
    said = in_mounted_dist(
        places,
        "size=64k",
        """
        attempt()
        subprocess.run(["mount", "-o", "remount,size=4m", str(places / "dist")], check=True)
        attempt()
        """,
    )
    assert said[0].startswith("UserError cannot write")
    assert "No space left" in said[0]
    assert said[1] == "['.lock']", "nothing half-written has a name"
    assert "'oci'" in said[2]


def test_two_writers_at_once(places: Path) -> None:
    images.images(places)
    code = f"""
        import sys
        sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
        from pathlib import Path
        from test_layout import write
        print(len(write(Path({str(places)!r}))[1]))
    """
    argv = [sys.executable, "-c", textwrap.dedent(code)]
    both = [
        subprocess.Popen(
            argv,
            cwd=ROOT,
            env=os.environ,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sorted(out.strip() for out, _ in said) == ["0", "5"]
    assert audit.layout_faults(places / "dist" / "oci", ALL) == []
