"""The fault matrix: a fault at one command of an update, then what a user would find."""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from tests.routeros import bed as beds
from tests.routeros.bed import Bed
from tests.routeros.lang.values import to_str
from tests.routeros.model import FaultPlan, Image, PowerCut, Router
from tests.routeros.scenarios import FILLER, STRANGER, TELL, TROUBLES, Scenario, calls

CONTROL = Path(__file__).parent / "control" / "remove-then-pull.rsc"
NAME = "update-tailscale"
Some, Answer = TypeVar("Some"), TypeVar("Answer")
# a day of tries for something that cannot work
PULLS = 12
READS = ("get", "find", "print")
"""Commands after which a router is as it was."""


@dataclass(frozen=True)
class Case:
    """One fault, or none (kind ""). ``site`` is "line path command" in the script."""

    version: str
    scenario: Scenario
    step: int = -1
    kind: str = ""
    site: str = ""


@dataclass
class Tally:
    """Results by (version, scenario, kind); ``broken`` says what went wrong where."""

    tried: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    survived: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def note(self, case: Case, faults: list[str]) -> None:
        """Count one case."""
        key = (case.version, case.scenario.name, case.kind)
        self.tried[key] += 1
        if faults:
            self.broken.append(
                f"{case.version} {case.scenario.name}, {case.kind} at {case.site}: "
                + "; ".join(faults)
            )
        else:
            self.survived[key] += 1

    def table(self) -> str:
        """One row per version and scenario, one column per kind of fault."""
        kinds = sorted({key[2] for key in self.tried})
        rows = list(dict.fromkeys(key[:2] for key in self.tried))
        lines = [
            f"{'RouterOS':9}{'row':24}"
            + "".join(f"{kind:>14}" for kind in kinds)
            + "   survived/tried"
        ]
        for version, scenario in rows:
            keys = [(version, scenario, kind) for kind in kinds]
            cells = [f"{self.survived[key]}/{self.tried[key]}" for key in keys]
            lines.append(f"{version:9}{scenario:24}" + "".join(f"{cell:>14}" for cell in cells))
        lines.append(f"{'all':33}{sum(self.survived.values())}/{sum(self.tried.values())}")
        return "\n".join(lines)


def prepare(version: str, scenario: Scenario, control: bool, rendered: bool = False) -> Bed:
    """An installed router with somebody to call, the row's trouble, and what the registry has."""
    bed = beds.installed(
        version, rendered=version if rendered else None, flash_mib=scenario.flash_mib
    )
    if control:
        for item in bed.router.scripts.items.values():
            if item["name"] == NAME:
                item["source"] = CONTROL.read_text()
    if version == "7.19":
        # without /container/shell only another node can tell whether the tailnet is reached
        bed.setting("TsProbe", '"100.64.0.9"')
    # with the permissions that a new script has: more than those of its caller
    bed.setting("TsAlarmScript", '"tell"')
    bed.router.scripts.add({"name": "tell", "source": TELL})
    scenario.arrange(bed)
    bed.publish(scenario.image)
    bed.router.globals.pop("TsChecked", None)
    return bed


@dataclass
class Watch(FaultPlan):
    """A plan without a fault that notes the router's clock and variables before each command."""

    router: Router | None = None
    times: list[int] = field(default_factory=list)
    variables: list[dict[str, str]] = field(default_factory=list)

    def before(self, site: str) -> str:
        assert self.router is not None
        self.times.append(self.router.clock.now)
        known = self.router.globals.items()
        self.variables.append({name: f"{type(value)} {to_str(value)}" for name, value in known})
        return super().before(site)

    def reads(self, step: int) -> bool:
        """Whether the router is after a command as it was before."""
        return step >= 0 and self.trace[step].rpartition("/")[2] in READS


def watch(version: str, scenario: Scenario, control: bool = False) -> Watch:
    """An undisturbed run, with every command of it in order."""
    bed = prepare(version, scenario, control)
    plan = bed.router.faults = Watch(router=bed.router)
    bed.router.watched = NAME
    bed.router.run_script(NAME)
    return plan


def trace(version: str, scenario: Scenario, control: bool = False) -> list[str]:
    """Every command of an undisturbed run, in order."""
    return watch(version, scenario, control).trace


def cases(
    version: str, scenario: Scenario, kinds: Iterable[str], visits: str, control: bool = False
) -> Iterator[Case]:
    """Faults at each command site: its first visit, first and last ("ends"), or "every" one.

    Of "every" one those are left out that leave the router as another does (``repeats``).
    """
    plan = watch(version, scenario, control)
    sites = plan.trace
    last = {site: step for step, site in enumerate(sites)}
    first = {site: step for step, site in reversed(list(enumerate(sites)))}
    for step, site in enumerate(sites):
        if visits == "every" or step == first[site] or (visits == "ends" and step == last[site]):
            for kind in kinds:
                if visits != "every" or not repeats(plan, step, kind):
                    yield Case(version, scenario, step, kind, site)


def repeats(plan: Watch, step: int, kind: str) -> bool:
    """Whether a fault leaves the router as one that is played leaves it.

    A command that only reads may as well fail before as after it. The power may as well go before
    it as after it, and a command may hang as well after it as before, if no time passed between
    the two commands, and no global variable changed.
    """
    at_once = step > 0 and plan.times[step] == plan.times[step - 1]
    if kind == "fail-after":
        return plan.reads(step)
    if kind == "cut":
        return plan.reads(step) and at_once
    same = at_once and plan.variables[step] == plan.variables[step - 1]
    return kind == "hang" and plan.reads(step - 1) and same


def on_all_cores(play_one: Callable[[Some], Answer], todo: list[Some]) -> Iterator[Answer]:
    """What a function gives for each, in order."""
    # forked: a test may have changed what the scripts are
    with multiprocessing.get_context("fork").Pool(os.cpu_count()) as pool:
        yield from pool.imap(play_one, todo, chunksize=8)


def play(found: Iterable[Case], control: bool = False, rendered: bool = False) -> Tally:
    """All cases, on all cores."""
    tally = Tally()
    todo = list(found)
    one = partial(run, control=control, rendered=rendered)
    for case, faults in zip(todo, on_all_cores(one, todo), strict=True):
        tally.note(case, faults)
    return tally


def run(case: Case, control: bool = False, rendered: bool = False) -> list[str]:
    """Play one case; gives what was broken, [] if everything held."""
    scenario = case.scenario
    bed = prepare(case.version, scenario, control, rendered)
    router = bed.router
    before = Before.of(bed)
    quiet = scenario.gap or scenario.runs is None
    plan = router.faults = FaultPlan(case.step, case.kind)
    router.watched = NAME
    cut = False
    try:
        router.run_script(NAME)
        router.faults = None
        if case.kind == "hang":
            # it never comes back; the scheduler runs into it for an hour, then somebody
            # takes the power away
            router.advance(3600)
            cut = True
    except PowerCut:
        cut = True
    broken = []
    if case.kind and not plan.struck:
        return ["the fault was never reached"]
    if not quiet and not bed.startable():
        broken.append("after the fault nothing runs and nothing can be started")
    if cut:
        router.power_cut()
        if not quiet and not bed.startable():
            broken.append("after the power cut nothing can be started")
    # the next run of the scheduler, and the time that it takes
    router.advance(beds.TICK + 600)
    if not ours(bed) and not calls(bed):
        # a call that fails is made again an hour later
        router.advance(7200)
        if not ours(bed) and not calls(bed):
            broken.append("nothing runs for two hours, and nobody was called")
    if not quiet and not ours(bed):
        broken.append("no healthy container after the next run")
    if scenario.runs is None:
        broken += hopeless(bed)
        scenario.cure(bed)
        router.advance(86400)
    # later runs come to an end of their own, and stay there: of an update soon, of a trouble in a
    # day. In a day the next update would tidy up what this one forgot
    for _ in range(24 if scenario in TROUBLES else 6):
        router.advance(4000)
        if not settled(bed, scenario, before):
            break
    router.advance(beds.TICK)
    return broken + settled(bed, scenario, before)


def ours(bed: Bed) -> list[Image]:
    """The images of ours that run."""
    return [image for image in bed.running() if image.name != STRANGER]


def hopeless(bed: Bed) -> list[str]:
    """What is wrong with a day in which nothing can run."""
    start = len(bed.router.containers.history)
    bed.router.advance(86400)
    history = bed.router.containers.history[start:]
    pulls = len([line for line in history if line.endswith("failed")])
    broken = []
    if not calls(bed):
        broken.append("nothing can run, and nobody was called")
    if pulls > PULLS:
        broken.append(f"{pulls} pulls in a day, for nothing")
    if ours(bed):
        broken.append("something runs that cannot")
    return broken


@dataclass(frozen=True)
class Before:
    """What must be the same afterwards: the node's identity, flash in use, what others have."""

    identity: str
    used: int
    others: list[dict[str, str]]

    @staticmethod
    def of(bed: Bed) -> Before:
        """Look at a router; images are counted as folders, by ``settled``."""
        others = [
            {name: to_str(value) for name, value in item.items()}
            for item in bed.router.containers.items.values()
            if item["name"] == STRANGER
        ]
        storage = bed.router.storage
        files = sum(
            int(to_str(item["size"]))
            for item in storage.items.values()
            if item["type"] != "container store"
            and item["name"] != FILLER
            and storage.slot(to_str(item["name"])) == ""
        )
        return Before(bed.state(), files, others)


def settled(bed: Bed, scenario: Scenario, before: Before) -> list[str]:
    """What is not as it should be once everything has come to rest."""
    wanted = scenario.runs or scenario.image
    broken = []
    running = ours(bed)
    if running != [wanted]:
        broken.append(f"runs {[image.name for image in running]}, not {wanted.name}")
    if bed.record("digest") != wanted.digest:
        broken.append("the recorded digest is not that of the image that should run")
    now = Before.of(bed)
    if now.identity != before.identity:
        broken.append(f"the node's state became {now.identity!r}")
    if len(bed.router.scheduler.items) != 1:
        broken.append(f"{len(bed.router.scheduler.items)} schedules")
    rows = [item for item in bed.router.containers.items.values() if item["name"] != STRANGER]
    if len(bed.trees()) != 1 + len(before.others) or len(rows) != 1:
        broken.append(f"folders {bed.trees()}, {len(rows)} containers")
    if now.used != before.used:
        broken.append(f"flash in use went from {before.used} to {now.used} bytes")
    if now.others != before.others or len(bed.running()) != len(running) + len(before.others):
        broken.append("the container of somebody else is not as it was")
    starts = [item.get("start-on-boot") for item in rows]
    if starts != [True]:
        broken.append(f"start-on-boot is {starts}")
    return broken
