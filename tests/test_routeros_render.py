"""Templates, the header contract, and what every version's parser says of every script."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from build.config.pins import pin
from build.core.paths import DATA
from build.router import render
from tests.routeros import bed
from tests.routeros.goldens import ROOT
from tests.routeros.lang import ParseError, parse
from tests.routeros.lang.schema import Schema
from tests.routeros.model import facts, versions

TARGETS = [None, *versions()]


@pytest.mark.parametrize("name", render.SCRIPTS)
def test_the_scripts_in_the_repository_are_what_the_templates_render(name: str) -> None:
    rendered = render.render(name, ROOT / "templates")
    assert (ROOT / f"{name}.rsc").read_text() == rendered, "run: python -m tests.routeros.goldens"


@pytest.mark.parametrize("version", TARGETS)
@pytest.mark.parametrize("name", render.SCRIPTS)
def test_form(name: str, version: str | None) -> None:
    assert render.lint(name, bed.script(name, version)) == []


@pytest.mark.parametrize("name", render.SCRIPTS)
def test_the_universal_script_parses_everywhere_without_a_warning(name: str) -> None:
    for version in versions():
        assert parse(bed.script(name), facts.schema(version)).warnings == ()


@pytest.mark.parametrize("version", versions())
@pytest.mark.parametrize("name", render.SCRIPTS)
def test_a_script_for_one_version_parses_there(name: str, version: str) -> None:
    assert parse(bed.script(name, version), facts.schema(version)).warnings == ()


def test_the_parser_refuses_what_another_version_knows() -> None:
    """Negative control, and the reason why the scripts keep newer words in :parse."""
    with pytest.raises(ParseError):
        parse("/container/mounts/add name=x src=a dst=b", facts.schema("7.24"))


def test_a_script_for_one_version_refuses_another() -> None:
    made = bed.empty("7.23", rendered="7.24")
    made.router.run("/import install-tailscale.rsc")
    assert "rendered for RouterOS 7.24" in made.router.log.lines("error")[-1]
    assert not made.router.containers.items


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("7.18", "oldest"),
        ("six", "no RouterOS version"),
        ("7", "no RouterOS version"),
    ],
)
def test_versions_that_cannot_be_rendered(version: str, message: str) -> None:
    with pytest.raises(render.TemplateError, match=message):
        render.render("update-tailscale", ROOT / "templates", version)


def test_unknown_script() -> None:
    with pytest.raises(render.TemplateError, match="no script"):
        render.render("nope", ROOT / "templates")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("#@ if 7.x", "no RouterOS version"),
        ("#@ fi", "cannot read"),
        ("#@ end", "cannot read"),
        ("#@ if universal", "without #@ end"),
        ("#@ include nope", "no template"),
        (":put {{NOPE}}", "no value for"),
    ],
)
def test_broken_templates_say_what_is_wrong(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "status-tailscale.rsc").write_text(f"{line}\n")
    with pytest.raises(render.TemplateError, match=re.escape(message)):
        render.render("status-tailscale", tmp_path)


def test_conditions() -> None:
    kept = {
        version: [
            condition
            for condition in ("-7.19", "7.20-7.22", "7.23", "fixed", "universal")
            if render.holds(condition, render.parse_version(version))
        ]
        for version in ("7.19", "7.22.1", "7.24")
    }
    assert kept == {
        "7.19": ["-7.19", "fixed"],
        "7.22.1": ["7.20-7.22", "fixed"],
        "7.24": ["7.23", "fixed"],
    }
    assert render.holds("universal", None)
    assert not render.holds("7.20", None)


FLAWS = [
    ("#!rsc by RouterOS", "# no", "first line"),
    ("# requires RouterOS, version=7.19", "#", "requires RouterOS"),
    ("# docs/USAGE.md#status", "#", "docs/USAGE.md"),
    (":put", ":put\t", "tab"),
    (":put", ":put \u00e9", "ASCII"),
    (":put", ":put {{IMAGE}}", "nobody filled in"),
    (":put", "\n#@ if x\n:put", "template line"),
    (":put", ":put " + "x" * 130, "more than 120"),
    (":put", ":put\n" + "# x\n" * 9000, "more than the 30000"),
]


@pytest.mark.parametrize(("old", "new", "finding"), FLAWS)
def test_lint_finds_planted_flaws(old: str, new: str, finding: str) -> None:
    text = bed.script("status-tailscale")
    assert any(
        finding in found for found in render.lint("status-tailscale", text.replace(old, new, 1))
    )


def test_settings_hold_no_credentials() -> None:
    text = bed.script("settings-tailscale").lower()
    assert not re.search(r"password|auth.?key|tskey|secret", text)


def test_what_the_scripts_start_is_what_the_image_starts() -> None:
    """RouterOS 7.22 loses the image's own command, so the scripts say it: it must be the same."""
    image = tomllib.loads((DATA / "rootfs.toml").read_text())["image"]
    values = render.Values()
    assert [values.entrypoint] == image["entrypoint"]
    assert values.cmd.split() == image["cmd"]


def without_containers(version: str) -> Schema:
    """What a router without the package container can read."""
    return facts.schema(version, frozenset({"container"}))


@pytest.mark.parametrize("name", sorted(set(render.SCRIPTS) - {"library-tailscale"}))
def test_scripts_are_readable_where_there_are_no_containers(name: str) -> None:
    """A script is read whole before it runs: one that names a missing menu says nothing at all."""
    for version in versions():
        assert parse(bed.script(name), without_containers(version)).warnings == ()


def test_the_library_is_not() -> None:
    """Negative control."""
    with pytest.raises(ParseError):
        parse(bed.script("library-tailscale"), without_containers("7.24"))


@pytest.mark.parametrize(
    "image",
    [
        'x"$(y)',
        'ghcr.io/a"; /system/reboot; "',
        "no-path",
        "ghcr.io/a b",
        "ghcr.io/a:tag",
        "",
        "é/a",
    ],
)
def test_an_image_that_is_none_is_refused(image: str) -> None:
    with pytest.raises(render.TemplateError, match="is no image"):
        render.Values(image=image)


@pytest.mark.parametrize("tag", ['a"b', "a b", "$x", "-a"])
def test_a_tag_that_is_none_is_refused(tag: str) -> None:
    with pytest.raises(render.TemplateError, match="is no tag"):
        render.Values(tag=tag)


@pytest.mark.parametrize("text", ['a"b', "$x", "[/system/reboot]", "back\\slash", "$(1+1)", "a?b"])
def test_what_is_quoted_is_data(text: str) -> None:
    made = bed.empty()
    made.router.run(f':put "{render.quoted(text)}"')
    assert made.router.printed == [text]


def test_the_release_is_that_of_the_pins() -> None:
    assert render.Values().release == f"v{pin('tailscale').version}-mt.1"
