"""What goes wrong on real routers: rights, packages, registries, stuck containers, edited names.

Every run that ends with nothing running calls somebody; nothing of others is touched.
"""

from __future__ import annotations

import pytest

from tests.routeros import bed as beds
from tests.routeros.bed import NEW, OLD, Bed
from tests.routeros.lang.errors import RuntimeFault
from tests.routeros.lang.values import to_str
from tests.routeros.model import Image, versions
from tests.routeros.model.tables import Record

EVERY = pytest.mark.parametrize("version", versions())
READER = "read,test,winbox,web,ssh"
TELL = ':global TsAlarmText; :log warning "sms: $TsAlarmText"'


def tell(made: Bed, policy: str | None = None) -> None:
    """A script for alarms, with the permissions that a new script has."""
    made.setting("TsAlarmScript", '"tell"')
    values = {"name": "tell", "source": TELL}
    made.router.scripts.add({**values, **({"policy": policy} if policy else {})})


def calls(made: Bed) -> list[str]:
    return [line for line in made.router.log.lines("warning") if line.startswith("sms: ")]


def only(made: Bed) -> dict[str, object]:
    """The one container."""
    assert len(made.router.containers.items) == 1
    return next(iter(made.router.containers.items.values()))


def life(made: Bed) -> object:
    return next(iter(made.router.containers.lives.values()))


# -- what a router lacks ------------------------------------------------------------------------


@EVERY
@pytest.mark.parametrize(
    ("state", "message"),
    [("missing", "not installed"), ("available", "not installed"), ("disabled", "disabled")],
)
def test_without_the_package_every_script_says_so(version: str, state: str, message: str) -> None:
    made = beds.empty(version)
    made.router.install_package(state)
    writes = made.router.writes
    made.router.run("/import install-tailscale.rsc")
    assert message in made.router.log.lines("error")[-1]
    assert made.router.writes == writes
    done = beds.installed(version)
    tell(done)
    done.router.install_package(state)
    # packages come and go with a restart
    done.router.power_cut()
    done.router.run_script("update-tailscale")
    assert message in calls(done)[-1]
    done.router.run_script("status-tailscale")
    assert message in done.router.printed[-1]


@EVERY
def test_a_locked_device_is_said_and_nothing_changed(version: str) -> None:
    made = beds.empty(version)
    made.router.modes = dict.fromkeys(made.router.modes, False)
    writes = made.router.writes
    made.router.run("/import install-tailscale.rsc")
    assert "device-mode" in made.router.log.lines("error")[-1]
    assert made.router.writes == writes


# -- registries ---------------------------------------------------------------------------------


@EVERY
@pytest.mark.parametrize("needs_service", [False, True])
def test_registries_with_and_without_an_ampersand(version: str, needs_service: bool) -> None:
    made = beds.installed(version)
    made.registry.needs_service = needs_service
    made.publish(NEW)
    made.update()
    assert made.running() == [NEW]


@pytest.mark.parametrize("token", ["12345678", "10.0.0.1", "true", "1d", "0x10", "00000042"])
def test_a_token_is_text_whatever_it_looks_like(token: str) -> None:
    made = beds.installed()
    made.registry.token = token
    made.publish(NEW)
    made.update()
    assert made.running() == [NEW]


# -- permissions --------------------------------------------------------------------------------


def test_the_model_refuses_a_script_with_more_permissions_than_its_caller() -> None:
    made = beds.installed()
    made.router.scripts.add({"name": "x", "source": ":put x"})
    made.router.run("/system/script/run x")
    with pytest.raises(RuntimeFault, match="not enough permissions"):
        made.router.run_as("/system/script/run x", READER)


@EVERY
@pytest.mark.parametrize("policy", [None, "read", "ftp,read,write,policy,test"])
def test_the_alarm_script_runs_under_the_schedule(version: str, policy: str | None) -> None:
    made = beds.installed(version)
    tell(made, policy)
    made.router.run("/container/stop [find]; :delay 10s; /container/remove [find]; :delay 10s")
    made.registry.down = True
    made.router.advance(beds.TICK + 600)
    assert len(calls(made)) == 1
    assert "no container runs" in calls(made)[0]
    # called once a day, logged every time
    before = len(made.router.log.lines("error"))
    made.router.advance(4 * beds.TICK)
    assert len(calls(made)) == 1
    assert len(made.router.log.lines("error")) > before
    made.router.advance(86400)
    assert len(calls(made)) == 2


@EVERY
def test_a_user_who_may_only_read_can_ask_how_it_goes(version: str) -> None:
    made = beds.installed(version)
    writes = made.router.writes
    made.router.run_as("/system/script/run status-tailscale", READER)
    assert any(line.startswith("to do") for line in made.router.printed), made.router.printed
    assert "to do       nothing" in made.router.printed
    assert made.router.writes == writes


# -- nothing runs -------------------------------------------------------------------------------


@EVERY
@pytest.mark.parametrize("trouble", ["veth", "argument", "interface"])
def test_in_place_removes_nothing_for_an_add_that_cannot_work(version: str, trouble: str) -> None:
    made = beds.installed(version, flash_mib=14)
    made.setting("TsInPlace", "true")
    tell(made)
    if trouble == "veth":
        made.router.run('/interface/veth/set [find] name="renamed"')
    elif trouble == "argument":
        made.router.containers.refused = {"entrypoint": "refused by the test"}
    else:
        made.setting("TsVeth", '"nope"')
    made.publish(NEW)
    made.update()
    assert made.running() == [OLD]
    assert any("no update in place" in line for line in made.router.log.lines("error"))


@EVERY
@pytest.mark.parametrize("name", ['a"b', "$x", "[/system/reboot]", "back\\slash", "a b;c", '"'])
def test_names_and_settings_are_data(version: str, name: str) -> None:
    made = beds.installed(version)
    identity = made.router.menus["system", "identity"]
    assert isinstance(identity, Record)
    identity.values["name"] = name
    made.publish(NEW)
    made.update()
    assert made.running() == [NEW]
    assert only(made)["hostname"] == name


@EVERY
def test_an_unknown_argument_does_not_stop_an_update(version: str) -> None:
    """A version that nobody knew: what can be done without is left out."""
    made = beds.installed(version)
    made.router.containers.refused = dict.fromkeys(
        ("tmpfs", "ignore-remote-image-change", "memory-max"), "unknown"
    )
    made.publish(NEW)
    made.update()
    assert made.running() == [NEW]


@EVERY
def test_a_container_stuck_in_stopping_is_killed_or_somebody_is_called(version: str) -> None:
    made = beds.installed(version)
    tell(made)
    life(made).stuck = True  # type: ignore[attr-defined]
    made.router.run("/container/stop [find]")
    made.router.advance(2 * beds.TICK)
    if version in ("7.19", "7.20"):
        assert calls(made)
    else:
        assert made.running() == [OLD]


def two(made: Bed) -> None:
    """A second one of ours runs too, as no single fault would leave it; then the schedule comes."""
    digest = made.publish(NEW)
    made.router.run("/system/script/run settings-tailscale; /system/script/run library-tailscale")
    made.router.run(
        f':global TsPull; $TsPull "b" "remote-image" "{beds.HOST}/{beds.REPOSITORY}@{digest}" '
        f'"{digest}" "no"'
    )
    for one in made.router.containers.lives.values():
        one.state = "running"
    made.router.run_script("update-tailscale")
    made.router.advance(60)
    assert made.running() == [OLD]
    assert "two daemons" not in made.state()


def test_of_two_that_run_one_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a negative control: a script that does not look for the second."""
    two(beds.installed())
    old = ':if ([ $TsStop $Id ] = false) do={ :error "a second container does not stop"; }'
    beds.plant(monkeypatch, "library-tailscale", old, "")
    with pytest.raises(AssertionError):
        two(beds.installed())


@EVERY
def test_an_image_that_does_not_start_is_pulled_anew(version: str) -> None:
    made = beds.installed(version)
    identity = made.state()
    tell(made)
    made.router.run("/container/stop [find]; :delay 10s")
    life(made).image = Image(OLD.name, "dead")  # type: ignore[attr-defined]
    made.router.advance(4 * beds.TICK)
    assert made.running() == [OLD]
    assert calls(made)
    assert made.state() == identity
    assert len(made.router.containers.items) == 1


@EVERY
def test_without_a_tag_a_lost_container_comes_back(version: str) -> None:
    made = beds.installed(version)
    made.setting("TsTag", '""')
    made.router.run("/container/stop [find]; :delay 10s; /container/remove [find]")
    made.router.advance(2 * beds.TICK)
    assert made.running() == [OLD]


def test_without_a_tag_and_without_a_record_somebody_is_called() -> None:
    made = beds.installed()
    made.setting("TsTag", '""')
    tell(made)
    made.router.run(
        "/container/stop [find]; :delay 10s; /container/remove [find]; "
        '/system/script/remove [find where name="tailscale-state"]'
    )
    made.router.advance(2 * beds.TICK)
    assert "no container runs" in calls(made)[0]


@EVERY
def test_nothing_installed_and_flash_full_backs_off(version: str) -> None:
    made = beds.empty(version, flash_mib=3)
    made.router.run("/import install-tailscale.rsc")
    tell(made)
    made.router.advance(86400)
    adds = [line for line in made.router.containers.history if line.endswith("failed")]
    assert 3 <= len(adds) <= 10
    assert calls(made)


@pytest.mark.parametrize("file", ["settings-tailscale", "library-tailscale"])
def test_a_missing_part_calls_too(file: str) -> None:
    made = beds.installed()
    tell(made)
    made.router.run_script("update-tailscale")
    made.router.run("/container/stop [find]; :delay 10s")
    made.router.run(f'/system/script/remove [find where name="{file}"]')
    made.router.globals.pop("TsAlive", None)
    made.router.run_script("update-tailscale")
    assert "no container runs" in calls(made)[0]


# -- what is ours -------------------------------------------------------------------------------


@EVERY
@pytest.mark.parametrize(
    "edit",
    ['comment="my vpn"', 'comment=""', 'name="vpn"', 'comment="x" name="vpn"'],
)
def test_edited_comments_and_names_are_no_harm(version: str, edit: str) -> None:
    made = beds.installed(version)
    identity = made.state()
    made.router.run("/container/stop [find]; :delay 10s")
    made.router.run(f"/container/set [find] {edit}")
    made.router.advance(beds.TICK)
    assert made.running() == [OLD]
    made.publish(NEW)
    made.update()
    assert made.running() == [NEW]
    assert made.state() == identity
    assert len(made.router.containers.items) == 1


@EVERY
def test_a_folder_that_another_container_has_is_never_touched(version: str) -> None:
    made = beds.installed(version)
    made.router.run("/interface/veth/add name=other address=10.9.9.2/30 gateway=10.9.9.1")
    made.registry.push("me/web", "1", Image("web"))
    made.router.run(
        f'/container/add name=web root-dir=tailscale/b interface=other cmd="x" entrypoint="/x" '
        f'remote-image="{beds.HOST}/me/web:1" comment="mikrotik-tailscale"; :delay 60s; '
        '/container/start [find where name="web"]; :delay 10s'
    )
    made.router.advance(600)
    made.publish(NEW)
    made.update()
    made.router.advance(600)
    web = [item for item in made.router.containers.items.values() if item["name"] == "web"]
    assert len(web) == 1
    assert "tailscale/b" in made.trees()
    assert {image.name for image in made.running()} == {OLD.name, "web"}
    assert any("belongs to the container web" in line for line in made.router.log.lines("error"))


# -- pulls --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trouble", "cure"),
    [
        ("crl could not be loaded", "crl-use"),
        ("SSL: unable to get local issuer certificate", "TsCertificate"),
        ("status 403 denied", "TsImage"),
        ("no space left", "TsDisk"),
    ],
)
def test_the_reason_of_a_failed_pull_is_told(trouble: str, cure: str) -> None:
    made = beds.installed()
    made.publish(NEW)
    made.registry.broken_pulls = True
    made.router.containers.trouble = trouble
    made.update()
    told = [line for line in made.router.log.lines("error") if "could not be pulled" in line]
    assert trouble in told[-1]
    assert cure in told[-1]


@EVERY
def test_pulls_unpack_in_ram_where_there_is_enough(version: str) -> None:
    made = beds.installed(version)
    config = made.router.menus["container", "config"]
    assert isinstance(config, Record)
    assert config.all()["tmpdir"] == "tailscale-tmp"
    small = beds.installed(version, flash_mib=14)
    assert small.router.menus["container", "config"].all()["tmpdir"] == ""  # type: ignore[attr-defined]
    made.router.run("/import uninstall-tailscale.rsc")
    assert config.all()["tmpdir"] == ""
    assert not made.router.menu("disk").items


def test_a_tmpdir_that_somebody_has_set_stays() -> None:
    made = beds.empty()
    made.router.run("/container/config/set tmpdir=mine")
    made.router.run("/import install-tailscale.rsc")
    config = made.router.menus["container", "config"]
    assert isinstance(config, Record)
    assert config.all()["tmpdir"] == "mine"


def test_checking_of_certificates_is_a_setting() -> None:
    made = beds.installed()
    made.registry.certificate = False
    made.publish(NEW)
    made.update()
    assert made.running() == [OLD]
    made.setting("TsCertificate", '"no"')
    made.update()
    assert made.running() == [NEW]
    assert to_str(only(made)["check-certificate"]) in ("no", "false")  # type: ignore[arg-type]


def test_names_that_tailscale_takes_for_its_own_are_refused() -> None:
    made = beds.empty()
    made.router.upload(
        "settings-tailscale.rsc",
        beds.script("settings-tailscale").replace('"veth-tailscale"', '"tailscale-veth"'),
    )
    writes = made.router.writes
    made.router.run("/import install-tailscale.rsc")
    assert "must not begin" in made.router.log.lines("error")[-1]
    assert made.router.writes == writes


@pytest.mark.parametrize("release", ["7.25", "7.25.1", "7.31beta2"])
def test_a_release_that_nobody_knew_is_treated_as_the_newest_and_this_is_said(release: str) -> None:
    made = beds.empty()
    made.router.called = release
    made.router.run("/import install-tailscale.rsc")
    assert any("treated as 7.24" in line for line in made.router.printed)
    made.publish(NEW)
    made.update()
    assert made.running() == [NEW]
    made.router.run_script("status-tailscale")
    assert any("treated as 7.24" in line for line in made.router.printed)
