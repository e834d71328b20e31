"""Archives that want more than to be unpacked: each is refused, and nothing lies outside."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from test_archives import tar, tree, zipped

from build.core.errors import BuildFailed
from build.core.paths import ROOT
from build.sources import archives, members

Row = tuple[str, bytes, str]
"""Name, type as in tarfile, and content or where a link leads."""

FILE, LINK, TWIN = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


def made(path: Path, rows: list[Row]) -> Path:
    with tarfile.open(path, "w") as bundle:
        for name, kind, text in rows:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind == FILE:
                info.size = len(text)
                bundle.addfile(info, io.BytesIO(text.encode()))
            else:
                info.linkname = text
                bundle.addfile(info)
    return path


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        pytest.param([("top/a", LINK, "/etc/passwd")], "leads outside", id="absolute"),
        pytest.param([("top/a", LINK, "../evil")], "leads outside", id="the last component"),
        pytest.param([("top/d/a", LINK, "../../evil")], "leads outside", id="from a folder"),
        pytest.param(
            [("top/d/e/b", LINK, ".."), ("top/a", LINK, "d/e/b/../../evil")],
            "leads outside",
            id="through another",
        ),
        pytest.param(
            [("top/a", LINK, "b/../../evil"), ("top/x/y/f", FILE, "x"), ("top/b", LINK, "x")],
            "leads outside",
            id="through a later one",
        ),
        pytest.param([("top/a", LINK, "b"), ("top/b", LINK, "a")], "circle", id="a circle"),
        pytest.param(
            [("top/d/f", FILE, "x"), ("top/a", LINK, "d"), ("top/a/g", FILE, "x")],
            "a is a link",
            id="written through",
        ),
        pytest.param(
            [("top/a", LINK, "b"), ("top/a", FILE, "x")], "already", id="a file over a link"
        ),
        pytest.param([("top/a", TWIN, "/etc/passwd")], "outside", id="a hard link"),
        pytest.param([("top/a", TWIN, "../../evil")], "outside", id="a hard link up"),
        pytest.param([("top/a", TWIN, "top/none")], "no file before it", id="a hard link to none"),
        pytest.param(
            [("top/b", LINK, "c"), ("top/a", TWIN, "top/b")],
            "no file before it",
            id="a hard link to a link",
        ),
        pytest.param([("top/a", FILE, "x"), ("top/a", FILE, "y")], "already", id="a member twice"),
        pytest.param(
            [("top/a", FILE, "x"), ("top/./a", FILE, "y")], "already", id="twice by another name"
        ),
        pytest.param([("top/a", FILE, "x"), ("top/a/b", FILE, "y")], "no folder", id="in a file"),
        pytest.param([("top/a", tarfile.CHRTYPE, "")], "device", id="a character device"),
        pytest.param([("top/a", tarfile.BLKTYPE, "")], "device", id="a block device"),
        pytest.param([("top/a", tarfile.FIFOTYPE, "")], "pipe", id="a pipe"),
        pytest.param([("top/" + "n" * 300, FILE, "x")], "long", id="a long name"),
    ],
)
def test_a_member_that_is_not_taken(tmp_path: Path, rows: list[Row], says: str) -> None:
    (tmp_path / "deep").mkdir()
    archive = made(tmp_path / "a.tar", [("top/first", FILE, "1"), *rows])
    with pytest.raises(BuildFailed) as caught:
        archives.unpack(archive, tmp_path / "deep" / "out", 1)
    assert says in str(caught.value)
    assert "a.tar" in str(caught.value)
    assert caught.value.cure
    assert {path.name for path in tmp_path.iterdir()} == {"a.tar", "deep"}
    assert not (tmp_path / "deep" / "evil").exists()


def test_links_that_stay_inside_are_taken(tmp_path: Path) -> None:
    rows = [("top/d/f", FILE, "x"), ("top/a", LINK, "d/../d/f"), ("top/d/up", LINK, "..")]
    archives.unpack(made(tmp_path / "a.tar", rows), tmp_path / "out", 1)
    assert (tmp_path / "out" / "a").read_bytes() == b"x"
    assert (tmp_path / "out" / "d" / "up").resolve() == tmp_path / "out"


def test_a_zip_with_a_member_twice(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as bundle:
        bundle.writestr("top/a", b"x")
        with pytest.warns(UserWarning, match="Duplicate"):
            bundle.writestr("top/a", b"y")
    with pytest.raises(BuildFailed, match="already"):
        archives.unpack(tmp_path / "a.zip", tmp_path / "out", 1)


def test_a_zip_with_a_link(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as bundle:
        info = zipfile.ZipInfo("top/a")
        info.external_attr = 0o120777 << 16
        bundle.writestr(info, b"/etc/passwd")
    with pytest.raises(BuildFailed, match="neither file nor folder"):
        archives.unpack(tmp_path / "a.zip", tmp_path / "out", 1)


def swollen_tar(path: Path) -> Path:
    size = 300 << 20
    with gzip.open(path, "wb", 9) as sink:
        info = tarfile.TarInfo("top/big")
        info.size = size
        sink.write(info.tobuf())
        for _ in range(size >> 20):
            sink.write(bytes(1 << 20))
        sink.write(bytes(1024))
    return path


def swollen_zip(path: Path) -> Path:
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle,
        bundle.open("top/big", "w") as sink,
    ):
        for _ in range(300):
            sink.write(bytes(1 << 20))
    return path


def lying_zip(path: Path) -> Path:
    """A zip that says of 300 MB that they are ten bytes."""
    swollen_zip(path)
    data = path.read_bytes()
    path.write_bytes(data.replace((300 << 20).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    return path


@pytest.mark.parametrize("make", [swollen_tar, swollen_zip, lying_zip])
def test_one_that_swells_is_refused_in_bounded_memory(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    archive = make(tmp_path / ("a.tar.gz" if make is swollen_tar else "a.zip"))
    assert archive.stat().st_size < 1 << 20
    code = f"""
import resource, sys
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from build.core.errors import BuildFailed
from build.sources import archives
limit = 200 << 20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    archives.unpack(Path({str(archive)!r}), Path({str(tmp_path / "out")!r}), 1)
except BuildFailed as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "cannot be unpacked" in done.stdout or "damaged" in done.stdout, done.stdout
    assert archive.name in done.stdout
    written = sum(path.stat().st_size for path in tmp_path.rglob("*") if path != archive)
    assert written <= members.SMALL


def test_a_large_honest_one_is_taken(tmp_path: Path) -> None:
    files = {"top/a": bytes(range(256)) * 4096, "top/b": b"x"}
    for archive in (tar(tmp_path / "a.tar.gz", files), zipped(tmp_path / "a.zip", files)):
        archives.unpack(archive, tmp_path / archive.suffix[1:], 1)
        assert len(tree(tmp_path / archive.suffix[1:])["a"]) == 1 << 20


def header(name: str, size: bytes, kind: bytes = FILE) -> bytes:
    """A tar header whose size field is what it should not be; its sum is right."""
    block = bytearray(tarfile.TarInfo(name).tobuf(tarfile.GNU_FORMAT))
    block[124:136], block[156:157], block[148:156] = size, kind, b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


HUGE = b"\x80" + (1 << 62).to_bytes(11, "big")
NEGATIVE = b"\xff" * 12
MANY = b"%011o\0" % (512 << 20)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(header("top/a", HUGE), id="a size of exabytes"),
        pytest.param(header("top/a", NEGATIVE), id="a size below nothing"),
        pytest.param(header("top/a", MANY), id="a size that is not there"),
        pytest.param(header("././@LongLink", MANY, b"L") + bytes(2 << 20), id="a name of 512 MB"),
        pytest.param(header("x", MANY, b"x") + bytes(2 << 20), id="a pax header of 512 MB"),
        pytest.param(header("top/a", b"0" * 11 + b"\0", b"?"), id="an unknown type"),
        pytest.param(header("top/a\\b", b"0" * 11 + b"\0"), id="a backslash"),
        pytest.param(header("top/a\nb", b"0" * 11 + b"\0"), id="a line's end"),
        pytest.param(header("top/a\udcff", b"0" * 11 + b"\0"), id="no UTF-8"),
    ],
)
def test_a_tar_header_that_cannot_be(tmp_path: Path, content: bytes) -> None:
    good = header("top/first", b"0" * 11 + b"\0")
    (tmp_path / "a.tar").write_bytes(good + content + bytes(4 * members.BLOCK))
    with pytest.raises(BuildFailed, match=r"a\.tar cannot be unpacked"):
        archives.unpack(tmp_path / "a.tar", tmp_path / "out", 1)
    assert {path.name for path in tmp_path.iterdir()} == {"a.tar"}
    # Without the header in question it is an archive.
    (tmp_path / "a.tar").write_bytes(good + bytes(4 * members.BLOCK))
    archives.unpack(tmp_path / "a.tar", tmp_path / "out", 1)
    assert tree(tmp_path / "out") == {"first": b""}


@pytest.mark.parametrize("count", [9, 11])
def test_more_members_than_anybody_has(
    tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members, "COUNT", 10)
    archive = zipped(tmp_path / "a.zip", {f"top/{n}": b"" for n in range(count)})
    if count <= 10:
        archives.unpack(archive, tmp_path / "out", 1)
        return
    with pytest.raises(BuildFailed, match="one of more than 10"):
        archives.unpack(archive, tmp_path / "out", 1)


@pytest.mark.parametrize("way", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_whose_compression_has_no_bound(tmp_path: Path, way: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", way) as bundle:
        bundle.writestr("top/a", bytes(1 << 20))
    with pytest.raises(BuildFailed, match="unusual"):
        archives.unpack(tmp_path / "a.zip", tmp_path / "out", 1)


@pytest.mark.parametrize("said", [b"\x0a\x00\x00\x00", b"\xff\xff\x00\x00"])
def test_a_zip_that_lies_about_a_size(tmp_path: Path, said: bytes) -> None:
    archive = zipped(tmp_path / "a.zip", {"top/a": bytes(0x1234)})
    archive.write_bytes(archive.read_bytes().replace(b"\x34\x12\x00\x00", said))
    with pytest.raises(BuildFailed, match="top/a"):
        archives.unpack(archive, tmp_path / "out", 1)
