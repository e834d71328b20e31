"""Licences of what is in the image: `licences.toml` and the licence files it was written from.

Who adds a module reads its licence; what was read is fixed by the sum of its words, so a new module
or changed words stop the build. Another holder or year of a copyright does not, nor another layout:
the SBOM has the files as they are.
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
    """One row: an SPDX expression, {licence file: sum of its words} that it was read from, why."""

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


_HOLDER = re.compile(
    r"[\W_]*(copyright\b|\(c\)|©)(?=.*(\(c\)|©|\b(19|20)\d\d\b|[{\[]yyyy[}\]]))", re.IGNORECASE
)
_NAMED = re.compile(
    r"<[^>]*>|\[[^]]*]|{[^}]*}|https?://\S+|all rights reserved|[^\W\d_]*[A-Z][\w.-]*"
)
_OF_NAMES = frozenset(
    "a all and authors by c contributors copyright for its of others present the".split()
)
_TERMS = re.compile(
    r"\b(licen[cs]\w*|permi\w+|grant\w*|may|must|shall|should|can|cannot|not|no|only|provided|if|"
    r"unless|except|without|under|subject|patents?|use[ds]?|redistribut\w+|warrant\w+)\b",
    re.IGNORECASE,
)


def _names_a_holder(line: str) -> bool:
    """Say whether a line is no more than a copyright: a sentence has words that no name has."""
    if not _HOLDER.match(line) or _TERMS.search(line):
        return False
    words = re.findall(r"[^\W\d_]+", _NAMED.sub(" ", line))
    return len(set(words) - _OF_NAMES) <= 2


_AROUND = re.compile(
    r"\(c\)|©|\bcopyright\b|\ball rights reserved\b|\b(19|20)\d\d\b(\s*[-–,]\s*(present\b)?)?",
    re.IGNORECASE,
)


def holders(text: str) -> list[str]:
    """Return who holds the copyright, by the lines that name no more than that, without years."""
    named = [_AROUND.sub(" ", line) for line in text.splitlines() if _names_a_holder(line)]
    bare = [" ".join(line.split()).strip(" -–,;:.*#/") for line in named]
    # A template's placeholder is nobody.
    return list(
        dict.fromkeys(line for line in bare if re.search(r"\w", line) and line[0] not in "[{")
    )


def identity(text: str) -> str:
    """Return the sum of what a licence says: its words, without the lines that only name a holder.

    A line that may say more than that stays: then another text is another licence.
    """
    said = [line for line in text.splitlines() if not _names_a_holder(line)]
    words = re.sub("all rights reserved", " ", " ".join(said), flags=re.IGNORECASE)
    return digest.of_bytes(" ".join(re.findall(r"\w+", words.casefold())).encode())


def identity_of(path: Path) -> str:
    """Return the sum of what a licence file says."""
    return identity(path.read_text(errors="replace"))


def check(found: Mapping[str, Mapping[str, Path]], table: Mapping[str, Licence]) -> None:
    """Compare {component: its licence files} with the table.

    Raises BuildFailed that names every component without a row and every file that is new, changed
    or gone, with the lines that the table should have.
    """
    faults: list[str] = []
    wanted: list[str] = []
    for name, paths in sorted(found.items()):
        sums = {file: identity_of(path) for file, path in paths.items()}
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
