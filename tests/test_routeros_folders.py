"""No folder that another container has is touched: not removed, not written over, not taken over.

Folders are compared as routers may show them: with slashes, capitals or ``flash/`` before them, and
one that lies in another goes with it.
"""

from __future__ import annotations

import pytest

from tests.routeros import bed as beds
from tests.routeros.bed import HOST, NEW, OLD, Bed
from tests.routeros.lang.errors import RuntimeFault
from tests.routeros.lang.values import to_str
from tests.routeros.model import Image, versions
from tests.test_routeros_over import LOGIN, SETUPS, asked, lists, made_before, told
from tests.test_routeros_over import Attempt as Take

# each way that the model knows, on a version of its own
EVERY = pytest.mark.parametrize("version", versions())
ENTRY = 'entrypoint="/usr/local/bin/entrypoint.sh"'
# how a container can have the folder that the next image would get
NEXT = (
    "tailscale/b",
    "/tailscale/b/",
    "tailscale//b",
    "Tailscale/B",
    "flash/tailscale/b",
    "tailscale/b/web",
    "tailscale",
    "/flash/Tailscale/",
)


def web(made: Bed, root: str, more: str = 'entrypoint="/x" cmd=x', name: str = "web") -> None:
    """A container of somebody else that runs, in a folder."""
    made.registry.push("me/web", "1", Image("web"))
    run = made.router.run
    run("/interface/veth/add name=other address=10.9.9.2/30 gateway=10.9.9.1")
    run(
        f'/container/add name={name} root-dir="{root}" interface=other {more} '
        f'remote-image="{HOST}/me/web:1" start-on-boot=yes; :delay 60s; '
        f'/container/start [find where name="{name}"]; :delay 10s'
    )
    made.router.storage.put(f"{root}/kept", 100, contents=LOGIN)
    made.router.advance(600)


def untouched(made: Bed, root: str, name: str = "web") -> list[str]:
    """What is wrong with it."""
    rows = [item for item in made.router.containers.items.values() if item["name"] == name]
    wrong = [] if len(rows) == 1 else [f"{len(rows)} of it"]
    if "web" not in [image.name for image in made.running()]:
        wrong.append("it does not run")
    if made.router.storage.read(f"{root}/kept") != LOGIN:
        wrong.append("what is in its folder is gone")
    if rows and rows[0].get("start-on-boot") is not True:
        wrong.append("it does not start on boot")
    if not made.router.storage.exists(root):
        wrong.append("its folder is gone")
    return wrong


@pytest.mark.parametrize("root", NEXT)
def test_an_update_writes_over_nobodys_folder(root: str) -> None:
    made = beds.installed("7.24" if "flash" in root else "7.21")
    login = made.state()
    web(made, root)
    made.publish(NEW)
    for _ in range(3):
        made.update()
        made.router.advance(3600)
    assert untouched(made, root) == []
    assert OLD in made.running()
    assert NEW not in made.running()
    assert made.state() == login
    assert "container web" in "\n".join(made.router.log.lines("error"))


@pytest.mark.parametrize("root", ["tailscale/a/web", "Tailscale/A/web", "tailscale", "/TAILSCALE/"])
def test_the_old_container_is_not_removed_with_somebody_in_its_folder(root: str) -> None:
    made = beds.installed()
    web(made, root)
    made.publish(NEW)
    for _ in range(2):
        made.update()
        made.router.advance(3600)
    assert untouched(made, root) == []
    assert made.running().count(OLD) == 1
    assert len(made.router.containers.items) == 2
    writes = made.router.writes
    for purge in ("false", "true"):
        made.router.run(f":global TsPurge {purge}")
        made.router.run("/import uninstall-tailscale.rsc")
        assert "container web" in told(made)
    assert untouched(made, root) == []
    # refused before anything was changed
    assert made.router.writes == writes
    assert len(made.router.scheduler.items) == 1
    assert OLD in made.running()


@EVERY
def test_a_name_that_somebody_has_is_not_dropped(version: str) -> None:
    """A container that is called as the next one would be, in a folder of its own."""
    for more in ('entrypoint="/x" cmd=x', f"{ENTRY} cmd=x"):
        made = beds.installed(version)
        web(made, "web/root", more, name="tailscale-b")
        made.publish(NEW)
        for _ in range(3):
            made.update()
            made.router.advance(3600)
        assert untouched(made, "web/root", "tailscale-b") == []
        assert OLD in made.running()
        made.router.run("/import uninstall-tailscale.rsc")
        assert untouched(made, "web/root", "tailscale-b") == []
        assert OLD not in made.running()


def test_in_place_drops_no_container_that_is_only_called_like_ours() -> None:
    made = beds.installed(flash_mib=20)
    made.setting("TsInPlace", "true")
    web(made, "web/root", name="tailscale-b")
    storage = made.router.storage
    storage.put("filler", storage.free("") - (4 << 20))
    made.publish(NEW)
    made.update()
    made.router.advance(3600)
    assert untouched(made, "web/root", "tailscale-b") == []
    assert OLD in made.running()


@EVERY
def test_what_starts_as_ours_does_is_not_yet_ours(version: str) -> None:
    """Many images begin with an entrypoint of that name; ours has its login mounted besides."""
    made = beds.installed(version)
    web(made, "tailscale/b", f'{ENTRY} cmd="serve" comment="mikrotik-tailscale, not"')
    made.publish(NEW)
    made.update()
    made.router.advance(3600)
    assert untouched(made, "tailscale/b") == []
    made.router.run("/import uninstall-tailscale.rsc")
    assert untouched(made, "tailscale/b") == []
    assert OLD not in made.running()


@pytest.mark.parametrize(
    "root", ["tailscale", "/Tailscale/", "flash/tailscale", "tailscale/a/x", "tailscale/state"]
)
@pytest.mark.parametrize("adopt", [False, True])
def test_the_installer_names_who_has_the_folder_and_changes_nothing(root: str, adopt: bool) -> None:
    made = beds.empty(flash_mib=80)
    web(made, root)
    if adopt:
        made.router.run(":global TsAdopt true")
    writes = made.router.writes
    made.router.run("/import install-tailscale.rsc")
    assert "the container web has the folder" in made.router.log.lines("error")[-1]
    assert made.router.writes == writes
    assert untouched(made, root) == []


@EVERY
@pytest.mark.parametrize("adopt", [False, True])
def test_a_container_whose_folder_is_called_tailscale_is_no_tailscale(
    version: str, adopt: bool
) -> None:
    made = beds.empty(version, flash_mib=80)
    web(made, "containers/tailscale-web")
    if adopt:
        made.router.run(":global TsAdopt true")
    made.router.run("/import install-tailscale.rsc")
    made.router.advance(3600)
    assert untouched(made, "containers/tailscale-web") == []
    assert OLD in made.running()


# -- taking over --------------------------------------------------------------------------------


def test_a_login_inside_the_folder_of_the_old_container_is_not_lost() -> None:
    """It would go with the container: refused, by name, with the old one still running."""
    setup = SETUPS[1]
    made = made_before("7.24", setup, "running")
    made.router.run(
        '/container/stop [find]; :delay 10s; /container/set [find] root-dir="tailscale"'
    )
    made.router.run("/container/start [find]; :delay 10s")
    made.router.upload(
        "settings-tailscale.rsc",
        beds.script("settings-tailscale").replace('TsFolder "tailscale"', 'TsFolder "node"'),
    )
    made.router.run(":global TsAdopt true")
    writes = made.router.writes
    made.router.run("/import install-tailscale.rsc")
    assert "would go with the folder" in told(made)
    assert made.router.writes == writes
    assert [image.name for image in made.running()] == ["theirs"]
    assert made.router.storage.read(f"{setup.state}/tailscaled.state") == LOGIN


def everything(made: Bed) -> dict[str, str]:
    """The set-up of somebody: what they made, by its key, without what ours adds."""
    found = {}
    for path in ("interface/veth", "interface/bridge/port", "ip/route", "ip/address"):
        for key, item in made.router.menu(path).items.items():
            if "mikrotik-tailscale" not in to_str(item.get("comment", "")):
                found[f"{path} {key}"] = ", ".join(
                    f"{name}={to_str(value)}" for name, value in sorted(item.items())
                )
    for path in ("system/scheduler", "system/script", "container", "container/mounts"):
        for key, item in made.router.menu(path).items.items():
            found[f"{path} {key}"] = ", ".join(
                f"{name}={to_str(value)[:99]}" for name, value in sorted(item.items())
            )
    return found


@pytest.mark.parametrize("version", ["7.19", "7.20", "7.22", "7.24"])
@pytest.mark.parametrize("setup", SETUPS[:4], ids=lambda setup: setup.image)
def test_a_take_over_that_fails_leaves_the_old_set_up_as_it_was(
    version: str, setup: object
) -> None:
    made, _ = asked(Take(version, setup))  # type: ignore[arg-type]
    made.router.faults = None
    made.publish(Image("v1", "crash"))
    before = everything(made)
    made.router.run("/import install-tailscale.rsc")
    made.router.advance(60)
    assert [image.name for image in made.running()] == ["theirs"], told(made)
    after = everything(made)
    changed = {key: (row, after.get(key)) for key, row in before.items() if after.get(key) != row}
    assert changed == {}


# -- removal ------------------------------------------------------------------------------------


@EVERY
def test_what_another_container_uses_of_ours_stays(version: str) -> None:
    """Our lists, our veth, our bridge and our state, in the hands of somebody."""
    made = beds.installed(version)
    _, _, mountlists, envlists = lists(version)
    web(made, "web/root", f'entrypoint="/x" cmd=x {mountlists}=tailscale {envlists}=tailscale')
    made.router.run("/interface/bridge/port/add bridge=bridge-tailscale interface=other")
    login = made.state()
    made.router.run(":global TsPurge true")
    made.router.run("/import uninstall-tailscale.rsc")
    assert untouched(made, "web/root") == []
    assert OLD not in made.running()
    assert made.state() == login
    for path, name in (
        ("container/mounts", "tailscale"),
        ("container/envs", "tailscale"),
        ("interface/bridge", "bridge-tailscale"),
    ):
        rows = made.router.menu(path).items.values()
        assert any(name in map(to_str, item.values()) for item in rows), path
    assert len(made.router.menu("ip/address").items) == 1
    assert [line for line in made.router.printed if line.startswith("kept: ")] != []


@pytest.mark.parametrize("root", ["tailscale/state/web", "Tailscale/State"])
def test_a_purge_leaves_a_state_folder_that_somebody_has(root: str) -> None:
    made = beds.installed()
    web(made, root)
    login = made.state()
    made.router.run(":global TsPurge true")
    made.router.run("/import uninstall-tailscale.rsc")
    assert untouched(made, root) == []
    assert made.state() == login
    assert OLD not in made.running()


def test_the_library_removes_no_folder_of_two() -> None:
    """Even if somebody moves in while an update is under way."""
    made = beds.installed()
    web(made, "tailscale/a/web")
    made.router.run("/system/script/run library-tailscale")
    with pytest.raises(RuntimeFault, match="container web too"):
        made.router.run(':global TsDrop; $TsDrop [ /container/find where name="tailscale-a" ]')
    assert untouched(made, "tailscale/a/web") == []
    assert OLD in made.running()


# -- controls -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "old", "new", "seen"),
    [
        (
            "library",
            "transform=lc",
            "",
            lambda: test_an_update_writes_over_nobodys_folder("Tailscale/B"),
        ),
        (
            "library",
            "  :local User [ $TsUser $Root ({ $1 }) ];",
            '  :local User "";',
            lambda: test_the_library_removes_no_folder_of_two(),
        ),
        (
            "library",
            ':set User ("container " . $Name)',
            ':set User ""',
            lambda: test_a_name_that_somebody_has_is_not_dropped("7.24"),
        ),
        (
            "library",
            '[ $TsPlain ($All->"cmd") ] ~ "tailscaled[.]state"',
            "true",
            lambda: test_what_starts_as_ours_does_is_not_yet_ours("7.24"),
        ),
        (
            "library",
            '($All->"tag"));',
            '($All->"tag") . " " . ($All->"root-dir"));',
            lambda: test_a_container_whose_folder_is_called_tailscale_is_no_tailscale("7.24", True),
        ),
        (
            "install",
            "$TsBack;",
            "",
            lambda: test_a_take_over_that_fails_leaves_the_old_set_up_as_it_was("7.24", SETUPS[1]),
        ),
        (
            "uninstall",
            ":set Lists $Name;",
            "",
            lambda: test_what_another_container_uses_of_ours_stays("7.24"),
        ),
        (
            "uninstall",
            ":set Holder [ $TsUser $State ({}) ];",
            "",
            lambda: test_a_purge_leaves_a_state_folder_that_somebody_has("tailscale/state/web"),
        ),
    ],
)
def test_scripts_that_look_less_closely_are_seen(
    where: str, old: str, new: str, seen: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    beds.plant(monkeypatch, f"{where}-tailscale", old, new)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        seen()  # type: ignore[operator]
