"""invoke deploy --inventory: rings, tolerance, going on, against models behind real sockets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from build.router import planning
from build.router import render as renderer
from build.router.fleet import Member, Rollout, look, rings_of
from build.router.ledger import Ledger
from build.router.restapi import Client, offer
from tests.fakes import web
from tests.routeros import bed as beds
from tests.routeros.bed import NEW, OLD
from tests.routeros.farm import TROUBLES, Place, farm, verdict
from tests.routeros.model import Image

ROOT = Path(__file__).resolve().parent.parent
TAR = "mikrotik-tailscale-v1.102.5-mt.1-arm64.tar"
SCRIPTS = {name: beds.script(name) for name in renderer.SCRIPTS}
SAID = {
    "unreachable": "refused",
    "password": "refuses this user or password",
    "package": "package container",
    "flash": "bytes free",
    "half": "no answer",
}


def rollout(
    places: Sequence[Place], folder: Path, *, tolerate: int = 0, at_once: int = 4
) -> Rollout:
    """A run over routers, with the new image in a tar and nobody waiting in earnest."""
    tar = folder / TAR
    tar.write_bytes(hashlib.sha256(NEW.name.encode()).hexdigest().encode() * 500)
    wanted = planning.Wanted(SCRIPTS, tar, "arm64", NEW.digest)
    members = {
        one.name: Member(
            one.name,
            one.address,
            wanted,
            "0" * 64,
            partial(Client, one.address, "admin", "secret"),
            partial(offer, address="127.0.0.1"),
        )
        for one in places
    }
    ledger = Ledger(folder / "state.json")
    told: list[str] = []
    run = Rollout(
        members,
        {},
        ledger,
        at_once,
        tolerate,
        lambda who, text: told.append(f"{who} {text}"),
        sleep=lambda seconds: None,
    )
    run.told = told  # type: ignore[attr-defined]
    return run


def gone(run: Rollout, shares: Sequence[int | str] = (1, "20%", "100%")) -> int:
    run.look()
    return run.run(rings_of([*run.members], shares))


def failed(run: Rollout) -> list[str]:
    return [name for name, one in run.outcomes.items() if one.outcome == "failed"]


@pytest.mark.parametrize(
    ("count", "shares", "sizes"),
    [
        (200, (1, "10%", "100%"), [1, 19, 180]),
        (3, (1, "10%", "100%"), [1, 2]),
        (1, (1, "10%", "100%"), [1]),
        (15, (1, "10%", "50%"), [1, 1, 6, 7]),
        (5, ("100%",), [5]),
        (5, (9,), [5]),
        (0, (1,), []),
    ],
)
def test_rings(count: int, shares: tuple[int | str, ...], sizes: list[int]) -> None:
    names = [str(number) for number in range(count)]
    found = rings_of(names, shares)
    assert [len(ring) for ring in found] == sizes
    assert [name for ring in found for name in ring] == names


def test_five_troubles_and_nobody_without_a_vpn(tmp_path: Path) -> None:
    """Stopped at the first ring with a failure; tolerated, gone through; cured, only they."""
    troubles = {1: "half", 4: "unreachable", 5: "password", 6: "package", 7: "flash"}
    assert sorted(troubles.values()) == sorted(TROUBLES)
    with farm(9, TAR, troubles) as places:
        first = rollout(places, tmp_path)
        assert gone(first) == 2
        assert failed(first) == ["router-001"]
        assert set(first.outcomes) == {"router-000", "router-001"}
        sent = [word for one in places[2:] for word in one.rest.requests]
        assert sent and all(word.startswith("GET ") for word in sent)
        second = rollout(places, tmp_path, tolerate=100)
        assert gone(second) == 0
        assert sorted(failed(second)) == [places[number].name for number in sorted(troubles)]
        assert "router-000" not in second.outcomes, "it was done by the first run"
        for number, trouble in troubles.items():
            assert SAID[trouble] in second.outcomes[places[number].name].why
        for place in places:
            place.cure()
        seen = verdict(places)
        assert seen["without"] == []
        assert len(seen["new"]) >= 4
        third = rollout(places, tmp_path, tolerate=100)
        assert gone(third) == 0
        assert failed(third) == ["router-004"], "nobody has put a router there"
        assert sorted(third.outcomes) == [places[number].name for number in sorted(troubles)]
        everywhere = {one.name for one in places} - {"router-004"}
        assert set(verdict(places)["new"]) == everywhere


def test_nothing_more_is_begun_in_a_ring_that_failed(tmp_path: Path) -> None:
    with farm(6, TAR, {1: "flash"}) as places:
        run = rollout(places, tmp_path, at_once=1)
        assert gone(run, ("100%",)) == 1
        assert list(run.outcomes) == ["router-000", "router-001"]


def test_a_router_that_changed_since_its_plan_is_left_as_it_is(tmp_path: Path) -> None:
    with farm(1, TAR) as places:
        run = rollout(places, tmp_path)
        run.look()
        places[0].bed.router.storage.put("backup.bin", 1 << 20)
        places[0].bed.router.version = "7.24"
        scripts = places[0].bed.router.scripts.items
        next(row for row in scripts.values() if row["name"] == "update-tailscale")["source"] = "#"
        assert run.run([["router-000"]]) == 1
        assert "changed since" in run.outcomes["router-000"].why
        assert all(word.startswith("GET ") for word in places[0].rest.requests)


def test_an_update_that_does_not_stand_its_trial_stops_the_rest(tmp_path: Path) -> None:
    with farm(3, TAR) as places:
        for one in places:
            one.bed.router.containers.files[TAR] = Image("v1.102.6-mt.1", "crash")
        run = rollout(places, tmp_path)
        assert gone(run) == 1
        assert "old one runs again" in run.outcomes["router-000"].why
        assert verdict(places)["without"] == []
        assert [one.bed.running() for one in places] == [[OLD]] * 3


def test_an_interrupted_run_leaves_its_routers_to_themselves(tmp_path: Path) -> None:
    """What was begun is in the state file, and the next run takes it up."""
    with farm(3, TAR) as places:
        run = rollout(places, tmp_path, at_once=1)

        def interrupted(seconds: float) -> None:
            raise KeyboardInterrupt

        run.sleep = interrupted
        for one in places:
            # A job that holds the lock: the update waits for it, and we for the update.
            one.bed.router.run(":global TsBusy [/system/resource/get uptime]")
        with pytest.raises(KeyboardInterrupt):
            gone(run)
        kept = json.loads((tmp_path / "state.json").read_text())["routers"]
        assert {name: row["outcome"] for name, row in kept.items()} == {"router-000": "started"}
        for one in places:
            one.bed.router.globals.pop("TsBusy")
        assert verdict(places)["without"] == []
        again = rollout(places, tmp_path)
        assert gone(again) == 0
        assert len(verdict(places)["new"]) == 3


def test_who_has_no_vpn_is_seen() -> None:
    """The negative control of the verdict."""
    with farm(2, TAR) as places:
        places[1].bed.router.run_script("uninstall-tailscale")
        assert verdict(places)["without"] == ["router-001"]


ODD = ["[]", "{}", "null", '"x"', "<html>", '[{"name": 1}]', "[[[[", '[{"version": "7.24"}]']


PATHS = [f"/rest/{path}" for path in ("system/resource", "system/routerboard", "system/script")]


@pytest.mark.parametrize("body", ODD)
def test_a_server_that_is_no_router_is_one_failure(body: str, tmp_path: Path) -> None:
    with web.serving() as server:
        for path in PATHS:
            server.play(path, web.Answer(body.encode()))
        member = Member(
            "x",
            server.address,
            planning.Wanted(SCRIPTS),
            "0" * 64,
            partial(Client, server.address, "admin", "secret"),
            partial(offer, address="127.0.0.1"),
        )
        assert look(member).refused
        assert server.requests
