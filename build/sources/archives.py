"""Unpacking what was downloaded into a folder, and out of it nothing.

Links are kept and nothing is written through one: they are made when everything else is there, and
only if each stays in the folder whichever way the others lead.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path, PurePosixPath

from build.core.errors import BuildFailed
from build.sources import members
from build.sources.members import Member

_EXECUTABLE = (b"\x7fELF", b"#!")

NAME, PATH = 255, 1024
"""Bytes of one part of a name, and of a whole one."""

STEPS = 40
"""Links on one way, as the kernel counts them; more is a circle."""

Parts = tuple[str, ...]


class _Tree:
    """A folder in the making, and what is where in it: file, folder or link."""

    def __init__(self, archive: Path, folder: Path, strip: int) -> None:
        self._archive, self._folder, self._strip = archive, folder, strip
        self._kinds: dict[Parts, str] = {}
        self._links: dict[Parts, Member] = {}
        self._files: dict[Parts, Path] = {}
        """Files by their whole names in the archive, for hard links."""

    def add(self, member: Member) -> None:
        """Write a member, or remember a link. Raises BuildFailed for one that is not taken."""
        whole = self._parts(member, member.name)
        parts = whole[self._strip :]
        if not parts:
            return
        for end in range(1, len(parts)):
            above = parts[:end]
            if self._kinds.setdefault(above, "folder") != "folder":
                text = "/".join(above)
                raise self._refused(member, f"{text} is a {self._kinds[above]} and no folder")
        before = self._kinds.get(parts)
        if before and not before == member.kind == "folder":
            raise self._refused(member, f"there is a {before} of that name already")
        self._kinds[parts] = "file" if member.kind == "twin" else member.kind
        if member.kind == "folder":
            return
        if member.kind == "link":
            self._links[parts] = member
            self._resolve(member, parts)
            return
        path = self._folder.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        if member.kind == "twin":
            source = self._files.get(self._parts(member, member.target))
            if source is None:
                why = f"it is a hard link to {member.target[:200]!r}, which is no file before it"
                raise self._refused(member, why)
            shutil.copyfile(source, path)
            path.chmod(source.stat().st_mode & 0o777)
        else:
            self._write(member, path)
        self._files[whole] = path

    def _write(self, member: Member, path: Path) -> None:
        head = b""
        with path.open("xb") as sink:
            for piece in members.pieces(self._archive, member):
                head = head or piece[:4]
                sink.write(piece)
        path.chmod(mode_of(head))

    def link(self) -> None:
        """Make the links. Raises BuildFailed if one leads out of the folder.

        One that did not when it was added may do so by those that came after it.
        """
        for parts, member in self._links.items():
            self._resolve(member, parts)
        for parts, member in self._links.items():
            path = self._folder.joinpath(*parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(member.target)

    def _resolve(self, member: Member, parts: Parts) -> None:
        """Walk where a link leads as the kernel does, through all other links."""
        rest, steps = list(reversed(parts)), 0
        here: list[str] = []
        while rest:
            part = rest.pop()
            if part == "..":
                if not here:
                    raise self._refused(member, f"{self._target(member)} which leads outside")
                here.pop()
                continue
            here.append(part)
            if through := self._links.get(tuple(here)):
                here.pop()
                steps += 1
                target = PurePosixPath(through.target)
                if steps > STEPS:
                    raise self._refused(member, f"{self._target(member)} which leads in a circle")
                if target.is_absolute():
                    raise self._refused(member, f"{self._target(member)} which leads outside")
                if not target.parts or _odd(through.target):
                    raise self._refused(member, f"{self._target(member)} that cannot be")
                rest += reversed(target.parts)

    def _target(self, member: Member) -> str:
        return f"its target {member.target[:200]!r} is a path"

    def _parts(self, member: Member, name: str) -> Parts:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise self._refused(member, f"{name[:200]!r} is a path which leads outside")
        if _odd(name):
            raise self._refused(member, "its name has characters that no name should have")
        long = [part for part in path.parts if len(part.encode()) > NAME]
        if long or len(name.encode()) > PATH:
            raise self._refused(member, f"its name is longer than {NAME} or {PATH} bytes")
        return path.parts

    def _refused(self, member: Member, why: str) -> BuildFailed:
        return members.refusal(self._archive, member.name, why)


def mode_of(head: bytes) -> int:
    """Return the mode of a file that begins like this: programs and scripts can be run."""
    return 0o755 if head.startswith(_EXECUTABLE) else 0o644


def _odd(name: str) -> bool:
    """Whether a name has a backslash, control characters, or bytes that are no UTF-8."""
    return any(c in "\\\x7f" or c < " " or "\ud800" <= c <= "\udfff" for c in name)


def unpack(archive: Path, out: Path, strip: int) -> None:
    """Unpack a zip or tar into the new or empty folder `out`, dropping `strip` leading directories.

    Modes come from the content, not from the archive or the umask (zips made by the go command
    carry none): what starts as an ELF file or a script is 0755, all else 0644. Empty directories
    are left out, hard links become files. Raises BuildFailed for an archive that is damaged or too
    large, and for a member that leads outside, is there twice, or is no file, folder or link;
    `out` is then as it was.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.exists() and any(out.iterdir()):
        raise BuildFailed(f"{archive.name} cannot be unpacked into {out}", why="it is not empty")
    # Beside it, so that what is whole is only renamed.
    room = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        tree = _Tree(archive, room, strip)
        for member in members.read(archive):
            tree.add(member)
        tree.link()
        out.mkdir(exist_ok=True)
        for child in sorted(room.iterdir()):
            child.rename(out / child.name)
    finally:
        shutil.rmtree(room, ignore_errors=True)
