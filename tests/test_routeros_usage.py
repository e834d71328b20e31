"""Every command block of docs/USAGE.md parses and runs on the model of the newest version.

That older releases can read them is held in test_routeros_trees.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from build.router import render as renderer
from tests.routeros import bed as beds
from tests.routeros.bed import NEW, OLD, Bed
from tests.routeros.forge import Forge, offered
from tests.routeros.lang import parse
from tests.routeros.lang.values import to_str
from tests.routeros.model import facts

PAGE = Path(__file__).parents[1] / "docs" / "USAGE.md"
TEXT = PAGE.read_text()
TAR = "mikrotik-tailscale-v1.102.5-mt.1-arm64.tar"


@dataclass(frozen=True)
class Example:
    """One block: the heading above it, the router that it needs, its commands."""

    heading: str
    needs: str
    source: str


def examples() -> list[Example]:
    """Every block, in order; ``<!-- test: x -->`` above one says which router it needs."""
    found = []
    pattern = re.compile(
        r"^#+ (?P<heading>[^\n]+)$|(?:^<!-- test: (?P<needs>\w+) -->\n)?"
        r"^```routeros\n(?P<source>.*?)^```$",
        re.MULTILINE | re.DOTALL,
    )
    heading = ""
    for match in pattern.finditer(TEXT):
        if match["heading"]:
            heading = match["heading"].split("\n")[0]
        else:
            found.append(Example(heading, match["needs"] or "installed", match["source"]))
    return found


EXAMPLES = examples()
IDS = [f"{number}-{example.heading}" for number, example in enumerate(EXAMPLES)]


def prepare(needs: str) -> Bed:
    """The router for a block."""
    if needs in ("empty", "bare", "locked"):
        made = beds.empty()
        made.router.modes = dict.fromkeys(made.router.modes, needs != "locked")
        return made
    if needs == "forge":
        made = beds.empty()
        scripts = {name: beds.script(name) for name in renderer.SCRIPTS}
        for name in scripts:
            made.router.storage.drop(f"{name}.rsc")
        made.router.fetch.transport = Forge(made.registry, offered(scripts, OLD.name))
        return made
    made = beds.installed()
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


@pytest.mark.parametrize("example", EXAMPLES, ids=IDS)
def test_a_block_parses_without_warnings(example: Example) -> None:
    assert parse(example.source, facts.schema("7.24")).warnings == ()


@pytest.mark.parametrize("example", EXAMPLES, ids=IDS)
def test_a_block_runs(example: Example) -> None:
    made = prepare(example.needs)
    made.router.run(example.source)
    assert made.router.log.lines("error") == []


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
