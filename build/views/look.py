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
<main>
<h1>{title}</h1>
{body}
</main>
</body>
</html>
"""


def css() -> str:
    """Return the stylesheet of every page."""
    return (DATA / "site" / "page.css").read_text(encoding="utf-8")


def page(title: str, parts: Sequence[str]) -> str:
    """Return a page of parts that are HTML, such as plots; it runs no script."""
    body = "\n".join(f'<div class="wide">{part}</div>' for part in parts)
    return _FRAME.format(title=html.escape(title), css=css(), body=body)
