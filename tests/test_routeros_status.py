"""What the status screen says is missing, each in one line with its cure, on every version."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.routeros import bed as beds
from tests.routeros import trees
from tests.routeros.bed import OLD, Bed
from tests.routeros.model.clock import NS
from tests.routeros.model.node import EXITS, Node
from tests.test_routeros_trees import Texts, findings
from tests.test_routeros_trouble import READER

RELEASES = trees.data()[0]
LINES = [release for release in RELEASES if release.count(".") == 1]
PAGE = "https://headscale.example.com/register/nodekey:" + "0123456789abcdef" * 4
LAN, LAN6 = "192.168.88.0/24", "fd88:88::/64"
YEAR = 365 * 86400 * NS


def todo(made: Bed, policy: str = "") -> list[str]:
    """What is to do, in the words of the screen, asked for by a user with some policy or all."""
    made.router.printed.clear()
    run = "/system/script/run status-tailscale"
    if policy:
        made.router.run_as(run, policy)
    else:
        made.router.run(run)
    assert not any(line.startswith("error") for line in made.router.printed)
    start = "to do       "
    return [line.removeprefix(start) for line in made.router.printed if line.startswith(start)]


def node(made: Bed) -> Node:
    return made.router.containers.node


def announced(made: Bed) -> None:
    node(made).routes, node(made).approved = [LAN, LAN6], [LAN]


def offered(made: Bed) -> None:
    node(made).exit = True


def expiring(made: Bed) -> None:
    node(made).expiry = "2027-05-22T03:00:00Z"


def relayed(made: Bed) -> None:
    node(made).way = 'relay "fra"'


def untranslated(made: Bed) -> None:
    made.setting("TsAddress6", '"fd00:9::2"')
    node(made).exit, node(made).approved = True, EXITS


def early(made: Bed) -> None:
    made.router.clock.wrong = -50 * YEAR


def narrow_way(made: Bed) -> None:
    made.router.interfaces.add({"name": "pppoe-out1", "type": "pppoe-out", "actual-mtu": 1300})
    made.router.menu("ip/route").add(
        {"dst-address": "0.0.0.0/0", "active": True, "immediate-gw": "192.0.2.1%pppoe-out1"}
    )


def narrow_bridge(made: Bed) -> None:
    made.router.interfaces.add({"name": "bridge-tailscale", "type": "bridge", "actual-mtu": 1200})


def strange(made: Bed) -> None:
    node(made).login = PAGE
    behave(made, "login")


def unasked(made: Bed) -> None:
    node(made).login = ""
    behave(made, "login")


def behave(made: Bed, how: str) -> None:
    for life in made.router.containers.lives.values():
        life.image = replace(OLD, behaviour=how)


Change = Callable[[Bed], None]
SETTINGS = "admin console, Machines, Edit route settings"
SHELL: list[tuple[Change, str]] = [
    (announced, f"route {LAN6} is not approved: {SETTINGS}"),
    (offered, f"the exit node is not approved: {SETTINGS}"),
    (expiring, "the node's key ends on 2027-05-22: admin console, Machines, Disable key expiry"),
    (relayed, "peers are reached over relays only: docs/USAGE.md#relayed-only"),
    (
        untranslated,
        "the exit node's IPv6 is not translated: /ipv6/firewall/nat/add chain=srcnat "
        "src-address=fd7a:115c:a1e0::/48 action=masquerade",
    ),
    (strange, f"log in, in a browser on any device: {PAGE}"),
    (
        unasked,
        'log in: /container/shell [find where comment~"^mikrotik-tailscale"] cmd="tailscale up"',
    ),
]
"""What only the container knows: from 7.20 on, which can ask it."""
ROUTER: list[tuple[Change, str]] = [
    (
        early,
        "the clock says 1976-12-05: /system/ntp/client/set enabled=yes servers=pool.ntp.org",
    ),
    (narrow_way, "MTU 1300 of pppoe-out1 is below 1340: docs/USAGE.md#mtu-and-mss"),
    (narrow_bridge, "MTU 1200 of bridge-tailscale is below 1280: docs/USAGE.md#mtu-and-mss"),
]
"""What the router itself knows."""


def well(made: Bed) -> None:
    """Undo every change."""
    made.router.containers.node = Node()
    made.router.clock.wrong = 0
    behave(made, "good")
    made.setting("TsAddress6", '""')
    made.router.interfaces.items.clear()
    routes = made.router.menu("ip/route").items
    for key in [key for key, item in routes.items() if item["dst-address"] == "0.0.0.0/0"]:
        del routes[key]


@pytest.mark.parametrize("release", RELEASES)
def test_what_is_missing_is_one_line_with_its_cure(
    release: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the release knows every text of the run, and each cure that is a command."""
    texts = Texts(monkeypatch)
    asks = not release.startswith("7.19")
    made = beds.installed(release)
    assert todo(made) == ["nothing"]
    writes = made.router.writes
    for change, line in [*SHELL, *ROUTER]:
        change(made)
        assert todo(made) == [line if asks or (change, line) in ROUTER else "nothing"]
        cure = line.partition(": ")[2]
        if cure.startswith("/") and (asks or "/container/" not in cure):
            assert findings(cure, release) == []
        well(made)
    assert todo(made) == ["nothing"]
    assert made.router.writes == writes
    assert texts.refused == []


@pytest.mark.parametrize("version", [RELEASES[0], RELEASES[-1]])
def test_it_all_comes_to_lines_at_once_and_to_nothing_when_it_is_done(version: str) -> None:
    made = beds.installed(version)
    for change, _ in [*SHELL[:4], *ROUTER[1:]]:
        change(made)
    untranslated(made)
    made.router.containers.node.approved = [LAN]
    assert len(todo(made)) == (7 if version != "7.19" else 2)
    made.router.containers.node = Node(routes=[LAN, LAN6], exit=True, approved=[LAN, LAN6, *EXITS])
    for item in made.router.interfaces.items.values():
        item["actual-mtu"] = 1500
    made.router.run(
        "/ipv6/firewall/nat/add chain=srcnat src-address=fd7a:115c:a1e0::/48 action=masquerade"
    )
    assert todo(made) == ["nothing"]


@pytest.mark.parametrize(("off", "told"), [("yes", 1), ("no", 0)])
def test_a_rule_that_is_off_translates_nothing(off: str, told: int) -> None:
    made = beds.installed()
    untranslated(made)
    made.router.run(f"/ipv6/firewall/nat/add chain=srcnat action=src-nat disabled={off}")
    assert sum("IPv6" in line for line in todo(made)) == told


@pytest.mark.parametrize(
    "change",
    [
        lambda made: setattr(node(made), "way", ""),
        lambda made: setattr(node(made), "way", "peer-relay 192.0.2.7:40000:vni:1"),
        lambda made: (untranslated(made), made.setting("TsAddress6", '"2001:db8::2"')),
        lambda made: (untranslated(made), made.setting("TsAddress6", '""')),
    ],
)
def test_what_is_well_is_not_told(change: Change) -> None:
    made = beds.installed()
    change(made)
    assert todo(made) == ["nothing"]


@pytest.mark.parametrize("version", LINES)
def test_a_user_of_the_group_read_is_told_what_the_router_knows(version: str) -> None:
    made = beds.installed(version)
    for change, _ in ROUTER:
        change(made)
    writes = made.router.writes
    assert todo(made, READER)[-2:] == [ROUTER[2][1], ROUTER[1][1]]
    assert todo(made, READER)[0] == ROUTER[0][1]
    assert made.router.writes == writes


def test_a_node_that_older_commands_answer_is_told_nothing_wrong() -> None:
    """`tailscale get` came late: without it no route is called unapproved."""
    made = beds.installed()
    announced(made)
    node(made).older = True
    assert todo(made) == ["nothing"]
