"""SHA-256 of bytes, files, directory trees, JSON values and Go module zips."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
import zipfile
from pathlib import Path
from typing import Any


def of_bytes(data: bytes) -> str:
    """Return the SHA-256 of `data` as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def of_file(path: Path) -> str:
    """Return the SHA-256 of a file's content as 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def canonical_json(value: Any) -> bytes:
    """Return the one JSON encoding of `value` that is hashed: sorted keys, no spaces, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def of_json(value: Any) -> str:
    """Return the SHA-256 of the canonical JSON of `value`."""
    return of_bytes(canonical_json(value))


def of_go_module(path: Path) -> str:
    """Return the `h1:` sum of a module zip (golang.org/x/mod/sumdb/dirhash, Hash1)."""
    with zipfile.ZipFile(path) as bundle:
        lines = [f"{of_bytes(bundle.read(name))}  {name}\n" for name in sorted(bundle.namelist())]
    return "h1:" + base64.b64encode(hashlib.sha256("".join(lines).encode()).digest()).decode()


def tree_manifest(root: Path) -> dict[str, str]:
    """Return {relative path: description} of everything below `root`, directories excepted.

    A file is described as `<octal mode> <size in bytes> <sha256>`, a link as `-> <target>`.
    Owner and times are left out: they differ between machines and no stage may depend on them.
    """
    found: dict[str, str] = {}
    stack = [str(root)]
    prefix = len(str(root)) + 1
    while stack:
        with os.scandir(stack.pop()) as entries:
            for entry in entries:
                name = entry.path[prefix:]
                if entry.is_symlink():
                    found[name] = f"-> {Path(entry.path).readlink()}"
                elif entry.is_dir(follow_symlinks=False):
                    stack.append(entry.path)
                else:
                    info = entry.stat(follow_symlinks=False)
                    mode = stat.S_IMODE(info.st_mode)
                    found[name] = f"{mode:04o} {info.st_size} {of_file(Path(entry.path))}"
    return dict(sorted(found.items()))
