"""A container with a health check: every script is right whatever stands in the place of running.

What RouterOS shows then is documented by its letters alone (H, U, C). So each reading is tried on
each release that has health checks: beside ``running`` or instead of it, C by a name or by none.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from build.router import deploy, state
from tests.routeros import bed as beds
from tests.routeros.bed import NEW, OLD, Bed
from tests.routeros.model import Image, versions
from tests.routeros.model.facts import numbers
from tests.test_routeros_trouble import calls, tell

RELEASES = [version for version in versions() if numbers(version) >= numbers("7.22")]
READINGS = [
    # in the place of running, C without a name
    (False, False),
    (True, False),
    (True, True),
]
EVERY = pytest.mark.parametrize(
    ("version", "reading"), [(version, reading) for version in RELEASES for reading in READINGS]
)


def router(version: str, reading: tuple[bool, bool], flags: bool = True) -> Bed:
    """A router with our container, whose health check has not said anything yet."""
    made = beds.empty(version)
    replaces, nameless = reading
    made.router.containers.behaviour = replace(
        made.router.containers.behaviour,
        health_flags=flags,
        health_replaces=replaces,
        health_nameless=nameless,
    )
    made.router.run("/import install-tailscale.rsc")
    tell(made)
    return made


def sicken(made: Bed, behaviour: str) -> None:
    for life in made.router.containers.lives.values():
        life.image = replace(OLD, behaviour=behaviour)


@EVERY
def test_an_update_takes_and_gives_back(version: str, reading: tuple[bool, bool]) -> None:
    made = router(version, reading)
    assert made.running() == [OLD], made.router.printed[-5:]
    history = len(made.router.containers.history)
    # the first health check comes in between; nothing is started, stopped or pulled again
    made.router.advance(2 * beds.TICK)
    assert made.router.containers.history[history:] == []
    assert calls(made) == []
    made.publish(NEW)
    made.update()
    assert made.running() == [NEW]
    for behaviour in ("crash", "mute", "dead"):
        made.publish(Image(f"v-{behaviour}", behaviour))
        made.update()
        assert made.running() == [NEW], behaviour
    assert len(calls(made)) == 3
    assert all("the old container runs again" in call for call in calls(made))
    assert len(made.router.containers.items) == 1


@EVERY
def test_status_and_deploy_call_it_running(version: str, reading: tuple[bool, bool]) -> None:
    made = router(version, reading)
    made.router.run("/container/stop [find]; :delay 10s; /container/start [find]; :delay 10s")
    for wait in (0, 300):
        made.router.advance(wait)
        made.router.printed.clear()
        made.router.run_script("status-tailscale")
        said = "\n".join(made.router.printed)
        if wait or not reading[1]:
            assert "tailscale-a running" in said
            assert "no container runs" not in said
        assert "health check fails" not in said
        (row,) = (
            {name: str(value).lower() for name, value in made.router.containers.view(key).items()}
            for key in made.router.containers.items
        )
        assert state.runs(row) == (wait > 0 or not reading[1])
        assert deploy._state(row) != "downloading or extracting" or (reading[1] and not wait)


@EVERY
def test_one_that_does_not_answer_is_started_anew_and_told(
    version: str, reading: tuple[bool, bool]
) -> None:
    made = router(version, reading)
    made.router.advance(300)
    sicken(made, "mute")
    login = made.state()
    made.router.run_script("status-tailscale")
    assert "health check fails" in "\n".join(made.router.printed)
    history = len(made.router.containers.history)
    made.router.advance(86400)
    starts = [line for line in made.router.containers.history[history:] if "starting" in line]
    # tried once an hour, called once a day
    assert 10 <= len(starts) <= 26
    assert 1 <= len(calls(made)) <= 2
    assert "not healthy" in calls(made)[0]
    assert made.state() == login


@EVERY
def test_a_node_that_is_logged_out_is_left_alone(version: str, reading: tuple[bool, bool]) -> None:
    made = router(version, reading)
    sicken(made, "login")
    history = len(made.router.containers.history)
    made.router.advance(2 * beds.TICK)
    assert made.router.containers.history[history:] == []
    assert calls(made) == []


@pytest.mark.parametrize("version", RELEASES)
def test_a_health_check_that_cannot_work_takes_nothing_down(version: str) -> None:
    """Unhealthy by RouterOS' word alone: the daemon answers, and that counts."""
    made = router(version, (True, False))
    containers = made.router.containers
    plain = containers.view

    def view(key: str) -> dict[str, object]:
        row = dict(plain(key))
        if row.pop("healthy", False):
            row["unhealthy"] = True
        return row

    containers.view = view  # type: ignore[method-assign, assignment]
    made.router.advance(2 * beds.TICK)
    assert made.running() == [OLD]
    made.publish(NEW)
    made.update()
    made.router.advance(2 * beds.TICK)
    assert made.running() == [NEW]
    assert calls(made) == []


@pytest.mark.parametrize("version", RELEASES)
def test_an_uninstall_stops_it_in_each_state(version: str) -> None:
    for reading in READINGS:
        for wait in (0, 300):
            made = router(version, reading)
            made.router.run("/container/stop [find]; :delay 9s; /container/start [find]; :delay 9s")
            made.router.advance(wait)
            made.router.run("/import uninstall-tailscale.rsc")
            assert not made.router.containers.items, made.router.printed[-3:]


@pytest.mark.parametrize(
    ("old", "new", "seen"),
    [
        ('"running"; "healthy"; ', '"running"; ', test_an_update_takes_and_gives_back),
        ('"unhealthy"; ', "", test_one_that_does_not_answer_is_started_anew_and_told),
        ('; "starting-with-healthcheck"', "", test_status_and_deploy_call_it_running),
    ],
)
def test_a_state_that_is_not_known_is_seen(
    old: str, new: str, seen: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    beds.plant(monkeypatch, "library-tailscale", old, new)
    with pytest.raises(AssertionError):
        seen("7.23.2", (True, False))  # type: ignore[operator]


def slow_to_say(made: Bed) -> None:
    """Its first health check takes two minutes, and until then nothing says that it runs."""
    containers = made.router.containers
    containers.seconds = replace(containers.seconds, health=120)
    made.router.advance(300)
    made.publish(Image("v-crash", "crash"))
    made.update()
    assert made.running() == [OLD]
    assert "the old container runs again" in calls(made)[-1]


def test_the_first_health_check_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a negative control: a script that waits a minute takes it for dead."""
    slow_to_say(router("7.24", (True, True)))
    beds.plant(monkeypatch, "library-tailscale", '[ $TsUntil $1 "running" 90 ]', "false")
    with pytest.raises(AssertionError):
        slow_to_say(router("7.24", (True, True)))
