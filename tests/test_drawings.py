"""README's pictures: they are of their records, the same everywhere, and no data in them is SVG."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from build.core.errors import GateFailed, UserError
from build.core.paths import ROOT
from build.gates import instructions, ratio
from build.views import drawings

SVG = "{http://www.w3.org/2000/svg}"


def test_the_committed_pictures_are_of_their_records() -> None:
    drawings.check()
    assert {path.stem for path in drawings.FOLDER.iterdir()} == drawings.PICTURES.keys()
    readme = (ROOT / "README.md").read_text()
    assert {*re.findall(r"\]\(docs/pictures/(\w+)\.svg\)", readme)} == drawings.PICTURES.keys()


def test_a_stale_picture_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: one byte of a record, one of a picture, and a picture that is gone."""
    assert len(drawings.write(tmp_path)) == 2
    drawings.check(tmp_path)
    with monkeypatch.context() as patched:
        weights = ratio.read()
        more = replace(weights["arm64"], ours=weights["arm64"].ours + 1)
        patched.setattr(ratio, "read", lambda: weights | {"arm64": more})
        with pytest.raises(GateFailed, match=r"weight\.svg"):
            drawings.check()
    (tmp_path / "weight.svg").write_text((tmp_path / "weight.svg").read_text() + "\n")
    (tmp_path / "instructions.svg").unlink()
    with pytest.raises(GateFailed, match=r"weight\.svg, instructions\.svg"):
        drawings.check(tmp_path)
    assert len(drawings.write(tmp_path)) == 2
    assert drawings.stale(tmp_path) == []


def test_bars_are_as_long_as_their_numbers() -> None:
    tree = ET.fromstring(drawings.pairs("x", [("a", 1000, 500), ("b", 800, 250)]))
    bars = [one for one in tree.iter(f"{SVG}rect") if one.get("height") == "16"]
    longest = int(bars[0].get("width", "0"))
    assert [int(one.get("width", "0")) / longest for one in bars] == pytest.approx(
        [1, 0.5, 0.8, 0.25], abs=0.003
    )
    wide = [int(one.get("x", "0")) + int(one.get("width", "0")) for one in bars]
    assert max(wide) < 800


def test_what_comes_from_data_is_no_svg() -> None:
    text = drawings.pairs("<a>&", [("</text><script>", 2, 1)])
    assert "<script" not in text
    assert ET.fromstring(text).findtext(f"{SVG}title") == "<a>&"
    for name in drawings.PICTURES.values():
        assert not re.search(r"<script|href|url\(|@import|<image", name())


def test_the_guide_s_table_is_the_record() -> None:
    """DESIGN's rows of instructions, and nothing else, are in the record."""
    table = re.findall(
        r"^\| (.+), ([^,|]+) \| ([\d,]+) \| ([\d,]+) \| ([\d.]+) \|$",
        (ROOT / "docs" / "DESIGN.md").read_text(),
        re.MULTILINE,
    )
    rows = [
        (
            one.work,
            one.platform,
            f"{one.upstream:,}",
            f"{one.ours:,}",
            f"{one.upstream / one.ours:.2f}",
        )
        for one in instructions.read()
    ]
    assert table == rows and len(rows) >= 10


@pytest.mark.parametrize("content", ["{", "[]", "{}", '[{"work": "x"}]'])
def test_a_broken_record_is_refused(content: str, tmp_path: Path) -> None:
    place = tmp_path / "instructions.json"
    place.write_text(content)
    with pytest.raises(UserError, match=r"instructions\.json"):
        instructions.read(place)


def test_the_command() -> None:
    argv = [sys.executable, "-m", "invoke", "pictures", "--check", "--json"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, json.loads(done.stdout)) == (0, {"stale": []}), done.stderr
