"""The page of pictures: it names what it shows, and appears whole."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from build.gates.weigh import Weight
from build.views import look, plots, site

WEIGHTS = [
    Weight("runtime", 900, 400),
    Weight("tailscale.com/ipn/ipnlocal", 500, 300),
    Weight("(.gopclntab)", 700, 200),
]
HISTORY = {
    "v1.102.5-mt.2": {"arm64": {"rootfs": 3_600_000}},
    "v1.102.5-mt.10": {"arm64": {"rootfs": 3_500_000}, "armv5": {"rootfs": 3_400_000}},
}


def svg(figure: str) -> ET.Element:
    return ET.fromstring(figure.removeprefix("<figure>").removesuffix("</figure>"))


def test_the_treemap_names_every_package() -> None:
    text = plots.treemap("where", WEIGHTS)
    assert svg(text).tag.endswith("svg")
    for weight in WEIGHTS:
        assert f"{weight.name} {weight.compressed:,} B" in text


def test_the_trend_is_in_the_order_of_releases() -> None:
    text = plots.trend(HISTORY, "rootfs")
    svg(text)
    assert text.index("mt.2") < text.index("mt.10")
    assert "armv5" in text


def test_the_page_is_whole() -> None:
    page = look.page("Sizes <of> it", [plots.bars("sections", {".text": 5, ".rodata": 3})])
    assert "Sizes &lt;of&gt; it" in page
    assert page.rstrip().endswith("</html>")


def test_every_page_has_one_look() -> None:
    """The site, the report and the figures: the same stylesheet, and nothing from elsewhere."""
    page = look.page("x", [plots.bars("sections", {".text": 5})])
    assert f"<style>\n{look.css()}\n</style>" in page
    assert "{{CSS}}" in (site.FOLDER / "page.html").read_text()
    assert "default-src 'none'" in page
    assert not re.search(r"<(script|link|img|iframe)|url\(|@import", page)
