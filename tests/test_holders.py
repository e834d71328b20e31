"""Who holds a copyright: found in licence files, recorded, and told where it changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from build.bump import bump, holders
from build.config import licences
from build.config.pins import pin
from build.core.errors import UserError
from build.core.paths import ROOT

MIT = """The MIT License (MIT)

Copyright (c) 2016-2021 Jane Doe <jane@example.com>
Copyright © 2019, 2020 - present The Example Authors. All rights reserved.

Permission is hereby granted, free of charge, to any person. The above copyright notice and this
permission notice shall be included in all copies.
"""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (MIT, ["Jane Doe <jane@example.com>", "The Example Authors"]),
        ("// Copyright 2009 The Go Authors.\n", ["The Go Authors"]),
        ("   Copyright {yyyy} {name of owner}\n", []),
        ("Copyright [yyyy] [name of copyright owner]\n", []),
        ("Copyright (c) 2020 Somebody may not be used without a licence\n", []),
        ("", []),
    ],
)
def test_holders(text: str, found: list[str]) -> None:
    assert licences.holders(text) == found


def test_another_year_is_the_same_holder() -> None:
    assert licences.holders(MIT.replace("2021", "2026")) == licences.holders(MIT)


def test_what_changes_is_told(tmp_path: Path) -> None:
    """A new holder, a former one, and all of a module that is new; of the same nothing."""
    (tmp_path / "LICENSE").write_text(MIT)
    before = {"m": ["Jane Doe <jane@example.com>", "Gone Inc"], "same": ["A"]}
    after = holders.of({"m": {"LICENSE": tmp_path / "LICENSE"}}) | {"n": ["New"], "same": ["A"]}
    told = holders.differences(before, after)
    assert told == [
        "m: -Gone Inc",
        "m: +The Example Authors",
        "n: +New",
    ]
    assert holders.differences(after, after) == []
    done = bump.Bump(pin("busybox"), pin("busybox"), holders=told)
    assert "holder    m: -Gone Inc" in bump.summary(done)


def test_recording(tmp_path: Path) -> None:
    place = tmp_path / "holders.json"
    assert holders.read(place) == {}
    holders.write({"m": ["Ünal"]}, place)
    assert holders.read(place) == {"m": ["Ünal"]}
    assert [path.name for path in tmp_path.iterdir()] == ["holders.json"]


@pytest.mark.parametrize("text", ["{", "[]", '{"m": "Jane"}', '{"m": [1]}'])
def test_a_broken_record(tmp_path: Path, text: str) -> None:
    (tmp_path / "holders.json").write_text(text)
    with pytest.raises(UserError, match="holders"):
        holders.read(tmp_path / "holders.json")


def test_the_repository_has_a_record_of_every_module() -> None:
    """Of those whose licence is known, and no others; the bot commits the file with the pins."""
    found = holders.read(ROOT / holders.FILE)
    known = licences.load()
    assert found and found.keys() <= known.keys()
    assert {name for name in known if "/" in name} <= found.keys()
    rules = json.loads((ROOT / "renovate.json").read_text())["packageRules"]
    filters = [
        rule["postUpgradeTasks"]["fileFilters"] for rule in rules if "postUpgradeTasks" in rule
    ]
    assert any({holders.FILE, "build/data/pins.toml"} <= set(one) for one in filters)
