"""Go modules that stand in for one whose zip cannot be had everywhere: `substitutes.toml`.

A pin names in `substitutes` those that are in force for its version.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from build.config import schema
from build.config.pins import Pin
from build.core.errors import UserError
from build.core.paths import DATA, PATCHES

TABLE = DATA / "substitutes.toml"
FOLDER = PATCHES / "substitutes"


@dataclass(frozen=True)
class Substitute:
    """One Go module at version `wanted`, and the version of it that is `taken` in its place.

    `wanted_h1` and `taken_h1` are the go command's sums of the zips, `taken_go_mod` that of the
    go.mod. `gave_way` is what of the pin's source had to be changed, by the patches in `folder`.
    """

    module: str
    wanted: str
    wanted_h1: str
    taken: str
    taken_h1: str
    taken_go_mod: str
    gave_way: str
    reason: str

    @property
    def folder(self) -> Path:
        """Where the patches are that it needs; there may be none."""
        return FOLDER / self.module / self.wanted

    @property
    def told(self) -> str:
        """What is to be said of it wherever the sources are named, in one line."""
        return (
            f"{self.module} {self.taken} ({self.taken_h1}) in place of {self.wanted} "
            f"({self.wanted_h1}): {self.reason}; what gave way: {self.gave_way}"
        )


_VERSION = schema.text(r"v[0-9][A-Za-z0-9.+-]*", "a version as go.mod states it, v…")
_SUM = schema.text(r"h1:[A-Za-z0-9+/]{43}=", "a sum that the go command states, h1:…=")
_ROW = schema.row(
    {
        "module": schema.text(r"(?!/)(?!.*\.\.)[A-Za-z0-9._~/-]+", "a Go module's path"),
        "wanted": _VERSION,
        "wanted_h1": _SUM,
        "taken": _VERSION,
        "taken_h1": _SUM,
        "taken_go_mod": _SUM,
        "gave_way": schema.text(),
        "reason": schema.text(),
    }
)


def load(path: Path = TABLE) -> list[Substitute]:
    """Return all substitutes. Raises UserError naming every fault."""
    rows = schema.read(path, schema.row({"substitute": schema.each(_ROW)}))
    found = [Substitute(**row) for row in rows["substitute"]]
    names = [name_of(one.module, one.wanted) for one in found]
    faults = [
        f"substitute: wanted one row for {name}, got {names.count(name)}"
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]
    schema.require(faults, path.name)
    return found


def name_of(module: str, version: str) -> str:
    """Return how a pin names the substitute for a module's version."""
    return f"{module}@{version}"


def of(wanted: Pin, path: Path = TABLE) -> list[Substitute]:
    """Return the substitutes in force for a pin. Raises UserError for one that is not stated."""
    if not wanted.substitutes:
        return []
    known = {name_of(one.module, one.wanted): one for one in load(path)}
    if missing := [name for name in wanted.substitutes if name not in known]:
        raise UserError(
            f"{wanted.title} names substitutes that {path.name} does not state",
            why=", ".join(missing),
            cure=f"state them there, or take them out of the pin's `substitutes`; "
            f"`invoke bump {wanted.name} VERSION` does that once the wanted zips can be had",
        )
    return [known[name] for name in wanted.substitutes]
