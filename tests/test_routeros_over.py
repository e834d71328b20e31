"""Installing over what people have: the same node afterwards, in one container, by one route.

The set-ups are those of public guides: names, folders and parameters as they give them.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.routeros import bed as beds
from tests.routeros.bed import HOST, NEW, OLD, REPOSITORY, Bed
from tests.routeros.lang.values import to_str
from tests.routeros.model import Image, versions
from tests.routeros.model.tables import Table

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
