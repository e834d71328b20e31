"""Telling people what goes on: steps with their time on stderr, results on stdout.

Three faces: `live` (a terminal: spinners and bytes), `plain` (a line when a step ends) and `quiet`
(warnings only). Nothing here decides anything.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from build.core import redact

if TYPE_CHECKING:
    from rich.progress import Progress

UNKEYED = "it tells people what goes on and decides nothing"

_lock = threading.Lock()
_mode = "plain"
_progress: Progress | None = None
_details = False

Advance = Callable[[int], None]


def configure(mode: str = "auto", *, details: bool = False) -> None:
    """Choose the face: `live`, `plain`, `quiet`, or `auto` (live on a terminal, else plain).

    With `details` reasons are told too: what a stage was made from before and now.
    """
    global _mode, _details
    _details = details
    if mode == "auto":
        dumb = os.environ.get("TERM", "dumb") == "dumb" or "CI" in os.environ
        mode = "live" if sys.stderr.isatty() and not dumb else "plain"
    _mode = mode


@contextmanager
def session() -> Iterator[None]:
    """Own the terminal for one command, so that steps of several threads can be drawn."""
    global _progress
    if _mode != "live":
        yield
        return
    # Imported here because it costs 60 ms that a quiet or piped command need not pay.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = (
        SpinnerColumn(),
        TextColumn("{task.fields[scope]:>6}"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        DownloadColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        _progress = progress
        try:
            yield
        finally:
            _progress = None


def _print(line: str) -> None:
    line = redact.text(line)
    with _lock:
        if _progress is not None:
            _progress.console.print(line, markup=False, highlight=False)
        else:
            print(line, file=sys.stderr, flush=True)


@contextmanager
def step(scope: str, title: str, total: int | None = None) -> Iterator[Advance]:
    """Show a step while its block runs; yields a function that takes bytes done since last told.

    `scope` is the platform or source it belongs to; `total` the expected bytes, if known.
    """
    start = time.monotonic()
    row = None
    if _progress is not None:
        row = _progress.add_task(redact.text(title), scope=scope, total=total)

    def advance(count: int) -> None:
        if _progress is not None and row is not None:
            _progress.advance(row, count)

    try:
        yield advance
    except BaseException:
        if _mode != "quiet":
            _print(f"✕ {scope:>6}  {title}  ({time.monotonic() - start:.1f} s)")
        raise
    finally:
        if _progress is not None and row is not None:
            _progress.remove_task(row)
    seconds = time.monotonic() - start
    if _mode != "quiet":
        _print(f"✓ {scope:>6}  {title}  ({seconds:.1f} s)")


def note(scope: str, text: str) -> None:
    """Tell something that is neither a step nor a problem."""
    if _mode != "quiet":
        _print(f"  {scope:>6}  {text}")


def detail(scope: str, text: str) -> None:
    """Tell a reason, if reasons are asked for."""
    if _details:
        _print(f"  {scope:>6}  {text}")


def warn(text: str) -> None:
    """Tell a problem that does not stop the work; said even when quiet."""
    _print(f"warning: {text}")
