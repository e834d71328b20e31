"""What belongs to others stays: objects of each kind, also such as look like ours."""

from __future__ import annotations

import pytest

from tests.routeros import bed as beds
from tests.routeros.bed import NEW, Bed
from tests.routeros.lang.values import to_str
from tests.routeros.model import Image, versions
from tests.routeros.model.tables import Record

EVERY = pytest.mark.parametrize("version", versions())
LOGIN = "login of somebody else's node"
STORES = "container store"


def others(made: Bed) -> None:
    """Things of each kind that the scripts make too: plain ones, and such as look like ours."""
    mount = "list" if made.router.version not in ("7.19", "7.20") else "name"
    env = "list" if made.router.version != "7.19" else "name"
    made.registry.push("me/web", "1", Image("web"))
    run = made.router.run
    for name, comment in (("plain", "web"), ("tailscale-x", "mikrotik-tailscale of the office")):
        net = {"plain": "10.9.8", "tailscale-x": "10.9.9"}[name]
        run(f'/interface/bridge/add name=bridge-{name} comment="{comment}"')
        run(
            f"/interface/veth/add name=veth-{name} address={net}.2/30 gateway={net}.1 "
            f'comment="{comment}"'
        )
        run(
            f"/interface/bridge/port/add bridge=bridge-{name} interface=veth-{name} "
            f'comment="{comment}"'
        )
        run(f'/ip/address/add address={net}.1/30 interface=bridge-{name} comment="{comment}"')
        run(f'/interface/list/member/add list=LAN interface=bridge-{name} comment="{comment}"')
        run(f'/ip/route/add dst-address={net}.0/24 gateway={net}.2 comment="{comment}"')
        run(
            f"/ipv6/address/add address=fd00:{net[-1]}::1/64 interface=bridge-{name} "
            f'comment="{comment}"'
        )
        run(
            f"/ipv6/route/add dst-address=fd00:{net[-1]}1::/64 gateway=fd00:{net[-1]}::2 "
            f'comment="{comment}"'
        )
        run(f'/ip/dns/static/add name={name}.lan type=FWD forward-to={net}.2 comment="{comment}"')
        run(
            f"/ip/firewall/filter/add chain=forward in-interface=bridge-{name} action=accept "
            f'comment="{comment}"'
        )
        run(f'/ip/firewall/nat/add chain=srcnat action=masquerade comment="{comment}"')
        run(f'/ip/firewall/mangle/add chain=forward action=accept comment="{comment}"')
        run(
            f"/container/mounts/add {mount}={name} src={name}/state dst=/var/lib/{name} "
            f'comment="{comment}"'
        )
        run(f'/container/envs/add {env}={name} key=TS_LOG_VERBOSITY value="1" comment="{comment}"')
        run(f'/system/script/add name=update-{name} source=":log info x" comment="{comment}"')
        run(
            f"/system/scheduler/add name=update-{name} interval=1d on-event=update-{name} "
            f'start-date=2026-01-01 start-time=00:00:01 comment="{comment}"'
        )
        made.router.storage.put(f"{name}/state/kept", 4096, contents=LOGIN)
    run(
        f"/container/add name=web root-dir=containers/web interface=veth-plain cmd=x "
        f'entrypoint="/x" remote-image="{beds.HOST}/me/web:1" '
        'comment="mikrotik-tailscale, not" start-on-boot=yes; :delay 60s; '
        '/container/start [find where name="web"]; :delay 10s'
    )
    # beside the folder of ours, and in names that begin as it does
    for path in ("tailscale/c-notes", "tailscale/state-of-another/kept", "tailscale/statement"):
        made.router.storage.put(path, 100, contents=LOGIN)
    for name in ("tailscale-state-2", "my-update-tailscale", "library-tailscale-old"):
        run(f'/system/script/add name={name} source=":log info x"')
    # comments of ours on kinds of things that we never make
    run('/ip/firewall/filter/add chain=input action=accept comment="mikrotik-tailscale"')
    run('/ip/firewall/nat/add chain=dstnat action=accept comment="mikrotik-tailscale"')
    run('/routing/rule/add action=lookup table=main comment="mikrotik-tailscale"')
    made.router.plug("usb9", 1 << 30)
    run("/container/config/set tmpdir=usb9/tmp")


def everything(made: Bed) -> dict[str, str]:
    """Every row of every menu, by what it says."""
    made.router.advance(200)
    found = {}
    for path, menu in made.router.menus.items():
        if path[-1] in ("log", "job"):
            continue
        rows = menu.all() if isinstance(menu, Record) else getattr(menu, "items", {})
        if isinstance(menu, Record):
            rows = {"": {k: v for k, v in rows.items() if k not in MOVING}}
        for key, item in rows.items():
            text = ", ".join(f"{name}={to_str(value)[:80]}" for name, value in sorted(item.items()))
            found[f"{'/'.join(path)} {key} {text}"] = text
    return found


MOVING = ("uptime", "free-hdd-space", "free-memory", "date", "time")


@EVERY
@pytest.mark.parametrize("purge", [False, True])
def test_nothing_of_others_is_touched(version: str, purge: bool) -> None:
    made = beds.empty(version, flash_mib=80)
    others(made)
    before = everything(made)
    made.router.run("/import install-tailscale.rsc")
    made.router.advance(3600)
    made.publish(NEW)
    made.update()
    made.router.advance(3600)
    assert NEW in made.running(), made.router.printed[-5:]
    after = everything(made)
    assert [row for row in before if row not in after] == []
    if purge:
        made.router.run(":global TsPurge true")
    made.router.run("/import uninstall-tailscale.rsc")
    made.router.advance(3600)
    left = everything(made)
    assert [row for row in before if row not in left] == []
    mine = [row for row in left if row not in before]
    kept = [] if purge else ["settings-tailscale", "tailscale/state/tailscaled.state"]
    assert len(mine) == len(kept), mine
    for name in kept:
        assert any(name in row for row in mine)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            '/ip/route/remove [ find where comment="mikrotik-tailscale" ]',
            '/ip/route/remove [ find where comment~"mikrotik-tailscale" ]',
        ),
        ('= ($State . "/")', "= ($State)"),
        (
            '/system/script/remove [ find where name="tailscale-state" ]',
            '/system/script/remove [ find where name~"tailscale-state" ]',
        ),
        (
            '/interface/veth/remove [ find where comment="mikrotik-tailscale" ]',
            '/interface/veth/remove [ find where name~"tailscale" ]',
        ),
    ],
)
def test_a_removal_that_looks_less_closely_is_seen(
    old: str, new: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = beds.script
    text = plain("uninstall-tailscale")
    assert old in text
    wrong = text.replace(old, new)
    if "State" in old:
        wrong = wrong.replace("[ :len $State ] + 1)", "[ :len $State ])")
    monkeypatch.setattr(
        beds,
        "script",
        lambda name, version=None: wrong if name.startswith("unin") else plain(name, version),
    )
    with pytest.raises(AssertionError):
        test_nothing_of_others_is_touched("7.24", True)
