"""Threads that do things side by side: the first failure ends what runs in all of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, TypeVar

from build.core import command

UNKEYED = "it decides when a stage runs, not what it makes"
Result = TypeVar("Result")


def all_done(futures: Collection[Future[Any]]) -> None:
    """Wait for all; raise the first failure as soon as it happens."""
    waiting = set(futures)
    while waiting:
        # A short timeout lets Ctrl-C be seen at once on every Python.
        done, waiting = wait(waiting, timeout=0.2, return_when="FIRST_EXCEPTION")
        for future in done:
            future.result()


@contextmanager
def workers(*names: str, threads: int = 1) -> Iterator[list[ThreadPoolExecutor]]:
    """Yield one executor of so many threads per name; a failure ends what runs in all of them."""
    made = [ThreadPoolExecutor(threads, name) for name in names]
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


def side_by_side(jobs: Sequence[Callable[[], Result]], at_once: int) -> list[Result]:
    """Do jobs, `at_once` of them at a time, and return their results in the order of the jobs."""
    with workers("job", threads=at_once) as (pool,):
        futures = [pool.submit(job) for job in jobs]
        all_done(futures)
        return [future.result() for future in futures]
