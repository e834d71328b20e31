"""Many routers: all are looked at, then changed ring by ring, a few at a time, until one fails.

Each router goes the way of `deploy.apply`. Only what was shown is done: a router whose plan could
not be made, or has changed since, is left as it is and counts as failed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from build.core import errors, workers
from build.router import deploy, planning, restapi, state
from build.router.ledger import DONE, FAILED, STARTED, Ledger

POLL = 5.0
"""Seconds between two looks at a router that shall come up."""


class FleetStopped(errors.Error):
    """More of a ring failed than is tolerated: the rings after it were not begun."""

    exit_code = 5


class FleetIncomplete(errors.Error):
    """All rings were gone through, and some routers do not have what they should."""

    exit_code = 6


@dataclass(frozen=True)
class Member:
    """One router of a run. `goal` is a digest of everything that it shall have."""

    name: str
    host: str
    wanted: planning.Wanted
    goal: str
    connect: Callable[[], restapi.Client]
    offer: deploy.Offer


@dataclass(frozen=True)
class Shown:
    """What a router would get: its plan, or why there is none. `runs`: its container does."""

    plan: planning.Plan
    why: str = ""
    runs: bool = False

    @property
    def lines(self) -> list[str]:
        """For people."""
        if self.why:
            return [f"cannot deploy: {self.why}"]
        if not self.plan.actions and not self.plan.problems and not self.runs:
            return ["cannot deploy: nothing is to be changed, but no container of ours runs"]
        return self.plan.lines() or ["nothing to do"]

    @property
    def refused(self) -> str:
        """Why it cannot be deployed to, or nothing."""
        marked = [line for line in self.lines if line.startswith("cannot deploy: ")]
        return "; ".join(line.removeprefix("cannot deploy: ") for line in marked)


@dataclass(frozen=True)
class Outcome:
    """What became of a router: done, failed or untouched, and why; `seconds` that it took."""

    outcome: str
    why: str = ""
    seconds: float = 0.0


UNTOUCHED = "untouched"


def counted(number: int) -> str:
    """Return "1 router" or "2 routers"."""
    return f"{number} router{'' if number == 1 else 's'}"


def rings_of(names: Sequence[str], shares: Sequence[int | str]) -> list[list[str]]:
    """Return the rings, in order: each share says how far its ring goes, the rest is a last one.

    A part such as "10%" is of all of them, rounded up.
    """
    found, begun = [], 0
    for share in (*shares, "100%"):
        whole = -(-len(names) * int(share[:-1]) // 100) if isinstance(share, str) else share
        end = min(whole, len(names))
        if end > begun:
            found.append([*names[begun:end]])
            begun = end
    return found


def _told(problem: Exception) -> str:
    """The words for whatever a router, or the wire to it, did to us."""
    if isinstance(problem, errors.Error):
        return f"{problem.what} ({problem.why})" if problem.why else problem.what
    if isinstance(problem, OSError):
        return problem.strerror or type(problem).__name__
    return f"its answers are not those of a router ({type(problem).__name__}: {problem})"


def look(member: Member) -> Shown:
    """Return what a router would get; changes nothing and raises nothing."""
    none = planning.Plan((), (), member.wanted.digest)
    try:
        client = member.connect()
        try:
            router = state.read(client)
        finally:
            client.transport.close()
        return Shown(
            planning.plan(router, member.wanted), "", any(map(state.runs, router.containers))
        )
    except Exception as problem:  # one odd router must not keep the others from being looked at
        return Shown(none, _told(problem))


def change(
    member: Member,
    shown: planning.Plan,
    tell: Callable[[str], None],
    patience: float,
    pause: Callable[[float], None],
) -> None:
    """Carry out a plan that was shown, and wait until a container of ours runs.

    patience, and what `pause` takes, are seconds. Raises DeployError, also if the router has
    changed since then: nothing is done in that case.
    """
    client = member.connect()
    try:
        steps = planning.plan(state.read(client), member.wanted)
        if steps != shown:
            raise restapi.DeployError("it has changed since its plan was shown: run it again")
        deploy.apply(client, steps, member.wanted, tell, member.offer, patience, pause)
        left = patience
        # The next ring must not begin on a hope.
        while not any(map(state.runs, state.read(client).containers)):
            if left <= 0:
                raise restapi.DeployError("no container of ours runs; see /log on the router")
            pause(POLL)
            left -= POLL
    finally:
        client.transport.close()


@dataclass
class Rollout:
    """One run: `look`, then `run` over the rings. `patience` and what `sleep` takes are seconds.

    tolerate: percent of a ring that may fail. `tell` takes who it is about, and a line.
    """

    members: Mapping[str, Member]
    shown: dict[str, Shown]
    ledger: Ledger
    at_once: int
    tolerate: int
    tell: Callable[[str, str], None]
    patience: float = 1200.0
    sleep: Callable[[float], None] | None = None
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    begun: bool = False
    _left: threading.Event = field(default_factory=threading.Event)

    def look(self) -> None:
        """Look at all that the ledger does not have at their goals, so many at a time."""

        def job(member: Member) -> Callable[[], Shown]:
            return lambda: look(member)

        todo = [one for one in self.members.values() if not self.ledger.done(one.name, one.goal)]
        found = workers.side_by_side([job(member) for member in todo], self.at_once)
        self.shown.update(zip((one.name for one in todo), found, strict=True))

    def run(self, rings: Sequence[Sequence[str]]) -> int:
        """Go through the rings; return the number of the one it stopped in, from 1, or 0.

        A router that the ledger has at its goal is passed over. Raises OSError if the ledger
        cannot be written.
        """
        self.begun = True
        for number, ring in enumerate(rings, 1):
            todo = [
                self.members[name]
                for name in ring
                if not self.ledger.done(name, self.members[name].goal)
            ]
            if todo:
                self.tell(f"ring {number}", f"to be done: {len(todo)} of {counted(len(ring))}")
            if not self._ring(todo, len(ring) * self.tolerate // 100):
                return number
        return 0

    def _ring(self, todo: Sequence[Member], allowed: int) -> bool:
        """Work on a ring; nothing is begun once more than `allowed` failed. True to go on."""
        failed: list[str] = []

        def job(member: Member) -> None:
            if self._left.is_set() or len(failed) > allowed:
                return
            found = self._one(member)
            self.outcomes[member.name] = found
            if found.outcome == FAILED:
                failed.append(member.name)
            self.tell(member.name, f"{found.outcome}{f': {found.why}' if found.why else ''}")

        with workers.workers("router", threads=self.at_once) as (pool,):
            try:
                workers.all_done([pool.submit(job, member) for member in todo])
            except BaseException:
                # Those that wait for their router stop waiting; it goes on by its own scripts.
                self._left.set()
                raise
        return len(failed) <= allowed

    def _one(self, member: Member) -> Outcome:
        begun, shown = time.monotonic(), self.shown[member.name]
        why = shown.refused
        if not why and shown.plan.actions:
            self.ledger.note(member.name, member.goal, STARTED)
            try:
                change(
                    member,
                    shown.plan,
                    lambda text: self.tell(member.name, text),
                    self.patience,
                    self._pause,
                )
            except Exception as problem:  # as in `look`: it is this router that has failed
                why = _told(problem)
        outcome = FAILED if why else DONE
        self.ledger.note(member.name, member.goal, outcome, why)
        return Outcome(outcome, why, time.monotonic() - begun)

    def _pause(self, seconds: float) -> None:
        if self.sleep is not None:
            self.sleep(seconds)
        elif self._left.wait(seconds):
            raise restapi.DeployError("not waited for: this run was interrupted")
