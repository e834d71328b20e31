"""Renew the goldens in tests/data/: `./dev python -m tests.renew`, then read the diff.

The feature graphs come from module zips: `./dev python -m tests.renew VERSION=featuretags.go …`.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from goldens import DATA, GOLDENS  # noqa: E402

from build.config import features  # noqa: E402


def graph_facts(source: str) -> dict[str, dict[str, Any]]:
    """The facts of a featuretags.go that are stored: description and Deps of each feature."""
    return {
        name: {"desc": feature.desc, "deps": list(feature.deps)}
        for name, feature in sorted(features.parse_graph(source).items())
    }


def write(name: str, value: object) -> None:
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    path = DATA / name
    same = path.exists() and path.read_text() == text
    path.write_text(text)
    print(f"{'unchanged' if same else 'written  '} {path.relative_to(ROOT)}")


def main() -> None:
    for word in sys.argv[1:]:
        version, _, path = word.partition("=")
        write(f"features-{version}.json", graph_facts(Path(path).read_text()))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MT_CACHE"] = f"{folder}/cache"
        os.environ["MT_WORK"] = f"{folder}/work"
        for name, make in GOLDENS.items():
            write(name, make(Path(folder)))


if __name__ == "__main__":
    main()
