"""The platforms we build for, each a block of data in `data/targets.toml`."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.config import schema
from build.core.errors import UserError
from build.core.paths import DATA


@dataclass(frozen=True)
class Target:
    """One platform. The fields are explained at the top of `data/targets.toml`."""

    name: str
    platform: str
    oci_architecture: str
    oci_variant: str
    goarch: str
    go_env: dict[str, str]
    zig_target: tuple[str, ...]
    elf_machine: str
    elf_class: int
    elf_float: str
    routeros: str
    qemu: tuple[str, ...]
    aliases: tuple[str, ...]
    cap_rootfs: int

    def __hash__(self) -> int:
        """Hash by name, which is unique; `go_env` itself cannot be hashed."""
        return hash(self.name)


FILE = DATA / "targets.toml"
_WORD = schema.text(r"[A-Za-z0-9._=-]+", "one word")
_SCHEMA = schema.table(
    schema.row(
        {
            "platform": schema.text(r"linux/[a-z0-9]+(/v[0-9]+)?", "linux/ARCHITECTURE[/vN]"),
            "oci_architecture": schema.text(r"[a-z0-9]+", "OCI's name of an architecture"),
            "oci_variant": schema.text(r"(v[0-9]+)?", "vN, or nothing"),
            "goarch": schema.text(r"[a-z0-9]+", "Go's name of an architecture"),
            "go_env": schema.table(_WORD, r"GO[A-Z0-9]+", "a variable of the go command"),
            "zig_target": schema.each(_WORD, least=1),
            "elf_machine": schema.text(r"EM_[A-Z0-9_]+", "pyelftools' name of a machine, EM_…"),
            "elf_class": schema.one_of(32, 64),
            "elf_float": schema.one_of("soft", "hard", "none"),
            "routeros": _WORD,
            "qemu": schema.either(schema.fixed(), schema.fixed(_WORD, _WORD)),
            "aliases": schema.each(schema.text(r"[a-z0-9._/-]+", "a name in lower case")),
            "cap_rootfs": schema.whole(1),
        }
    ),
    r"[a-z0-9_]+",
    "a platform's name in lower case",
    least=1,
)


def _target(name: str, row: dict[str, Any]) -> Target:
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in row.items()
    }
    return Target(name=name, **values)


def load(path: Path) -> dict[str, Target]:
    """Read a file of platforms. Raises UserError naming every fault, a name used twice among them.

    The same architecture and variant twice would leave a router to pick by chance.
    """
    found = {name: _target(name, row) for name, row in schema.read(path, _SCHEMA).items()}
    owner: dict[str, str] = {}
    faults = []
    for one in found.values():
        for other in {one.name, one.platform, *one.aliases}:
            if owner.setdefault(other, one.name) != one.name:
                faults.append(
                    f"{one.name}: wanted names of its own, got {other!r} as in {owner[other]}"
                )
    schema.require(faults, path.name)
    return found


@functools.cache
def targets() -> dict[str, Target]:
    """Return all targets by name, in the order of the file."""
    return load(FILE)


def target(name: str) -> Target:
    """Return the target that `name` or one of its aliases means. Raises UserError otherwise."""
    wanted = name.strip().lower()
    for found in targets().values():
        if wanted in (found.name, found.platform, *found.aliases):
            return found
    known = "; ".join(
        f"{t.name} ({', '.join((t.platform, *t.aliases))})" for t in targets().values()
    )
    raise UserError(f"'{name}' is not an architecture we build for", cure=f"one of: {known}")


def select(names: list[str]) -> list[Target]:
    """Return the targets named, without repeats, in the file's order; all of them for no name."""
    if not names:
        return list(targets().values())
    # An empty name is an error: `--arch "$unset"` must not build everything, nor nothing.
    chosen = {target(part).name for name in names for part in name.split(",")}
    return [found for found in targets().values() if found.name in chosen]
