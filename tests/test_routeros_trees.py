"""The real routers' command trees judge everything that we send to a router.

Nobody here wrote them: see tests/routeros/trees.py. Scripts, documentation, ``:parse`` texts and
REST calls are held against every release of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from build.router import deploy, planning, render, state
from build.router.restapi import Client, offer
from tests.routeros import bed as beds
from tests.routeros import trees
from tests.routeros.lang import ParseError, parse
from tests.routeros.lang.evaluator import Interpreter
from tests.routeros.lang.values import Code
from tests.routeros.model import facts
from tests.routeros.model.rest import Loopback, Rest, serve
from tests.test_routeros_deploy import SCRIPTS, TAR, wanted

RELEASES = trees.data()[0]
EVERY = pytest.mark.parametrize("release", RELEASES)
# versions that came after the trees: they are treated as the newest of them
LATER = ["7.24.5", "7.25", "7.25.1", "7.26beta1"]


def findings(text: str, release: str) -> list[str]:
    """What a release's parser says of a text."""
    try:
        return [
            f"line {line}: {what}" for line, what in parse(text, facts.schema(release)).warnings
        ]
    except ParseError as problem:
        return [str(problem)]


class Texts:
    """Every ``:parse`` text of a run, and what the release's parser refused."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: set[str] = set()
        self.refused: list[str] = []
        plain = Interpreter.parse_code

        def watched(interpreter: Interpreter, source: str) -> Code:
            self.seen.add(source)
            self.refused += findings(source, interpreter.schema.version)
            return plain(interpreter, source)

        monkeypatch.setattr(Interpreter, "parse_code", watched)


def test_the_trees_say_what_the_releases_brought() -> None:
    """Facts that an earlier sheet had wrong, read from the trees."""
    arrived = {
        word: next(r for r in RELEASES if word in trees.tree(r)["/container/add"])
        for word in ("ignore-remote-image-change", "tmpfs", "restart-policy", "envlists")
    }
    assert arrived == {
        "ignore-remote-image-change": "7.23.2",
        "tmpfs": "7.21.2",
        "restart-policy": "7.23",
        "envlists": "7.20",
    }
    assert len(RELEASES) == 29
    assert RELEASES[-1] == render.NEWEST


def test_later_versions_are_the_newest_known() -> None:
    assert {facts.known(version) for version in LATER} == {RELEASES[-1]}
    assert facts.known("7.22.9") == "7.22.3"


@EVERY
def test_every_script_is_readable(release: str) -> None:
    """The universal scripts, and those rendered for this release."""
    found = {
        (name, rendered): findings(beds.script(name, rendered), release)
        for name in render.SCRIPTS
        for rendered in (None, release)
    }
    assert {key: what for key, what in found.items() if what} == {}


@pytest.mark.parametrize("release", [*RELEASES, *LATER])
def test_every_text_that_a_run_makes_is_readable(
    release: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Install, update, status and removal: nothing is left to a run that a router refuses."""
    texts = Texts(monkeypatch)
    made = beds.installed(release)
    assert made.running() == [beds.OLD]
    made.publish(beds.NEW)
    made.update()
    assert made.running() == [beds.NEW]
    made.router.run_script("status-tailscale")
    made.router.run("/import uninstall-tailscale.rsc")
    assert texts.refused == []
    assert len(texts.seen) >= 4
    assert made.router.log.lines("error") == []


@EVERY
def test_every_rest_call_is_known(release: str, tmp_path: Path) -> None:
    made = beds.empty(release)
    for name in render.SCRIPTS:
        made.router.storage.drop(f"{name}.rsc")
    made.registry.down = True
    made.router.fetch.transport = Loopback(made.router.fetch.transport)
    rest = Rest(made.router)
    with serve(rest) as address:
        client = Client(address, "admin", "secret")
        goal = wanted(tmp_path, made)
        steps = planning.plan(state.read(client), goal)
        deploy.apply(
            client,
            steps,
            goal,
            lambda text: None,
            lambda image: offer(image, "127.0.0.1"),
            sleep=lambda seconds: None,
        )
    assert made.running() == [beds.NEW]
    assert rest.refused == []
    assert TAR in str(steps)
    assert SCRIPTS


PLANTED: list[tuple[str, Any]] = [
    # the three mistakes that the trees showed, put back
    ("7.23.1", "/container/add name=x root-dir=c file=f ignore-remote-image-change=yes"),
    ("7.21.1", '/container/add name=x root-dir=c file=f tmpfs="4M@/run"'),
    ("7.19.6", '/container/shell tailscale cmd="tailscale status"'),
]


@pytest.mark.parametrize(("release", "text"), PLANTED)
def test_planted_mistakes_are_found(release: str, text: str) -> None:
    assert findings(text, release) != []
    assert findings(text, RELEASES[-1]) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [("72302", "72300"), ("72102", "72100"), ("$Version < 72100", "$Version < 72000")],
)
def test_planted_mistakes_in_the_scripts_are_found(
    old: str, new: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bound of the scripts that is wrong by one release."""
    plain = beds.script
    assert any(old in plain(name) for name in render.SCRIPTS)
    monkeypatch.setattr(
        beds, "script", lambda name, version=None: plain(name, version).replace(old, new)
    )
    texts = Texts(monkeypatch)
    for release in RELEASES:
        beds.installed(release)
    assert texts.refused != []
