"""The fault matrix: a fault at one command of an update, then what a user would find."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.routeros import bed as beds
from tests.routeros.bed import Bed
from tests.routeros.model import FaultPlan, Image, PowerCut

CONTROL = Path(__file__).parent / "control" / "remove-then-pull.rsc"
NAME = "update-tailscale"


@dataclass(frozen=True)
class Scenario:
    """What the registry offers: a name for the table, the image, whether it deserves to run."""

    name: str
    image: Image
    wanted: bool


SCENARIOS = (
    Scenario("good image", beds.NEW, True),
    Scenario("image crashes", Image("v1.102.6-mt.1", "crash"), False),
    Scenario("image not connected", Image("v1.102.7-mt.1", "mute"), False),
    Scenario("image does not answer", Image("v1.102.8-mt.1", "deaf"), False),
)


@dataclass(frozen=True)
class Case:
    """One fault. ``site`` is "line path command" in the script."""

    version: str
    scenario: Scenario
    step: int
    kind: str
    site: str


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
        rows = sorted({key[:2] for key in self.tried})
        lines = [
            f"{'RouterOS':9}{'registry offers':24}"
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
    """An installed router and a registry with something new."""
    bed = beds.installed(version, rendered=version if rendered else None)
    if control:
        for item in bed.router.scripts.items.values():
            if item["name"] == NAME:
                item["source"] = CONTROL.read_text()
    if version == "7.19":
        # without /container/shell only another node can tell whether the tailnet is reached
        bed.setting("TsProbe", '"100.64.0.9"')
    bed.publish(scenario.image)
    bed.router.globals.pop("TsChecked", None)
    return bed


def trace(version: str, scenario: Scenario, control: bool = False) -> list[str]:
    """Every command of an undisturbed run, in order."""
    bed = prepare(version, scenario, control)
    plan = bed.router.faults = FaultPlan()
    bed.router.watched = NAME
    bed.router.run_script(NAME)
    return plan.trace


def cases(
    version: str, scenario: Scenario, kinds: Iterable[str], every: bool, control: bool = False
) -> Iterator[Case]:
    """Faults at the first and last visit of each command site, or at every command that runs."""
    sites = trace(version, scenario, control)
    last = {site: step for step, site in enumerate(sites)}
    first = {site: step for step, site in reversed(list(enumerate(sites)))}
    for step, site in enumerate(sites):
        if every or step in (first[site], last[site]):
            for kind in kinds:
                yield Case(version, scenario, step, kind, site)


def run(case: Case, control: bool = False, rendered: bool = False) -> list[str]:
    """Play one case; gives what was broken, [] if everything held."""
    bed = prepare(case.version, case.scenario, control, rendered)
    router = bed.router
    identity = bed.state()
    before = router.storage.used("")
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
    if not plan.struck:
        return ["the fault was never reached"]
    if not bed.startable():
        broken.append("after the fault nothing runs and nothing can be started")
    if cut:
        router.power_cut()
        if not bed.startable():
            broken.append("after the power cut nothing can be started")
    # the next run of the scheduler, and the time that it takes
    router.advance(beds.TICK + 600)
    if not bed.running():
        broken.append("no healthy container after the next run")
    # later runs come to an end of their own, and stay there
    for _ in range(6):
        router.advance(4000)
        if not settled(bed, case.scenario, identity, before):
            break
    router.advance(beds.TICK)
    return broken + settled(bed, case.scenario, identity, before)


def settled(bed: Bed, scenario: Scenario, identity: str, before: int) -> list[str]:
    """What is not as it should be once everything has come to rest."""
    wanted = scenario.image if scenario.wanted else beds.OLD
    broken = []
    running = bed.running()
    if running != [wanted]:
        broken.append(f"runs {[image.name for image in running]}, not {wanted.name}")
    if bed.record("digest") != wanted.digest:
        broken.append("the recorded digest is not that of the image that should run")
    if bed.state() != identity:
        broken.append(f"the node's state became {bed.state()!r}")
    if len(bed.router.scheduler.items) != 1:
        broken.append(f"{len(bed.router.scheduler.items)} schedules")
    if len(bed.trees()) != 1 or len(bed.router.containers.items) != 1:
        broken.append(f"folders {bed.trees()}, {len(bed.router.containers.items)} containers")
    used = bed.router.storage.used("") - wanted.size + beds.OLD.size
    if used != before:
        broken.append(f"flash in use went from {before} to {used} bytes")
    starts = [item.get("start-on-boot") for item in bed.router.containers.items.values()]
    if starts != [True]:
        broken.append(f"start-on-boot is {starts}")
    return broken
