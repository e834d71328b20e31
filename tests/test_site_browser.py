"""The page of `invoke site` in a real browser, as people have it before them.

`nox -s site` runs it with the Chromium of this machine. What each test looks at is a function that
returns faults, so that a damaged page can show that it would be seen. Pictures for people go to
dist/site-shots/.
"""

from __future__ import annotations

import base64
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_pages import site_pages
from test_site import (
    DEVICES,
    FILES,
    IMAGE,
    PLAIN,
    RELEASE,
    cases,
    classes,
    made_page,
    replace,
)

from build.core import paths
from build.image import record
from build.router import paste
from build.views import look, site
from noxfile import BROWSERS

pytestmark = pytest.mark.browser

SHOTS = paths.dist_dir()
"""Where pictures go: the machine's dist/, before a test changes the variable."""

WIDTHS = (320, 375, 1280)
"""CSS pixels: the narrowest phone that WCAG 2.2 reckons with (1.4.10), a common one, a desk."""

FIELDS = "device version disk lan subnet exit uses magicdns ipv6 tar image inline files".split()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    program = next(found for name in BROWSERS if (found := shutil.which(name)))
    with sync_playwright() as tool:
        started = tool.chromium.launch(executable_path=program)
        yield started
        started.close()


class Seen:
    """A page from a file in a browser, and all that it asked or complained about."""

    def __init__(self, browser: Any, file: Path, **options: Any) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.context = browser.new_context(
            **({"viewport": {"width": 1280, "height": 900}} | options)
        )
        self.context.on("request", lambda one: self.requests.append(one.url))
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda said: self.complaints.append(said.text))
        self.page.goto(file.as_uri())
        self.file = file

    def asked(self) -> list[str]:
        """What was asked for beside the file itself."""
        return [url for url in self.requests if url != self.file.as_uri()]

    def block(self) -> str:
        return str(self.page.input_value("#block"))


Open = Callable[..., Seen]


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """Open a page of this text; at the end nothing may have been asked for or complained about."""
    made: list[tuple[Seen, bool]] = []

    def start(text: str = "", healthy: bool = True, **options: Any) -> Seen:
        file = tmp_path / f"page-{len(made)}.html"
        file.write_text(text or made_page())
        seen = Seen(browser, file, **options)
        made.append((seen, healthy))
        return seen

    yield start
    found = [(one.asked(), one.complaints) for one, healthy in made if healthy]
    for one, _ in made:
        one.context.close()
    assert [pair for pair in found if pair != ([], [])] == []


def shoot(seen: Seen, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = seen.page.screenshot(full_page=True)
    monkeypatch.setenv("MT_DIST", str(SHOTS))
    record.keep(f"site-shots/{name}.png", picture)


# --- the blocks ---------------------------------------------------------------------------------

CHOOSE = """(choices) => {
  const form = document.getElementById("choices");
  return choices.map((chosen) => {
    for (const field of form.elements) {
      if (!field.name) continue;
      const value = chosen[field.name];
      if (field.type === "checkbox") field.checked = value;
      else field.value = value;
    }
    form.dispatchEvent(new Event("input"));
    const at = (id) => document.getElementById(id);
    const texts = (id) => [...at(id).children].map((one) => one.textContent);
    return {
      faults: texts("faults"), block: at("block").value, notes: texts("notes"),
      undo: at("undo").textContent, renewal: at("renewal").value,
      shown: [!at("impossible").hidden, !at("result").hidden],
    };
  });
}"""


def typed(choices: paste.Choices) -> paste.Choices:
    """What a field makes of a text: one line, without space around it."""
    texts = {
        name: value.replace("\n", "").strip()
        for name, value in vars(choices).items()
        if isinstance(value, str)
    }
    return replace(choices, **texts)


def fields(choices: paste.Choices) -> dict[str, Any]:
    known = vars(choices) | {
        "tar": "tar" if choices.tar else "registry",
        "inline": "inline" if choices.inline else "fetch",
    }
    return {name: known[name] for name in FIELDS}


def differences(seen: Seen, given: list[paste.Choices]) -> list[paste.Choices]:
    """Choices for which the page shows something else than Python says."""
    told = seen.page.evaluate(CHOOSE, [fields(one) for one in given])
    wrong = []
    for one, shown in zip(given, told, strict=True):
        meant = typed(one)
        wanted = paste.answer(meant, DEVICES[meant.device], RELEASE)
        visible = [bool(wanted["faults"]), bool(wanted["block"])]
        if shown != wanted | {"shown": visible}:
            wrong.append(one)
    return wrong


def test_every_class_of_choices_gives_what_python_gives(opened: Open) -> None:
    given = [*classes(), *cases()]
    seen = opened()
    assert differences(seen, given) == []
    print(f"{len(given)} choices, {sum(1 for _ in classes())} classes of blocks")


def test_a_page_that_says_something_else_is_seen(opened: Open) -> None:
    """Negative control: one word of the page's script."""
    text = made_page()
    assert "--advertise-exit-node" in text
    seen = opened(text.replace('" --advertise-exit-node"', '" --advertise-exit"'))
    given = [*classes()]
    wrong = differences(seen, given)
    assert {one.exit for one in wrong} == {True}
    assert len(wrong) == sum(one.exit for one in given)


# --- the keyboard -------------------------------------------------------------------------------


def walk(seen: Seen) -> list[str]:
    """Press Tab until the page is left; returns what had the focus, and was seen to have it."""
    page, found = seen.page, []
    page.evaluate("document.activeElement.blur()")
    for _ in range(60):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            """() => {
              const one = document.activeElement;
              const style = getComputedStyle(one);
              return [one.id || one.getAttribute("aria-label") || "",
                      style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth)];
            }"""
        )
        if not name:
            return found
        found.append(name if outline >= 2 else f"{name}, unseen")
    return [*found, "no way out"]


def unreached(seen: Seen) -> set[str]:
    """Controls that Tab does not come to, or comes to without showing it."""
    shown = seen.page.evaluate(
        """() => [...document.querySelectorAll("input, select, textarea, button, summary, a[href]")]
             .filter((one) => one.checkVisibility()).map((one) => one.id)"""
    )
    return set(shown) ^ (set(walk(seen)) - {"devices"})


def test_the_keyboard_is_enough(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Choose, type, copy and paste without a mouse; the block is Python's."""
    seen = opened()
    page = seen.page
    assert unreached(seen) == set()
    order = walk(seen)
    assert order == [f"to-{name}" for name in look.PAGES] + order[len(look.PAGES) :]
    assert order[len(look.PAGES) :][: len(FIELDS)] == FIELDS
    assert order[-1] == "devices", "the table can be scrolled by keys"
    page.evaluate("document.activeElement.blur()")

    def to(name: str) -> None:
        for _ in order:
            if page.evaluate("document.activeElement.id") == name:
                return
            page.keyboard.press("Tab")
        raise AssertionError(name)

    to("device")
    page.keyboard.type("hAP ac2")
    to("version")
    page.keyboard.type("7.21")
    to("disk")
    page.keyboard.type("usb1")
    to("lan")
    page.keyboard.press("Control+A")
    page.keyboard.type("10.1.0.0/16, fd88::/64")
    to("exit")
    page.keyboard.press("Space")
    to("magicdns")
    page.keyboard.type("tail1234.ts.net")
    to("ipv6")
    page.keyboard.press("Space")
    to("inline")
    page.keyboard.type("inside")
    to("copy")
    page.keyboard.press("Enter")
    page.wait_for_function("document.getElementById('copied').textContent")
    wanted = replace(
        PLAIN,
        device="hap-ac2",
        version="7.21",
        disk="usb1",
        lan="10.1.0.0/16, fd88::/64",
        exit=True,
        magicdns="tail1234.ts.net",
        ipv6=True,
        inline=True,
    )
    block = paste.answer(wanted, DEVICES["hap-ac2"], RELEASE)["block"]
    assert seen.block() == block
    assert pasted(seen) == block
    shoot(seen, "keyboard", monkeypatch)


def test_a_control_beyond_the_keyboard_is_seen(opened: Open) -> None:
    text = made_page()
    seen = opened(text.replace('id="exit"', 'id="exit" tabindex="-1"'))
    assert unreached(seen) == {"exit"}
    seen = opened(text.replace("outline: 3px solid", "outline: 0 solid"))
    assert "copy, unseen" in unreached(seen)


def test_every_control_has_a_name(opened: Open) -> None:
    """As a screen reader tells it; and no two are told alike."""
    page = opened().page
    roles = {"select": "combobox", "text": "textbox", "checkbox": "checkbox"}
    names = []
    for one in FIELDS:
        field = page.locator(f"#{one}")
        label = page.evaluate("(id) => document.getElementById(id).labels[0].textContent", one)
        kind = field.get_attribute("type") or "select"
        assert page.get_by_role(roles[kind], name=label.strip(), exact=True).count() == 1, one
        names.append(label)
    assert len(set(names)) == len(FIELDS)


# --- the clipboard ------------------------------------------------------------------------------


def pasted(seen: Seen) -> str:
    """What the clipboard has: pasted into a field, as people do."""
    other = seen.context.new_page()
    other.set_content("<textarea></textarea>")
    other.focus("textarea")
    other.keyboard.press("Control+V")
    text = str(other.input_value("textarea"))
    other.close()
    return text


HOW = {
    "modern": "",
    "absent": "Object.defineProperty(navigator, 'clipboard', { value: undefined })",
    "refused": "navigator.clipboard.writeText = () => Promise.reject(new Error('no'))",
}


@pytest.mark.parametrize("how", HOW)
def test_the_button_copies(how: str, opened: Open) -> None:
    """Also in browsers that have no clipboard for a file, or refuse it."""
    seen = opened()
    # what was there before, of another test
    seen.page.evaluate("navigator.clipboard.writeText('before')")
    seen.page.evaluate(f"{HOW[how]}; 0")
    seen.page.click("#copy")
    seen.page.wait_for_function("document.getElementById('copied').textContent === 'copied'")
    assert pasted(seen) == seen.block() != ""


def test_a_button_that_copies_nothing_is_seen(opened: Open) -> None:
    seen = opened(made_page().replace("writeText(text.value)", "writeText('')"))
    seen.page.evaluate("navigator.clipboard.writeText('before')")
    seen.page.click("#copy")
    assert pasted(seen) != seen.block()


def test_where_nothing_can_be_copied_the_page_says_so(opened: Open) -> None:
    seen = opened()
    seen.page.evaluate(f"{HOW['refused']}; document.execCommand = () => false")
    seen.page.click("#copy")
    seen.page.wait_for_function("document.getElementById('copied').textContent")
    assert "Ctrl+C" in seen.page.text_content("#copied")
    assert seen.page.evaluate("document.activeElement.id") == "block"


# --- the QR code --------------------------------------------------------------------------------

PIXELS = """async (picture) => {
  const image = new Image();
  image.src = `data:image/png;base64,${picture}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.width, image.height];
  const brush = canvas.getContext("2d");
  brush.drawImage(image, 0, 0);
  const { data } = brush.getImageData(0, 0, image.width, image.height);
  return [image.width, image.height, [...data].filter((_, at) => at % 4 === 1)];
}"""


def scanned(seen: Seen) -> list[str]:
    """What a camera's reader sees where the code is on the screen."""
    import zxingcpp

    picture = base64.b64encode(seen.page.locator("#code").screenshot(timeout=5000)).decode()
    # in a page without our policy, which lets no picture in
    other = seen.context.browser.new_page()
    width, height, green = other.evaluate(PIXELS, picture)
    other.close()
    grey = memoryview(bytes(green)).cast("B", (height, width))
    return [found.text for found in zxingcpp.read_barcodes(grey)]


LOGINS = [
    site.EXAMPLE,
    "https://headscale.example.com/register/nodekey:" + "0123456789abcdef" * 4,
    "http://10.0.0.1:8080/a/" + "x" * 189,
]


@pytest.mark.parametrize("width", WIDTHS)
def test_a_phone_reads_the_address(
    width: int, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    for scheme in ("light", "dark"):
        seen = opened(viewport={"width": width, "height": 800}, color_scheme=scheme)
        for number, address in enumerate(LOGINS):
            # as a terminal of few columns shows it
            seen.page.fill("#login", "")
            seen.page.evaluate("(text) => navigator.clipboard.writeText(text)", broken(address))
            seen.page.focus("#login")
            seen.page.keyboard.press("Control+V")
            assert scanned(seen) == [address]
            assert address in seen.page.text_content("#scanned")
            assert too_wide(seen) == []
            if not number:
                shoot(seen, f"qr-{width}-{scheme}", monkeypatch)


def broken(address: str) -> str:
    return "\n".join(address[at : at + 76] for at in range(0, len(address), 76))


def test_what_is_no_address_gives_no_code(opened: Open) -> None:
    seen = opened()
    for text in ("To authenticate, visit: https://x.example/a/0", "x", "https://x/" + "a" * 700):
        seen.page.fill("#login", text)
        assert not seen.page.is_visible("#code")
        assert "no address" in seen.page.text_content("#scanned")
    seen.page.fill("#login", "")
    assert seen.page.text_content("#scanned") == ""


def test_a_code_that_cannot_be_read_is_seen(opened: Open) -> None:
    """Negative control: finders of another form, and wrong sums in an unharmed frame."""
    text = made_page()
    for old, new in [("4, [2, 4])", "4, [3])"), ("? POWERS", "? 1 + POWERS")]:
        assert text.count(old) == 1
        seen = opened(text.replace(old, new))
        seen.page.fill("#login", site.EXAMPLE)
        assert scanned(seen) != [site.EXAMPLE]


# --- the screen ---------------------------------------------------------------------------------


def too_wide(seen: Seen) -> list[str]:
    """What makes the page scroll sideways."""
    found: list[str] = seen.page.evaluate(
        """() => {
          const wide = document.documentElement.clientWidth;
          if (document.documentElement.scrollWidth <= wide) return [];
          const over = [...document.querySelectorAll("main *")]
            .filter((one) => one.getBoundingClientRect().right > wide && !one.closest(".wide"));
          return ["scrolls", ...over.map((one) => one.id || one.tagName)];
        }"""
    )
    return found


SCREENS: dict[str, dict[str, Any]] = {
    "default": {},
    "everything": {
        "exit": True,
        "magicdns": "a-rather-long-name-of-a-tailnet.tail1234567.ts.net",
        "ipv6": True,
        "tar": True,
        "lan": ", ".join(f"fd88:{number:x}::/64" for number in range(0x1000, 0x1010)),
    },
    "inline": {"inline": True},
    "impossible": {"device": "mips"},
    "faults": {"lan": "192.168.88.1/24", "uses": "1.2.3.4", "image": "", "exit": True},
}


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_scrolls_sideways(
    width: int, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    for scheme in ("light", "dark"):
        seen = opened(viewport={"width": width, "height": 800}, color_scheme=scheme)
        for name, change in SCREENS.items():
            seen.page.evaluate(CHOOSE, [fields(replace(PLAIN, **change))])
            assert too_wide(seen) == [], name
            if scheme == "light" or name == "default":
                shoot(seen, f"{name}-{width}-{scheme}", monkeypatch)


def test_what_is_too_wide_is_seen(opened: Open) -> None:
    text = made_page().replace("width: 34em", "min-width: 34em")
    assert too_wide(opened(text, viewport={"width": 320, "height": 800}))[0] == "scrolls"
    text = made_page().replace("overflow-x: auto", "overflow-x: visible")
    assert too_wide(opened(text, viewport={"width": 320, "height": 800}))[0] == "scrolls"


# --- without scripts, without a network ---------------------------------------------------------


def unreadable(seen: Seen) -> list[str]:
    """What somebody without scripts does not get."""
    page, lacking = seen.page, []
    choices = site.default(IMAGE, FILES)
    if seen.block() != paste.answer(choices, DEVICES[choices.device], RELEASE)["block"]:
        lacking.append("the block")
    for one in ("#block", "#notes", "#undo", "#costs", "table"):
        if not page.locator(one).is_visible():
            lacking.append(one)
    text = page.inner_text("body")
    lacking += [one.name for one in DEVICES.values() if one.name not in page.inner_text("table")]
    lacking += [one.refusal for one in DEVICES.values() if one.refusal not in text]
    # what does nothing without scripts
    lacking += [
        f"a dead {one}" for one in ("#copy", "#choices", "#impossible", "#login")
        if page.locator(one).is_visible()
    ]  # fmt: skip
    return lacking


def test_without_scripts_it_can_be_read(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    for width in WIDTHS:
        seen = opened(java_script_enabled=False, viewport={"width": width, "height": 800})
        assert unreadable(seen) == []
        shoot(seen, f"no-scripts-{width}", monkeypatch)


def test_what_cannot_be_read_without_scripts_is_seen(opened: Open) -> None:
    text = re.sub(r"(<textarea[^>]*>).*?(</textarea>)", r"\1\2", made_page(), flags=re.DOTALL)
    assert unreadable(opened(text, java_script_enabled=False)) == ["the block"]
    assert unreadable(opened(healthy=False)) == ["a dead #copy", "a dead #choices", "a dead #login"]


PLANTED = '<img src="https://tracker.example/x.png" alt="">'


def test_a_request_is_seen_and_the_page_s_policy_stops_it(opened: Open) -> None:
    """Negative control of what every test here ends with."""
    policy = re.compile(r"<meta http-equiv=[^>]*>\n")
    planted = made_page().replace("<main>", f"<main>{PLANTED}")
    free = opened(policy.sub("", planted), healthy=False)
    assert free.asked() == ["https://tracker.example/x.png"]
    held = opened(planted, healthy=False)
    assert any("Content Security Policy" in line for line in held.complaints)
    assert held.page.evaluate("document.images[0].naturalWidth") == 0


def test_it_works_without_a_network(opened: Open) -> None:
    seen = opened(offline=True)
    assert differences(seen, [*classes()][:50]) == []


# --- the other pages ----------------------------------------------------------------------------


def bad_pages(opened: Open, folder: dict[str, str], width: int) -> list[str]:
    """What is wrong on the other pages: too wide, out of the keys' reach, nothing to read."""
    wrong = []
    for name, text in folder.items():
        for scheme in ("light", "dark"):
            options = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
            seen = opened(text, java_script_enabled=False, **options)
            wrong += [f"{name}: {one}" for one in too_wide(seen)]
            wrong += (
                []
                if "".join(seen.page.locator("main p").all_inner_texts())
                else [f"{name}: nothing to read"]
            )
        seen = opened(text, viewport={"width": width, "height": 800})
        found = seen.page.evaluate(
            """() => [...document.querySelectorAll(".wide, a[href]")].map((one) => one.id)"""
        )
        wrong += [f"{name}: no way to {one}" for one in set(found) ^ set(walk(seen))]
    return wrong


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("known", [True, False], ids=["records", "none"])
def test_the_other_pages(
    width: int, known: bool, opened: Open, places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In both colours, without scripts, by keys; whether there are records or none."""
    texts = site_pages(places, known, monkeypatch)
    assert bad_pages(opened, texts, width) == []
    for name, text in texts.items():
        if known:
            shoot(
                opened(text, viewport={"width": width, "height": 800}),
                f"{name}-{width}",
                monkeypatch,
            )


def test_what_is_wrong_on_other_pages_is_seen(
    opened: Open, places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = {"gate": site_pages(places, True, monkeypatch)["gate"]}
    wide = {"gate": texts["gate"].replace("overflow-x: auto", "overflow-x: visible")}
    assert "gate: scrolls" in bad_pages(opened, wide, 320)
    mute = {"gate": texts["gate"].replace(' tabindex="0"', ' tabindex="-1"')}
    assert any("no way to part-" in one for one in bad_pages(opened, mute, 1280))


def test_the_pages_lead_to_each_other(
    browser: Any, places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = places / "site"
    folder.mkdir()
    for name, text in {"index": made_page(), **site_pages(places, False, monkeypatch)}.items():
        (folder / f"{name}.html").write_text(text)
    for name in look.PAGES:
        page = browser.new_page()
        for other, words in look.PAGES.items():
            page.goto((folder / f"{name}.html").as_uri())
            page.click(f"#to-{other}")
            assert page.url == (folder / f"{other}.html").as_uri()
            assert page.locator("[aria-current=page]").inner_text() == words
        page.close()
