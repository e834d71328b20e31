"""Every command block of docs/USAGE.md runs in the model of every release of the command trees.

What is generated: for each release of trees.json, each block that the page gives for it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from build.router import render as renderer
from tests.routeros import bed as beds
from tests.routeros import trees
from tests.routeros.bed import NEW, OLD, Bed
from tests.routeros.forge import Forge, offered
from tests.routeros.lang import parse
from tests.routeros.lang.errors import RscError
from tests.routeros.lang.values import to_str
from tests.routeros.model import facts

PAGE = Path(__file__).parents[1] / "docs" / "USAGE.md"
TEXT = PAGE.read_text()
RELEASES = trees.data()[0]
TAR = "mikrotik-tailscale-v1.102.5-mt.1-arm64.tar"


@dataclass(frozen=True)
class Example:
    """One block: the heading above it, the router that it needs, its commands, the first release
    that the page gives it for."""

    heading: str
    needs: str
    source: str
    since: str = "7.19"

    def on(self, release: str) -> bool:
        """Whether the page gives it for a release."""
        return facts.numbers(self.since) <= facts.numbers(release)


def examples() -> list[Example]:
    """Every block, in order; above one, ``<!-- test: x -->`` says which router it needs, and
    ``<!-- since: x -->`` for which releases it is."""
    found = []
    pattern = re.compile(
        r"^#+ (?P<heading>[^\n]+)$|(?:^<!-- since: (?P<since>[0-9.]+) -->\n)?"
        r"(?:^<!-- test: (?P<needs>\w+) -->\n)?^```routeros\n(?P<source>.*?)^```$",
        re.MULTILINE | re.DOTALL,
    )
    heading = ""
    for match in pattern.finditer(TEXT):
        if match["heading"]:
            heading = match["heading"].split("\n")[0]
        else:
            needs, since = match["needs"] or "installed", match["since"] or "7.19"
            found.append(Example(heading, needs, match["source"], since))
    return found


EXAMPLES = examples()


def prepare(needs: str, release: str = RELEASES[-1]) -> Bed:
    """The router for a block."""
    if needs in ("empty", "bare", "locked"):
        made = beds.empty(release)
        made.router.modes = dict.fromkeys(made.router.modes, needs != "locked")
        return made
    if needs == "forge":
        made = beds.empty(release)
        scripts = {name: beds.script(name) for name in renderer.SCRIPTS}
        for name in scripts:
            made.router.storage.drop(f"{name}.rsc")
        made.router.fetch.transport = Forge(made.registry, offered(scripts, OLD.name))
        return made
    made = beds.installed(release)
    if needs == "pinned":
        made.registry.push(beds.REPOSITORY, OLD.name, OLD)
        made.publish(NEW)
        made.update()
    if needs == "tar":
        made.router.run("/container/stop [find]; :delay 10s; /container/remove [find]; :delay 10s")
        made.router.upload(TAR, "tar")
        made.router.containers.files[TAR] = NEW
    return made


def test_every_fence_of_commands_is_a_block() -> None:
    """Of the others, those for a computer say what they are."""
    fences = re.findall(r"^ *```(.*)$", TEXT, re.MULTILINE)
    assert set(fences[::2]) <= {"routeros", "sh", "toml", "yaml"}
    assert set(fences[1::2]) == {""}
    assert fences.count("routeros") == len(EXAMPLES) >= 35


def outcome(made: Bed, example: Example) -> str:
    """Run a block; gives what is wrong, "" if nothing is."""
    try:
        warnings = parse(example.source, made.router.schema).warnings
        if warnings:
            return str(warnings)
        made.router.run(example.source)
    except RscError as problem:
        return str(problem)
    return "; ".join(made.router.log.lines("error"))


def apart(made: Bed, example: Example) -> str:
    """The same in a process of its own, so that the next block finds the router as it was."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            told = outcome(made, example)
        except BaseException as problem:
            told = f"{type(problem).__name__}: {problem}"
        os.write(writer, told.encode()[:4000])
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        told = answer.read()
    os.waitpid(child, 0)
    return told


def findings(release: str, found: list[Example]) -> list[str]:
    """Which blocks fail on a release, and why."""
    routers: dict[str, Bed] = {}
    wrong = []
    for number, example in enumerate(found):
        if example.on(release):
            if example.needs not in routers:
                routers[example.needs] = prepare(example.needs, release)
            told = apart(routers[example.needs], example)
            if told:
                wrong.append(f"RouterOS {release}, block {number} ({example.heading}): {told}")
    return wrong


@pytest.mark.parametrize("release", RELEASES)
def test_every_block_runs_on_a_release(release: str) -> None:
    assert findings(release, EXAMPLES) == []


def test_a_mistake_of_the_page_is_found_with_its_block_and_release() -> None:
    """Three planted: a block given for too old a release twice, and one that only a run refuses."""
    for word, early, late in (
        ("ignore-remote-image-change=yes", "7.23.1", "7.23.2"),
        ('cmd="tailscale up"', "7.19.6", "7.20"),
    ):
        number = next(n for n, example in enumerate(EXAMPLES) if word in example.source)
        block = replace(EXAMPLES[number], since="7.19")
        (told,) = findings(early, [block])
        assert told.startswith(f"RouterOS {early}, block 0 ({block.heading}): ")
        assert findings(late, [block]) == []
    block = Example("Logging", "installed", "/container/start [find]\n")
    (told,) = findings("7.22", [block])
    assert "block 0 (Logging): failure: container is running" in told


SAID = [
    # what owners ask: under which heading, and the words that answer it
    ("After a restart the tailnet is away", ("control server", "waits", "leave it alone")),
    ("Subnet router", ("Which address your network sees", "container's", "node's own")),
    ("Exit node", ("NAT66", "nothing from outside reaches them")),
    ("A schedule that never runs", ("no updates", "nobody is called", "after a crash")),
]


@pytest.mark.parametrize(("heading", "words"), SAID)
def test_what_owners_ask_is_answered(heading: str, words: tuple[str, ...]) -> None:
    start = re.search(rf"^#+ {heading}$", TEXT, re.MULTILINE)
    assert start
    section = " ".join(re.split(r"^#+ ", TEXT[start.end() :], flags=re.MULTILINE)[0].split())
    assert [word for word in words if word not in section] == []


@pytest.mark.parametrize(("needs", "image"), [("empty", OLD), ("bare", OLD), ("pinned", OLD)])
def test_after_the_block_the_node_runs(needs: str, image: object) -> None:
    made = prepare(needs)
    for example in EXAMPLES:
        if example.needs == needs:
            made.router.run(example.source)
    made.router.advance(600)
    assert made.running() == [image]


def test_a_block_can_fail() -> None:
    """Negative control: the same machinery refuses what no version knows."""
    from tests.routeros.lang import ParseError

    with pytest.raises(ParseError):
        prepare("installed").router.run("/container/add colour=red")


def anchor(heading: str) -> str:
    """A heading as its link target."""
    return re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")


def test_every_link_leads_somewhere() -> None:
    anchors = {anchor(line.lstrip("# ")) for line in TEXT.splitlines() if line.startswith("#")}
    wanted = set(re.findall(r"\]\(#([a-z0-9-]+)\)", TEXT))
    for name in renderer.SCRIPTS:
        wanted |= set(re.findall(r"docs/USAGE\.md#([a-z0-9-]+)", beds.script(name)))
    assert wanted - anchors == set()


def test_every_setting_is_explained() -> None:
    settings = set(re.findall(r"^:global (Ts\w+)", beds.script("settings-tailscale"), re.MULTILINE))
    table = TEXT[TEXT.index("| Setting |") : TEXT.index("No password or key belongs")]
    missing = {name for name in settings if f"`{name}`" not in table and not name.endswith("6")}
    assert missing == set()


def test_the_command_line_of_the_page_is_that_of_the_scripts() -> None:
    wanted = renderer.Values()
    for example in EXAMPLES:
        if "/container/add name=" in example.source:
            made = prepare(example.needs)
            made.router.run(example.source)
            item = next(iter(made.router.containers.items.values()))
            assert " ".join(to_str(item["cmd"]).split()) == wanted.cmd
            assert item["entrypoint"] == wanted.entrypoint
