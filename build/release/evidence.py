"""What a CI job leaves for the next one: a line that was produced, not a status that was reported.

A runner that is stopped can report success (Gitea's runner 1.0.8 in host mode does). So each job
writes, as its last act, which commit it has proved, and the next one asks for that.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Mapping, Sequence

from build.core import marks
from build.core.errors import GateFailed, UserError
from build.core.paths import work_dir

OUTPUT = "GITHUB_OUTPUT"
"""Names the file that takes a step's outputs. Woodpecker has none: there it is a folder of ours."""

NEEDS = "MT_NEEDS"
"""The jobs before this one as JSON, the `needs` context of Actions."""

LONGEST = 60_000
"""Characters of an output; forges take a comment of 65,535."""


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def _named(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UserError(
            f"{name!r} is not the name of a job", cure="letters, digits, '-' and '_', such as tests"
        )
    return name


def write(name: str, value: str, environ: Mapping[str, str] = os.environ) -> None:
    """Leave a value under a name, as an output of this step.

    Raises UserError if the value is too long or the name is none.
    """
    _named(name)
    if len(value) > LONGEST:
        raise UserError(f"{name} has {len(value):,} characters, more than the {LONGEST:,} allowed")
    if file := environ.get(OUTPUT):
        # A line that nobody can guess ends the value, so that no value ends itself.
        end = secrets.token_hex(16)
        with open(file, "a", encoding="utf-8") as stream:  # noqa: PTH123 - appended, by its name
            stream.write(f"{name}<<{end}\n{value}\n{end}\n")
        return
    place = work_dir() / "evidence" / name
    marks.make_folder(place.parent)
    place.write_text(value)


def read(name: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return what the job `name` left under its own name, "" if nothing. Raises UserError."""
    _named(name)
    if NEEDS in environ:
        try:
            job = json.loads(environ[NEEDS])[name]
            return str(job["outputs"].get(name, "")) if job["result"] == "success" else ""
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UserError(
                f"{NEEDS} says nothing of the job {name}",
                cure="name it in the job's `needs`, and give it toJSON(needs)",
            ) from None
    try:
        return (work_dir() / "evidence" / name).read_text(errors="replace")
    except OSError:
        return ""


def require(names: Sequence[str], commit: str, environ: Mapping[str, str] = os.environ) -> None:
    """Raise GateFailed unless each job has proved this commit; UserError if none is named."""
    if not names:
        raise UserError("which jobs?", cure="name them: --require tests --require images")
    missing = []
    for name in names:
        found = read(name, environ)
        if found != commit:
            missing.append(f"{name}: {found[:40] or 'nothing'}")
    if missing:
        raise GateFailed(
            f"not every job has proved {commit[:12]}",
            why=", ".join(missing),
            cure="run the jobs again: one that was stopped may have reported success",
        )
