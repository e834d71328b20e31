"""What was proved, from the job that has no secrets to the one that signs and publishes it.

One tar of dist/. Its digest goes another way than the file, as an output of the job, so that the
store in between need not be trusted.
"""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from build.config.targets import targets
from build.core import digest, marks
from build.core.errors import GateFailed, UserError
from build.core.paths import ROOT, dist_dir, work_dir
from build.core.version import Release
from build.gates import records
from build.image import dist, record
from build.registry.repository import parse_repository
from build.router import bootstrap, render
from build.sources import archives

REPORT = "report.md"
"""Sizes and canaries, the text of the forge's release; beside the images in dist/."""


def path() -> Path:
    """Return where the file lies in both jobs."""
    return work_dir() / "handover.tar"


def _names() -> list[str]:
    made = dist.read_record()
    proofs = [
        records.path_of(name, kind).name for name in targets() for kind in records.kinds_for(name)
    ]
    names = [*made, *proofs, dist.RECORD, dist.SUMS]
    if not made or (missing := [name for name in names if not (dist_dir() / name).exists()]):
        raise UserError(
            "there is nothing whole to hand over",
            why=f"not in {dist_dir()}: {', '.join(missing)}" if made else "nothing is built",
            cure="nox -s prove",
        )
    return names


def pack(report: str) -> str:
    """Write what was proved, and the report on it, into one file and return its digest.

    Raises UserError if something is missing, GateFailed if a file is not what was built.
    """
    names = _names()
    dist.require_unchanged()
    record.keep(REPORT, report)
    marks.make_folder(path().parent)
    fresh = path().with_suffix(".fresh")
    with tarfile.open(fresh, "w", format=tarfile.PAX_FORMAT) as bundle:
        for name in sorted([*names, REPORT]):
            bundle.add(dist_dir() / name, arcname=name)
    fresh.replace(path())
    return f"sha256:{digest.of_file(path())}"


def unpack(wanted: str) -> Path:
    """Let dist/ be what the file holds and return it.

    `wanted` is the digest that `pack` returned. Raises UserError if it or the file is missing or
    if there is something in dist/ already, GateFailed if the file is another one.
    """
    if not wanted.startswith("sha256:"):
        raise UserError(
            "no digest says what was proved",
            why="the job that proves has left none: it was stopped, or did not run",
            cure="run it again",
        )
    if not path().is_file():
        raise UserError(f"{path()} is not there", cure="fetch it from the job that proved it")
    if (found := f"sha256:{digest.of_file(path())}") != wanted:
        raise GateFailed(
            "what was handed over is not what was proved", why=f"wanted {wanted}, got {found}"
        )
    if dist_dir().exists() and any(dist_dir().iterdir()):
        raise UserError(f"{dist_dir()} is not empty", cure="invoke clean")
    fresh = dist_dir().with_name(f"{dist_dir().name}.fresh")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    archives.unpack(path(), fresh, 0)
    record.adopt(fresh)
    fresh.replace(dist_dir())
    dist.require_unchanged()
    return dist_dir()


def missing(tag: str, image: str, files: Collection[str]) -> list[str]:
    """Return what of a release is not there: `image` is its digest in the registry, "" for none.

    `files` are the names that the forge's release of the tag has.
    """
    lacking = [] if image else [f"the image {tag}"]
    # Not the bootstrap: releases before it have none, and it goes up before the others.
    wanted = [dist.SUMS, dist.SIGNATURE, *(f"{name}.rsc" for name in render.SCRIPTS)]
    return lacking + [name for name in wanted if name not in files]


def files_of(release: Release) -> tuple[list[Path], str]:
    """Return the files of dist/ that belong to a release, and the text that goes with them.

    Raises UserError if dist/ is of another release or its report is missing, GateFailed if a file
    is not what was built.
    """
    dist.require_unchanged()
    made = dist.read_record()
    if odd := sorted({str(row.get("tag")) for row in made.values()} - {release.tag}):
        raise UserError(
            f"{dist_dir()} is not of {release.tag}",
            why=f"it holds {', '.join(odd)}",
            cure="nox -s prove, at the commit of the tag",
        )
    try:
        text = (dist_dir() / REPORT).read_text()
    except OSError as error:
        raise UserError(
            f"{dist_dir() / REPORT} is not there", why=str(error.strerror), cure="nox -s prove"
        ) from error
    names = sorted([*made, dist.SUMS, dist.SIGNATURE])
    return [path for name in names if (path := dist_dir() / name).is_file()], text


def texts(tag: str, repository: str) -> dict[str, str]:
    """Return the router's scripts for a release, by file name.

    They follow `repository` (registry/owner/name); "" leaves the placeholder for people to fill.
    """
    values = render.Values(release=tag)
    if repository:
        values = replace(values, image=parse_repository(repository).text)
    folder = ROOT / "routeros" / "templates"
    made = {name: render.render(name, folder, None, values) for name in render.SCRIPTS}
    made[bootstrap.NAME] = bootstrap.text(made, folder, tag)
    return {f"{name}.rsc": text for name, text in made.items()}


def scripts(tag: str, repository: str) -> list[Path]:
    """Write the router's scripts for a release and return their paths."""
    folder = work_dir() / "scripts"
    marks.make_folder(folder)
    return render.write(folder, texts(tag, repository))
