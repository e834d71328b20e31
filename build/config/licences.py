"""Licences of what is in the image: `licences.toml` and the licence files it was written from.

Who adds a module reads its licence; what was read is fixed by hash, so a new module or a changed
text stops the build.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from build.config import schema
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


_SCHEMA = schema.table(
    schema.row(
        {"licence": schema.text(r"\(?[A-Za-z0-9][A-Za-z0-9.+() -]*", "an SPDX expression")},
        {
            "files": schema.table(schema.text(r"[0-9a-f]{64}", "64 lower-case hex digits")),
            "why": schema.text(),
        },
    ),
    r"\S(.*\S)?",
    "a component's name",
    least=1,
)


def load(path: Path = TABLE) -> dict[str, Licence]:
    """Return {component: licence}. Raises UserError naming every fault."""
    rows = schema.read(path, _SCHEMA)
    faults = [
        f"{name}: wanted `files` with their sha256, or a `why`, got neither"
        for name, row in rows.items()
        if not (row.get("files") or row.get("why"))
    ]
    schema.require(faults, path.name)
    return {
        name: Licence(row["licence"], row.get("files", {}), row.get("why", ""))
        for name, row in rows.items()
    }


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
