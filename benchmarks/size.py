"""Binary sizes: upstream's recipe and ours, built in one run from the same sources.

Both sides are the pinned Tailscale and Go, each packed as it is published: upstream's recipe, of
Tailscale's source as it is, by UPX, ours by our own packer. What upstream's gives is remembered for
`invoke size`. Upstream's flash also holds a CA file; ours has the same roots inside
the binary, so it is also built without them.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from build.config.targets import select
from build.core import log
from build.gates import ratio
from build.golang import tailscale
from build.pipeline import variants
from build.views import report

RECIPES = (
    tailscale.UPSTREAM,
    replace(tailscale.OURS, name="no-roots", roots=False, symbols=False),
    tailscale.OURS,
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", action="append", default=[], help="platform; default all")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    log.configure("quiet" if options.json else "auto")
    rows = []
    with log.session():
        for target in select(options.arch):
            base = variants.build(target, RECIPES[0])[1].size
            ratio.remember(target.name, base)
            for recipe in RECIPES:
                raw, packed = (made.size for made in variants.build(target, recipe))
                rows.append((target.name, recipe.name, raw, packed, packed / base))
    if options.json:
        report.print_json(rows)
        return 0
    report.table(
        "Size of the binary",
        ("platform", "recipe", ">raw", ">compressed", ">of upstream's"),
        [(name, recipe, f"{a:,}", f"{b:,}", f"{share:.1%}") for name, recipe, a, b, share in rows],
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
