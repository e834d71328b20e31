"""Unpacking what was downloaded, and laying our patches over it."""

from __future__ import annotations

import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from build.core import digest
from build.core.errors import BuildFailed

_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, gzip.BadGzipFile)
_EXECUTABLE = (b"\x7fELF", b"#!")


def _members(archive: Path) -> Iterator[tuple[str, bytes, str]]:
    """Yield (name, content, link target) of every file and link; directories come with them."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as bundle:
            for info in bundle.infolist():
                if not info.is_dir():
                    yield info.filename, bundle.read(info), ""
        return
    with tarfile.open(archive) as bundle:
        for member in bundle:
            if member.isfile() or member.islnk():
                stream = bundle.extractfile(member)
                assert stream is not None
                yield member.name, stream.read(), ""
            elif member.issym():
                yield member.name, b"", member.linkname


def unpack(archive: Path, out: Path, strip: int) -> None:
    """Unpack a zip or tar into `out`, dropping `strip` leading directories.

    Modes come from the content, not from the archive or the umask (zips made by the go command
    carry none): what starts as an ELF file or a script is 0755, all else 0644. Raises BuildFailed
    for a damaged archive or one with a path that leads outside.
    """
    made: set[Path] = set()
    try:
        for name, content, link in _members(archive):
            parts = PurePosixPath(name).parts[strip:]
            if not parts:
                continue
            if ".." in parts or PurePosixPath(name).is_absolute():
                raise BuildFailed(f"{archive.name} holds the path {name}, which leads outside")
            path = out.joinpath(*parts)
            if path.parent not in made:
                path.parent.mkdir(parents=True, exist_ok=True)
                if not path.parent.resolve().is_relative_to(out.resolve()):
                    raise BuildFailed(f"{archive.name} holds the path {name}, which leads outside")
                made.add(path.parent)
            if link:
                path.symlink_to(link)
            else:
                path.write_bytes(content)
                path.chmod(0o755 if content.startswith(_EXECUTABLE) else 0o644)
    except (*_DAMAGED, EOFError, ValueError) as error:
        raise BuildFailed(f"{archive} cannot be unpacked", why=str(error)) from error


def patch_files(folder: Path) -> list[Path]:
    """Return all files of a patch folder, sorted."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.rglob("*") if path.is_file())


def patches_identity(folder: Path) -> dict[str, str]:
    """Return {path: sha256} of a patch folder, for the key of what is made from it."""
    return {str(path.relative_to(folder)): digest.of_file(path) for path in patch_files(folder)}


def apply_patches(tree: Path, folder: Path) -> None:
    """Lay a patch folder over a source tree.

    `new/` holds files to add, which must not exist yet; `*.patch` are unified diffs with a/ and b/
    prefixes, applied in the order of their names and without fuzz. Raises BuildFailed naming the
    patch that does not fit.
    """
    new = folder / "new"
    for path in patch_files(folder):
        if path.suffix == ".patch":
            apply_patch(tree, path)
        elif path.is_relative_to(new):
            place = tree / path.relative_to(new)
            if place.exists():
                raise BuildFailed(
                    f"patch {path.relative_to(folder.parent)} does not apply",
                    why=f"the sources have a file {path.relative_to(new)} of their own now",
                    cure="see whether upstream does the same now; else rename ours",
                )
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())
            place.chmod(0o644)


def apply_patch(tree: Path, patch: Path) -> list[str]:
    """Apply one unified diff to a file below `tree` and return the paths it changed.

    One diff for a file: the parser runs several together unless git wrote them.
    Every context line must be where the diff says. Raises BuildFailed naming patch and file.
    """
    # Imported here: only needed when sources are unpacked, which is rare.
    import whatthepatch
    from whatthepatch.exceptions import WhatThePatchException

    changed = []
    for diff in whatthepatch.parse_patch(patch.read_text()):
        # The parser drops the a/ and b/ prefixes itself.
        if diff.header is None or not diff.changes:
            raise BuildFailed(f"patch {patch.name} holds a diff that names no file or no line")
        name = PurePosixPath(diff.header.new_path)
        place = tree / name
        try:
            lines = place.read_text().split("\n")
            result = whatthepatch.apply_diff(diff, lines)
        except (WhatThePatchException, OSError) as error:
            raise BuildFailed(
                f"patch {patch.name} does not apply to {name}",
                why=str(error),
                cure="the sources changed: make the patch again from the new file",
            ) from error
        place.write_text("\n".join(result))
        changed.append(str(name))
    if not changed:
        raise BuildFailed(f"patch {patch.name} holds no diff")
    return changed
