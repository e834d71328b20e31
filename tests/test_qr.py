"""The page's QR codes against another encoder, module by module.

The other one is Project Nayuki's. A decoder reads them off the page: tests/test_site_browser.py.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
from qrcodegen import QrCode, QrSegment

from build.views import site

SCRIPT = (site.FOLDER / "qr.js").read_text()
MOST = (14, 26, 42, 62, 84, 106, 122, 152, 180, 213)
MOST += (251, 287, 331, 362, 412, 450, 504, 560, 624, 666)
"""Bytes that a code holds, by version: ISO/IEC 18004, table 7, level M, byte mode."""
ADDRESSES = [
    site.EXAMPLE,
    "http://10.0.0.1:8080/register/AbC-_~9",
    "https://headscale.example.com/register/nodekey:" + "0123456789abcdef" * 4,
    "https://login.example/a?next=%2Fx&id=1#top",
    *(f"https://login.tailscale.com/a/{number:x}" for number in range(1 << 30, (1 << 30) + 12)),
]

pytestmark = pytest.mark.skipif(not shutil.which("node"), reason="no node")

NODE = """
const { qr } = require(process.argv[1]);
const given = JSON.parse(require("fs").readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(given.map(([text, mask]) => qr(text, mask ?? undefined))));
"""
Given = list[tuple[str, int | None]]
Matrix = list[list[bool]]


def ours(given: Given, script: str, tmp_path: Path) -> list[Matrix | None]:
    (tmp_path / "qr.js").write_text(script)
    done = subprocess.run(
        ["node", "-e", NODE, str(tmp_path / "qr.js")],
        input=json.dumps(given),
        text=True,
        capture_output=True,
        check=True,
    )
    found: list[Matrix | None] = json.loads(done.stdout)
    return found


@cache
def theirs(text: str, mask: int | None) -> Matrix:
    made = QrCode.encode_segments(
        [QrSegment.make_bytes(text.encode())],
        QrCode.Ecc.MEDIUM,
        maxversion=20,
        mask=-1 if mask is None else mask,
        boostecl=False,
    )
    side = range(made.get_size())
    return [[made.get_module(x, y) for x in side] for y in side]


def differences(given: Given, script: str, tmp_path: Path) -> Given:
    found = ours(given, script, tmp_path)
    return [one for one, made in zip(given, found, strict=True) if made != theirs(*one)]


def spread() -> Given:
    """Every version full, and with one byte in its last block to spare; every mask."""
    full = [("x" * most, version % 8) for version, most in enumerate(MOST)]
    short = [("é" + "7" * (most - 3), (version + 3) % 8) for version, most in enumerate(MOST)]
    masks = [("one more" * 16, mask) for mask in range(8)]
    return [*full, *short, *masks]


def test_every_version_and_mask_is_as_others_make_it(tmp_path: Path) -> None:
    given = spread()
    assert differences(given, SCRIPT, tmp_path) == []
    sizes = [len(made or []) for made in ours(given[: len(MOST)], SCRIPT, tmp_path)]
    assert sizes == [17 + 4 * version for version in range(1, 21)]
    print(f"{len(given)} codes")


def test_the_mask_of_the_lowest_penalty_is_taken(tmp_path: Path) -> None:
    """Texts of one letter bring runs, squares and finders; other rules would choose other masks."""
    texts = [*ADDRESSES, *("U" * length for length in range(1, 12))]
    given: Given = [(one, None) for one in texts]
    assert differences(given, SCRIPT, tmp_path) == []
    for old, new in [("40 * ", "0 * "), ("run.length - 2", "0"), ("sum += 3", "sum += 0")]:
        assert SCRIPT.count(old) == 1
        assert differences(given, SCRIPT.replace(old, new), tmp_path) != [], old


def test_what_is_too_long_gives_none(tmp_path: Path) -> None:
    texts: Given = [("x" * (MOST[-1] + 1), None), ("é" * 333 + "x", None)]
    assert ours(texts, SCRIPT, tmp_path) == [None, None]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0x11d", "0x12d"),
        ("0x5412", "0x5413"),
        ("0x1f25", "0x1f27"),
        ("30, 22, 22, 24", "30, 22, 24, 24"),
        ("? 0x11 : 0xec", "? 0xec : 0x11"),
        ("version < 10 ?", "version < 11 ?"),
        ("if (!corner) ", ""),
        ("right === 6", "right === 8"),
    ],
)
def test_another_rule_is_seen(old: str, new: str, tmp_path: Path) -> None:
    assert SCRIPT.count(old) == 1
    assert differences(spread(), SCRIPT.replace(old, new), tmp_path) != []


def test_what_is_an_address_to_log_in_at() -> None:
    form = re.compile(site.LOGIN[0])
    assert all(form.fullmatch(one) for one in ADDRESSES)
    for one in ("", "login.tailscale.com/a/0", f"visit: {site.EXAMPLE}", "javascript:alert(1)//x"):
        assert not form.fullmatch(one), one
