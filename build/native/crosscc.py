"""zig as the C compiler: small wrappers that make, cmake and busybox's scripts can call."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

# busybox's build probes the linker with options that zig's driver refuses; all are about
# diagnostics, padding or size heuristics, none changes what the program does.
_REFUSED = "-Wl,--warn-common|-Wl,--verbose|-Wl,-Map*|-Wl,--sort-*|-finline-limit*|-falign-*"

_WRAPPER = """#!/bin/sh
n=$#
while [ "$n" -gt 0 ]; do
	a=$1; shift; n=$((n-1))
	case $a in {refused}) ;; *) set -- "$@" "$a" ;; esac
done
exec {zig} {command} {flags} "$@"
"""

HOST = ("-target", "x86_64-linux-musl")
"""What build machine programs are compiled for: static, so that no headers of the host count."""


def write_wrappers(folder: Path, zig: Path, wrappers: Mapping[str, Sequence[str]]) -> None:
    """Write one executable script per entry of {name: zig sub-command and flags} into `folder`."""
    for name, words in wrappers.items():
        text = _WRAPPER.format(
            refused=_REFUSED,
            zig=shlex.quote(str(zig)),
            command=words[0],
            flags=shlex.join(words[1:]),
        )
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)


def environment(scratch: Path, shared: Path) -> dict[str, str]:
    """Return the variables that tell zig where its caches are; `shared` is keyed by content."""
    return {"ZIG_LOCAL_CACHE_DIR": str(scratch), "ZIG_GLOBAL_CACHE_DIR": str(shared)}
