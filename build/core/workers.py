"""Threads that do things side by side: the first failure ends what runs in all of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

from build.core import command

UNKEYED = "it decides when a stage runs, not what it makes"


def all_done(futures: Collection[Future[Any]]) -> None:
    """Wait for all; raise the first failure as soon as it happens."""
    waiting = set(futures)
    while waiting:
        # A short timeout lets Ctrl-C be seen at once on every Python.
        done, waiting = wait(waiting, timeout=0.2, return_when="FIRST_EXCEPTION")
        for future in done:
            future.result()


@contextmanager
def workers(*names: str) -> Iterator[list[ThreadPoolExecutor]]:
    """Yield one single-thread executor per name; a failure ends what runs in all of them."""
    made = [ThreadPoolExecutor(1, name) for name in names]
    try:
        yield made
    except BaseException:
        for worker in made:
            worker.shutdown(wait=False, cancel_futures=True)
        command.stop_all()
        raise
    finally:
        for worker in made:
            worker.shutdown(wait=True)
        command.resume()
