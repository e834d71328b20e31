"""What an archive holds, read with bounds: a tar or a zip as a stream of members.

Nothing here trusts an archive: what it says of itself is compared with what comes out of it, and
everything has a limit. Formats: POSIX.1-2017 pax (tar), PKWARE's APPNOTE (zip).
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from build.core.errors import BuildFailed

COUNT = 100_000
"""Members of an archive; the largest pinned one has less than a third."""

LARGEST, TOTAL = 1 << 30, 2 << 30
"""Bytes of a member and of all together."""

RATIO, SMALL = 100, 64 << 20
"""How often an archive's size may come out of it, once that is more than `SMALL` bytes."""

PIECE = 1 << 20
"""Bytes that are asked for at once; a header that wants more is nobody's honest header."""

BLOCK = 512
"""A tar is made of these, and ends with two that hold nothing."""

_DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    # bz2 and gzip say OSError of bad data; tarfile and zipfile let these through:
    OSError,
    ValueError,
    OverflowError,
    # an encrypted member, an unknown compression
    RuntimeError,
)


@dataclass(frozen=True)
class Member:
    """A member: `kind` is file, folder, link (symbolic) or twin (hard link).

    `target` is where links lead, `size` that of a file in bytes, `stream` gives its content.
    """

    name: str
    kind: str
    size: int = 0
    target: str = ""
    stream: IO[bytes] | None = None


def refusal(archive: Path, name: str, why: str) -> BuildFailed:
    """Return the error for a member that is not taken."""
    shown = name.encode("unicode_escape", "surrogatepass").decode()[:200]
    return BuildFailed(
        f"{archive.name} cannot be unpacked because of its member '{shown}'",
        why=why,
        cure="find out why the archive holds that before anything is done with it",
    )


def damaged(archive: Path, why: str) -> BuildFailed:
    """Return the error for an archive that cannot be read to its end."""
    return BuildFailed(f"{archive} cannot be unpacked", why=why or "it is damaged")


class _Bounded:
    """A decompressed tar for tarfile, which asks for whatever a header says."""

    def __init__(self, archive: Path, stream: IO[bytes], most: int) -> None:
        self._archive, self._stream, self._most = archive, stream, most
        # Each member costs a few readings; a header that leads back would cost endless ones.
        self._left = 8 * COUNT + most // BLOCK

    def read(self, size: int) -> bytes:
        """Read so much, less at the end. Raises BuildFailed beyond the bounds."""
        if size > PIECE:
            raise damaged(self._archive, f"it has a header of more than {PIECE:,} bytes")
        try:
            data = self._stream.read(max(size, 0))
        except _DAMAGED as error:
            raise damaged(self._archive, str(error)) from error
        self._count()
        return data

    def seek(self, where: int) -> int:
        """Go to a position from the start. Raises BuildFailed beyond the bounds."""
        if not 0 <= where <= self._most:
            raise damaged(self._archive, f"a header leads to byte {where:,}")
        try:
            self._stream.seek(where)
        except _DAMAGED as error:
            raise damaged(self._archive, str(error)) from error
        self._count()
        return where

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0 or self._stream.tell() > self._most:
            raise damaged(self._archive, f"more than {self._most:,} bytes come out of it")

    def tell(self) -> int:
        """Return the position."""
        return self._stream.tell()


def _most(archive: Path) -> int:
    return min(TOTAL, max(SMALL, RATIO * archive.stat().st_size))


def _opened(archive: Path) -> IO[bytes]:
    with archive.open("rb") as stream:
        head = stream.read(6)
    if head.startswith(b"\x1f\x8b"):
        return gzip.open(archive)  # type: ignore[return-value]
    if head.startswith(b"BZh"):
        return bz2.open(archive)
    if head == b"\xfd7zXZ\0":
        return lzma.open(archive)
    return archive.open("rb")


def _tar(archive: Path) -> Generator[Member, None, None]:
    with _opened(archive) as plain:
        stream = _Bounded(archive, plain, _most(archive) + COUNT * 2 * BLOCK)
        with tarfile.open(fileobj=stream, mode="r:") as bundle:  # type: ignore[call-overload]
            for member in bundle:
                yield _of_tar(archive, bundle, member)
            # tarfile takes a header that it does not understand, or none at all, for the end.
            stream.seek(bundle.offset)
            if stream.read(BLOCK) != bytes(BLOCK):
                raise damaged(archive, "it breaks off, or goes on with what is no header")
        # To the very end: the sum of what is compressed stands there.
        while stream.read(PIECE):
            pass


def _of_tar(archive: Path, bundle: tarfile.TarFile, member: tarfile.TarInfo) -> Member:
    name = member.name
    if member.size < 0 or member.offset_data < 0:
        raise refusal(archive, name, f"its size is {member.size}")
    if member.isfile():
        return Member(name, "file", member.size, stream=bundle.extractfile(member))
    if member.isdir():
        return Member(name, "folder")
    if member.issym():
        return Member(name, "link", target=member.linkname)
    if member.islnk():
        return Member(name, "twin", target=member.linkname)
    kind = "a device" if member.isdev() else f"of type {member.type!r}"
    raise refusal(archive, name, f"it is {'a pipe' if member.isfifo() else kind}")


def _zip(archive: Path) -> Generator[Member, None, None]:
    with zipfile.ZipFile(archive) as bundle:
        for info in bundle.infolist():
            # zipfile cuts a name at a NUL byte.
            name, mode = info.orig_filename, info.external_attr >> 16
            if info.flag_bits & 1:
                raise refusal(archive, name, "it is encrypted")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                # Python unpacks the others without a bound.
                raise refusal(archive, name, f"its compression {info.compress_type} is unusual")
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise refusal(archive, name, f"it is neither file nor folder (mode {mode:o})")
            if info.is_dir():
                yield Member(name, "folder")
                continue
            with bundle.open(info) as stream:
                yield Member(name, "file", info.file_size, stream=stream)


def read(archive: Path) -> Iterator[Member]:
    """Yield the members of an archive in its order, whatever its file is called.

    The content of a member is read before the next one is asked for. Raises BuildFailed for an
    archive that is damaged, breaks off, or has more in it than the limits of this module.
    """
    most, count, total = _most(archive), 0, 0
    try:
        with archive.open("rb") as stream:
            zipped = stream.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
        with contextlib.closing(_zip(archive) if zipped else _tar(archive)) as members:
            for member in members:
                count, total = count + 1, total + member.size
                if count > COUNT:
                    raise refusal(archive, member.name, f"it is one of more than {COUNT:,}")
                if member.size > LARGEST:
                    why = f"its {member.size:,} bytes are more than {LARGEST:,}"
                    raise refusal(archive, member.name, why)
                if total > most:
                    why = f"with it more than {most:,} bytes come out of the archive"
                    raise refusal(archive, member.name, why)
                yield member
    except _DAMAGED as error:
        raise damaged(archive, str(error)) from error


def pieces(archive: Path, member: Member) -> Iterator[bytes]:
    """Yield the content of a file, never empty pieces. Raises BuildFailed if it is not `size`."""
    assert member.stream is not None
    left = member.size
    try:
        while piece := member.stream.read(min(PIECE, left + 1)):
            left -= len(piece)
            if left < 0:
                break
            yield piece
    except _DAMAGED as error:
        raise refusal(archive, member.name, f"its content is damaged: {error}") from error
    if left:
        why = "longer" if left < 0 else "shorter"
        raise refusal(archive, member.name, f"its content is {why} than its {member.size:,} bytes")
