"""What the fault matrix plays: the rows, and what a user must find after each of them.

The first rows are updates of an ordinary router. The others have a trouble of their own that the
scripts must get out of, or call somebody, whatever else goes wrong meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.routeros import bed as beds
from tests.routeros.bed import NEW, OLD, Bed
from tests.routeros.model import Image
from tests.routeros.model.facts import numbers
from tests.routeros.model.tables import Record

TELL = ':global TsAlarmText; :log warning "sms: $TsAlarmText"'
ODD = '"; /system/reboot; [:error a] $x \\'
STRANGER = "web"
FILLER = "filler"


def nothing(bed: Bed) -> None:
    """Leave it as it is."""


@dataclass(frozen=True)
class Scenario:
    """A row: its name in the table, what the registry offers, what must run in the end.

    runs: None if nothing can: then somebody is called, and ``cure`` brings it back to ``image``.
    arrange: makes the trouble on an installed router. gap: nothing can run for a while, by what
    the trouble is. since: the first version that can get out of it.
    """

    name: str
    image: Image
    runs: Image | None
    arrange: Callable[[Bed], None] = nothing
    cure: Callable[[Bed], None] = nothing
    gap: bool = False
    since: str = "7.19"
    flash_mib: int = 40

    def on(self, version: str) -> bool:
        """Whether a version can get out of it."""
        return numbers(self.since) <= numbers(version)


def calls(bed: Bed) -> list[str]:
    """What the user's alarm script was told."""
    return [line for line in bed.router.log.lines("warning") if line.startswith("sms: ")]


def stop(bed: Bed) -> None:
    bed.router.run("/container/stop [find]; :delay 10s")


def lose(bed: Bed) -> None:
    stop(bed)
    bed.router.run("/container/remove [find]; :delay 10s")


def in_place(bed: Bed) -> None:
    bed.router.plug("usb1", 1 << 30)
    bed.setting("TsInPlace", "true")
    bed.setting("TsRollbackFile", '"usb1/rollback.tar"')


def refused(bed: Bed) -> None:
    bed.setting("TsInPlace", "true")
    bed.router.containers.refused = {"entrypoint": "refused by the test"}


def stuck(bed: Bed) -> None:
    for life in bed.router.containers.lives.values():
        life.stuck = True


def dead(bed: Bed) -> None:
    stop(bed)
    for life in bed.router.containers.lives.values():
        life.image = replace(OLD, behaviour="dead")


def no_tag(bed: Bed) -> None:
    lose(bed)
    bed.setting("TsTag", '""')


def full(bed: Bed) -> None:
    lose(bed)
    storage = bed.router.storage
    storage.put(FILLER, storage.free("") - (3 << 20))


def emptied(bed: Bed) -> None:
    bed.router.storage.drop(FILLER)


def offline(bed: Bed) -> None:
    lose(bed)
    bed.registry.down = True


def online(bed: Bed) -> None:
    bed.registry.down = False


def edited(bed: Bed) -> None:
    stop(bed)
    bed.router.run('/container/set [find] comment="my vpn" name="vpn"; /container/start [find]')
    bed.router.advance(60)


def another(bed: Bed) -> None:
    """A container of somebody else: our comment, our entrypoint, and the folder that is next."""
    bed.registry.push("me/web", "1", Image(STRANGER))
    bed.router.run(
        "/interface/veth/add name=other address=10.9.9.2/30 gateway=10.9.9.1; "
        f"/container/add name={STRANGER} root-dir=tailscale/b interface=other cmd=x "
        f'entrypoint="/usr/local/bin/entrypoint.sh" remote-image="{beds.HOST}/me/web:1" '
        'comment="mikrotik-tailscale" '
        "start-on-boot=yes; :delay 60s; "
        f'/container/start [find where name="{STRANGER}"]; :delay 10s'
    )
    bed.router.advance(600)


def odd(bed: Bed) -> None:
    identity = bed.router.menus["system", "identity"]
    assert isinstance(identity, Record)
    identity.values["name"] = ODD


def narrow(bed: Bed) -> None:
    """The schedule and its script may less than the scripts that it loads and calls."""
    less = "ftp,read,write,test"
    bed.router.run(f"/system/scheduler/set [find] policy={less}")
    bed.router.run(f'/system/script/set [find where name="update-tailscale"] policy={less}')


UPDATES = (
    Scenario("good image", NEW, NEW),
    Scenario("image crashes", Image("v1.102.6-mt.1", "crash"), OLD),
    Scenario("image not connected", Image("v1.102.7-mt.1", "mute"), OLD),
    Scenario("image does not answer", Image("v1.102.8-mt.1", "deaf"), OLD),
)
TROUBLES = (
    Scenario("in place", NEW, NEW, in_place, gap=True, flash_mib=14),
    Scenario("in place, add refused", NEW, OLD, refused, flash_mib=14),
    Scenario("old one never stops", NEW, NEW, stuck, since="7.21"),
    Scenario("image does not start", OLD, OLD, dead, gap=True),
    Scenario("lost, no tag", NEW, OLD, no_tag, gap=True),
    Scenario("lost, flash full", OLD, None, full, emptied),
    Scenario("lost, no registry", NEW, None, offline, online),
    Scenario("name and comment edited", NEW, NEW, edited),
    Scenario("folder of another", NEW, OLD, another),
    Scenario("identity is code", NEW, NEW, odd),
    Scenario("fewer permissions", NEW, NEW, narrow),
)
SCENARIOS = UPDATES + TROUBLES
