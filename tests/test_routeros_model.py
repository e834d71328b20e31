"""The model does what the facts say, per version."""

from __future__ import annotations

import pytest

from tests.routeros.lang import ParseError, RuntimeFault
from tests.routeros.lang.values import to_str
from tests.routeros.model import Image, Registry, Router, facts, versions
from tests.routeros.model.router import number
from tests.routeros.model.tables import Record

GOOD = Image("v1")
ADD = "/container/add remote-image=ghcr.example/a/b:stable root-dir=c interface=v cmd=x "


def router(version: str = "7.24", **extra: object) -> tuple[Router, Registry]:
    registry = Registry(style="/v2/token")
    registry.push("a/b", "stable", GOOD)
    made = Router(version, registries=[registry], **extra)  # type: ignore[arg-type]
    made.run("/interface/veth/add name=v address=10.0.0.2/30")
    return made, registry


ARRIVALS = [
    # facts 1.1: argument or command, first version that has it, last one
    ("/container/add name=x root-dir=c file=f", "7.19", None),
    ("/container/add envlists=x root-dir=c file=f", "7.20", None),
    ("/container/add check-certificate=yes root-dir=c file=f", "7.20", None),
    ("/container/add mountlists=x root-dir=c file=f", "7.21", None),
    ("/container/add mounts=x root-dir=c file=f", "7.19", "7.20"),
    ("/container/add restart-policy=always root-dir=c file=f", "7.23", None),
    ("/container/add auto-restart-interval=10s root-dir=c file=f", "7.20", "7.22"),
    ("/container/add privileged=yes root-dir=c file=f", "7.24", None),
    ("/container/envs/add list=x key=a value=b", "7.20", None),
    ("/container/envs/add name=x key=a value=b", "7.19", "7.19"),
    ("/container/mounts/add list=x src=a dst=b", "7.21", None),
    ("/container/mounts/add name=x src=a dst=b", "7.19", "7.20"),
    ("/container/shell [find] cmd=ls", "7.20", None),
    ("/container/update [find]", "7.21", None),
    ("/container/save [find] file=f", "7.24", None),
]


@pytest.mark.parametrize(("command", "since", "until"), ARRIVALS)
def test_every_version_knows_what_the_facts_say(
    command: str, since: str, until: str | None
) -> None:
    for version in versions():
        known = facts.numbers(since) <= facts.numbers(version) and (
            until is None or facts.numbers(version) <= facts.numbers(until)
        )
        made, _ = router(version)
        try:
            made.run(command)
            refused = False
        except ParseError:
            refused = True
        except RuntimeFault:
            refused = False
        assert refused is not known, f"{command} on {version}"


def test_an_abbreviation_works_while_it_is_unambiguous() -> None:
    # facts 1.1: envlist= still works on 7.24 only as an abbreviation of envlists
    made, _ = router("7.24")
    made.run(ADD + "envlist=x")
    assert made.value('[/container/get [find where cmd="x"] envlists]') == "x"


@pytest.mark.parametrize("version", versions())
def test_a_pull_returns_at_once_and_takes_its_time(version: str) -> None:
    made, _ = router(version)
    made.run(ADD)
    assert to_str(made.value("[/container/get [find] image-id]")) == ""
    made.advance(40)
    assert to_str(made.value("[/container/get [find] image-id]")) != ""
    assert made.storage.used("") == GOOD.size


@pytest.mark.parametrize("fault", ["down", "broken_pulls"])
def test_a_failed_pull_never_raises(fault: str) -> None:
    made, registry = router()
    setattr(registry, fault, True)
    made.run(ADD)
    made.advance(600)
    assert to_str(made.value("[/container/get [find] image-id]")) == ""
    assert any("failed" in line for line in made.log.lines("error"))


def test_a_pull_needs_room_for_the_transfer_too() -> None:
    made, _ = router(flash=GOOD.size + GOOD.transfer - 1)
    made.run(ADD)
    made.advance(600)
    assert "not enough space" in made.log.lines("error")
    assert made.storage.used("") == 0


def test_a_start_during_extraction_spoils_the_container() -> None:
    made, _ = router()
    made.run(ADD)
    made.advance(facts.seconds().download + 1)
    made.run("/container/start [find]")
    made.advance(60)
    made.run("/container/start [find]")
    made.advance(60)
    assert not any(map(made.containers.healthy, made.containers.items))


def test_removal_takes_time_and_files_cannot_be_removed_meanwhile() -> None:
    made, _ = router()
    made.run(ADD)
    made.advance(600)
    made.run('/container/remove [find]; /file/remove [find where name="c"]')
    assert number(made.value("[:len [/container/find]]")) == 1
    assert made.storage.exists("c")
    made.advance(facts.seconds().remove)
    assert number(made.value("[:len [/container/find]]")) == 0
    assert not made.storage.exists("c")


def test_a_running_container_cannot_be_removed() -> None:
    made, _ = router()
    made.run(ADD)
    made.advance(60)
    made.run("/container/start [find]")
    made.advance(10)
    with pytest.raises(RuntimeFault, match="stopped first"):
        made.run("/container/remove [find]")


def test_the_file_list_lags() -> None:
    made, _ = router()
    made.run(ADD)
    made.advance(35)
    assert made.storage.exists("c")
    assert number(made.value('[:len [/file/find where name="c"]]')) == 0
    made.advance(facts.seconds().listing)
    assert number(made.value('[:len [/file/find where name="c"]]')) == 1


@pytest.mark.parametrize(("wait", "survives"), [(5, False), (60, True)])
def test_a_power_cut_soon_after_the_pull_loses_the_image(wait: int, survives: bool) -> None:
    made, _ = router()
    made.run(ADD)
    made.advance(facts.seconds().download + facts.seconds().extract + wait)
    made.power_cut()
    assert (to_str(made.value("[/container/get [find] image-id]")) != "") is survives


def test_an_unknown_disk_is_a_folder_of_the_flash() -> None:
    made, _ = router()
    made.run(ADD.replace("root-dir=c", "root-dir=usb1/c"))
    made.advance(600)
    assert made.storage.used("") == GOOD.size
    plugged, _ = router()
    plugged.plug("usb1", 1 << 30)
    plugged.run(ADD.replace("root-dir=c", "root-dir=usb1/c"))
    plugged.advance(600)
    assert plugged.storage.used("") == 0


def test_state_inside_the_image_goes_with_it_and_state_on_a_mount_stays() -> None:
    made, _ = router()
    made.run("/container/mounts/add list=m src=keep dst=/var/lib/tailscale")
    for root, mounts in (("c", ""), ("d", "mountlists=m")):
        made.run(ADD.replace("root-dir=c", f"root-dir={root}") + mounts)
        made.advance(60)
        made.run(f'/container/start [find where root-dir="{root}"]')
        made.advance(10)
        made.run(f'/container/stop [find where root-dir="{root}"]')
        made.advance(10)
        made.run(f'/container/remove [find where root-dir="{root}"]')
        made.advance(10)
    assert not made.storage.exists("c/var/lib/tailscale/tailscaled.state")
    assert made.storage.exists("keep/tailscaled.state")


def test_two_daemons_on_one_state_spoil_it() -> None:
    made, _ = router("7.19")
    made.run("/container/mounts/add name=m src=keep dst=/var/lib/tailscale")
    for root in ("c", "d"):
        made.run(ADD.replace("root-dir=c", f"root-dir={root}") + "mounts=m")
    made.advance(60)
    made.run("/container/start [find]")
    made.advance(10)
    assert "two daemons" in (made.storage.read("keep/tailscaled.state") or "")


@pytest.mark.parametrize(("version", "starts"), [("7.21", True), ("7.22", False), ("7.24", True)])
def test_722_loses_the_command_of_the_image(version: str, starts: bool) -> None:
    made, _ = router(version)
    made.run(ADD.replace("cmd=x", ""))
    made.advance(60)
    made.run("/container/start [find]")
    made.advance(10)
    assert any(map(made.containers.healthy, made.containers.items)) is starts


def test_no_dns_no_start() -> None:
    made, _ = router()
    made.run('/ip/dns/set servers=""')
    made.run(ADD)
    made.advance(60)
    made.run("/container/start [find]")
    made.advance(10)
    assert made.log.lines("error") == ["start failed: no dns"]


@pytest.mark.parametrize(("version", "fires"), [("7.23", True), ("7.24", False)])
def test_a_schedule_without_a_start_is_not_run_on_724(version: str, fires: bool) -> None:
    made, _ = router(version)
    made.run('/system/scheduler/add name=s interval=1h on-event=":log info fired"')
    made.run(
        "/system/scheduler/add name=t interval=1h start-date=2026-01-01 start-time=00:10:00"
        ' on-event=":log info always"'
    )
    made.advance(4 * 3600)
    assert ("fired" in made.log.lines()) is fires
    assert made.log.lines().count("always") == 4


def test_startup_with_an_interval_does_not_fire_at_boot() -> None:
    made, _ = router()
    made.run('/system/scheduler/add name=s start-time=startup interval=1h on-event=":log info a"')
    made.run('/system/scheduler/add name=t start-time=startup interval=0s on-event=":log info b"')
    made.power_cut()
    made.advance(60)
    assert made.log.lines() == ["b"]


def test_device_mode_forbids_until_somebody_confirms() -> None:
    made, _ = router(ready=False)
    with pytest.raises(RuntimeFault, match="device-mode"):
        made.run(ADD)
    with pytest.raises(RuntimeFault, match="device-mode"):
        made.run('/tool/fetch url="https://ghcr.example/"')
    made.run("/system/device-mode/update container=yes fetch=yes scheduler=yes")
    with pytest.raises(RuntimeFault, match="device-mode"):
        made.run(ADD)
    made.press_button()
    made.run(ADD)


def test_ram_is_empty_after_a_power_cut_and_flash_is_not() -> None:
    made, _ = router()
    made.run(':global kept "x"; /system/identity/set name=here; :log info "before"')
    made.power_cut()
    assert made.globals == {}
    identity = made.menus["system", "identity"]
    assert isinstance(identity, Record)
    assert identity.all()["name"] == "here"


def test_running_containers_use_memory() -> None:
    made, _ = router()
    free = number(made.value("[/system/resource/get free-memory]"))
    made.run(ADD)
    made.advance(60)
    made.run("/container/start [find]")
    made.advance(10)
    assert number(made.value("[/system/resource/get free-memory]")) == free - GOOD.ram


def test_import_forgets_variables_between_lines() -> None:
    made, _ = router()
    made.upload("a.rsc", ':local x 5\n:put "got $x"\n{ :local y 6\n:put "got $y" }\n')
    made.run("/import a.rsc")
    assert made.printed == ["got ", "got 6"]


def test_every_behaviour_says_where_it_comes_from() -> None:
    entries = facts._data("versions.toml")["behaviour"]
    assert all(entry.get("why") for entry in entries.values())
    with pytest.raises(TypeError):
        facts.Behaviour(**{**{name.replace("-", "_"): True for name in entries}, "new": True})
