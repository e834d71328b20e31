"""Pins: the loader refuses less than everything, and names all that is missing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from build.config import pins
from build.core.errors import UserError
from build.core.version import is_stable

GOOD = {
    "kind": '"archive"',
    "version": '"1.2"',
    "file": '"thing-{version}.tar"',
    "urls": '["https://example.test/{version}/thing-{version}.tar"]',
    "debian_pool": '"main/t/thing_{version}.orig.tar"',
    "size": "10",
    "sha256": f'"{"0" * 64}"',
    "licence": '"MIT"',
    "hash_from": '"here"',
    "why": '"a test"',
}


def written(places: Path, **changes: str | None) -> Path:
    rows = {key: value for key, value in (GOOD | changes).items() if value is not None}
    path = places / "pins.toml"
    path.write_text("[thing]\n" + "".join(f"{key} = {value}\n" for key, value in rows.items()))
    return path


def test_a_complete_pin(places: Path) -> None:
    found = pins.load(written(places))["thing"]
    assert found.file == "thing-1.2.tar"
    assert found.urls == ("https://example.test/1.2/thing-1.2.tar",)
    assert found.debian_pool == "main/t/thing_1.2.orig.tar"
    assert found.title == "thing 1.2"


def test_debian_alone_may_have_it(places: Path) -> None:
    assert pins.load(written(places, urls=None))["thing"].urls == ()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        *[({key: None}, f"thing.{key}") for key in GOOD if key not in ("urls", "debian_pool")],
        ({"urls": None, "debian_pool": None}, "thing.urls"),
        ({"colour": '"red"'}, "thing.colour"),
        ({"kind": '"torrent"'}, "archive or wheel or gomodule"),
        ({"kind": "[]"}, "thing.kind"),
        ({"sha256": '"abc"'}, "64 lower-case hex digits"),
        ({"sha256": f'"{"A" * 64}"'}, "64 lower-case hex digits"),
        ({"size": "0"}, "thing.size: wanted a whole number from 1"),
        ({"size": "-1"}, "thing.size: wanted a whole number from 1"),
        ({"size": '"10"'}, "thing.size: wanted a whole number from 1"),
        ({"size": "true"}, "thing.size: wanted a whole number from 1"),
        ({"size": "nan"}, "thing.size: wanted a whole number from 1"),
        ({"size": "99999999999999999999"}, "thing.size: wanted a whole number from 1"),
        ({"why": '""'}, "thing.why"),
        ({"version": "12"}, "thing.version"),
        ({"version": '"../1"'}, "thing.version"),
        ({"file": '"../{version}"'}, "thing.file"),
        ({"urls": '"https://a"'}, "thing.urls: wanted a list"),
        ({"urls": '["file:///etc/passwd"]'}, "thing.urls[0]"),
        ({"kind": '"wheel"'}, "thing.package"),
        ({"kind": '"gomodule"'}, "thing.module"),
        ({"kind": '"gomodule"', "module": '"m"'}, "thing.h1"),
        ({"kind": '"gomodule"', "module": '"m"', "h1": '"abc="'}, "thing.h1"),
    ],
)
def test_an_incomplete_pin(places: Path, changes: dict[str, str | None], named: str) -> None:
    with pytest.raises(UserError) as caught:
        pins.load(written(places, **changes))
    assert caught.value.what == "pins.toml is not in order"
    assert named in caught.value.why


def test_all_faults_at_once(places: Path) -> None:
    with pytest.raises(UserError) as caught:
        pins.load(written(places, sha256='"abc"', size="0", why=None))
    assert all(f"thing.{key}" in caught.value.why for key in ("why", "sha256", "size"))


@pytest.mark.parametrize("text", ["not toml", "thing = 1\n", "[thing\n"])
def test_a_file_that_is_none(places: Path, text: str) -> None:
    (places / "pins.toml").write_text(text)
    with pytest.raises(UserError):
        pins.load(places / "pins.toml")


def test_a_missing_file(places: Path) -> None:
    with pytest.raises(UserError, match="cannot read"):
        pins.load(places / "pins.toml")


def test_the_repositorys_own_pins() -> None:
    found = pins.pins()
    assert {"tailscale", "go", "busybox", "upx", "zig"} <= found.keys()
    assert is_stable(found["tailscale"].version)
    assert all(pin.epoch for pin in (found["tailscale"], found["busybox"]))
    assert all("{" not in text for pin in found.values() for text in (pin.file, *pin.urls))
    assert all(re.fullmatch(r"h1:[A-Za-z0-9+/]{43}=", p.h1) for p in found.values() if p.h1)
    with pytest.raises(UserError, match="no pin is called 'nothing'"):
        pins.pin("nothing")
