"""Patches: unified diffs of git and of `diff -u`, whose every line has to be found.

A hunk goes where the lines it wants stand. Line numbers only say where to look first: what moved
is found again if there is one such place, what changed is shown.

Format: "Detailed Description of Unified Format" in the manual of GNU diffutils; git-diff(1).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import PurePosixPath

from build.core.errors import BuildFailed

_HUNK = re.compile(rb"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@")
_UNKNOWN = re.compile(
    rb"(?:rename|copy|old mode|new mode) |GIT binary patch|(?:new|deleted) file mode (?!100)"
)
_BINARY = re.compile(rb"Binary files .* differ\s*$")
_STAMP = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.0+)? ([+-]\d{4})")


@dataclass(frozen=True)
class Hunk:
    """Lines `old` that stand at index `at` (from 0) of a file, and `new` in their place."""

    at: int
    old: list[bytes]
    new: list[bytes]


@dataclass(frozen=True)
class Side:
    """What a diff says of its file before or after: the name, "" for /dev/null; is it there?"""

    name: str
    there: bool


@dataclass(frozen=True)
class Diff:
    """The change of one file."""

    before: Side
    after: Side
    hunks: list[Hunk] = field(default_factory=list)


def parse(text: bytes, patch: str) -> list[Diff]:
    """Return the diffs of a patch. Raises BuildFailed for what cannot be understood whole."""
    lines = _lines(text)
    diffs: list[Diff] = []
    # `git`: within the head of a git diff whose lines have not come yet; `end`: of the last hunk.
    git, end, at = False, -1, 0
    while at < len(lines):
        line = lines[at]
        if (git and _UNKNOWN.match(line)) or _BINARY.match(line):
            raise _bad(patch, at, "is a change that only git can make")
        if line.startswith(b"--- ") and at + 1 < len(lines) and lines[at + 1].startswith(b"+++ "):
            diffs.append(Diff(_side(line, patch, at), _side(lines[at + 1], patch, at + 1)))
            git, at = False, at + 2
            if at == len(lines) or not _HUNK.match(lines[at]):
                raise _bad(patch, at, "should begin the lines of a diff")
        elif match := _HUNK.match(line):
            if not diffs or git:
                raise _bad(patch, at, "belongs to a hunk that names no file")
            hunk, at = _hunk(lines, at + 1, match, patch)
            diffs[-1].hunks.append(hunk)
            end = at
        elif line.startswith(b"@@"):
            raise _bad(patch, at, "is no head of a hunk")
        elif at == end and line[:1] in (b"+", b"-", b" ", b"\\") and line.rstrip() != b"--":
            raise _bad(patch, at, "is one more than its hunk says")
        else:
            if line.startswith(b"diff --git "):
                if git:
                    raise _bad(patch, at, "follows a diff that changes no line")
                git = True
            at += 1
    if git or not diffs:
        raise BuildFailed(f"patch {patch} holds no diff, or one that names no file or no line")
    return diffs


def _bad(patch: str, at: int, why: str) -> BuildFailed:
    return BuildFailed(f"patch {patch} cannot be understood", why=f"line {at + 1} {why}")


def _side(line: bytes, patch: str, at: int) -> Side:
    """Read a line `--- name<tab>time`."""
    try:
        name, _, stamp = line[4:].decode().rstrip("\r\n").partition("\t")
    except UnicodeDecodeError:
        raise _bad(patch, at, "names a file in something else than UTF-8") from None
    if name == "/dev/null":
        return Side("", there=False)
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts:
        raise _bad(patch, at, "names a path which leads outside, or none")
    if name.startswith('"'):
        raise _bad(patch, at, "names a file in quotes, which is not supported")
    # `diff -N` says by the time 0 that there is no such file.
    match = _STAMP.fullmatch(stamp.strip())
    zone = "%Y-%m-%d %H:%M:%S %z"
    missing = match and datetime.strptime(f"{match[1]} {match[2]}", zone).timestamp() == 0
    return Side(str(path), there=not missing)


def _hunk(lines: list[bytes], at: int, head: re.Match[bytes], patch: str) -> tuple[Hunk, int]:
    """Return the hunk whose lines begin at `at`, and where it ends."""
    first, many, _, fresh = (int(word) if word is not None else 1 for word in head.groups())
    old: list[bytes] = []
    new: list[bytes] = []
    while len(old) < many or len(new) < fresh:
        if at >= len(lines):
            raise _bad(patch, at, "is missing: the patch ends within a hunk")
        line = lines[at]
        # Editors take the only space of an empty line away.
        kind, rest = (b" ", line) if line in (b"\n", b"\r\n") else (line[:1], line[1:])
        if kind == b"\\" and (old or new):
            _endless(old, new, lines[at - 1][:1])
        elif kind in (b" ", b"-", b"+"):
            old += [rest] * (kind != b"+")
            new += [rest] * (kind != b"-")
        else:
            raise _bad(patch, at, "is no line of a hunk, which should have more")
        at += 1
    if len(old) > many or len(new) > fresh:
        raise _bad(patch, at - 1, "is one more than its hunk says")
    if at < len(lines) and lines[at].startswith(b"\\"):
        _endless(old, new, lines[at - 1][:1])
        at += 1
    # Where there are no lines, the number is that of the line before.
    return Hunk(first - 1 if many else first, old, new), at


def _endless(old: list[bytes], new: list[bytes], kind: bytes) -> None:
    """`\\ No newline at end of file`: take the end off the line before."""
    for side, other in ((old, b"+"), (new, b"-")):
        if side and kind != other:
            side[-1] = side[-1].removesuffix(b"\n")


def placed(diff: Diff, content: bytes | None) -> Diff:
    """Return a diff with each hunk at the line where it stands in a file, None if there is none.

    Raises ValueError with the difference if lines that a hunk wants are not there, or stand
    elsewhere than it says and more than once.
    """
    if content is not None and not diff.before.there:
        raise ValueError("there is such a file already")
    if content is None and diff.before.there:
        raise ValueError("there is no such file")
    lines = _lines(content or b"")
    hunks: list[Hunk] = []
    done = drift = 0
    for hunk in diff.hunks:
        stated, size = hunk.at + drift, len(hunk.old)
        here = [
            at for at in range(done, len(lines) - size + 1) if lines[at : at + size] == hunk.old
        ]
        if stated in here:
            here = [stated]
        if len(here) != 1 or not (size or here == [stated]):
            why = f"stand at {', '.join(str(at + 1) for at in here)}: which is it?"
            if not here:
                why = f"are not there any more:{_difference(lines, hunk.old)}"
            raise ValueError(f"the lines wanted at {hunk.at + 1} {why}")
        hunks.append(replace(hunk, at=here[0]))
        done, drift = here[0] + size, here[0] - hunk.at
    return replace(diff, hunks=hunks)


def _difference(lines: list[bytes], wanted: list[bytes]) -> str:
    """Return the lines of a hunk against those of the file that are most like them."""
    marks, size = set(wanted), len(wanted)
    starts = range(max(1, len(lines) - size + 1))
    best = max(starts, key=lambda at: sum(line in marks for line in lines[at : at + size]))
    old, new = (
        [line.decode(errors="replace").rstrip("\r\n") for line in side]
        for side in (wanted, lines[best : best + size])
    )
    rows = difflib.unified_diff(old, new, "wanted", f"got, from line {best + 1}", lineterm="")
    return "".join(f"\n    {row}" for row in rows)


def apply(diff: Diff, content: bytes | None) -> bytes | None:
    """Return a file's new content, None if it is removed; `content` is None if there is none.

    `diff` is one that `placed` returned for this content. Raises ValueError for a result that no
    file can be.
    """
    lines = _lines(content or b"")
    result: list[bytes] = []
    done = 0
    for hunk in diff.hunks:
        result += lines[done : hunk.at] + hunk.new
        done = hunk.at + len(hunk.old)
    result += lines[done:]
    if any(not line.endswith(b"\n") for line in result[:-1]):
        raise ValueError("a line in its middle would have no end")
    if diff.after.there:
        return b"".join(result)
    if result:
        raise ValueError("it is to be removed and has more lines than the diff")
    return None


def renumber(text: bytes, diffs: Iterable[Diff]) -> bytes:
    """Return a patch with the line numbers of `placed` diffs, all of them in their order."""
    heads: list[bytes] = []
    for diff in diffs:
        shift = 0
        for hunk in diff.hunks:
            old, new = len(hunk.old), len(hunk.new)
            # Where there are no lines, the number is that of the line before.
            first, fresh = hunk.at + bool(old), hunk.at + shift + bool(new)
            heads.append(b"@@ -%d,%d +%d,%d @@" % (first, old, fresh, new))
            shift += new - old
    row = iter(heads)
    return b"".join(
        next(row) + line[match.end() :] if (match := _HUNK.match(line)) else line
        for line in _lines(text)
    )


def _lines(content: bytes) -> list[bytes]:
    lines = [line + b"\n" for line in content.split(b"\n")]
    lines[-1] = lines[-1].removesuffix(b"\n")
    return lines if lines[-1] else lines[:-1]


def place_of(diff: Diff, exists: Callable[[str], bool]) -> str:
    """Return which file of a tree a diff is for; `exists` says which files and folders it has.

    git writes a/ and b/ before a name. `diff` writes what it was given: the name itself, or one in
    a folder that stands for the tree.
    """
    names = [side.name for side in (diff.after, diff.before) if side.name]
    if not names:
        raise ValueError("it names no file")
    if all(name.startswith(("a/", "b/")) for name in names):
        return names[0][2:]
    shorter = [name.partition("/")[2] for name in names if "/" in name]
    for name in (*names, *shorter):
        if exists(name):
            return name
    # A new file: where its folder is.
    folder = names[0].partition("/")[0]
    return names[0] if not shorter or exists(folder) else shorter[0]
