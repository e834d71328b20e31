"""The page that gives one block to paste: the block on the router, the page in itself.

In a real browser: tests/test_site_browser.py.
"""

from __future__ import annotations

import hashlib
import html
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from fakes import images

from build.config import devices, targets
from build.config.pins import pin
from build.core import paths
from build.core.errors import UserError
from build.core.version import first_of
from build.gates import size
from build.image import dist, products
from build.release import handover
from build.router import parts, paste, render
from build.views import look, site
from tests.routeros import bed as beds
from tests.routeros import trees
from tests.routeros.bed import HOST, NEW, OLD, REPOSITORY, Bed
from tests.routeros.forge import FILES, Forge, offered
from tests.routeros.lang.errors import RuntimeFault
from tests.routeros.lang.values import to_str
from tests.test_routeros_trees import Texts, findings
from tests.test_routeros_usage import TEXT

RELEASES = trees.data()[0]
RELEASED = first_of(pin("tailscale").version)
IMAGE = f"{HOST}/{REPOSITORY}"
SCRIPTS = {name: beds.script(name) for name in render.SCRIPTS}
TAG = "v1.102.5-mt.1"
TARS = {
    name: (f"mikrotik-tailscale-v1.102.5-mt.1-{name}.tar", f"sha256:{number:064x}")
    for number, name in enumerate(targets.targets(), 1)
}
RELEASE = paste.Release(TAG, SCRIPTS, TARS, beds.TEMPLATES)
DEVICES = devices.devices()
PLAIN = paste.Choices("rb5009", lan="192.168.88.0/24", subnet=True, image=IMAGE, files=FILES)

SPREAD = [
    PLAIN,
    replace(PLAIN, inline=True),
    replace(PLAIN, subnet=False, lan=""),
    replace(PLAIN, exit=True, magicdns="tail1234.ts.net"),
    replace(PLAIN, ipv6=True, lan="192.168.88.0/24, fd88:88::/64, 10.0.0.0/8"),
    replace(PLAIN, uses="100.64.0.9", lan="192.168.88.0/24,10.20.0.0/16"),
    replace(PLAIN, tar=True),
    replace(PLAIN, tar=True, inline=True, exit=True),
    replace(PLAIN, device="hap-ac2", disk="usb1"),
    replace(PLAIN, device="hap-ac2", disk="usb1", tar=True, ipv6=True),
    replace(PLAIN, device="hex-refresh", uses="100.64.0.9", ipv6=True, inline=True),
]


def block(choices: paste.Choices) -> str:
    told = paste.answer(choices, DEVICES[choices.device], RELEASE)
    assert told["faults"] == []
    return str(told["block"])


def router(version: str, choices: paste.Choices) -> tuple[Bed, Forge]:
    """A router without any script of ours; a disk and the tar where the choices want them."""
    small = DEVICES[choices.device].small
    made = beds.empty(version, flash_mib=16 if small else 40)
    for name in render.SCRIPTS:
        made.router.storage.drop(f"{name}.rsc")
    if choices.disk:
        made.router.plug(choices.disk, 1 << 30)
    if choices.tar:
        name = TARS[DEVICES[choices.device].image][0]
        name = f"{choices.disk}/{name}" if choices.disk else name
        made.router.upload(name, "tar")
        made.router.containers.files[name] = OLD
    forge = Forge(made.registry, offered(SCRIPTS, TAG))
    made.router.fetch.transport = forge
    return made, forge


def settings(made: Bed) -> str:
    for item in made.router.scripts.items.values():
        if item["name"] == "settings-tailscale":
            return to_str(item["source"])
    raise KeyError("settings-tailscale")


@pytest.mark.parametrize("release", RELEASES)
def test_every_block_is_readable(release: str) -> None:
    found = {
        number: findings(block(replace(choices, version=release)), release)
        for number, choices in enumerate(SPREAD)
    }
    assert {number: what for number, what in found.items() if what} == {}


@pytest.mark.parametrize("number", range(len(SPREAD)))
def test_a_block_installs(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the oldest and newest release of each line; what it makes a text of is readable too."""
    texts = Texts(monkeypatch)
    lines = [[*rows] for _, rows in itertools.groupby(RELEASES, lambda one: one.split(".")[1])]
    tried = sorted({rows[at] for rows in lines for at in (0, -1)})
    for release in tried:
        choices = replace(SPREAD[number], version=release)
        made, _ = router(release, choices)
        made.router.run(block(choices))
        assert made.router.log.lines("error") == [], release
        assert made.running() == [OLD], release
    assert texts.refused == []
    print(f"{len(tried)} releases")


@pytest.mark.parametrize("number", range(len(SPREAD)))
def test_a_second_paste_changes_nothing_and_the_last_line_undoes_it(number: int) -> None:
    choices = SPREAD[number]
    made, _ = router("7.24", choices)
    before = leftovers(made)
    made.router.run(block(choices))
    scripts = {to_str(i["name"]): to_str(i["source"]) for i in made.router.scripts.items.values()}
    rules = len(made.router.menu("routing/rule").items)
    made.router.advance(3600)
    if choices.tar:
        made.router.upload(block_tar(choices), "tar")
    made.router.run(block(choices))
    after = {to_str(i["name"]): to_str(i["source"]) for i in made.router.scripts.items.values()}
    assert after == scripts
    assert len(made.router.menu("routing/rule").items) == rules
    assert made.running() == [OLD]
    made.router.run(str(paste.answer(choices, DEVICES[choices.device], RELEASE)["undo"]))
    assert made.running() == []
    assert leftovers(made) == before
    assert made.router.log.lines("error") == []


def block_tar(choices: paste.Choices) -> str:
    name = TARS[DEVICES[choices.device].image][0]
    return f"{choices.disk}/{name}" if choices.disk else name


def leftovers(made: Bed) -> dict[str, int]:
    """How many rows the menus have that a block or the installer adds to."""
    menus = ("ip/route", "ip/address", "routing/rule", "routing/table", "ip/dns/static")
    return {name: len(made.router.menu(name).items) for name in menus}


def test_a_wrong_script_stops_everything() -> None:
    made, forge = router("7.24", PLAIN)
    forge.files[f"{FILES}/update-tailscale.rsc"] += "# one byte more\n"
    with pytest.raises(RuntimeFault, match="or not whole; nothing was changed"):
        made.router.run(block(PLAIN))
    assert [*made.router.scripts.items.values()] == []
    assert made.running() == []


def test_somebody_elses_script_stops_everything() -> None:
    made, _ = router("7.24", PLAIN)
    made.router.run('/system/script/add name=update-tailscale source=":put mine"')
    with pytest.raises(RuntimeFault, match="somebody else's; nothing was changed"):
        made.router.run(block(PLAIN))
    assert len(made.router.scripts.items) == 1


def test_settings_survive_but_for_the_choices() -> None:
    made, _ = router("7.24", PLAIN)
    made.router.run(block(PLAIN))
    made.setting("TsHostname", '"gate"')
    made.router.run(block(replace(PLAIN, magicdns="tail9.ts.net")))
    text = settings(made)
    assert '\n:global TsHostname "gate";\n' in text
    assert '\n:global TsMagicDns "tail9.ts.net";\n' in text
    lines, plain = text.splitlines(), SCRIPTS["settings-tailscale"].splitlines()
    assert len(lines) == len(plain)
    assert sum(one != two for one, two in zip(lines, plain, strict=True)) == 2


def test_a_setting_that_stands_twice_is_set_in_both_places() -> None:
    """As docs/USAGE.md has people pin a release: a line at the end."""
    made, _ = router("7.24", PLAIN)
    made.router.run(block(PLAIN))
    made.router.run(
        '/system/script/set [find where name="settings-tailscale"] source=([/system/script/get '
        '[find where name="settings-tailscale"] source] . ":global TsTag \\"v1.100.0-mt.1\\";")'
    )
    made.router.run(block(PLAIN))
    assert re.findall(r'^:global TsTag "(.*)";$', settings(made), re.MULTILINE) == ["stable"] * 2


def test_a_router_that_forbids_containers_says_what_to_do() -> None:
    made, _ = router("7.24", PLAIN)
    made.router.modes["container"] = False
    with pytest.raises(RuntimeFault, match="do what the line above says"):
        made.router.run(block(PLAIN))
    assert any("device-mode" in line for line in made.router.log.lines("error"))


def test_a_new_release_is_pasted_over_the_old_one() -> None:
    made, forge = router("7.24", PLAIN)
    made.router.run(block(PLAIN))
    newer = {name: text + "# newer\n" for name, text in SCRIPTS.items()}
    newer["settings-tailscale"] = SCRIPTS["settings-tailscale"]
    forge.offer(offered(newer, "v1.102.5-mt.2"))
    release = paste.Release("v1.102.5-mt.2", newer, TARS, beds.TEMPLATES)
    made.router.run(paste.answer(PLAIN, DEVICES["rb5009"], release)["block"])
    found = {to_str(i["name"]): to_str(i["source"]) for i in made.router.scripts.items.values()}
    assert all(found[name] == text for name, text in newer.items() if "settings" not in name)
    assert made.running() == [OLD]
    made.publish(NEW)
    made.update()
    assert made.running() == [NEW]


def test_a_planted_word_is_found() -> None:
    """Negative control of the trees: what one release lacks, and what none knows."""
    text = block(PLAIN).replace("/tool/fetch url=", "/tool/fetch colour=")
    assert findings(text, "7.24") != []


def test_what_routeros_cannot_hash_with_is_refused_by_the_model() -> None:
    made, _ = router("7.24", PLAIN)
    with pytest.raises(RuntimeFault, match="unknown transform"):
        made.router.run(block(PLAIN).replace("transform=sha512", "transform=sha256"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"device": "cap-ac"}, "no USB port"),
        ({"device": "hap-ac2"}, "needs a USB disk"),
        ({"device": "mips"}, "no containers on mipsbe"),
        ({"version": "7.18"}, "upgrade to 7.19"),
        ({"version": "7.18.2"}, "upgrade to 7.19"),
        ({"image": ""}, "name the image"),
        ({"image": "ghcr.io/OWNER/x"}, "name the image"),
        ({"image": 'ghcr.io/me/x";:put 1'}, "name the image"),
        ({"files": "http://forge.example/x"}, "https address"),
        ({"files": "https://forge.example/$x"}, "https address"),
        ({"magicdns": "tail1234"}, "suffix"),
        ({"magicdns": 'a.b"'}, "suffix"),
        ({"lan": ""}, "networks named"),
        ({"lan": "192.168.88.1/24"}, "no bits set beyond"),
        ({"lan": "0.0.0.0/0"}, "no bits set beyond"),
        ({"lan": "fd88::/64"}, "needs IPv6"),
        ({"uses": "192.168.1.1"}, "such as 100.64.0.9"),
        ({"uses": "100.64.0.9", "exit": True}, "cannot be an exit node and use"),
        ({"disk": "usb 1"}, "slot"),
    ],
)
def test_what_cannot_be_is_said(change: dict[str, Any], says: str) -> None:
    choices = replace(PLAIN, **change)
    told = paste.answer(choices, DEVICES[choices.device], RELEASE)
    assert says in " ".join(told["faults"])
    assert not told["block"]


def cases() -> Iterator[paste.Choices]:
    """Choices that are well and ill, each word of them in turn and some together."""
    odd: dict[str, list[Any]] = {
        "device": [*DEVICES],
        "version": site.versions(),
        "lan": [
            "",
            " 10.0.0.0/8 ,, ",
            "10.0.0.0/7",
            "010.0.0.0/8",
            "10.0.0.0/33",
            "10.0.0.0",
            "256.0.0.0/8",
            "::/1",
            "fd88::/64",
            "FD88::/64",
            "fd88::1/64",
            "fd88:::/64",
            "1:2:3:4:5:6:7::/112",
            "1:2:3:4:5:6:7:8/128",
            "1:2:3:4:5:6:7:8::/128",
            "::1::/64",
            ":1::/64",
            "12345::/64",
            "10.0.0.0/08",
            "10.0.0.0/128",
            "fd88::/129",
            "0.0.0.0/1",
            "x/8",
            "10.0.0.0/8;",
            "1.2.3/8",
        ],
        "uses": ["100.64.0.9", "100.128.0.1", "100.127.255.255", "100.64.0.09", "fd7a::1", "x"],
        "magicdns": ["a.b", "a..b", "-a.b", "tail.ts.net", "ä.b", "a.b "],
        "disk": ["usb1", "usb1-part1", "-x", "a/b"],
        "image": ["", "a/b", "a:5000/b", "a", "a/b:c", "A.b/_x", "x/OWNER", "a/b\n"],
        "files": ["", "https://a", "https://a/b_c~d/e.f", "https://a//b", "ftp://a"],
    }
    flags = [
        dict(zip(("ipv6", "subnet", "exit", "tar", "inline"), row, strict=True))
        for row in itertools.product((False, True), repeat=5)
    ]
    for number, flag in enumerate(flags):
        yield replace(PLAIN, **flag)
        yield replace(PLAIN, device="hap-ac2", disk="usb1", uses="100.64.0.9", **flag)
        for name, values in odd.items():
            for at, value in enumerate(values):
                if (number + at) % 4 == 0:
                    yield replace(PLAIN, **(flag | {name: value}))
    yield from SPREAD


def classes() -> Iterator[paste.Choices]:
    """One for each set of words that parts of a block can ask for: all blocks there are in kind."""
    for inline, tar, disk, ipv6, magicdns, subnet, shell in itertools.product((0, 1), repeat=7):
        for role in ({}, {"exit": True}, {"uses": "100.64.0.9"}):
            yield replace(
                PLAIN,
                device="hap-ac2" if disk else "rb5009",
                version="7.24" if shell else "7.19",
                lan="192.168.88.0/24, fd88::/64" if ipv6 else "192.168.88.0/24",
                inline=bool(inline),
                tar=bool(tar),
                disk="usb1" if disk else "",
                ipv6=bool(ipv6),
                magicdns="tail1234.ts.net" if magicdns else "",
                subnet=bool(subnet),
                **role,
            )


def test_no_class_is_left_out() -> None:
    asked = {word.lstrip("!") for words, _ in RELEASE.parts for word in words.split()}
    found = [paste.words_of(one) for one in classes()]
    assert set().union(*found) >= asked
    assert len({frozenset(words) for words in found}) == len(found) == 384


NODE = """
const { answer } = require(process.argv[1]);
const given = JSON.parse(require("fs").readFileSync(0, "utf8"));
const told = given.cases.map((chosen) => answer(given.data, chosen));
process.stdout.write(JSON.stringify(told));
"""


def in_javascript(given: list[paste.Choices]) -> list[dict[str, Any]]:
    known = site.data(RELEASE, DEVICES, {})
    text = json.dumps({"data": known, "cases": [asdict(one) for one in given]})
    done = subprocess.run(
        ["node", "-e", NODE, str(site.FOLDER / "page.js")],
        input=text,
        text=True,
        capture_output=True,
        check=True,
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(not shutil.which("node"), reason="no node; nox -s site asks a browser")
def test_the_pages_script_gives_what_python_gives() -> None:
    given = [*classes(), *cases()]
    told = in_javascript(given)
    wanted = [paste.answer(one, DEVICES[one.device], RELEASE) for one in given]
    for one, mine, theirs in zip(given, wanted, told, strict=True):
        assert mine == theirs, one
    well = sum(not one["faults"] for one in wanted)
    print(f"{len(given)} choices, {well} blocks, the others refused alike")
    assert 100 < well < len(given) - 100


def made_page(image: str = IMAGE, files: str = FILES) -> str:
    costs = {name: [f"Flash of {name}: 1 B <x>"] for name in targets.targets()}
    return site.page(RELEASE, DEVICES, costs, site.default(image, files))


def test_the_page_asks_nobody_for_anything() -> None:
    text = made_page()
    for name in look.PAGES:
        # the links to our own pages, in the same folder
        assert text.count(f' href="{name}.html"') == 1
        text = text.replace(f' href="{name}.html"', "")
    assert "default-src 'none'" in text
    asking = re.compile(r"(src|href|action)\s*=|@import|url\(|<(img|link|iframe|object)")
    assert not asking.search(text.partition('<script type="application/json"')[0])
    script = (site.FOLDER / "page.js").read_text()
    assert not re.search(r"fetch\(|XMLHttp|WebSocket|import\(|http", script)


def test_without_scripts_there_is_the_table_and_a_block() -> None:
    text = made_page()
    shown = re.search(r"<textarea[^>]*>(.*?)</textarea>", text, re.DOTALL)
    assert shown
    assert html.unescape(shown[1]) == block(site.default(IMAGE, FILES))
    for one in DEVICES.values():
        assert f"<td>{html.escape(one.name)}</td>" in text
        assert html.escape(one.refusal) in text
    assert '<form id="choices" hidden' in text


def test_a_page_that_knows_no_registry_shows_a_block_all_the_same() -> None:
    text = made_page("", "")
    assert "ghcr.io/you/mikrotik-tailscale" in text
    assert "Replace the image&#x27;s address with yours" in text


def test_nothing_in_the_data_ends_the_script_that_holds_it() -> None:
    scripts = SCRIPTS | {"status-tailscale": SCRIPTS["status-tailscale"] + "# </script><b>\n"}
    release = paste.Release("v1", scripts, TARS, beds.TEMPLATES)
    costs: dict[str, list[str]] = {name: [] for name in targets.targets()}
    text = site.page(release, DEVICES, costs, site.default(IMAGE, FILES))
    held = re.search(r'id="data">(.*?)</script>', text, re.DOTALL)
    assert held
    assert "</script><b>" in "\n".join(line for _, line in json.loads(held[1])["parts"])


def test_the_guides_devices_are_in_the_table() -> None:
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| (linux/\S+|none) \|", TEXT, re.MULTILINE)
    assert len(rows) >= 6
    named = {one.name: one for one in DEVICES.values()}
    missing = []
    for names, _, platform in rows:
        for name in re.sub(r"[;] CPU.*| and everything.*", "", names).split(", "):
            one = named.get(name)
            if one is None:
                missing.append(name)
            else:
                image = targets.targets()[one.image].platform if one.image else "none"
                assert image == platform, name
    assert missing == []


def test_a_setting_that_is_gone_is_missed() -> None:
    text = SCRIPTS["settings-tailscale"].replace(":global TsMagicDns", ":global TsNames")
    with pytest.raises(UserError, match="sets TsMagicDns"):
        paste.Release("v1", SCRIPTS | {"settings-tailscale": text}, TARS, RELEASE.folder)


def test_a_template_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "paste.rsc").write_text("#@ unless x\n")
    with pytest.raises(UserError, match=r"paste\.rsc:1"):
        list(parts.read(tmp_path / "paste.rsc", {}))


def invoke(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "invoke", "site", *words]
    return subprocess.run(
        argv, cwd=paths.ROOT, env=os.environ | env, text=True, capture_output=True
    )


def test_the_command(places: Path) -> None:
    """Makes nothing of nothing; then one file, with the digests of what `attach` would attach."""
    done = invoke()
    assert (done.returncode, "invoke build-all" in done.stderr) == (2, True), done.stderr
    assert not (places / "dist").exists()
    made = images.images(places, RELEASED.tag)
    dist.write(made, targets.targets(), RELEASED, lambda path, chosen: None, whole=True)
    before = (places / "dist" / "build.json").read_bytes()
    done = invoke("--json", "--files", FILES, "--release", RELEASED.tag, MT_REPOSITORY=IMAGE)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    text = Path(told["page"]).read_text()
    assert told["bytes"] == len(text.encode())
    for content in handover.texts(RELEASED.tag, IMAGE).values():
        assert hashlib.sha512(content.encode()).hexdigest() in text
    for name, lines in told["costs"].items():
        rows = size.of_images([products.image(targets.target(name))])
        whole = next(row.size for row in rows if row.component == size.ROOTFS)
        assert f"{whole:,} B" in lines[0]
    assert (places / "dist" / "build.json").read_bytes() == before


@pytest.mark.parametrize(
    "words", [("--files", "ftp://x"), ("--files", 'https://a/"x'), ("--release", "v1.0.0-mt.1")]
)
def test_nonsense_is_refused(words: tuple[str, ...], places: Path) -> None:
    done = invoke(*words)
    assert done.returncode == 2
    assert done.stderr.count("error: ") == 1
    assert not (places / "dist").exists()
