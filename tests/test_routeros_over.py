"""Installing over what people have: the same node afterwards, in one container, by one route.

The set-ups are those of public guides: names, folders and parameters as they give them.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.routeros import bed as beds
from tests.routeros import matrix
from tests.routeros.bed import HOST, NEW, OLD, REPOSITORY, Bed
from tests.routeros.lang.errors import RscError
from tests.routeros.lang.values import to_str
from tests.routeros.model import KINDS, FaultPlan, Image, PowerCut, versions
from tests.routeros.model.faults import Hang
from tests.routeros.model.tables import Table
from tests.routeros.scenarios import TELL

LOGIN = "login of the node"


@dataclass(frozen=True)
class Setup:
    """What a guide lets people make. key: environment, as KEY=VALUE.

    veth, address, gateway, bridge: the network. state, root: folders of the router. mounts: the
    list of mounts and of the environment. more: further arguments of the container. schedule:
    whether a daily schedule of our name is there.
    """

    name: str
    image: str
    veth: str
    address: str
    gateway: str
    bridge: str
    state: str
    root: str
    mounts: str = "tailscale"
    key: str = "TS_LOG_VERBOSITY=0"
    more: str = ""
    schedule: bool = False


OURS = 'entrypoint="/usr/local/bin/entrypoint.sh"'
SETUPS = (
    Setup(
        "tailscale",
        "me/tailscale-mikrotik",
        "veth-tailscale",
        "172.20.0.2/24",
        "172.20.0.1",
        "bridge-tailscale",
        "tailscale/state",
        "tailscale/root",
        more=OURS,
        schedule=True,
    ),
    Setup(
        "tailscale",
        "fluent-networks/tailscale-mikrotik",
        "veth1",
        "172.17.0.2/16",
        "172.17.0.1",
        "dockers",
        "tailscale",
        "containers/tailscale",
        key="ADVERTISE_ROUTES=192.168.88.0/24",
    ),
    Setup(
        "tailscale",
        "wojtekerbetowski/tailscale-mikrotik",
        "veth-ts",
        "172.18.0.2/24",
        "172.18.0.1",
        "containers",
        "tailscale-state",
        "tailscale-root",
        mounts="ts-state",
        key="TS_AUTHKEY=used",
    ),
    Setup(
        "ts",
        "tailscale/tailscale",
        "veth-official",
        "172.19.0.2/24",
        "172.19.0.1",
        "containers",
        "data/ts",
        "data/root",
        mounts="ts",
        key="TS_STATE_DIR=/state",
    ),
    Setup(
        "tailscale-a",
        REPOSITORY,
        "veth-tailscale",
        "172.31.200.2/30",
        "172.31.200.1",
        "bridge-tailscale",
        "tailscale/state",
        "tailscale/a",
        more=OURS,
    ),
)
NAMES = ("upstream", "fluent", "wojtek", "official", "by-hand")


def lists(version: str) -> tuple[str, str, str, str]:
    """How a version calls the list of a mount and of a variable, and those of a container."""
    number = tuple(int(part) for part in version.split("."))
    return (
        "list" if number >= (7, 21) else "name",
        "list" if number >= (7, 20) else "name",
        "mountlists" if number >= (7, 21) else "mounts",
        "envlists" if number >= (7, 20) else "envlist",
    )


def made_before(version: str, setup: Setup, state: str) -> Bed:
    """A router with a set-up: its container stopped, running or gone."""
    made = beds.empty(version, flash_mib=80)
    mount, env, mountlists, envlists = lists(version)
    key, value = setup.key.split("=")
    folder = value if key == "TS_STATE_DIR" else "/var/lib/tailscale"
    made.registry.push(setup.image, "latest", Image("theirs"))
    run = made.router.run
    run(f"/interface/bridge/add name={setup.bridge}")
    run(f"/interface/veth/add name={setup.veth} address={setup.address} gateway={setup.gateway}")
    run(f"/interface/bridge/port/add bridge={setup.bridge} interface={setup.veth}")
    run(
        f"/ip/address/add address={setup.gateway}/{setup.address.split('/')[1]} "
        f"interface={setup.bridge}"
    )
    run(f"/ip/route/add dst-address=100.64.0.0/10 gateway={setup.address.split('/')[0]}")
    run(f"/container/mounts/add {mount}={setup.mounts} src=/{setup.state} dst={folder}")
    run(f'/container/envs/add {env}={setup.mounts} key={key} value="{value}"')
    if setup.schedule:
        run('/system/script/add name=update-tailscale source=":log info theirs"')
        run(
            "/system/scheduler/add name=update-tailscale interval=1d on-event=update-tailscale "
            "start-date=2025-01-01 start-time=04:00:00 policy=read,write"
        )
    made.router.storage.put(f"{setup.state}/tailscaled.state", 4096, contents=LOGIN)
    if state != "leftovers":
        run(
            f"/container/add name={setup.name} root-dir={setup.root} interface={setup.veth} "
            f"{mountlists}={setup.mounts} {envlists}={setup.mounts} {setup.more} "
            f'cmd="x" remote-image="{HOST}/{setup.image}:latest" start-on-boot=yes; :delay 60s'
        )
        if state == "running":
            run("/container/start [find]; :delay 10s")
    made.router.storage.put(f"{setup.state}/tailscaled.state", 4096, contents=LOGIN)
    return made


def rows(made: Bed, menu: str, **wanted: str) -> list[dict[str, object]]:
    table = made.router.menu(menu)
    assert isinstance(table, Table)
    return [
        dict(item)
        for item in table.items.values()
        if all(to_str(item[key]) == value for key, value in wanted.items())
    ]


def told(made: Bed) -> str:
    return "\n".join([*made.router.printed[-12:], *made.router.log.lines("error")[-4:]])


@pytest.mark.parametrize("version", versions())
@pytest.mark.parametrize("state", ["stopped", "running", "leftovers"])
@pytest.mark.parametrize("setup", SETUPS, ids=NAMES)
def test_a_node_stays_the_same_node(version: str, setup: Setup, state: str) -> None:
    made = made_before(version, setup, state)
    writes, before = made.router.writes, len(made.router.containers.items)
    # what is different is named first, and nothing is changed
    made.router.run("/import install-tailscale.rsc")
    if setup.image == REPOSITORY:
        # made by hand from docs/USAGE.md: nothing differs, nothing is asked
        assert "TsAdopt" not in told(made)
    else:
        assert "TsAdopt" in told(made)
        assert made.router.writes == writes
        assert len(made.router.containers.items) == before
        made.router.run(":global TsAdopt true")
        made.router.run("/import install-tailscale.rsc")
    assert made.running() == [OLD], told(made)
    assert len(made.router.containers.items) == 1, told(made)
    assert made.router.storage.read(f"{setup.state}/tailscaled.state") == LOGIN
    assert len(rows(made, "system/scheduler", name="update-tailscale", disabled="false")) == 1
    routes = rows(made, "ip/route")
    assert [to_str(row["gateway"]) for row in routes] == ["172.31.200.2"], routes
    # and it goes on by itself
    made.publish(NEW)
    made.router.globals.pop("TsChecked", None)
    made.router.advance(2 * beds.TICK)
    made.router.run_script("update-tailscale")
    made.router.advance(2 * beds.TICK)
    assert made.running() == [NEW], told(made)
    assert made.router.storage.read(f"{setup.state}/tailscaled.state") == LOGIN
    assert len(made.router.containers.items) == 1


# -- a take-over that fails ---------------------------------------------------------------------


@dataclass(frozen=True)
class Attempt:
    """A take-over and the fault in it; step -1 for none."""

    version: str
    setup: Setup
    step: int = -1
    kind: str = ""
    site: str = ""


def asked(attempt: Attempt) -> tuple[Bed, FaultPlan]:
    """A router whose owner has read what is there, and says that it may be taken over."""
    made = made_before(attempt.version, attempt.setup, "running")
    made.router.advance(3600)
    made.router.upload(
        "settings-tailscale.rsc",
        beds.script("settings-tailscale").replace('TsAlarmScript ""', 'TsAlarmScript "tell"'),
    )
    made.router.scripts.add({"name": "tell", "source": TELL})
    made.router.run(":global TsAdopt true")
    plan = made.router.faults = FaultPlan(attempt.step, attempt.kind)
    made.router.watched = "*"
    return made, plan


def attempts(version: str, setup: Setup, kinds: tuple[str, ...]) -> list[Attempt]:
    """A fault at the first visit of each command, of the installer and of what it starts."""
    made, plan = asked(Attempt(version, setup))
    made.router.run("/import install-tailscale.rsc")
    first = {site: step for step, site in reversed(list(enumerate(plan.trace)))}
    return [
        Attempt(version, setup, step, kind, site)
        for site, step in first.items()
        if "/import" not in site
        for kind in kinds
    ]


def taken(attempt: Attempt) -> list[str]:
    """What is wrong after a take-over with a fault in it."""
    made, plan = asked(attempt)
    router, wrong = made.router, []
    cut = attempt.kind == "hang"
    try:
        router.run("/import install-tailscale.rsc")
    except (PowerCut, Hang):
        cut = True
    except RscError as fault:
        wrong = [] if "planted" in fault.message else [str(fault)]
    router.faults = None
    if attempt.kind and not plan.struck:
        return ["the fault was never reached"]
    said = made.router.log.lines("error")
    finished = "installed. If the node is new" in " ".join(router.printed)
    if not cut and not finished and not said:
        wrong.append("it stopped and said nothing")
    if cut:
        router.power_cut()
    router.advance(60)
    if not cut and not made.running():
        wrong.append("the old one is not back")
    # the schedule, if there is one by now, and a day in which nobody looks
    router.advance(86400)
    if len(made.running()) != 1:
        wrong.append(f"runs {[image.name for image in made.running()]} after a day")
    # the owner tries again
    router.run(":global TsAdopt true")
    router.run("/import install-tailscale.rsc")
    router.advance(3600)
    if made.running() != [OLD] or len(router.containers.items) != 1:
        wrong.append(
            f"after another try runs {[image.name for image in made.running()]}: {told(made)}"
        )
    if router.storage.read(f"{attempt.setup.state}/tailscaled.state") != LOGIN:
        wrong.append("it is another node")
    return [f"{attempt.kind} at {attempt.site}: {'; '.join(wrong)}"] if wrong else []


def broken(found: list[Attempt]) -> list[str]:
    return [line for lines in matrix.on_all_cores(taken, found) for line in lines]


FAILED = list(
    zip(SETUPS[:4], ("7.24", "7.21", "7.19", "7.23.2"), ("fail", "cut", "fail", "cut"), strict=True)
)


@pytest.mark.parametrize(("setup", "version", "kind"), FAILED, ids=NAMES[:4])
def test_a_take_over_that_fails_leaves_one_node_running(
    setup: Setup, version: str, kind: str
) -> None:
    """A fault, or the end of the power, at each command: one node runs, and the next try works."""
    found = attempts(version, setup, (kind,))
    assert len(found) > 60
    assert broken(found) == []


def test_a_take_over_by_an_image_that_does_not_run_is_undone_and_told() -> None:
    for image in (Image("v1", "dead"), Image("v1", "crash"), Image("v1", "deaf")):
        made, _ = asked(Attempt("7.24", SETUPS[1]))
        made.publish(image)
        made.router.faults = None
        made.router.run("/import install-tailscale.rsc")
        made.router.advance(3 * 86400)
        assert [image.name for image in made.running()] == ["theirs"], told(made)
        assert made.router.storage.read("tailscale/tailscaled.state") == LOGIN
        assert any("no take-over" in line for line in made.router.log.lines("warning"))


@pytest.mark.parametrize(
    ("where", "old", "new"),
    [
        ("install", ':if ([ $TsRun ($Stranger->"id") $Same ]) do={', ":if (true) do={"),
        ("install", "  } do={ :set Wrong $Bad; }", "  } do={ :error $Bad; }"),
        ("update", '($Row->"src") = $Ours && ', "false && "),
    ],
)
def test_a_take_over_without_a_way_back_is_seen(
    where: str, old: str, new: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    beds.plant(monkeypatch, f"{where}-tailscale", old, new)
    found = attempts("7.24", SETUPS[1], ("fail",))
    assert any(map(taken, reversed(found)))


@pytest.mark.matrix
@pytest.mark.parametrize("version", versions())
@pytest.mark.parametrize("setup", SETUPS[:4], ids=NAMES[:4])
def test_every_take_over_that_fails(setup: Setup, version: str) -> None:
    found = attempts(version, setup, KINDS)
    print(f"\n{version:9}{setup.image:40}{len(found)} faults")
    assert broken(found) == []
