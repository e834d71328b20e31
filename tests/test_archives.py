"""Unpacking and patching: modes by content, nothing outside, every misfit named."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from build.core import digest
from build.core.errors import BuildFailed
from build.sources import archives, patching

FILES = {
    "top/readme": b"text\n",
    "top/run.sh": b"#!/bin/sh\n",
    "top/bin/tool": b"\x7fELF rest",
    "top/bin/data": b"\x7fEL",
}


def tar(path: Path, files: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    mode = {".gz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}.get(path.suffix, "w")
    with tarfile.open(path, mode) as bundle:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o4777
            bundle.addfile(info, io.BytesIO(content))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            bundle.addfile(info)
    return path


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in files.items():
            bundle.writestr(name, content)
    return path


def tree(path: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()
    }


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".zip"])
def test_strip_and_modes(places: Path, suffix: str) -> None:
    make = zipped if suffix == ".zip" else tar
    archive = make(places / f"a{suffix}", FILES)
    previous = os.umask(0o077)
    try:
        archives.unpack(archive, places / "out", 1)
    finally:
        os.umask(previous)
    wanted = {name.removeprefix("top/"): content for name, content in FILES.items()}
    assert tree(places / "out") == wanted
    modes = {path: f"{(places / 'out' / path).stat().st_mode & 0o7777:04o}" for path in wanted}
    assert modes == {
        "readme": "0644",
        "run.sh": "0755",
        "bin/tool": "0755",
        "bin/data": "0644",
    }


def test_strip_of_nothing_and_of_more_than_there_is(places: Path) -> None:
    archive = tar(places / "a.tar", FILES | {"loose": b"x"})
    archives.unpack(archive, places / "zero", 0)
    assert set(tree(places / "zero")) == {*FILES, "loose"}
    archives.unpack(archive, places / "two", 2)
    assert set(tree(places / "two")) == {"tool", "data"}


def test_links_are_kept(places: Path) -> None:
    archive = tar(places / "a.tar", {"top/file": b"x"}, {"top/link": "file"})
    archives.unpack(archive, places / "out", 1)
    assert (places / "out" / "link").readlink() == Path("file")


def test_hard_links_become_files(places: Path) -> None:
    with tarfile.open(places / "a.tar", "w") as bundle:
        info = tarfile.TarInfo("top/file")
        info.size = 3
        bundle.addfile(info, io.BytesIO(b"abc"))
        info = tarfile.TarInfo("top/twin")
        info.type, info.linkname = tarfile.LNKTYPE, "top/file"
        bundle.addfile(info)
    archives.unpack(places / "a.tar", places / "out", 1)
    assert tree(places / "out") == {"file": b"abc", "twin": b"abc"}


@pytest.mark.parametrize("name", ["top/../../evil", "/etc/evil", "top/a/../../../evil"])
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_a_path_that_leads_outside(places: Path, name: str, kind: str) -> None:
    make = zipped if kind == "zip" else tar
    archive = make(places / f"a.{kind}", {name: b"x"})
    with pytest.raises(BuildFailed, match="which leads outside"):
        archives.unpack(archive, places / "deep" / "out", 1)
    assert not (places / "evil").exists()
    assert not (places / "deep" / "evil").exists()


def test_a_link_that_leads_outside(places: Path) -> None:
    with tarfile.open(places / "a.tar", "w") as bundle:
        info = tarfile.TarInfo("top/door")
        info.type, info.linkname = tarfile.SYMTYPE, "../.."
        bundle.addfile(info)
        info = tarfile.TarInfo("top/door/evil")
        info.size = 1
        bundle.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(BuildFailed, match="which leads outside"):
        archives.unpack(places / "a.tar", places / "deep" / "out", 1)
    assert not (places / "evil").exists()


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".zip"])
@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_archive_is_named(places: Path, suffix: str, damage: str) -> None:
    noise = b"".join(digest.of_bytes(str(n).encode()).encode() for n in range(3000))
    make = zipped if suffix == ".zip" else tar
    archive = make(places / f"a{suffix}", {"top/noise": noise})
    content = bytearray(archive.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "flip" and suffix == ".tar":
        content[3] ^= 0x40  # a tar sums its headers only
    elif damage == "flip" and suffix == ".tar.gz":
        content[1] ^= 0x40  # its sum stands behind the part that tarfile reads; the pin's covers it
    elif damage == "flip":
        middle = len(content) // 2
        content[middle : middle + 8] = bytes(8)
    else:
        content = bytearray()
    archive.write_bytes(content)
    with pytest.raises(BuildFailed, match="cannot be unpacked"):
        archives.unpack(archive, places / "out", 1)


def test_something_that_is_no_archive(places: Path) -> None:
    (places / "a.tar.gz").write_bytes(gzip.compress(b"hello"))
    with pytest.raises(BuildFailed, match="cannot be unpacked"):
        archives.unpack(places / "a.tar.gz", places / "out", 1)


# --- patches ------------------------------------------------------------------------------------

ORIGINAL = "".join(f"line {n}\n" for n in range(1, 11))
PATCH = """--- a/sub/file.txt
+++ b/sub/file.txt
@@ -2,5 +2,6 @@
 line 2
 line 3
-line 4
+line four
+line four and a half
 line 5
 line 6
"""


@pytest.fixture
def source(places: Path) -> Path:
    path = places / "tree" / "sub" / "file.txt"
    path.parent.mkdir(parents=True)
    path.write_text(ORIGINAL)
    return places / "tree"


def patches(places: Path, files: dict[str, str]) -> Path:
    folder = places / "patches" / "thing"
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_a_patch_and_a_new_file(places: Path, source: Path) -> None:
    folder = patches(places, {"0001-four.patch": PATCH, "new/sub/more.txt": "more\n"})
    patching.apply_patches(source, folder)
    changed = ORIGINAL.replace("line 4\n", "line four\nline four and a half\n")
    assert (source / "sub" / "file.txt").read_text() == changed
    assert (source / "sub" / "more.txt").read_text() == "more\n"


def test_no_patches_change_nothing(places: Path, source: Path) -> None:
    patching.apply_patches(source, places / "patches" / "nothing")
    assert (source / "sub" / "file.txt").read_text() == ORIGINAL


@pytest.mark.parametrize(
    "changed",
    [
        ORIGINAL.replace("line 3", "line III"),  # another context
        ORIGINAL.replace("line 4", "line IV"),  # another line to remove
        "line 1\nline 2\n",  # shorter than the patch
    ],
)
def test_a_patch_that_no_longer_applies_is_named(places: Path, source: Path, changed: str) -> None:
    (source / "sub" / "file.txt").write_text(changed)
    folder = patches(places, {"0001-four.patch": PATCH})
    with pytest.raises(BuildFailed) as caught:
        patching.apply_patches(source, folder)
    assert "0001-four.patch does not apply to sub/file.txt" in caught.value.what
    assert caught.value.cure
    assert (source / "sub" / "file.txt").read_text() == changed


def test_a_patch_for_a_file_that_is_gone(places: Path, source: Path) -> None:
    (source / "sub" / "file.txt").unlink()
    with pytest.raises(BuildFailed, match=r"0001-four\.patch does not apply to sub/file\.txt"):
        patching.apply_patches(source, patches(places, {"0001-four.patch": PATCH}))


@pytest.mark.parametrize("text", ["", "no diff at all\n", PATCH[PATCH.index("@@") :]])
def test_a_patch_that_is_none(places: Path, source: Path, text: str) -> None:
    with pytest.raises(BuildFailed, match=r"patch 0001-four\.patch"):
        patching.apply_patches(source, patches(places, {"0001-four.patch": text}))


def test_a_new_file_that_exists_already(places: Path, source: Path) -> None:
    folder = patches(places, {"new/sub/file.txt": "ours\n"})
    with pytest.raises(BuildFailed) as caught:
        patching.apply_patches(source, folder)
    assert "patch thing/new/sub/file.txt does not apply" in caught.value.what
    assert (source / "sub" / "file.txt").read_text() == ORIGINAL


def test_a_patch_changes_the_key(places: Path) -> None:
    folder = patches(places, {"0001-four.patch": PATCH})
    before = patching.patches_identity(folder)
    (folder / "0001-four.patch").write_text(PATCH + "\n")
    assert patching.patches_identity(folder) != before
    assert patching.patches_identity(places / "nothing") == {}
