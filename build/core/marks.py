"""The mark by which a folder of logs is known as ours; `invoke clean` asks for it."""

from __future__ import annotations

from pathlib import Path

from build.core.paths import work_dir

MARK = ".mikrotik-tailscale-work"
TEXT = """This folder belongs to mikrotik-tailscale: all that is in it was written by its commands.
`invoke clean` deletes it with everything in it.
"""


def make_folder(folder: Path) -> None:
    """Make a folder for logs with its parents; a work folder that is new or empty gets our mark."""
    work = work_dir()
    if folder.is_relative_to(work):
        try:
            empty = not any(work.iterdir())
        except FileNotFoundError:
            empty = True
        if empty:
            work.mkdir(parents=True, exist_ok=True)
            (work / MARK).write_text(TEXT)
    folder.mkdir(parents=True, exist_ok=True)


def marked(folder: Path) -> bool:
    """Say whether a folder carries the mark that `make_folder` gives."""
    mark = folder / MARK
    try:
        return not mark.is_symlink() and mark.read_text() == TEXT
    except (OSError, ValueError):
        return False
