"""Time by hand: nothing happens until somebody lets it pass."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count

NS = 1_000_000_000
START = int(datetime(2026, 11, 23, 3, 0, tzinfo=UTC).timestamp()) * NS


class Clock:
    """``now`` is steady, in ns; the wall clock is ``now + wrong``, both since the epoch."""

    def __init__(self) -> None:
        self.now = START
        self.booted = START
        self.wrong = 0
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Plan an action."""
        heapq.heappush(self._events, (self.now + int(seconds * NS), next(self._order), action))

    def advance(self, ns: int) -> None:
        """Let time pass and run what comes due, in order.

        An action may let time pass itself; what is then left of ``ns`` still passes.
        """
        target = self.now + ns
        while self._events and self._events[0][0] <= target:
            at, _, action = heapq.heappop(self._events)
            self.now = max(self.now, at)
            action()
        self.now = max(self.now, target)

    def forget(self) -> None:
        """Drop what was planned: the power went."""
        self._events.clear()

    @property
    def uptime(self) -> int:
        """ns since the last boot."""
        return self.now - self.booted

    def date(self) -> str:
        """ISO date, as /system/clock prints it since 7.10."""
        return datetime.fromtimestamp((self.now + self.wrong) // NS, UTC).strftime("%Y-%m-%d")

    def time(self) -> int:
        """ns since midnight."""
        return (self.now + self.wrong) % (86400 * NS)
