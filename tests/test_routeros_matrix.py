"""No fault at any command of an update leaves the router without its VPN, or its owner uncalled.

The default run plants every kind of fault at the first and the last visit of every command site
of an update, on the versions of CHANGES; in the rows that begin with a trouble of their own, an
error and the end of the power at the first visit. ``-m matrix`` plays the other versions too, and
plants every kind at every command that runs, in every row, once where two would leave the same
router. Run with ``-s`` to see the tables.
"""

from __future__ import annotations

import time
from contextlib import suppress

import pytest

from tests.routeros import bed, matrix
from tests.routeros.lang.values import to_str
from tests.routeros.matrix import Case, Tally
from tests.routeros.model import KINDS, FaultPlan, PowerCut, versions
from tests.routeros.scenarios import SCENARIOS, TROUBLES, UPDATES, Scenario

# every kind of image is played on two versions by default, a good one on all of them
DEFAULT = {version: {0, 1 + number % 3} for number, version in enumerate(versions())}
CHANGES = ("7.19", "7.21.2", "7.23", "7.24")
"""The oldest, those that brought what the scripts go by, the newest."""
# and each trouble on one
TROUBLED = dict(
    zip(
        (row.name for row in TROUBLES),
        (
            "7.20",
            "7.22",
            "7.23",
            "7.21",
            "7.19",
            "7.24",
            "7.21.2",
            "7.23.2",
            "7.20",
            "7.22",
            "7.21",
        ),
        strict=True,
    )
)


def play(
    version: str,
    rows: list[Scenario],
    visits: str,
    control: bool = False,
    kinds: tuple[str, ...] = KINDS,
) -> Tally:
    """All cases of a version."""
    found = [
        case
        for row in rows
        if row.on(version)
        for case in matrix.cases(version, row, kinds, visits, control)
    ]
    began = time.monotonic()
    tally = matrix.play(found, control)
    seconds = time.monotonic() - began
    print(f"\n{tally.table()}\n{version}: {len(found):,} cases in {seconds:.0f} s", flush=True)
    return tally


@pytest.mark.parametrize(
    "version",
    [
        version if version in CHANGES else pytest.param(version, marks=pytest.mark.matrix)
        for version in versions()
    ],
)
def test_every_fault_is_survived(version: str) -> None:
    tally = play(version, [UPDATES[index] for index in sorted(DEFAULT[version])], "ends")
    assert tally.broken == []
    assert sum(tally.tried.values()) > 200


@pytest.mark.parametrize("row", TROUBLES, ids=lambda row: row.name)
def test_every_fault_on_top_of_a_trouble_is_survived(row: Scenario) -> None:
    tally = play(TROUBLED[row.name], [row], "first", kinds=("fail", "cut"))
    assert tally.broken == []
    assert sum(tally.tried.values()) > 40


def test_the_scripts_rendered_for_one_version_survive_too() -> None:
    found = matrix.cases("7.24", UPDATES[1], ("cut", "fail"), "ends")
    tally = matrix.play(found, rendered=True)
    # another line of the same script may be struck: what counts is that nothing breaks
    assert [line for line in tally.broken if "never reached" not in line] == []


@pytest.mark.parametrize("version", ["7.19", "7.24"])
def test_the_matrix_sees_a_script_that_removes_first(version: str) -> None:
    """Negative control: the usual remove-then-pull script must not come through."""
    tally = play(version, list(UPDATES[:2]), "ends", control=True)
    assert len(tally.broken) > 20
    assert any("nothing can be started" in line for line in tally.broken)
    lost = [line for line in tally.broken if "no healthy container after the next run" in line]
    assert any(", cut at" in line for line in lost)
    assert tally.survived[version, UPDATES[1].name, "fail"] == 0


@pytest.mark.parametrize(
    ("where", "old", "new", "symptom"),
    [
        # the mistakes that the matrix was made to find, put back one at a time
        (
            "library-tailscale",
            '    :if ([ $TsStop $Old ] = false) do={ :error "the old container does not stop"; }\n',
            "    /container/stop $Old;\n",
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
    bed.plant(monkeypatch, where, old, new)
    tally = Tally()
    for case in matrix.cases("7.21", UPDATES[0], KINDS, "ends"):
        tally.note(case, matrix.run(case))
        if any(symptom in line for line in tally.broken):
            return
    pytest.fail(f"nobody noticed: {tally.table()}")


WITHOUT = {
    # the script without what gets it out of a trouble: the row must not come through
    "in place": (
        "update-tailscale",
        "    $TsDrop $Active;\n    :local Judged",
        "    :local Judged",
    ),
    "in place, add refused": (
        "update-tailscale",
        ":local Wrong [ $TsTry $Letter ];",
        ':local Wrong "";',
    ),
    "old one never stops": (
        "library-tailscale",
        "[ $TsVersion ] >= 72100) do={\n      :set Killed",
        "[ $TsVersion ] >= 99999) do={\n      :set Killed",
    ),
    "image does not start": ("update-tailscale", "$Want = $Digest && $Alive", "$Want = $Digest"),
    "lost, no tag": (
        "update-tailscale",
        ":if ($Alive) do={\n        # no tag",
        ":if (true) do={\n        # no tag",
    ),
    "lost, flash full": ("update-tailscale", ":set Wait ($Wait + $Wait);", ""),
    "lost, no registry": (
        "update-tailscale",
        "dont-require-permissions ] = true",
        'name ] != ""',
    ),
    "name and comment edited": (
        "library-tailscale",
        '$Dir = [ $TsRoot "a" ] || $Dir = [ $TsRoot "b" ]);\n      :if (!$Like) do={',
        "false);\n      :if (false) do={",
    ),
    "folder of another": (
        "library-tailscale",
        '[ $TsPlain ($All->"cmd") ] ~ "tailscaled[.]state"',
        "true",
    ),
    "identity is code": (
        "library-tailscale",
        '"=(\\$TsArg->\\"" . $Key . "\\")"',
        '"=\\"" . $Value . "\\""',
    ),
    "fewer permissions": (
        "update-tailscale",
        ":onerror Err in={ /system/script/run $Name; } do={",
        ":onerror Err in={ /system/script/run $Name; } do={ :error $Err;",
    ),
}


@pytest.mark.parametrize("row", TROUBLES, ids=lambda row: row.name)
def test_a_script_that_cannot_get_out_of_a_trouble_is_seen(
    row: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = TROUBLED[row.name]
    assert matrix.run(Case(version, row)) == []
    bed.plant(monkeypatch, *WITHOUT[row.name])
    assert matrix.run(Case(version, row)) != []


def test_a_call_that_fails_is_seen_where_it_is_not_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing runs, and the one call of the day is lost to a fault."""
    row = next(row for row in TROUBLES if row.name == "lost, no registry")
    bed.plant(monkeypatch, "update-tailscale", ":set TsAlarmAt ($Now - 23h)", ":set TsAlarmAt $Now")
    found = [
        case
        for case in matrix.cases("7.24", row, ("fail",), "first")
        if case.site.endswith("/system/script/get")
    ]
    assert any("nobody was called" in line for line in matrix.play(found).broken)


def left(step: int, kind: str) -> str:
    """What a fault leaves of a router: all tables, its log and clock, its variables."""
    router = matrix.prepare("7.24", UPDATES[0], False).router
    router.faults, router.watched = FaultPlan(step, kind), matrix.NAME
    with suppress(PowerCut):
        router.run_script(matrix.NAME)
    tables = [sorted(map(str, menu.items.items())) for menu in vars(router).values() if table(menu)]
    known = {} if kind == "cut" else router.globals
    texts = sorted(f"{name} {to_str(value)}" for name, value in known.items())
    lives = str(router.containers.lives)
    return repr((tables, lives, texts, router.clock.now, router.writes))


def table(menu: object) -> bool:
    return isinstance(getattr(menu, "items", None), dict)


def test_what_the_matrix_leaves_out_is_another_fault_once_more() -> None:
    plan = matrix.watch("7.24", UPDATES[0])
    steps = range(len(plan.trace))
    for kind, other, back in (("fail-after", "fail", 0), ("cut", "cut", 1), ("hang", "hang", 1)):
        same = [step for step in steps if matrix.repeats(plan, step, kind)]
        assert len(same) > 100
        for step in same[:: len(same) // 4]:
            assert left(step, kind) == left(step - back, other), (kind, plan.trace[step])
    start = next(step for step in steps if plan.trace[step].endswith("/container/start"))
    assert not matrix.repeats(plan, start, "cut") and left(start, "cut") != left(start - 1, "cut")
    assert left(start, "fail-after") != left(start, "fail")


def test_one_look_that_fails_condemns_no_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a new image is watched, what cannot be read once is not an image that ended.

    With a negative control: a script that takes both for the same.
    """

    def condemned() -> list[str]:
        sites = matrix.trace("7.24", UPDATES[0])
        looks = [step for step, site in enumerate(sites) if site.endswith("/container/get")]
        cases = [Case("7.24", UPDATES[0], step, "fail", sites[step]) for step in looks[-130::7]]
        return matrix.play(cases).broken

    assert condemned() == []
    stopped = '$Seen && ($Now->"state") = "stopped"'
    bed.plant(monkeypatch, "library-tailscale", stopped, "$Seen")
    assert any("the recorded digest" in line for line in condemned())


def test_the_versions_of_the_default_run_are_there() -> None:
    assert set(CHANGES) < set(versions())
    assert CHANGES[-1] == versions()[-1]


@pytest.mark.matrix
@pytest.mark.parametrize("version", versions())
def test_the_whole_matrix(version: str) -> None:
    assert play(version, list(SCENARIOS), "every").broken == []
