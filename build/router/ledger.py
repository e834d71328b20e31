"""What became of each router, in a file that is whole at any moment, so that a run can go on.

A file beside it is locked while a run works: two at once would try two images on one router.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from build.config import schema
from build.core import redact
from build.core.errors import UserError

FORMAT = 1
DONE, FAILED, STARTED = "done", "failed", "started"

_ROW = schema.row(
    {
        "goal": schema.text(r"[0-9a-f]{64}", "a SHA-256"),
        "outcome": schema.one_of(DONE, FAILED, STARTED),
        "why": schema.text(r"(?s:.*)", "a text"),
        "at": schema.text(r"[0-9T:Z-]+", "a time"),
    }
)
_CHECK = schema.row({"format": schema.one_of(FORMAT), "routers": schema.table(_ROW)})


class Ledger:
    """The rows of a state file; `note` writes it anew, by a temporary name and a rename."""

    def __init__(self, path: Path) -> None:
        """Read the file, or begin an empty one. Raises UserError if it is none of ours."""
        self.path, self._guard = path, threading.Lock()
        self.rows: dict[str, dict[str, Any]] = {}
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        except (ValueError, RecursionError) as error:
            raise self._odd(str(error)) from None
        if faults := _CHECK("", found):
            raise self._odd("; ".join(faults[:5]))
        self.rows = found["routers"]

    def _odd(self, why: str) -> UserError:
        cure = "name another with --state, or delete it: then every router is looked at again"
        return UserError(f"{self.path} is not the state of a deployment", why=why, cure=cure)

    def done(self, name: str, goal: str) -> bool:
        """Say whether a router has been brought to a goal already."""
        row = self.rows.get(name)
        return row is not None and row["outcome"] == DONE and row["goal"] == goal

    def note(self, name: str, goal: str, outcome: str, why: str = "") -> None:
        """Keep what became of a router; on disk when this returns. Raises OSError."""
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        row = {"goal": goal, "outcome": outcome, "why": redact.text(why), "at": at}
        with self._guard:
            self.rows[name] = row
            self._write()

    def _write(self) -> None:
        fresh = self.path.with_name(f"{self.path.name}.new")
        with fresh.open("w", encoding="utf-8") as stream:
            json.dump({"format": FORMAT, "routers": self.rows}, stream, indent=1, sort_keys=True)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(self.path)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other runs away while the block runs. Raises UserError if one works already."""
        # The lock has a file of its own, since the state's is another one after each rename.
        with self.path.with_name(f"{self.path.name}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"another run works with {self.path}",
                    cure="wait until it ends; a run that was killed holds nothing",
                ) from None
            # What another run wrote between our reading and our lock counts.
            self.rows = Ledger(self.path).rows
            self._write()
            yield
