"""The Ansible role as far as it can be held against the code without Ansible (nox -s fleet)."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from build.core.paths import ROOT

HOME = ROOT / "routeros" / "ansible"
ROLE = HOME / "roles" / "tailscale"
OTHERS = {"tailscale_tolerate", "tailscale_routers", "tailscale_shown", "tailscale_done"}
"""Names that no router has: of the playbook, and of what tasks returned."""


def load(path: Path) -> object:
    return YAML(typ="safe").load(path.read_text())


def defaults() -> set[str]:
    found = load(ROLE / "defaults" / "main.yml")
    assert isinstance(found, dict)
    return set(found)


def unknown(text: str) -> set[str]:
    names = set(re.findall(r"\btailscale_(?!router\b)[a-z_]+", text))
    return names - defaults() - OTHERS


@pytest.mark.parametrize("path", sorted(HOME.rglob("*.yml")), ids=lambda path: path.name)
def test_each_variable_has_a_default(path: Path) -> None:
    load(path)
    assert unknown(path.read_text()) == set()


def test_the_document_names_what_there_is() -> None:
    usage = (ROOT / "docs" / "USAGE.md").read_text()
    section = usage.partition("### By Ansible\n")[2].partition("\n## ")[0]
    assert "tailscale_tar" in section
    assert unknown(section) == set()
    assert unknown("tailscale_tarr: x") == {"tailscale_tarr"}


def test_both_tasks_give_the_action_all_that_it_takes() -> None:
    tree = ast.parse((ROLE / "action_plugins" / "tailscale_router.py").read_text())
    (texts,) = [
        {item.value for item in node.value.elts if isinstance(item, ast.Constant)}
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple)
    ]
    given = {}
    for name in ("plan", "main"):
        found = load(ROLE / "tasks" / f"{name}.yml")
        assert isinstance(found, list)
        given[name] = set(found[0]["tailscale_router"])
    assert given == {"plan": texts, "main": texts | {"patience", "shown"}}


def test_the_rings_are_those_of_invoke() -> None:
    plays = load(HOME / "deploy.yml")
    assert isinstance(plays, list)
    assert [play.get("serial") for play in plays] == [None, [1, "10%", "100%"]]
    assert len({play["max_fail_percentage"] for play in plays}) == 1
