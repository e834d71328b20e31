"""A command database for routeros-lsp that knows /container.

routeros-lsp (PyPI, MIT) ships one made on a router without the container package; this adds
the menus of schema.toml to it. Format 1, described in its ``schema/schema.py``: c children,
k command, a arguments, u number of unnamed arguments, f flag.
"""

from __future__ import annotations

import gzip
import json
from importlib import resources
from pathlib import Path
from typing import Any

from tests.routeros.model import facts


def bundled() -> dict[str, Any]:
    """The database inside the installed package. Raises FileNotFoundError if there is none."""
    folder = resources.files("routeros_lsp").joinpath("data")
    for entry in folder.iterdir():
        if entry.name.endswith(".json.gz"):
            data: dict[str, Any] = json.loads(gzip.decompress(entry.read_bytes()))
            return data
    raise FileNotFoundError("routeros-lsp has no command database")


def write(path: Path, version: str) -> None:
    """Write the bundled database with our menus of a version added."""
    data = bundled()
    data["version"] = f"{version} with containers"
    schema = facts.schema(version)
    for menu_path, menu in schema.menus.items():
        node = data["root"]
        for name in menu_path:
            node = node.setdefault("c", {}).setdefault(name, {})
        for name, spec in menu.commands.items():
            command = node.setdefault("c", {}).setdefault(name, {"k": 1})
            known = command.setdefault("a", {})
            for argument in sorted(spec.args | set(spec.positional)):
                known.setdefault(argument, {})
            for flag in sorted(spec.flags):
                known.setdefault(flag, {"f": 1})
            command.setdefault("u", 99 if spec.where else len(spec.positional))
    path.write_text(json.dumps(data))
