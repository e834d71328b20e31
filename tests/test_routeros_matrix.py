"""No fault at any command of an update leaves the router without its VPN.

The default run plants every kind of fault at the first and the last visit of every command
site; ``-m matrix`` plants them at every command that runs. Run with ``-s`` to see the tables.
"""

from __future__ import annotations

import pytest

from tests.routeros import matrix
from tests.routeros.matrix import SCENARIOS, Tally
from tests.routeros.model import KINDS, FaultPlan, PowerCut, versions

# every scenario is played on two versions by default; a good image on all of them
DEFAULT = {version: {0, 1 + number % 3} for number, version in enumerate(versions())}


def play(version: str, scenarios: set[int], every: bool, control: bool = False) -> Tally:
    """All cases of a version."""
    tally = Tally()
    for index in sorted(scenarios):
        for case in matrix.cases(version, SCENARIOS[index], KINDS, every, control):
            tally.note(case, matrix.run(case, control))
    print(f"\n{tally.table()}")
    return tally


@pytest.mark.parametrize("version", versions())
def test_every_fault_is_survived(version: str) -> None:
    tally = play(version, DEFAULT[version], every=False)
    assert tally.broken == []
    assert sum(tally.tried.values()) > 200


def test_the_scripts_rendered_for_one_version_survive_too() -> None:
    tally = Tally()
    for case in matrix.cases("7.24", SCENARIOS[1], ("cut", "fail"), every=False):
        tally.note(case, matrix.run(case, rendered=True))
    # another line of the same script may be struck: what counts is that nothing breaks
    assert [line for line in tally.broken if "never reached" not in line] == []


@pytest.mark.parametrize("version", ["7.19", "7.24"])
def test_the_matrix_sees_a_script_that_removes_first(version: str) -> None:
    """Negative control: the usual remove-then-pull script must not come through."""
    tally = play(version, {0, 1}, every=False, control=True)
    assert len(tally.broken) > 20
    assert any("nothing can be started" in line for line in tally.broken)
    lost = [line for line in tally.broken if "no healthy container after the next run" in line]
    assert any(", cut at" in line for line in lost)
    assert tally.survived[version, SCENARIOS[1].name, "fail"] == 0


@pytest.mark.parametrize(
    ("where", "old", "new", "symptom"),
    [
        # the mistakes that the matrix was made to find, put back one at a time
        (
            "library-tailscale",
            "        :if ([ $TsStop $Id ] = false) "
            'do={ :error "a second container does not stop"; }\n',
            "",
            "two daemons",
        ),
        ("library-tailscale", "  $TsDrop $Old;\n", "", "containers"),
        (
            "update-tailscale",
            '    :set New [ $TsPull $Letter $Kind $Source $Want "no" ];',
            '    $TsDrop $Active; :set New [ $TsPull $Letter $Kind $Source $Want "no" ];',
            "nothing runs",
        ),
    ],
)
def test_the_matrix_sees_single_mistakes(
    monkeypatch: pytest.MonkeyPatch, where: str, old: str, new: str, symptom: str
) -> None:
    from tests.routeros import bed

    text = bed.script(where)
    assert old in text
    broken = text.replace(old, new)
    plain = bed.script
    monkeypatch.setattr(
        bed,
        "script",
        lambda name, version=None: broken if name == where else plain(name, version),
    )
    tally = Tally()
    for case in matrix.cases("7.21", SCENARIOS[0], KINDS, every=False):
        tally.note(case, matrix.run(case))
        if any(symptom in line for line in tally.broken):
            return
    pytest.fail(f"nobody noticed: {tally.table()}")


@pytest.mark.parametrize("version", ["7.20", "7.24"])
def test_an_update_in_place_survives_faults_too(version: str) -> None:
    """It has a gap without a VPN by design; afterwards one good image runs, and is recorded."""
    from tests.routeros import bed as beds

    def prepared(plan: FaultPlan) -> beds.Bed:
        made = beds.installed(version, flash_mib=14)
        made.router.plug("usb1", 1 << 30)
        made.setting("TsInPlace", "true")
        made.setting("TsRollbackFile", '"usb1/rollback.tar"')
        made.publish(beds.NEW)
        made.router.globals.pop("TsChecked")
        made.router.faults, made.router.watched = plan, matrix.NAME
        return made

    def play_once(made: beds.Bed, plan: FaultPlan) -> None:
        cut = plan.kind == "hang"
        try:
            made.router.run_script(matrix.NAME)
        except PowerCut:
            cut = True
        made.router.faults = None
        if cut:
            made.router.power_cut()
        for _ in range(6):
            made.router.advance(4000)

    quiet = FaultPlan()
    play_once(prepared(quiet), quiet)
    first = {site: step for step, site in reversed(list(enumerate(quiet.trace)))}
    assert len(first) > 25
    broken = []
    for site, step in first.items():
        for kind in KINDS:
            plan = FaultPlan(step, kind)
            made = prepared(plan)
            identity = made.state()
            play_once(made, plan)
            running = made.running()
            if (
                len(running) != 1
                or made.record("digest") != running[0].digest
                or made.state() != identity
                or len(made.trees()) != 1
            ):
                broken.append(
                    f"{kind} at {site}: {[image.name for image in running]}, "
                    f"{made.state()}, {made.trees()}"
                )
    assert broken == []


@pytest.mark.matrix
@pytest.mark.parametrize("version", versions())
def test_the_whole_matrix(version: str) -> None:
    assert play(version, {0, 1, 2, 3}, every=True).broken == []
