"""The pictures of README.md: SVG made of committed records, the same bytes on every machine.

Not by the library that draws for the pages: a new version of it would change committed files. They
follow the reader's light or dark scheme, and say in words what they show.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

from packaging.version import Version

from build.config import targets
from build.core.errors import GateFailed
from build.core.paths import ROOT
from build.gates import instructions, ratio

FOLDER = ROOT / "docs" / "pictures"
_WIDTH, _LEFT, _RIGHT, _TOP, _BAR, _GAP = 800, 270, 130, 70, 16, 14
_STYLE = """text { font: 13px sans-serif; fill: #1f2328 }
.title { font-size: 16px; font-weight: bold }
.value { font-size: 12px }
.theirs { fill: #9aa4b0 }
.ours { fill: #1f6feb }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .theirs { fill: #6e7681 } }"""

Rows = Sequence[tuple[str, int, int]]
"""(what, upstream's, ours) from the top down."""


def pairs(title: str, rows: Rows) -> str:
    """Return an SVG with two bars a row, each row on a scale of its own if they differ by much.

    Upstream's bar is the measure of its row where the largest of them is ten times the smallest.
    """
    most = max(max(row[1:]) for row in rows)
    own = most > 10 * min(max(row[1:]) for row in rows)
    title += "; each row on its own scale" if own else ""
    wide = _WIDTH - _LEFT - _RIGHT
    lines: list[str] = []
    at = _TOP
    for what, theirs, ours in rows:
        whole = max(theirs, ours) if own else most
        lines.append(
            f'<text x="{_LEFT - 10}" y="{at + 21}" text-anchor="end">{escape(what)}</text>'
        )
        for kind, value in (("theirs", theirs), ("ours", ours)):
            length = round(wide * value / whole)
            more = f" ({ours / theirs:.0%})" if kind == "ours" else ""
            lines.append(
                f'<rect class="{kind}" x="{_LEFT}" y="{at}" width="{length}" height="{_BAR}"/>'
            )
            lines.append(
                f'<text class="value" x="{_LEFT + length + 6}" y="{at + 12}">{value:,}{more}</text>'
            )
            at += _BAR
        at += _GAP
    words = "; ".join(
        f"{what}: {theirs:,} by upstream's recipe, {ours:,} ours" for what, theirs, ours in rows
    )
    keys = [
        f'<rect class="{kind}" x="{x}" y="40" width="12" height="12"/>'
        f'<text x="{x + 18}" y="51">{name}</text>'
        for kind, x, name in (("theirs", _LEFT, "upstream's recipe"), ("ours", _LEFT + 160, "ours"))
    ]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {at}" role="img">'
    return "\n".join(
        [
            head,
            f"<title>{escape(title)}</title>",
            f"<desc>{escape(words)}</desc>",
            f"<style>{_STYLE}</style>",
            f'<text class="title" x="10" y="24">{escape(title)}</text>',
            *keys,
            *lines,
            "</svg>\n",
        ]
    )


def weight() -> str:
    """Return the picture of the packed binaries, in the order of the table of platforms."""
    found = ratio.read()
    rows = [
        (one.platform, found[one.name].upstream, found[one.name].ours)
        for one in targets.targets().values()
        if one.name in found and found[one.name].ours
    ]
    of = ", ".join(sorted({row.holds.tailscale for row in found.values()}))
    return pairs(f"The binary on flash, bytes (Tailscale {of})", rows)


def work() -> str:
    """Return the picture of the instructions that the packet path takes.

    Only of the newest Tailscale in the record: older rows are not figures of what ships.
    """
    found = instructions.read()
    of = max((row.tailscale for row in found), key=Version)
    rows = [
        (f"{row.work}, {row.platform}", row.upstream, row.ours)
        for row in found
        if row.tailscale == of
    ]
    return pairs(f"Instructions of the packet path (Tailscale {of})", rows)


PICTURES: dict[str, Callable[[], str]] = {"weight": weight, "instructions": work}


def stale(folder: Path | None = None) -> list[Path]:
    """Return the committed pictures that are not what their records give."""
    places = {name: (folder or FOLDER) / f"{name}.svg" for name in PICTURES}
    return [
        place
        for name, place in places.items()
        if not place.is_file() or place.read_text(encoding="utf-8") != PICTURES[name]()
    ]


def check(folder: Path | None = None) -> None:
    """Raise GateFailed that names each stale picture."""
    if found := stale(folder):
        raise GateFailed(
            "pictures are not what their records say",
            why=", ".join(place.name for place in found),
            cure="invoke pictures --write",
        )


def write(folder: Path | None = None) -> list[Path]:
    """Write the pictures whose records have changed; returns which. All are made before any."""
    places = stale(folder)
    texts = {place: PICTURES[place.stem]() for place in places}
    for place, text in texts.items():
        place.parent.mkdir(exist_ok=True)
        fresh = place.with_suffix(".tmp")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(place)
    return places
