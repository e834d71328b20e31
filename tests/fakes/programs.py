"""Programs that record how they were called."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

_HEAD = """#!{python} -IS
import json, os, sys
with open({calls!r}, "a") as calls:
    print(json.dumps({{"argv": sys.argv, "cwd": os.getcwd(), "env": dict(os.environ)}}), file=calls)
"""


def program(folder: Path, name: str, body: str = "") -> Path:
    """Write an executable Python program that records its calls, then runs `body`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    calls = str(folder / f"{name}.calls")
    path.write_text(_HEAD.format(python=sys.executable, calls=calls) + body)
    path.chmod(0o755)
    return path


def calls(path: Path) -> list[dict[str, Any]]:
    """Return the calls of a program, oldest first: argv, cwd, env."""
    record = path.with_name(f"{path.name}.calls")
    return [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
