"""The figures of a measurement: medians, ours against upstream's recipe, and the gate on both.

What the gate compares with the last recorded release must not depend on the machine. Times,
throughput and CPU are therefore taken as ours divided by upstream's recipe in the same round;
memory without load, which no machine's speed changes, as it is.
"""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from build.core.errors import GateFailed, UserError
from build.core.paths import DATA, dist_dir
from build.core.version import parse_release
from build.image import record as dist_record
from build.lab.measuring import Sample

OURS, UPSTREAM = SIDES = ("ours", "upstream")
FIGURES = DATA / "figures.json"
TOLERANCE = 0.10
"""By how much a figure may be worse than in the last release, as a share."""

Recorded = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Figure:
    """One measured figure. `more` says that a larger value is the better one.

    `gate` is what is held against the last release: `ratio` to upstream's recipe, `value` as it
    is, or "" for a figure that is only shown.
    """

    name: str
    title: str
    unit: str
    gate: str = ""
    more: bool = False

    @property
    def label(self) -> str:
        """Return the title with the unit, if it has one."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


LIST = (
    Figure("rx_Mbit_per_s", "throughput at best, node receives", "Mbit/s", "ratio", more=True),
    Figure("tx_Mbit_per_s", "throughput at best, node sends", "Mbit/s", "ratio", more=True),
    Figure("rx_cpu_seconds_per_GB", "CPU, node receives", "s/GB"),
    Figure("tx_cpu_seconds_per_GB", "CPU, node sends", "s/GB"),
    Figure("rx_peer_cpu_seconds_per_GB", "the peer's CPU meanwhile", "s/GB"),
    Figure("tx_peer_cpu_seconds_per_GB", "the peer's CPU meanwhile", "s/GB"),
    Figure("rx_cpu_of_peer", "CPU of the peer's, node receives", "", "ratio"),
    Figure("tx_cpu_of_peer", "CPU of the peer's, node sends", "", "ratio"),
    Figure("idle_anonymous_kB", "memory idle, anonymous", "kB"),
    Figure("idle_file_kB", "memory idle, file-backed", "kB"),
    Figure("idle_kB", "memory idle", "kB", "value"),
    Figure("load_anonymous_kB", "memory under load, anonymous", "kB"),
    Figure("load_file_kB", "memory under load, file-backed", "kB"),
    Figure("load_peak_kB", "memory, peak", "kB", "ratio"),
    Figure("cli_seconds", "command line starts", "s"),
    Figure("cli_cpu_seconds", "command line starts, CPU", "s", "ratio"),
    Figure("cli_kB", "command line, memory", "kB", "value"),
    Figure("running_seconds", "container start to Running", "s", "ratio"),
)


@dataclass(frozen=True)
class Result:
    """A measurement: what was measured, every sample, and what follows from them.

    `image` is the manifest's digest, `binaries` {side: SHA-256}, `bytes` what was sent each way
    in a round, `at` seconds since 1970. `spreads` tell how far the rounds disagree.
    """

    release: str
    image: str
    binaries: dict[str, str]
    bytes: int
    at: float
    seconds: float
    samples: tuple[Sample, ...]

    @property
    def rounds(self) -> int:
        """How often each side was measured."""
        return len({sample.round for sample in self.samples})

    @property
    def medians(self) -> dict[str, dict[str, float]]:
        """Return {side: {figure: median over the rounds}}."""
        return {
            side: {row.name: statistics.median(self._of(side, row.name).values()) for row in LIST}
            for side in SIDES
        }

    def _of(self, side: str, name: str) -> dict[int, float]:
        return {s.round: s.figures[name] for s in self.samples if s.side == side}

    def pairs(self, name: str) -> list[float]:
        """Return ours/upstream's of each round, without those in which upstream's is 0."""
        theirs = self._of(UPSTREAM, name)
        return [
            ours / theirs[number]
            for number, ours in self._of(OURS, name).items()
            if theirs.get(number)
        ]

    @property
    def best(self) -> dict[str, dict[str, float]]:
        """Return {side: {figure: best round}} of the figures of which more is better."""
        return {
            side: {row.name: max(self._of(side, row.name).values()) for row in LIST if row.more}
            for side in SIDES
        }

    @property
    def ratios(self) -> dict[str, float]:
        """Return {figure: ours/upstream's}, without those of which upstream's is 0.

        The median over the rounds; of throughput best by best, since what else runs on the machine
        only takes from it: on a busy one that was seen to vary a third as much.
        """
        pairs = {row.name: self.pairs(row.name) for row in LIST}
        ratios = {name: statistics.median(found) for name, found in pairs.items() if found}
        ours, theirs = (self.best[side] for side in SIDES)
        return ratios | {name: ours[name] / theirs[name] for name in ours if theirs[name]}

    @property
    def spreads(self) -> dict[str, float]:
        """Return {figure: half the distance of the quartiles of the ratios}; 0 for one round."""
        spreads = {}
        for name in self.ratios:
            pairs = self.pairs(name)
            low, _, high = statistics.quantiles(pairs) if len(pairs) > 1 else (0.0, 0.0, 0.0)
            spreads[name] = (high - low) / 2
        return spreads

    @property
    def gated(self) -> dict[str, float]:
        """Return {figure: what is compared with releases}."""
        medians, ratios = self.medians[OURS], self.ratios
        values = {"ratio": ratios, "value": medians}
        return {row.name: values[row.gate][row.name] for row in LIST if row.gate}

    def table(self) -> dict[str, Any]:
        """Return it as a table for JSON."""
        return asdict(self) | {
            "rounds": self.rounds,
            "medians": self.medians,
            "best": self.best,
            "ratios": self.ratios,
            "spreads": self.spreads,
            "gated": self.gated,
        }


def path() -> Path:
    """Return where the last measurement lies."""
    return dist_dir() / "figures.json"


def _text(table: Any) -> str:
    return json.dumps(table, indent=1, sort_keys=True) + "\n"


def write(result: Result) -> Path:
    """Keep a measurement in dist/ and return its path."""
    return dist_record.keep(path().name, _text(result.table()))


def read() -> Result | None:
    """Return the last measurement, None if there is none. Raises UserError for a bad file."""
    try:
        table = json.loads(path().read_text())
        names = [name for name in Result.__annotations__ if name != "samples"]
        samples = tuple(Sample(**row) for row in table["samples"])
        found = Result(**{name: table[name] for name in names}, samples=samples)
        if not found.table() == table | {"samples": found.table()["samples"]}:
            raise ValueError("what it says does not follow from its samples")
        return found
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise UserError(
            f"cannot read the figures in {path()}", why=repr(error), cure="invoke figures"
        ) from error


def recorded(where: Path = FIGURES) -> Recorded:
    """Return {release tag: {figure: value}} of the recorded releases.

    Raises UserError if the file is not that.
    """
    try:
        found = {
            parse_release(tag).tag: {name: float(value) for name, value in values.items()}
            for tag, values in json.loads(where.read_text()).items()
        }
        if any(not 0 < value < math.inf for values in found.values() for value in values.values()):
            raise ValueError("a figure is not a positive number")
        return found
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UserError(f"cannot read the recorded figures in {where}", why=str(error)) from error


def last_release(history: Recorded) -> str:
    """Return the tag of the newest recorded release, or an empty text."""
    return max(history, key=parse_release, default="")


def change(figure: Figure, now: float, before: float) -> float:
    """Return by what share a figure is worse than before; negative if it is better."""
    return before / now - 1 if figure.more else now / before - 1


def require(gated: dict[str, float], history: Recorded) -> None:
    """Raise GateFailed naming each figure that is over 10 % worse than in the last release.

    A figure that the last release has and this measurement has not fails too; one that is new
    has nothing to be compared with. Without a recorded release everything passes.
    """
    last = last_release(history)
    known = {row.name: row for row in LIST}
    # A name with a platform before it is a counted figure (counted.py).
    before = {n: value for n, value in history.get(last, {}).items() if "/" not in n}
    wrong = [f"{name}: not measured any more" for name in before if name not in gated]
    for name, now in gated.items():
        if name in before:
            worse = change(known[name], now, before[name])
            if worse > TOLERANCE:
                wrong.append(f"{name}: {before[name]:.4g} -> {now:.4g}, {worse:.0%} worse")
    if wrong:
        raise GateFailed(
            f"slower or larger than {last}",
            why="".join(f"\n    {line}" for line in wrong),
            cure="measure again with more --rounds if the spreads in the table are wide; a wanted "
            "loss is written into build/data/figures.json, with the reason in the commit",
        )


def record(tag: str, gated: dict[str, float], where: Path = FIGURES) -> None:
    """Add figures of a release to the history file, by a temporary name and a rename.

    Those of the other kind, timed or counted, stay; so do those of platforms not measured now.
    """
    rounded = {name: float(f"{value:.4g}") for name, value in gated.items()}
    kinds = {name.rpartition("/")[0] for name in gated}
    history, name = recorded(where), parse_release(tag).tag
    kept = {n: v for n, v in history.get(name, {}).items() if n.rpartition("/")[0] not in kinds}
    fresh = where.with_suffix(".tmp")
    fresh.write_text(_text(history | {name: kept | rounded}))
    fresh.rename(where)
