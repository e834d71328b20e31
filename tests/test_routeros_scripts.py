"""install, update, status and uninstall on every modelled RouterOS version."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.routeros import bed as beds
from tests.routeros.bed import NEW, OLD, Bed
from tests.routeros.lang.values import to_str
from tests.routeros.model import Image, Registry, versions
from tests.routeros.model.tables import Record

EVERY = pytest.mark.parametrize("version", versions())
BAD = [
    Image("v1.102.6-mt.1", "crash"),
    Image("v1.102.7-mt.1", "mute"),
    Image("v1.102.8-mt.1", "deaf"),
    Image("v1.102.9-mt.1", "login"),
]


def names(made: Bed) -> list[str]:
    return [image.name for image in made.running()]


def errors(made: Bed) -> list[str]:
    return made.router.log.lines("error")


# -- install ------------------------------------------------------------------------------------


@EVERY
def test_install(version: str) -> None:
    made = beds.installed(version)
    router = made.router
    assert errors(made) == []
    assert made.running() == [OLD]
    assert made.record("digest") == OLD.digest
    assert made.state().startswith("node-")
    assert len(router.scheduler.items) == 1
    route = next(iter(router.menu("ip/route").items.values()))
    assert (to_str(route["dst-address"]), route["gateway"]) == ("100.64.0.0/10", "172.31.200.2")
    container = next(iter(router.containers.items.values()))
    assert container["start-on-boot"] is True
    assert container["entrypoint"] == "/usr/local/bin/entrypoint.sh"
    assert "--statedir=/var/lib/tailscale" in to_str(container["cmd"])
    assert to_str(container["remote-image"]).endswith("@" + OLD.digest)


@EVERY
def test_a_script_for_one_version_does_what_the_universal_one_does(version: str) -> None:
    plain, rendered = beds.installed(version), beds.installed(version, rendered=version)
    for path in (
        "container",
        "container/mounts",
        "container/envs",
        "ip/route",
        "ip/address",
        "interface/veth",
        "system/scheduler",
    ):
        assert list(plain.router.menu(path).items.values()) == list(
            rendered.router.menu(path).items.values()
        ), path


RESTART = {
    "7.19": {},
    "7.20": {"auto-restart-interval"},
    "7.22": {"auto-restart-interval"},
    "7.23": {"restart-policy", "restart-interval"},
}


@pytest.mark.parametrize(("version", "words"), RESTART.items())
def test_restart_policy_where_there_is_one(version: str, words: set[str]) -> None:
    made = beds.installed(version)
    container = next(iter(made.router.containers.items.values()))
    assert {word for word in container if "restart" in word} == set(words)


@EVERY
def test_install_again_changes_nothing(version: str) -> None:
    made = beds.installed(version)
    writes, lines = made.router.writes, made.router.log.lines()
    made.router.run("/import install-tailscale.rsc")
    made.router.advance(3600)
    assert made.router.writes == writes
    assert made.router.log.lines() == lines


def test_install_keeps_settings_and_replaces_code() -> None:
    made = beds.installed()
    made.setting("TsHostname", '"mine"')
    made.router.upload("update-tailscale.rsc", beds.script("update-tailscale") + "# newer\n")
    made.router.run("/import install-tailscale.rsc")
    sources = {item["name"]: to_str(item["source"]) for item in made.router.scripts.items.values()}
    assert '"mine"' in sources["settings-tailscale"]
    assert sources["update-tailscale"].endswith("# newer\n")


def test_install_asks_for_device_mode_in_one_command() -> None:
    made = beds.empty()
    made.router.modes = {"container": True, "fetch": False, "scheduler": False}
    made.router.run("/import install-tailscale.rsc")
    assert "  /system/device-mode/update container=yes fetch=yes scheduler=yes" in (
        made.router.printed
    )
    assert not made.router.containers.items
    assert not made.router.scripts.items


def test_install_stops_if_the_disk_is_missing() -> None:
    made = beds.empty()
    made.router.upload(
        "settings-tailscale.rsc",
        beds.script("settings-tailscale").replace(':global TsDisk "";', ':global TsDisk "usb1";'),
    )
    made.router.run("/import install-tailscale.rsc")
    assert "disk usb1 is not there" in errors(made)[-1]
    assert not made.trees()
    made.router.plug("usb1", 1 << 30)
    made.router.run("/import install-tailscale.rsc")
    made.router.advance(3600)
    assert made.running() == [OLD]
    assert made.trees() == ["usb1/tailscale/a"]
    config = made.router.menus["container", "config"]
    assert isinstance(config, Record)
    assert config.all()["tmpdir"] == "usb1/tmp"


def test_install_refuses_a_folder_in_ram() -> None:
    """Devices with a disk named flash keep everything else in RAM."""
    made = beds.empty()
    made.router.storage.put("flash", 0, "disk")
    made.router.run("/import install-tailscale.rsc")
    assert "only flash/ survives" in errors(made)[-1]
    made.router.upload(
        "settings-tailscale.rsc",
        beds.script("settings-tailscale").replace('"tailscale";', '"flash/tailscale";'),
    )
    made.router.run("/import install-tailscale.rsc")
    made.router.advance(3600)
    assert made.trees() == ["flash/tailscale/a"]


def test_install_stops_without_the_image_name() -> None:
    made = beds.empty()
    made.router.upload(
        "settings-tailscale.rsc",
        beds.script("settings-tailscale").replace(beds.HOST, "ghcr.io/OWNER"),
    )
    made.router.run("/import install-tailscale.rsc")
    assert "set TsImage" in errors(made)[-1]


def test_install_with_ipv6_and_magicdns() -> None:
    made = beds.empty()
    text = beds.script("settings-tailscale")
    for old, new in (
        (':global TsGateway6 "";', ':global TsGateway6 "fd00:9::1";'),
        (':global TsAddress6 "";', ':global TsAddress6 "fd00:9::2";'),
        (':global TsMagicDns "";', ':global TsMagicDns "tail1.ts.net";'),
    ):
        assert old in text
        text = text.replace(old, new)
    made.router.upload("settings-tailscale.rsc", text)
    made.router.run("/import install-tailscale.rsc")
    route = next(iter(made.router.menu("ipv6/route").items.values()))
    assert to_str(route["dst-address"]) == "fd7a:115c:a1e0::/48"
    rule = next(iter(made.router.menu("ip/dns/static").items.values()))
    assert (rule["name"], rule["type"], to_str(rule["forward-to"])) == (
        "tail1.ts.net",
        "FWD",
        "100.100.100.100",
    )


# -- update -------------------------------------------------------------------------------------


@EVERY
def test_no_news_does_nothing_logs_nothing_writes_nothing(version: str) -> None:
    made = beds.installed(version)
    router = made.router
    before = (
        router.writes,
        router.log.lines(),
        router.storage.used(""),
        router.containers.history[:],
    )
    made.update()
    router.advance(86400 + beds.TICK)
    assert (
        router.writes,
        router.log.lines(),
        router.storage.used(""),
        router.containers.history,
    ) == before
    # at the installation, at the run by hand and once for the day
    heads = [asked for asked in made.registry.asked if asked.startswith("HEAD")]
    assert len(heads) == 3


@EVERY
def test_update(version: str) -> None:
    made = beds.installed(version)
    identity, used = made.state(), made.router.storage.used("")
    made.publish(NEW)
    made.router.advance(86400 + 3600)
    assert made.running() == [NEW]
    assert made.record("digest") == NEW.digest
    assert made.state() == identity
    assert made.router.storage.used("") == used
    assert errors(made) == []


def test_the_old_one_runs_until_the_new_one_is_on_flash() -> None:
    made = beds.installed()
    made.publish(NEW)
    start = len(made.router.containers.history)
    made.update()
    events = made.router.containers.history[start:]
    assert events.index("tailscale-b stopped") < events.index("tailscale-a stopping")
    assert events.index("tailscale-b running") < events.index("tailscale-a deleting")


@EVERY
@pytest.mark.parametrize("image", BAD, ids=lambda image: image.behaviour)
def test_a_bad_image_is_taken_back_once_and_not_tried_again(version: str, image: Image) -> None:
    made = beds.installed(version)
    if version == "7.19":
        made.setting("TsProbe", '"100.64.0.9"')
    made.publish(image)
    made.update()
    made.router.advance(60)
    assert made.running() == [OLD]
    assert made.record("digest") == OLD.digest
    assert made.record("bad") == image.digest
    assert len([line for line in errors(made) if "update failed" in line]) == 1
    history = len(made.router.containers.history)
    made.router.advance(3 * 86400)
    assert len(made.router.containers.history) == history
    assert len([line for line in errors(made) if "update failed" in line]) == 1
    made.publish(NEW)
    made.router.advance(86400)
    assert made.running() == [NEW]


def test_the_alarm_runs_the_users_script() -> None:
    made = beds.installed()
    made.setting("TsAlarmScript", '"tell"')
    made.router.scripts.add(
        {"name": "tell", "source": ':global TsAlarmText; :log warning "sms: $TsAlarmText"'}
    )
    made.publish(BAD[0])
    made.update()
    assert any(line.startswith("sms: update failed") for line in made.router.log.lines("warning"))


@EVERY
@pytest.mark.parametrize("fault", ["broken_pulls", "down", "certificate", "token", "no tag"])
def test_registry_faults_touch_nothing(version: str, fault: str) -> None:
    made = beds.installed(version)
    made.publish(NEW)
    if fault == "token":
        made.registry.token_status = 500
    elif fault == "no tag":
        made.registry.tags.clear()
    else:
        setattr(made.registry, fault, fault != "certificate")
    history = made.router.containers.history[:]
    used = made.router.storage.used("")
    made.update()
    made.router.advance(1200)
    assert made.running() == [OLD]
    assert [
        event
        for event in made.router.containers.history[len(history) :]
        if event.startswith("tailscale-a")
    ] == []
    assert made.router.storage.used("") == used
    assert made.record("digest") == OLD.digest
    assert errors(made)
    made.registry.down = made.registry.broken_pulls = False
    made.registry.certificate, made.registry.token_status = True, 200
    made.publish(NEW)
    made.router.advance(2 * 3600)
    assert made.running() == [NEW]


def test_too_little_flash_is_said_once_and_changes_nothing() -> None:
    made = beds.installed(flash_mib=14)
    made.publish(NEW)
    made.update()
    made.router.advance(3 * 86400)
    assert made.running() == [OLD]
    assert len([line for line in errors(made) if "not enough space" in line]) == 1


@EVERY
@pytest.mark.parametrize("image", [NEW, BAD[0]], ids=["good", "bad"])
def test_in_place_where_the_settings_allow_it(version: str, image: Image) -> None:
    made = beds.installed(version, flash_mib=14)
    made.router.plug("usb1", 1 << 30)
    made.setting("TsInPlace", "true")
    made.setting("TsRollbackFile", '"usb1/rollback.tar"')
    made.publish(image)
    identity = made.state()
    made.update()
    made.router.advance(7200)
    assert names(made) == [NEW.name if image is NEW else OLD.name]
    assert made.state() == identity
    assert len(made.router.containers.items) == 1
    saved = made.router.storage.exists("usb1/rollback.tar")
    assert saved is (version == "7.24")


def test_in_place_way_back_without_the_registry() -> None:
    """With the saved tar the old image comes back though nothing can be pulled any more."""
    made = beds.installed("7.24", flash_mib=14)
    made.router.plug("usb1", 1 << 30)
    made.setting("TsInPlace", "true")
    made.setting("TsRollbackFile", '"usb1/rollback.tar"')
    made.publish(NEW)
    made.registry.broken_pulls = True
    made.update()
    made.router.advance(600)
    assert made.running() == [OLD]


def test_a_crashed_container_is_started_again() -> None:
    made = beds.installed("7.19")
    made.router.run("/container/stop [find]")
    made.router.advance(beds.TICK + 60)
    assert made.running() == [OLD]
    assert any("has been started" in line for line in made.router.log.lines("warning"))


def test_a_lost_container_is_installed_again() -> None:
    made = beds.installed()
    identity = made.state()
    made.router.run("/container/stop [find]; :delay 10s; /container/remove [find]")
    made.router.advance(beds.TICK + 600)
    assert made.running() == [OLD]
    assert made.state() == identity


def test_two_runs_do_not_mix() -> None:
    made = beds.installed()
    made.publish(NEW)
    made.router.scheduler.add(
        {
            "name": "again",
            "interval": "20s",
            "start-time": "00:00:01",
            "on-event": "update-tailscale",
        }
    )
    made.update()
    assert made.running() == [NEW]
    assert errors(made) == []
    adds = [event for event in made.router.containers.history if event == "tailscale-b starting"]
    assert len(adds) == 1


def test_a_run_that_died_does_not_lock_for_ever() -> None:
    made = beds.installed()
    made.router.run(":global TsBusy [/system/resource/get uptime]")
    made.publish(NEW)
    made.router.globals.pop("TsChecked")
    made.router.advance(3600)
    assert made.running() == [OLD]
    made.router.advance(2 * 3600)
    assert made.running() == [NEW]


def test_three_tries_that_end_in_power_cuts_are_enough() -> None:
    made = beds.installed()
    made.router.run_script("update-tailscale")
    digest = NEW.digest
    for item in made.router.scripts.items.values():
        if item["name"] == "tailscale-state":
            item["comment"] = f"digest={OLD.digest} bad= tries=3 trial={digest} need=true"
    made.publish(NEW)
    made.update()
    assert made.running() == [OLD]
    assert made.record("bad") == digest
    assert "three tries" in errors(made)[-1]


def test_the_clock_must_be_set_before_certificates_are_checked() -> None:
    made = beds.installed()
    made.publish(NEW)
    made.router.clock.wrong = -made.router.clock.now
    asked = len(made.registry.asked)
    made.update()
    assert len(made.registry.asked) == asked
    assert made.running() == [OLD]
    assert errors(made) == []
    made.router.clock.wrong = 0
    made.update()
    assert made.running() == [NEW]


def test_a_pinned_tag_stays() -> None:
    made = beds.installed()
    pinned = made.registry.push(beds.REPOSITORY, OLD.name, OLD)
    made.setting("TsTag", f'"{OLD.name}"')
    made.publish(NEW)
    made.router.advance(3 * 86400)
    assert made.running() == [OLD]
    assert pinned == OLD.digest


def test_a_rollback_by_hand_is_a_pin_to_the_older_tag() -> None:
    made = beds.installed()
    made.registry.push(beds.REPOSITORY, OLD.name, OLD)
    made.publish(NEW)
    made.update()
    assert made.running() == [NEW]
    made.setting("TsTag", f'"{OLD.name}"')
    made.update()
    assert made.running() == [OLD]


STYLES = [
    ("ghcr.io", "/token", "ghcr.io"),
    ("gitea.example", "/v2/token", "gitea.example"),
    ("docker.io", "/token", "registry-1.docker.io"),
]


@pytest.mark.parametrize(("host", "style", "api"), STYLES)
def test_token_services(host: str, style: str, api: str) -> None:
    """The three styles of token service that TsTokenUrl "" works out."""
    made = beds.installed()
    served = Registry(host=api, style=style)
    tokens = Registry(host="auth.docker.io", style="/token")
    pulls = Registry(host=host)
    for registry in (served, pulls):
        registry.push(beds.REPOSITORY, "stable", NEW)
    made.router.registries += [served, pulls]
    transport = made.router.fetch.transport
    transport.registries |= {"auth.docker.io": tokens, api: served}  # type: ignore[attr-defined]
    made.setting("TsImage", f'"{host}/{beds.REPOSITORY}"')
    made.update()
    assert made.running() == [NEW]


def test_a_registry_without_tokens() -> None:
    made = beds.installed()
    made.registry.style = "none"
    made.setting("TsTokenUrl", '"none"')
    made.publish(NEW)
    made.update()
    assert made.running() == [NEW]


def test_over_real_sockets(tmp_path: Path) -> None:
    """The token and the HEAD over TLS; an unknown authority stops the update."""
    from tests.routeros.authority import make
    from tests.routeros.model.fetch import Socket
    from tests.routeros.model.registry import serve

    trusted, stranger = make(tmp_path / "a", beds.HOST), make(tmp_path / "b", beds.HOST)
    made = beds.installed()
    made.publish(NEW)
    with serve(made.registry, stranger.certificate, stranger.key) as port:
        made.router.fetch.transport = Socket({beds.HOST: port}, trusted.authority)
        made.update()
        assert made.running() == [OLD]
        assert "ssl" in errors(made)[-1].lower()
    with serve(made.registry, trusted.certificate, trusted.key) as port:
        made.router.fetch.transport = Socket({beds.HOST: port}, trusted.authority)
        made.update()
    assert made.running() == [NEW]


# -- status and uninstall -----------------------------------------------------------------------


def status(made: Bed) -> str:
    made.router.printed.clear()
    made.router.run_script("status-tailscale")
    return "\n".join(made.router.printed)


@EVERY
def test_status_of_a_healthy_node(version: str) -> None:
    made = beds.installed(version)
    writes = made.router.writes
    screen = status(made)
    assert "to do       nothing" in screen
    assert OLD.digest[:19] in screen
    assert len(screen.splitlines()) <= 24
    assert made.router.writes == writes
    if version != "7.19":
        assert "tailscale   connected" in screen


@pytest.mark.parametrize(
    ("damage", "advice"),
    [
        ("/ip/route/remove [find]", "/import install-tailscale.rsc"),
        ("/system/scheduler/remove [find]", "/import install-tailscale.rsc"),
        ("/container/stop [find]; :delay 10s", "/system/script/run update-tailscale"),
        ('/interface/veth/set [find] address="10.9.9.9/30"', "docs/USAGE.md"),
    ],
)
def test_status_says_what_to_do(damage: str, advice: str) -> None:
    made = beds.installed()
    made.router.run(damage)
    todo = [line for line in status(made).splitlines() if line.startswith("to do")]
    assert any(advice in line for line in todo), todo


@EVERY
def test_uninstall_leaves_nothing_but_the_identity(version: str) -> None:
    made = beds.installed(version)
    identity = made.state()
    made.router.run("/import uninstall-tailscale.rsc")
    made.router.advance(3600)
    router = made.router
    left = [
        f"{'/'.join(path)}: {item}"
        for path, menu in router.menus.items()
        if hasattr(menu, "items") and path != ("log",) and path != ("file",)
        for item in menu.items.values()
        if "tailscale" in str(item)
    ]
    assert len(left) == 1 and "settings-tailscale" in left[0]
    assert made.state() == identity
    assert made.trees() == []
    router.run("/import install-tailscale.rsc")
    router.advance(3600)
    assert made.running() == [OLD]
    assert made.state() == identity


def test_uninstall_with_purge() -> None:
    made = beds.installed()
    made.router.advance(600)
    made.router.run(":global TsPurge true\n/import uninstall-tailscale.rsc")
    assert made.state() == "no state"
    assert not made.router.scripts.items
