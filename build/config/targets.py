"""The platforms we build for, each a block of data in `data/targets.toml`."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass, fields
from typing import Any

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
    budget_rootfs: int
    budget_tailscale: int
    budget_busybox: int

    def __hash__(self) -> int:
        """Hash by name, which is unique; `go_env` itself cannot be hashed."""
        return hash(self.name)


def _target(name: str, row: dict[str, Any]) -> Target:
    wanted = {field.name for field in fields(Target)} - {"name"}
    if wrong := wanted ^ row.keys():
        raise UserError(
            f"target '{name}' in targets.toml is incomplete",
            why=f"missing or unknown: {', '.join(sorted(wrong))}",
            cure="the glossary at the top of the file names every key",
        )
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in row.items()
    }
    return Target(name=name, **values)


@functools.cache
def targets() -> dict[str, Target]:
    """Return all targets by name, in the order of the file."""
    rows = tomllib.loads((DATA / "targets.toml").read_text())
    return {name: _target(name, row) for name, row in rows.items()}


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
