"""The counted figures: what the daemon costs in a router-like machine, ours against upstream's.

The machine's clock counts instructions, so no other work of this machine is counted. What is held
against the last recorded release is therefore ours as it is. Traffic depends on it all the same:
how packets arrive decides how many of them are read at once.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from build.core.errors import GateFailed, UserError
from build.core.paths import dist_dir
from build.gates import figures
from build.gates.figures import OURS, SIDES, Figure, Recorded
from build.image import record as dist_record

TOLERANCE = 0.05
"""By how much a counted figure may be worse than in the last release, as a share."""

LIST = (
    Figure("rx_instructions_per_GB", "node receives", "G/GB", "value"),
    Figure("tx_instructions_per_GB", "node sends", "G/GB", "value"),
    Figure("running_instructions", "container start to Running", "G", "value"),
    Figure("running_seconds", "container start to Running, its clock", "s"),
    Figure("status_instructions", "`tailscale status`, daemon's part too", "G", "value"),
    Figure("idle_live_MB", "idle, live Go heap", "MB"),
    Figure("idle_rss_MB", "idle, resident", "MB"),
    Figure("idle_anonymous_MB", "idle, anonymous in the cgroup", "MB"),
    Figure("idle_cgroup_MB", "idle, cgroup", "MB", "value"),
    Figure("load_live_MB", "under load, live Go heap at most", "MB"),
    Figure("load_rss_MB", "under load, resident at most", "MB"),
    Figure("load_anonymous_MB", "under load, anonymous at most", "MB"),
    Figure("load_cgroup_MB", "under load, cgroup at most", "MB"),
    Figure("load_collections", "under load, collections", ""),
    Figure("flood_live_MB", "UDP flood, live Go heap at most", "MB"),
    Figure("flood_rss_MB", "UDP flood, resident at most", "MB"),
    Figure("flood_anonymous_MB", "UDP flood, anonymous at most", "MB"),
    Figure("flood_cgroup_MB", "UDP flood, cgroup at most", "MB"),
    Figure("flood_collections", "UDP flood, collections", ""),
    Figure("least_idle_MB", "smallest memory.max that survives idle", "MB"),
    Figure("least_load_MB", "smallest memory.max that survives load", "MB"),
)


@dataclass(frozen=True)
class Counted:
    """What one side did in one machine: its image and binary, and each round's figures.

    `image` is the manifest's digest, `binary` the SHA-256 of what was put into it. A figure that is
    measured once is in the first round alone; one of 0 is that nothing survived.
    """

    platform: str
    side: str
    image: str
    binary: str
    rounds: tuple[dict[str, float], ...]

    @property
    def medians(self) -> dict[str, float]:
        """Return {figure: median over the rounds that have it}."""
        found = {}
        for row in LIST:
            values = [one[row.name] for one in self.rounds if row.name in one]
            if values:
                found[row.name] = statistics.median(values)
        return found

    @property
    def spreads(self) -> dict[str, float]:
        """Return {figure: distance of the outermost rounds by their median}."""
        spreads = {}
        for name, middle in self.medians.items():
            values = [one[name] for one in self.rounds if name in one]
            spreads[name] = (max(values) - min(values)) / middle if middle else 0.0
        return spreads


@dataclass(frozen=True)
class Result:
    """A measurement of all its platforms, both sides of each. `bytes` were sent each way a round.

    `at` is seconds since 1970.
    """

    release: str
    bytes: int
    at: float
    seconds: float
    sides: tuple[Counted, ...]

    @property
    def platforms(self) -> list[str]:
        """Return the platforms, in the order they were asked for."""
        return list(dict.fromkeys(one.platform for one in self.sides))

    def of(self, platform: str, side: str) -> Counted:
        """Return one side of one platform."""
        (found,) = [one for one in self.sides if (one.platform, one.side) == (platform, side)]
        return found

    def ratios(self, platform: str) -> dict[str, float]:
        """Return {figure: ours/upstream's}, without those of which upstream's is 0 or missing."""
        ours, theirs = (self.of(platform, side).medians for side in SIDES)
        return {name: ours[name] / theirs[name] for name in ours if theirs.get(name)}

    @property
    def gated(self) -> dict[str, float]:
        """Return {platform/figure: ours}, what is compared with releases."""
        return {
            f"{platform}/{row.name}": self.of(platform, OURS).medians[row.name]
            for platform in self.platforms
            for row in LIST
            if row.gate
        }

    def table(self) -> dict[str, Any]:
        """Return it as a table for JSON."""
        more = {name: self.ratios(name) for name in self.platforms}
        medians = {
            name: {side: self.of(name, side).medians for side in SIDES} for name in self.platforms
        }
        return asdict(self) | {"ratios": more, "medians": medians, "gated": self.gated}


def path() -> Path:
    """Return where the last measurement lies."""
    return dist_dir() / "figures-machine.json"


def write(result: Result) -> Path:
    """Keep a measurement in dist/ and return its path."""
    text = json.dumps(result.table(), indent=1, sort_keys=True) + "\n"
    return dist_record.keep(path().name, text)


def read() -> Result | None:
    """Return the last measurement, None if there is none. Raises UserError for a bad file."""
    try:
        table = json.loads(path().read_text())
        sides = tuple(Counted(**row | {"rounds": tuple(row["rounds"])}) for row in table["sides"])
        names = [name for name in Result.__annotations__ if name != "sides"]
        found = Result(**{name: table[name] for name in names}, sides=sides)
        if json.loads(json.dumps(found.table())) != table:
            raise ValueError("what it says does not follow from its rounds")
        return found
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise UserError(
            f"cannot read the figures in {path()}",
            why=repr(error),
            cure="invoke figures --machine",
        ) from error


def require(gated: dict[str, float], history: Recorded) -> None:
    """Raise GateFailed naming each figure that is over 5 % worse than in the last release.

    A platform that was not measured now is not asked for; a figure that the last release has of a
    measured platform is. Without a recorded release everything passes.
    """
    last = figures.last_release(history)
    measured = {name.partition("/")[0] for name in gated}
    known = {f"{platform}/{row.name}": row for platform in measured for row in LIST}
    wrong = []
    for name, before in history.get(last, {}).items():
        if name.partition("/")[0] not in measured:
            continue
        if name not in gated:
            wrong.append(f"{name}: not measured any more")
        elif (worse := figures.change(known[name], gated[name], before)) > TOLERANCE:
            wrong.append(f"{name}: {before:.4g} -> {gated[name]:.4g}, {worse:.1%} worse")
    if wrong:
        raise GateFailed(
            f"the daemon costs more than in {last}",
            why="".join(f"\n    {line}" for line in wrong),
            cure="a wanted loss is written into build/data/figures.json, with the reason in the "
            "commit",
        )
