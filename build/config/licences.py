"""Licences of what is in the image: `licences.toml` and the licence files it was written from.

Who adds a module reads its licence; what was read is fixed by hash, so a new module or a changed
text stops the build.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.core import digest
from build.core.errors import BuildFailed, UserError
from build.core.paths import DATA

TABLE = DATA / "licences.toml"

_NAME = re.compile(r"(un)?licen[cs]e|copying|copyright|notice|patents", re.IGNORECASE)
_CODE = {".go", ".s", ".c", ".h", ".py"}
_ATOM = re.compile(r"[A-Za-z0-9.+-]+(?: WITH [A-Za-z0-9.-]+)?")


@dataclass(frozen=True)
class Licence:
    """One row: an SPDX expression, {licence file: sha256} that it was read from, the reason."""

    expression: str
    files: Mapping[str, str]
    why: str = ""


def load(path: Path = TABLE) -> dict[str, Licence]:
    """Return {component: licence}. Raises UserError naming a row that is incomplete."""
    try:
        rows = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"cannot read the licences in {path}", why=str(error)) from error
    return {name: _licence(name, row, path.name) for name, row in rows.items()}


def _licence(name: str, row: Any, where: str) -> Licence:
    known = isinstance(row, dict) and row.keys() <= {"licence", "files", "why"}
    sums = row.get("files", {}) if known else None
    if (
        not known
        or not isinstance(row.get("licence"), str)
        or not row["licence"]
        or not isinstance(sums, dict)
        or not all(re.fullmatch(r"[0-9a-f]{64}", str(sha256)) for sha256 in sums.values())
        or not (sums or row.get("why"))
    ):
        raise UserError(
            f"the licence of '{name}' in {where} is incomplete",
            why="it needs `licence`, and `files` with their sha256 or a `why`; nothing else",
        )
    return Licence(row["licence"], sums, row.get("why", ""))


def files(root: Path, folders: Iterable[Path] = ()) -> dict[str, Path]:
    """Return {relative name: path} of the licence files that hold for code in these folders.

    Those are the files in `root`, in each folder, and in the folders between.
    """
    places = {root}
    for folder in folders:
        places |= {folder, *(p for p in folder.parents if p.is_relative_to(root))}
    found = [
        path
        for place in places
        for path in place.iterdir()
        if _NAME.match(path.name) and path.suffix not in _CODE and path.is_file()
    ]
    return {str(path.relative_to(root)): path for path in sorted(found)}


def check(found: Mapping[str, Mapping[str, Path]], table: Mapping[str, Licence]) -> None:
    """Compare {component: its licence files} with the table.

    Raises BuildFailed that names every component without a row and every file that is new, changed
    or gone, with the lines that the table should have.
    """
    faults: list[str] = []
    wanted: list[str] = []
    for name, paths in sorted(found.items()):
        sums = {file: digest.of_file(path) for file, path in paths.items()}
        row = table.get(name)
        if row is None:
            wrong = ["is not in the table"]
        else:
            wrong = [
                f"{file} is {'new' if file not in row.files else 'changed'}"
                for file, sha256 in sums.items()
                if row.files.get(file) != sha256
            ]
            # Files deeper down hold for packages that another platform may not need.
            wrong += [f"{f} is gone" for f in row.files if "/" not in f and f not in sums]
        if wrong:
            faults.append(f"{name}: {', '.join(wrong)}")
            body = ", ".join(f'"{file}" = "{sha256}"' for file, sha256 in sums.items())
            spdx = row.expression if row else "?"
            wanted.append(f'["{name}"]\nlicence = "{spdx}"\nfiles = {{ {body} }}')
    if faults:
        raise BuildFailed(
            "the licences of what goes into the image are not all known",
            why="; ".join(faults),
            cure="read the files, then correct build/data/licences.toml (licence: SPDX):\n"
            + "\n".join(wanted),
        )


def conjunction(expressions: Iterable[str]) -> str:
    """Return the SPDX expression of a work that all these licences hold for."""
    atoms: set[str] = set()
    for expression in expressions:
        for part in re.split(r" AND ", expression):
            if not _ATOM.fullmatch(part):
                raise UserError(f"'{expression}' is no conjunction of SPDX licences")
            atoms.add(part)
    return " AND ".join(sorted(atoms))
