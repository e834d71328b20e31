"""What all pages for people look like: one stylesheet, one frame, nothing from elsewhere."""

from __future__ import annotations

import html
from collections.abc import Sequence

from build.core.paths import DATA

_FRAME = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
{css}
</style>
</head>
<body>
{nav}<main>
<h1>{title}</h1>
{body}
</main>
</body>
</html>
"""


PAGES = {
    "index": "Install",
    "sizes": "Sizes",
    "trend": "Size trend",
    "gate": "Runtime gate",
    "figures": "Speed and memory",
    "licences": "Contents and licences",
}
"""The pages of the site, {name: what a link to it says}."""


def links(here: str) -> str:
    """Return the links from one page of the site to the others, which lie in the same folder."""
    mark = {here: ' aria-current="page"'}
    rows = [
        f'<a id="to-{name}" href="{name}.html"{mark.get(name, "")}>{words}</a>'
        for name, words in PAGES.items()
    ]
    return f'<nav aria-label="pages">{" ".join(rows)}</nav>\n'


def css() -> str:
    """Return the stylesheet of every page."""
    return (DATA / "site" / "page.css").read_text(encoding="utf-8")


def page(title: str, parts: Sequence[str], nav: str = "") -> str:
    """Return a page of parts that are HTML, such as plots; it runs no script.

    `nav` are links to other pages. What is wide can be scrolled alone, by keys too.
    """
    body = "\n".join(_part(part, number) for number, part in enumerate(parts, 1))
    return _FRAME.format(title=html.escape(title), css=css(), nav=nav, body=body)


def _part(part: str, number: int) -> str:
    if not part.startswith(("<table", "<figure")):
        return part
    label = f'id="part-{number}" tabindex="0" role="region" aria-label="part {number}"'
    return f'<div class="wide" {label}>{part}</div>'
