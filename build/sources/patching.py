"""Laying a folder of patches over a source tree: all of it or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from build.config import schema
from build.core import digest
from build.core.errors import BuildFailed
from build.sources import constraints, diffs
from build.sources.archives import mode_of


def patch_files(folder: Path) -> list[Path]:
    """Return all files of a patch folder, sorted."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.rglob("*") if path.is_file())


def patches_identity(folder: Path) -> dict[str, str]:
    """Return {path: sha256} of a patch folder, for the key of what is made from it."""
    return {str(path.relative_to(folder)): digest.of_file(path) for path in patch_files(folder)}


class _Changes:
    """What a tree will be: files by their names in it, None for one that is removed."""

    def __init__(self, tree: Path) -> None:
        self._tree = tree
        self._made: dict[str, bytes | None] = {}

    def _place(self, name: str) -> Path:
        place = self._tree
        for part in Path(name).parts:
            place = place / part
            if place.is_symlink():
                raise ValueError(f"{place.relative_to(self._tree)} is a link")
        return place

    def exists(self, name: str) -> bool:
        """Whether there is such a file or folder."""
        if name in self._made:
            return self._made[name] is not None
        return self._place(name).exists()

    def read(self, name: str) -> bytes | None:
        """Return a file's content, None if there is none. Raises ValueError for a folder."""
        if name in self._made:
            return self._made[name]
        place = self._place(name)
        if place.exists() and not place.is_file():
            raise ValueError("it is no file")
        return place.read_bytes() if place.exists() else None

    def write(self, name: str, content: bytes | None) -> None:
        """Remember a file's new content."""
        self._made[name] = content

    def commit(self) -> list[str]:
        """Bring the changes into the tree and return the names, in their order."""
        for name, content in self._made.items():
            place = self._place(name)
            if content is None:
                place.unlink(missing_ok=True)
                continue
            mode = place.stat().st_mode & 0o777 if place.exists() else mode_of(content)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
            place.chmod(mode)
        return list(self._made)


CONSTRAINTS = "constraints.toml"
"""{file: condition to add to its build constraint}, in a patch folder."""
_CONDITIONS = schema.table(schema.text(r"[\w!&|() ]+", "a build constraint"), r"\S+", "a file", 1)


@dataclass(frozen=True)
class Placed:
    """Where a hunk is by its patch, and where it really stood; lines from 1, 0 for a constraint."""

    patch: Path
    file: str
    stated: int
    found: int


def apply_patches(tree: Path, folder: Path, *, commit: bool = True) -> list[Placed]:
    """Lay a patch folder over a source tree, or only try to; returns where all hunks stood.

    `new/` holds files to add, which must not exist yet; `*.patch` are unified diffs, of git or of
    `diff -u`, applied in the order of their names and without fuzz; `constraints.toml` says which
    Go files get a condition more. Raises BuildFailed naming the patch that does not fit; the tree
    is then as it was.
    """
    new, changes = folder / "new", _Changes(tree)
    placed: list[Placed] = []
    for path in patch_files(folder):
        if path.suffix == ".patch":
            placed += _apply(changes, path)
        elif path == folder / CONSTRAINTS:
            placed += _constrain(changes, path)
        elif path.is_relative_to(new):
            name = str(path.relative_to(new))
            if changes.exists(name):
                raise BuildFailed(
                    f"patch {path.relative_to(folder.parent)} does not apply",
                    why=f"the sources have a file {name} of their own now",
                    cure="see whether upstream does the same now; else rename ours",
                )
            changes.write(name, path.read_bytes())
    if commit:
        changes.commit()
    return placed


def _misfit(patch: Path, name: str, error: Exception) -> BuildFailed:
    return BuildFailed(
        f"patch {patch.name} does not apply to {name}",
        why=str(error),
        cure="what it changes is not what it was: read the new file, make the patch again",
    )


def _laid(changes: _Changes, patch: Path) -> Iterator[tuple[str, diffs.Diff, diffs.Diff]]:
    """Apply a patch; yield for each file its path and the diff, as stated and as it stood there."""
    for diff in diffs.parse(patch.read_bytes(), patch.name):
        name = diff.after.name or diff.before.name
        try:
            name = diffs.place_of(diff, changes.exists)
            content = changes.read(name)
            found = diffs.placed(diff, content)
            changes.write(name, diffs.apply(found, content))
        except (ValueError, OSError) as error:
            raise _misfit(patch, name, error) from error
        yield name, diff, found


def _apply(changes: _Changes, patch: Path) -> list[Placed]:
    return [
        Placed(patch, name, stated.at + 1, found.at + 1)
        for name, before, after in _laid(changes, patch)
        for stated, found in zip(before.hunks, after.hunks, strict=True)
    ]


def _constrain(changes: _Changes, table: Path) -> list[Placed]:
    placed = []
    for name, condition in schema.read(table, _CONDITIONS).items():
        try:
            content = changes.read(name)
            if content is None:
                raise ValueError("there is no such file")
            changes.write(name, constraints.add(content.decode(), condition).encode())
        except (ValueError, OSError) as error:
            raise _misfit(table, name, error) from error
        placed.append(Placed(table, name, 0, 0))
    return placed


def renumber(tree: Path, folder: Path) -> None:
    """Write the patches of a folder with the line numbers that they have in an unpatched tree.

    Raises BuildFailed if one does not fit; none is changed then.
    """
    changes, written = _Changes(tree), dict[Path, bytes]()
    for path in patch_files(folder):
        if path.suffix == ".patch":
            found = [found for _, _, found in _laid(changes, path)]
            written[path] = diffs.renumber(path.read_bytes(), found)
    for path, text in written.items():
        if text != path.read_bytes():
            path.write_bytes(text)
