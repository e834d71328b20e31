"""The Ansible role as far as it can be held against the code without Ansible (nox -s fleet)."""

from __future__ import annotations

import functools
import re
import runpy
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from build.core.paths import ROOT
from build.router import fleet, planning
from build.router.restapi import Client, offer
from tests.routeros import bed as beds
from tests.routeros.bed import NEW, Bed
from tests.routeros.model.api import Session
from tests.routeros.model.rest import Rest, serve

HOME = ROOT / "routeros" / "ansible"
ROLE = HOME / "roles" / "tailscale"
MENUS = (
    "system resource", "system device-mode", "system script", "system scheduler", "container",
    "file", "system routerboard",
)  # fmt: skip
OTHERS = {"tailscale_tolerate", "tailscale_routers"}
"""Names that no router has: the playbook's."""


def load(path: Path) -> object:
    return YAML(typ="safe").load(path.read_text())


def defaults() -> set[str]:
    found = load(ROLE / "defaults" / "main.yml")
    assert isinstance(found, dict)
    return set(found)


def unknown(text: str) -> set[str]:
    filters = set(re.findall(r"\| (?:map\(')?(tailscale_[a-z_]+)", text))
    made = set(re.findall(r"^ +(tailscale_[a-z_]+):|register: (tailscale_[a-z_]+)", text, re.M))
    names = set(re.findall(r"\btailscale_[a-z_]+", text))
    own = {name for path in (ROLE / "tasks", ROLE / "vars") for name in _made(path)}
    return names - defaults() - OTHERS - filters - own - {name for pair in made for name in pair}


def _made(folder: Path) -> set[str]:
    """What tasks leave, and the role's own values."""
    texts = "\n".join(path.read_text() for path in folder.glob("*.yml"))
    found = re.findall(r"^ *(tailscale_[a-z_]+):|register: (tailscale_[a-z_]+)", texts, re.M)
    return {name for pair in found for name in pair if name}


@pytest.mark.parametrize("path", sorted(HOME.rglob("*.yml")), ids=lambda path: path.name)
def test_each_variable_has_a_default(path: Path) -> None:
    load(path)
    assert unknown(path.read_text()) == set()


def test_the_document_names_what_there_is() -> None:
    usage = (ROOT / "docs" / "USAGE.md").read_text()
    section = usage.partition("### By Ansible\n")[2].partition("\n## ")[0]
    assert "tailscale_tar_url" in section
    assert unknown(section) == set()
    assert unknown("{{ tailscale_tarr }}") == {"tailscale_tarr"}


class Faulty(Exception):
    """Stands for Ansible's own: the quick tests have no Ansible."""


@pytest.fixture
def rules(monkeypatch: pytest.MonkeyPatch) -> Mapping[str, Any]:
    """The role's filters by name."""
    errors = types.ModuleType("ansible.errors")
    errors.AnsibleFilterError = Faulty  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ansible", types.ModuleType("ansible"))
    monkeypatch.setitem(sys.modules, "ansible.errors", errors)
    found = runpy.run_path(str(ROLE / "filter_plugins" / "tailscale_plan.py"))
    filters: Mapping[str, Any] = found["FilterModule"]().filters()
    return filters


def cast(text: str) -> Any:
    """A value as librouteros gives it."""
    return int(text) if text.isdigit() else {"true": True, "false": False}.get(text, text)


def read(rest: Rest) -> dict[str, Any]:
    """What the role's tasks read over the binary API, by menu."""
    session = Session(rest)
    session.answer(["/login", "=name=admin", "=password=secret"])
    seen: dict[str, Any] = {}
    for menu in MENUS:
        answers = session.answer([f"/{menu.replace(' ', '/')}/print"])
        seen[menu] = [
            {name: cast(value) for name, value in (word[1:].split("=", 1) for word in words[1:])}
            for words in answers
            if words[0] == "!re"
        ]
        if answers[0][0] == "!trap":
            seen[menu] = [answers[0][1].removeprefix("=message=")]
    return seen


def old(made: Bed) -> None:
    made.router.storage.drop("install-tailscale.rsc")
    made.router.run('/system/script/set status-tailscale source="#"')
    made.router.run("/system/scheduler/set update-tailscale policy=read")


def stranger(made: Bed) -> None:
    made.router.run("/container/add name=vpn root-dir=vpn remote-image=tailscale/tailscale")


def full(made: Bed) -> None:
    made.router.storage.put("big", made.router.storage.free("") - (1 << 20))


CASES: Mapping[str, tuple[Callable[[], Bed], Callable[[Bed], object]]] = {
    "empty": (beds.empty, lambda made: None),
    "installed": (beds.installed, lambda made: None),
    "old": (beds.installed, old),
    "full": (beds.installed, full),
    "stopped": (beds.installed, lambda made: made.router.run("/container/stop tailscale-a")),
    "no package": (beds.empty, lambda made: made.router.install_package("disabled")),
    "somebody's": (beds.empty, stranger),
}


def test_the_plan_is_that_of_invoke(rules: Mapping[str, Any], tmp_path: Path) -> None:
    scripts = {name: beds.script(name) for name in planning.STORED}
    image = tmp_path / "image.tar"
    image.write_bytes(b"x" * 1000)
    found = {}
    for case, tar in [*((name, "arm64") for name in CASES), ("installed", ""), ("empty", "armv7")]:
        make, spoil = CASES[case]
        made = make()
        spoil(made)
        rest = Rest(made.router, pace=0)
        wanted = planning.Wanted(scripts, image if tar else None, tar, NEW.digest if tar else "")
        with serve(rest) as where:
            login = functools.partial(Client, where, "admin", "secret")
            shown = fleet.look(fleet.Member("it", where, wanted, "", login, offer))
        ours = rules["tailscale_plan"](
            read(rest),
            {
                "scripts": scripts,
                "url": "http://192.0.2.1/image.tar?x=y" if tar else "",
                "size": 1000,
                "arch": tar,
                "digest": wanted.digest,
                "disk": "",
            },
        )
        assert ours["lines"] == [action.text for action in shown.plan.actions], case
        assert "; ".join(ours["problems"]) == shown.refused, case
        found[case, tar] = str((ours["lines"], ours["problems"]))
    assert len({*found.values()}) >= 7, "the cases must be different ones"


def test_the_role_stores_what_invoke_stores() -> None:
    values = load(ROLE / "vars" / "main.yml")
    assert isinstance(values, dict)
    assert tuple(values["tailscale_stored"]) == planning.STORED


def test_a_script_that_is_not_there_is_named(rules: Mapping[str, Any], tmp_path: Path) -> None:
    with pytest.raises(Faulty, match=r"library-tailscale\.rsc"):
        rules["tailscale_sources"](["library-tailscale"], str(tmp_path), "")


def test_what_changes_a_router_does_not_run_in_check_mode() -> None:
    (block,) = load(ROLE / "tasks" / "main.yml")  # type: ignore[misc]
    named = [task for task in block["block"] if "check_mode" in task]
    assert named == [], "only look.yml reads in check mode; api without it is skipped there"
    for task in load(ROLE / "tasks" / "look.yml"):  # type: ignore[attr-defined]
        asked = task.get("community.routeros.api", {})
        assert set(asked) <= {"path", "extended_query"}


def test_the_rings_are_those_of_invoke() -> None:
    plays = load(HOME / "deploy.yml")
    assert isinstance(plays, list)
    assert [play.get("serial") for play in plays] == [None, [1, "10%", "100%"]]
    assert len({play["max_fail_percentage"] for play in plays}) == 1
