"""Our own weight: the compressed binary as a share of what upstream's recipe makes of the same.

Upstream's recipe is built from Tailscale's own source, without a line of ours, by the same Go, and
packed by UPX (`tailscale.UPSTREAM`). What upstream adds makes both larger; what we add, or no
longer save, makes the share larger, and that is what this gate holds. The share that was accepted
is in `build/data/weight.json`, beside the versions that upstream's bytes there hold for. A bump
records upstream's bytes for its own pins in `build/data/upstream.json`, so that no check has to
build them; what was accepted stays what it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from build.config import schema
from build.config.pins import pin
from build.core import digest, marks
from build.core.errors import UserError, WeightRose
from build.core.paths import DATA, work_dir
from build.gates.size import Measure
from build.golang import tailscale
from build.golang.gotool import toolchain_version
from build.native import compress
from build.sources import substitution

WEIGHT = DATA / "weight.json"
UPSTREAM = DATA / "upstream.json"
BINARY = "tailscale.combined"
TOLERANCE = 0.005
"""By how much the share may be larger than the accepted one, as a share of that.

A packer's luck and the length of a version's name are some hundred bytes, a thousandth at most.
"""


@dataclass(frozen=True)
class Holds:
    """What a size of upstream's recipe holds for: versions, and a digest of all else in it."""

    tailscale: str
    go: str
    upx: str
    recipe: str


@dataclass(frozen=True)
class Weight:
    """A platform's binary, compressed, in bytes: by upstream's recipe and, if accepted, ours."""

    holds: Holds
    upstream: int
    ours: int = 0


_ROW = schema.row(
    {
        "holds": schema.row({name: schema.text() for name in Holds.__annotations__}),
        "upstream": schema.whole(1),
        "ours": schema.whole(0),
    }
)
_TABLE = schema.table(_ROW, r"[a-z0-9_]+", "a platform's name")

Weights = Mapping[str, Weight]


def read(path: Path | None = None) -> dict[str, Weight]:
    """Return {platform: weight} of a file, {} if there is none. Raises UserError for a bad one."""
    path = path or WEIGHT
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the weights in {path}", why=str(error)) from error
    schema.require(_TABLE("", found), path.name)
    return {name: Weight(**row | {"holds": Holds(**row["holds"])}) for name, row in found.items()}


def write(weights: Weights, path: Path | None = None) -> None:
    """Put weights in place of those that a file has of the same platforms, by one rename."""
    path = path or WEIGHT
    rows = {name: asdict(row) for name, row in (read(path) | dict(weights)).items()}
    fresh = path.with_suffix(".tmp")
    fresh.write_text(json.dumps(rows, indent=1, sort_keys=True) + "\n")
    fresh.rename(path)


def measured_file() -> Path:
    """Return where what this checkout has measured of upstream's recipe is remembered."""
    return work_dir() / WEIGHT.name


def remember(name: str, upstream: int) -> None:
    """Remember the bytes that upstream's recipe makes of the pins for a platform."""
    marks.make_folder(work_dir())
    write({name: Weight(now(), upstream)}, measured_file())


def now() -> Holds:
    """Return what a size of upstream's recipe must hold for, with today's pins."""
    wanted = pin("tailscale")
    return Holds(
        tailscale=wanted.version,
        go=toolchain_version(pin("go")),
        upx=pin("upx").version,
        recipe=digest.of_json(
            [
                asdict(tailscale.UPSTREAM),
                compress.METHODS["upx"],
                substitution.identity(wanted),
            ]
        )[:16],
    )


@dataclass(frozen=True)
class Share:
    """A platform's binary against upstream's recipe, in bytes.

    `upstream` is 0 where it is not measured for these pins, `accepted` the row of weight.json,
    None where there is none.
    """

    target: str
    ours: int
    upstream: int
    accepted: Weight | None

    @property
    def now(self) -> float:
        """Our share of upstream's bytes, 0 if those are not known."""
        return self.ours / self.upstream if self.upstream else 0.0

    @property
    def before(self) -> float:
        """The share that was accepted, 0 if none was."""
        return self.accepted.ours / self.accepted.upstream if self.accepted else 0.0

    @property
    def rose(self) -> bool:
        """Whether the share is larger than the accepted one by more than the tolerance."""
        return bool(self.before) and self.now > self.before * (1 + TOLERANCE)

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        shares = {"share": round(self.now, 5), "accepted_share": round(self.before, 5)}
        return asdict(self) | shares | {"rose": self.rose}


def of(measures: Iterable[Measure], path: Path | None = None) -> list[Share]:
    """Return the share of each platform that is measured, with what is known of upstream's recipe.

    Nothing is built: upstream's bytes are those of weight.json, of the bump, or of an earlier
    measurement in this checkout, if they hold for the pins. Raises UserError for a bad file.
    """
    accepted, theirs = read(path), known(path)
    return [
        Share(row.target, row.size, theirs.get(row.target, 0), accepted.get(row.target))
        for row in measures
        if row.component == BINARY
    ]


def known(path: Path | None = None, *, committed: bool = False) -> dict[str, int]:
    """Return {platform: bytes} of what is known of upstream's recipe for today's pins.

    `committed` leaves out what only this checkout has measured. Raises UserError for a bad file.
    """
    wanted = now()
    files = [path or WEIGHT, UPSTREAM, *([] if committed else [measured_file()])]
    return {
        name: weight.upstream
        for file in reversed(files)
        for name, weight in read(file).items()
        if weight.holds == wanted
    }


def with_upstream(share: Share, upstream: int) -> Share:
    """Return the share with upstream's bytes, just measured, which are remembered."""
    remember(share.target, upstream)
    return replace(share, upstream=upstream)


def accept(shares: Iterable[Share], path: Path | None = None) -> None:
    """Write these shares, all measured, as what is accepted from now on."""
    write({one.target: Weight(now(), one.upstream, one.ours) for one in shares}, path)


def require(shares: Iterable[Share]) -> None:
    """Raise WeightRose naming each platform whose share is larger than what was accepted."""
    rose = [one for one in shares if one.rose]
    if rose:
        raise WeightRose(
            "our own weight rose",
            why="".join(
                f"\n    {one.target}: {one.now:.4f} of upstream's recipe ({one.ours:,} of "
                f"{one.upstream:,} B), {one.before:.4f} is accepted, with {TOLERANCE:.1%} to spare"
                for one in rose
            ),
            cure="`invoke size --by package` shows where it is; if it is wanted: "
            "`invoke size --accept`, and the reason in the commit",
        )
