"""``python -m tests.routeros.goldens`` writes routeros/*.rsc anew from their templates."""

from __future__ import annotations

from pathlib import Path

from build.router import render

ROOT = Path(__file__).parents[2] / "routeros"


def main() -> None:
    """Render the universal scripts with the default values into ``routeros/``."""
    for name, text in render.render_all(ROOT / "templates").items():
        (ROOT / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
