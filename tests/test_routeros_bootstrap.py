"""The file that brings the scripts onto a router, or up to a release; on the model, with faults."""

from __future__ import annotations

import re
from typing import Any

import pytest

from build.router import bootstrap, paste, render
from tests.routeros import bed as beds
from tests.routeros import trees
from tests.routeros.bed import NEW, OLD, TICK, Bed
from tests.routeros.forge import FILES, Forge, offered
from tests.routeros.lang.errors import RuntimeFault
from tests.routeros.lang.values import to_str
from tests.routeros.model import FaultPlan, PowerCut
from tests.test_routeros_trees import Texts, findings
from tests.test_site import DEVICES, PLAIN, TARS

RELEASES = trees.data()[0]
FIRST, NEXT = "v1.102.5-mt.1", "v1.102.5-mt.2"
GO = ":global TsGo true"


def scripts(tag: str) -> dict[str, str]:
    values = render.Values(image=beds.VALUES.image, release=tag)
    return {name: render.render(name, beds.TEMPLATES, None, values) for name in render.SCRIPTS}


TEXTS = {tag: scripts(tag) for tag in (FIRST, NEXT)}


def line(tag: str) -> str:
    """What people paste to get the scripts of a release."""
    release = paste.Release(tag, TEXTS[tag], TARS, beds.TEMPLATES)
    return str(paste.answer(PLAIN, DEVICES["rb5009"], release)["renewal"])


def stored(made: Bed) -> dict[str, str]:
    items = made.router.scripts.items.values()
    return {to_str(one["name"]): to_str(one["source"]) for one in items}


def bare(version: str = "7.24") -> tuple[Bed, Forge]:
    """A router without anything of ours."""
    made = beds.empty(version)
    for name in render.SCRIPTS:
        made.router.storage.drop(f"{name}.rsc")
    forge = Forge(made.registry, offered(TEXTS[FIRST], FIRST))
    made.router.fetch.transport = forge
    return made, forge


def running(version: str = "7.24") -> tuple[Bed, Forge]:
    """A router that got FIRST this way and runs it, and a forge that has NEXT."""
    made, forge = bare(version)
    for text in (GO, line(FIRST), "/system/script/run install-tailscale"):
        made.router.run(text)
    assert made.running() == [OLD]
    made.router.advance(3600)
    forge.offer(offered(TEXTS[NEXT], NEXT))
    return made, forge


def said(made: Bed, text: str) -> list[str]:
    """What a command prints."""
    made.router.printed.clear()
    made.router.run(text)
    return list(made.router.printed)


@pytest.mark.parametrize("release", RELEASES)
def test_it_is_readable(release: str) -> None:
    text = bootstrap.text(TEXTS[FIRST], beds.TEMPLATES, FIRST)
    assert findings(text, release) == []
    assert findings(line(FIRST), release) == []


def test_its_form() -> None:
    text = bootstrap.text(TEXTS[FIRST], beds.TEMPLATES, FIRST)
    assert [fault for fault in render.lint(bootstrap.NAME, text) if "has 1" not in fault] == [], (
        "only the digests are longer than a line"
    )
    assert len(text) < render.LIMIT


@pytest.mark.parametrize("release", RELEASES)
def test_it_installs_and_renews_on_every_release(
    release: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = Texts(monkeypatch)
    made, _ = running(release)
    made.router.run(GO)
    made.router.run(line(NEXT))
    assert {name: stored(made)[name] for name in render.SCRIPTS[1:]} == {
        name: TEXTS[NEXT][name] for name in render.SCRIPTS[1:]
    }
    made.publish(NEW)
    made.update()
    assert made.running() == [NEW]
    assert texts.refused == []
    assert made.router.log.lines("error") == []


def test_it_says_what_it_would_do_and_does_nothing() -> None:
    made, _ = bare()
    told = said(made, line(FIRST))
    assert [f"  {name}: new" for name in sorted(render.SCRIPTS)] == told[1:-1]
    assert "nothing was changed" in told[-1] and GO in told[-1]
    assert stored(made) == {}
    # the word, and the same again: done; once more: nothing to do, and the word is used up
    made.router.run(GO)
    assert "done" in said(made, line(FIRST))[-1]
    assert stored(made) == TEXTS[FIRST]
    writes = made.router.writes
    assert said(made, line(FIRST))[-1] == "nothing to do"
    assert made.router.writes == writes
    made.router.fetch.transport.offer(offered(TEXTS[NEXT], NEXT))  # type: ignore[attr-defined]
    told = said(made, line(NEXT))
    assert f"  library-tailscale: {FIRST} becomes {NEXT}" in told
    assert "  settings-tailscale: stays" in told
    assert stored(made) == TEXTS[FIRST]


def test_as_a_file_by_import() -> None:
    made, _ = bare()
    with pytest.raises(RuntimeFault, match="TsFiles"):
        made.router.upload("b.rsc", bootstrap.text(TEXTS[FIRST], beds.TEMPLATES, FIRST))
        made.router.run("/import b.rsc")
    made.router.run(f'{GO}; :global TsFiles "{FILES}"; /import b.rsc')
    assert stored(made) == TEXTS[FIRST]


def test_permissions_and_owner_are_those_of_the_installer() -> None:
    """What install-tailscale makes and what this makes cannot be told apart."""
    made, _ = bare()
    made.router.run(GO)
    made.router.run(line(FIRST))
    usual = beds.installed()
    fields = ("policy", "dont-require-permissions", "comment")

    def rights(of: Bed) -> dict[str, Any]:
        found = of.router.scripts.items.values()
        return {
            to_str(one["name"]): [to_str(one[field]) for field in fields]
            for one in found
            if one["name"] in render.SCRIPTS and one["name"] != "install-tailscale"
        }

    assert rights(made) == rights(usual)


def test_settings_stay_and_new_ones_are_added() -> None:
    """Also those that were edited by hand, with the lines of WinBox."""
    made, forge = running()
    made.setting("TsHostname", '"gate"')
    made.router.run(
        '/system/script/set [find where name="settings-tailscale"] source=([/system/script/get '
        '[find where name="settings-tailscale"] source] . "# mine\\r\\n:global Mine 1;")'
    )
    before = stored(made)["settings-tailscale"]
    more = '# how many\n# of them\n:global TsMany 3;\n\n:global TsPlain "";\n'
    newer = TEXTS[NEXT] | {"settings-tailscale": TEXTS[NEXT]["settings-tailscale"] + more}
    forge.offer(offered(newer, NEXT))
    text = paste.answer(PLAIN, DEVICES["rb5009"], paste.Release(NEXT, newer, TARS, beds.TEMPLATES))[
        "renewal"
    ]
    assert "  settings-tailscale: stays, and gets TsMany TsPlain" in said(made, text)
    assert stored(made)["settings-tailscale"] == before
    made.router.run(GO)
    made.router.run(text)
    after = stored(made)["settings-tailscale"]
    assert after.startswith(before)
    added = after.removeprefix(before).split("\n")
    assert [one for one in added if one] == [one for one in more.split("\n") if one]
    made.router.run("/system/script/run settings-tailscale")
    assert made.router.globals["TsMany"] == 3
    assert made.router.globals["Mine"] == 1
    assert said(made, text)[-1] == "nothing to do"


def test_files_that_the_installer_would_take_for_newer_go() -> None:
    made, _ = running()
    made.router.upload("update-tailscale.rsc", "an old one")
    made.router.upload("settings-tailscale.rsc", "mine")
    told = said(made, line(NEXT))
    assert "  the file update-tailscale.rsc: removed" in told
    assert made.router.storage.read("update-tailscale.rsc")
    made.router.run(GO)
    made.router.run(line(NEXT))
    assert made.router.storage.read("update-tailscale.rsc") is None
    assert made.router.storage.read("settings-tailscale.rsc") == "mine"


# --- what may go wrong --------------------------------------------------------------------------


def spoilt(text: str) -> dict[str, str]:
    return {
        "truncated": text[: len(text) // 2],
        "empty": "",
        "one byte more": text + "#",
        "another": ":put 1\n",
    }


@pytest.mark.parametrize("name", bootstrap.FILES)
@pytest.mark.parametrize("how", [*spoilt("")])
def test_a_file_that_is_not_the_one_changes_nothing(name: str, how: str) -> None:
    made, forge = running()
    address = f"{FILES}/{name}.rsc"
    forge.files[address] = spoilt(forge.files[address])[how]
    made.router.run(GO)
    with pytest.raises(RuntimeFault, match=rf"{name}\.rsc is not the one of {NEXT}, or not whole"):
        made.router.run(line(NEXT))
    assert {**stored(made), "tailscale-state": ""} == {**TEXTS[FIRST], "tailscale-state": ""}
    assert made.running() == [OLD]


@pytest.mark.parametrize("name", bootstrap.FILES)
def test_a_file_that_is_not_there_changes_nothing(name: str) -> None:
    made, forge = running()
    del forge.files[f"{FILES}/{name}.rsc"]
    made.router.run(GO)
    with pytest.raises(RuntimeFault, match="status 404"):
        made.router.run(line(NEXT))
    assert stored(made)["update-tailscale"] == TEXTS[FIRST]["update-tailscale"]


def test_a_server_that_nobody_knows_changes_nothing() -> None:
    made, forge = running()
    forge.trusted = False
    made.router.run(GO)
    with pytest.raises(RuntimeFault, match="certificate"):
        made.router.run(line(NEXT))
    assert stored(made)["update-tailscale"] == TEXTS[FIRST]["update-tailscale"]


@pytest.mark.parametrize("name", render.SCRIPTS)
def test_somebody_elses_script_stops_it(name: str) -> None:
    made, _ = bare()
    made.router.run(f'/system/script/add name={name} source=":put mine"')
    made.router.run(GO)
    with pytest.raises(RuntimeFault, match=f"{name} is somebody else's; nothing was changed"):
        made.router.run(line(FIRST))
    assert stored(made) == {name: ":put mine"}


def test_it_waits_for_an_update_that_runs() -> None:
    made, _ = running()
    made.router.run(":global TsBusy [/system/resource/get uptime]")
    made.router.run(GO)
    with pytest.raises(RuntimeFault, match="an update is running"):
        made.router.run(line(NEXT))
    assert stored(made)["update-tailscale"] == TEXTS[FIRST]["update-tailscale"]
    assert made.router.globals["TsBusy"], "of the run that goes on"


def steps() -> list[str]:
    """Every command of an undisturbed renewal, in order."""
    made, _ = running()
    made.router.run(GO)
    plan = made.router.faults = FaultPlan()
    made.router.watched = "*"
    made.router.run(line(NEXT))
    return plan.trace


def broken(step: int, kind: str) -> bool:
    """Renew with a fault; returns whether scripts of two releases were left meanwhile.

    The container is kept running all the same, and the next try brings everything.
    """
    made, _ = running()
    made.router.run(GO)
    made.router.faults = FaultPlan(step, kind)
    made.router.watched = "*"
    try:
        made.router.run(line(NEXT))
    except RuntimeFault:
        made.router.faults = None
    except PowerCut:
        made.router.power_cut()
    made.router.faults = None
    made.router.advance(TICK)
    assert made.running() == [OLD]
    now = stored(made)
    of = {tag: now["library-tailscale"] == TEXTS[tag]["library-tailscale"] for tag in TEXTS}
    two = of[NEXT] != (now["update-tailscale"] == TEXTS[NEXT]["update-tailscale"])
    # the container stops meanwhile
    made.router.run("/container/stop [find]")
    made.router.advance(TICK)
    assert made.running() == [OLD]
    if two:
        made.publish(NEW)
        made.update()
        assert made.running() == [OLD], "no update by scripts of two releases"
        assert any("two releases" in one for one in made.router.log.lines("error"))
    made.router.run(GO)
    made.router.run(line(NEXT))
    assert {name: stored(made)[name] for name in render.SCRIPTS[1:]} == {
        name: TEXTS[NEXT][name] for name in render.SCRIPTS[1:]
    }
    made.publish(NEW)
    made.update()
    assert made.running() == [NEW]
    return two


@pytest.mark.parametrize("kind", ["fail", "fail-after", "cut"])
def test_a_fault_at_any_change_leaves_the_vpn_and_the_next_try_works(kind: str) -> None:
    changes = [step for step, site in enumerate(steps()) if site.endswith("/set")]
    mixed = sum(broken(step, kind) for step in changes)
    assert len(changes) == 5 and mixed, "the case is among them"


@pytest.mark.matrix
@pytest.mark.parametrize("kind", ["fail", "fail-after", "cut"])
def test_a_fault_at_any_command_at_all(kind: str) -> None:
    mixed = sum(broken(step, kind) for step in range(len(steps())))
    print(f"{len(steps())} commands, {mixed} times scripts of two releases")


def test_scripts_of_two_releases_would_go_unseen() -> None:
    """Negative control: without the question, an update is made by them."""
    made, _ = running()
    question = re.compile(r"  :if \(\$TsLibrary != .*?\n  \}\n", re.DOTALL)
    for item in made.router.scripts.items.values():
        if item["name"] == "update-tailscale":
            assert question.search(to_str(item["source"]))
            item["source"] = question.sub("", to_str(item["source"]))
        if item["name"] == "library-tailscale":
            item["source"] = TEXTS[NEXT]["library-tailscale"]
    made.publish(NEW)
    made.update()
    assert made.running() == [NEW]
