"""What the runtime gate said of an image, and the question whether it was enough.

A record is bound to the image's manifest digest and to the gate's own sources. `require` is what
publishing asks: no image without passing records of all canaries of today.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from build.core import digest
from build.core.errors import GateFailed
from build.core.paths import DATA, ROOT, dist_dir
from build.image import record as dist_record
from build.lab import (
    boot,
    canaries,
    canaries_lan,
    canaries_machine,
    canaries_manners,
    canaries_memory,
    canaries_slow,
)
from build.lab.canary import CANARIES, Canary

# Imported to register their canaries.
assert canaries and canaries_lan and canaries_machine and canaries_manners and canaries_memory
assert canaries_slow

RUNTIME = "runtime"
MACHINE = "machine"
"""Kinds of records: of the image in this machine's namespaces, and in a router-like machine, which
is also what the tunnel of such a run is called."""


def kinds_for(target: str) -> tuple[str, ...]:
    """Return the kinds of records that publishing asks of a platform."""
    return (RUNTIME, MACHINE) if target in boot.MODELS else (RUNTIME,)


def wanted_for(tunnel: str) -> list[Canary]:
    """Return the canaries that a run with such a tunnel must pass."""
    return [canary for canary in CANARIES.values() if tunnel in canary.tunnels]


@dataclass(frozen=True)
class Verdict:
    """What one canary said: passed or not, how long it took (seconds), what was seen."""

    name: str
    ok: bool
    seconds: float
    detail: str


@dataclass(frozen=True)
class Record:
    """A run of the gate. `image` is the manifest's digest, `gate` stands for the gate's sources.

    `tunnel` is `kernel`, `user` under emulation, or `machine` in a router-like machine, which has a
    kernel of its own; `at` is seconds since 1970.
    """

    target: str
    image: str
    gate: str
    tunnel: str
    at: float
    seconds: float
    figures: dict[str, float]
    canaries: tuple[Verdict, ...]

    @property
    def ok(self) -> bool:
        """Whether every canary was run and passed."""
        wanted = {canary.name for canary in wanted_for(self.tunnel)}
        return bool(wanted) and wanted == {v.name for v in self.canaries if v.ok}

    @property
    def kind(self) -> str:
        """RUNTIME or MACHINE."""
        return MACHINE if self.tunnel == MACHINE else RUNTIME


def gate_identity() -> str:
    """Return a hash of everything that decides what the gate looks at."""
    data = [DATA / "lab.toml", boot.PINS]
    gate = [Path(__file__), Path(__file__).with_name("runtime.py")]
    files = [*sorted((ROOT / "build" / "lab").rglob("*")), *data, *gate]
    listing = {
        str(path.relative_to(ROOT)): digest.of_file(path)
        for path in files
        if path.is_file() and path.suffix != ".pyc"
    }
    return digest.of_json(listing)


def path_of(target: str, kind: str = RUNTIME) -> Path:
    """Return where a platform's record of a kind lies, beside the image it speaks of."""
    return dist_dir() / f"{kind}-{target}.json"


def write(record: Record) -> Path:
    """Keep a record and return its path."""
    text = json.dumps({**asdict(record), "ok": record.ok}, indent=1) + "\n"
    return dist_record.keep(path_of(record.target, record.kind).name, text)


def read(target: str, kind: str = RUNTIME, image: str = "") -> Record | None:
    """Return a platform's record of a kind, None if there is none that can be read.

    With `image` one that speaks of another image digest is none.
    """
    try:
        table = json.loads(path_of(target, kind).read_text())
        table.pop("ok")
        table["canaries"] = tuple(Verdict(**row) for row in table["canaries"])
        found = Record(**table)
        return found if image in ("", found.image) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def read_all(target: str, image: str) -> list[Record]:
    """Return the records of a platform that speak of an image digest, of each kind."""
    found = [read(target, kind, image) for kind in (RUNTIME, MACHINE)]
    return [record for record in found if record]


def require(target: str, image: str) -> list[Record]:
    """Return the passing records of an image digest, of each kind that its platform needs.

    Raises GateFailed that says of each lacking one why it is not enough.
    """
    found, lacking = [], {}
    for kind in kinds_for(target):
        record = read(target, kind)
        if record and not (why := _fault(record, kind, image)):
            found.append(record)
        else:
            lacking[kind] = why if record else f"there is no record in {path_of(target, kind)}"
    if lacking:
        options = {RUNTIME: "", MACHINE: " --machine"}
        raise GateFailed(
            f"{target} {image} has not passed the runtime gate",
            why="; ".join(lacking.values()),
            cure="; ".join(f"invoke verify{options[kind]} --arch {target}" for kind in lacking),
        )
    return found


def _fault(record: Record, kind: str, image: str) -> str:
    """Return why a record does not let an image through, "" if it does."""
    if record.kind != kind:
        return f"the record in {path_of(record.target, kind)} is of a {record.tunnel} tunnel"
    if record.image != image:
        return f"the {kind} record is of {record.image}"
    if record.gate != gate_identity():
        return f"the {kind} record is of another version of the gate"
    if record.ok:
        return ""
    passed = {verdict.name for verdict in record.canaries if verdict.ok}
    missing = [c.name for c in wanted_for(record.tunnel) if c.name not in passed]
    where = " in a router-like machine" if kind == MACHINE else ""
    return f"not passed{where}: {', '.join(missing)}"
