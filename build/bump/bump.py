"""Bumping a pin: find out everything about the other version, then write it in one rename.

Renovate runs this too, after it has changed `version` itself: then the sums in the file are those
of the version before, which is taken from the last commit.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import tomlkit
from packaging.version import Version

from build.bump import along, candidate, holders, impact
from build.bump.candidate import Candidate
from build.bump.impact import Impact
from build.config import pins, substitutes, targets
from build.config.pins import Pin
from build.core import cache, digest
from build.core.errors import BuildFailed, UserError
from build.core.git import Git
from build.core.version import first_of, is_stable
from build.gates import ratio, size
from build.golang.gotool import toolchain_version
from build.pipeline import order, variants
from build.router import render
from build.sbom import notices

PINS, SOURCES = "build/data/pins.toml", "docs/SOURCES.md"
SHOWN = ("version", "file", "size", "sha256", "h1", "epoch", "hash_from", "substitutes")
TAILSCALE, TOOLCHAIN = "tailscale.com", "golang.org/toolchain"


@dataclass
class Bump:
    """What a bump changes and what it leaves to do.

    `before` and `after` are the pins; equal ones mean that there is nothing to do. `verified` says
    whether the Go checksum database has the sum (None if it is no Go module), `written` whether
    pins.toml was. `along` are other pins, before and after, that go with this one. `measures` are
    the sizes after, with those before, `shares` what upstream's recipe makes of the version after;
    both are empty unless it was built. `holders` are copyright holders that are new or gone.
    """

    before: Pin
    after: Pin
    verified: bool | None = None
    written: bool = False
    impact: Impact = field(default_factory=Impact)
    along: list[tuple[Pin, Pin]] = field(default_factory=list)
    holders: list[str] = field(default_factory=list)
    measures: list[size.Measure] = field(default_factory=list)
    shares: list[ratio.Share] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return asdict(self)


def bump(
    name: str, asked: str, *, force: bool = False, build: bool = False, dry_run: bool = False
) -> Bump:
    """Set a pin to another version and return what that changes.

    `force` allows an older version, `build` compiles both versions for their sizes, `dry_run`
    writes nothing. pins.toml changes last or, if anything fails, not at all. Raises UserError for
    a version that is not taken, SourceError if it cannot be had, GateFailed above
    the cap, WeightRose if our own weight rose.
    """
    # Of this checkout: two bumps of one file take turns, other checkouts need not wait.
    mark = digest.of_bytes(str(pins.FILE).encode())[:16]
    with cache.locked(f"bump-{mark}", "a bump"), cache.scratch() as scratch:
        text = _readable_text(dry_run)
        now = pins.load(pins.FILE)
        if name not in now:
            raise UserError(f"no pin is called '{name}'", cure=f"one of: {', '.join(now)}")
        version = version_in_pins(now[name], asked)
        before = now[name]
        if before.version == version:
            before = _committed(name, scratch) or before
            if before.version == version and not before.substitutes:
                return Bump(before, before)
        _check_direction(before, version, force)
        rows = tomlkit.parse(text).unwrap()
        chosen = _candidates(now, rows, name, version, scratch)
        new = chosen[0]
        if new.pin == before:
            return Bump(before, before)
        result = Bump(before, new.pin, new.verified)
        result.along = [(now[one.pin.name], one.pin) for one in chosen[1:]]
        with pins.instead(*(one.pin for one in chosen)):
            result.impact = impact.of(before, new.pin)
        if held := result.impact.holders:
            result.holders = holders.differences(holders.read(_root() / holders.FILE), held)
        result.impact.todo += [
            f"compare h1 of {one.pin.title} with the Go checksum database: it was silent"
            for one in chosen
            if one.verified is False
        ]
        if build:
            _measure(result)
            size.require(result.measures)
            ratio.require(result.shares)
        fresh = text
        for one in chosen:
            fresh = _updated(fresh, one.pin.name, one.fields)
        if fresh != text and not dry_run:
            _write(fresh, [one.pin for one in chosen], now)
            result.written = True
        if not dry_run:
            # Every time: whoever was stopped between the two files runs it again.
            notices.write(_root() / SOURCES, pins.load(pins.FILE))
            if held:
                holders.write(held, _root() / holders.FILE)
            if new.pin.module == TAILSCALE:
                _render_scripts(new.pin)
        return result


def _candidates(
    now: dict[str, Pin], rows: dict[str, Any], name: str, version: str, scratch: Path
) -> list[Candidate]:
    """Return the pin's candidate for a version, and those of other pins that go along."""
    new = candidate.make(name, rows[name], version, scratch)
    if new.pin.module != TAILSCALE:
        return [new]
    others = along.substitutes_of(new.pin, scratch)
    if others != new.pin.substitutes:
        fields = {**new.fields, "substitutes": list(others)}
        new = replace(new, pin=replace(new.pin, substitutes=others), fields=fields)
    go = along.toolchain(now["go"], rows["go"], new.pin, scratch)
    return [new, *([go] if go else [])]


def _root() -> Path:
    """Return the checkout that the pins file is in."""
    return pins.FILE.parents[2]


def _render_scripts(tailscale: Pin) -> None:
    """Write the router's scripts, which say of which release they are."""
    folder = _root() / "routeros"
    values = render.Values(release=first_of(tailscale.version).tag)
    render.write(folder, render.render_all(folder / "templates", None, values))


def plain_version(pin: Pin) -> str:
    """Return the version as people name it: of a Go toolchain only Go's."""
    return toolchain_version(pin) if pin.module == TOOLCHAIN else pin.version


def version_in_pins(pin: Pin, asked: str) -> str:
    """Return how pins.toml states the version that was asked for.

    Raises UserError unless it is a plain release and, for Tailscale, a stable one.
    """
    plain = asked.removeprefix("go" if pin.module == TOOLCHAIN else "v")
    if not re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){1,3}", plain, re.ASCII):
        raise UserError(
            f"'{asked}' is not the version of a release of {pin.name}",
            why="a release is numbers with dots; pre-releases are not pinned",
            cure=f"a version like {plain_version(pin)}",
        )
    if pin.module == TAILSCALE and not is_stable(plain):
        raise UserError(
            f"Tailscale {plain} is not a stable release",
            why="stable releases have three numbers, the second one even",
            cure="take the next even minor",
        )
    if pin.module == TOOLCHAIN:
        return along.toolchain_named(pin, plain)
    return plain


def _check_direction(before: Pin, version: str, force: bool) -> None:
    old, new = plain_version(before), plain_version(replace(before, version=version))
    if Version(new) < Version(old) and not force:
        raise UserError(
            f"{before.name} {new} is older than the pinned {old}",
            cure="--force takes it all the same",
        )


def _readable_text(dry_run: bool) -> str:
    """Return pins.toml as it is; a file that cannot be written is told before any download."""
    try:
        text = pins.FILE.read_text()
        # root may write what is marked read-only, but whoever marked it meant something.
        writable = pins.FILE.stat().st_mode & 0o200
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {pins.FILE}", why=str(error)) from error
    if not writable and not dry_run:
        raise UserError(f"{PINS} is read-only", cure=f"chmod u+w {PINS}, or --dry-run")
    return text


def _committed(name: str, scratch: Path) -> Pin | None:
    """Return the pin as the last commit has it, None if there is none."""
    try:
        text = Git(_root()).run("show", f"HEAD:{PINS}")
    except BuildFailed:
        return None
    copy = scratch / "committed.toml"
    copy.write_text(text)
    return pins.load(copy).get(name)


def summary(done: Bump) -> list[str]:
    """Return the lines that close a bump: the pin before and after, what is left to do."""
    lines = []
    for before, after in [(done.before, done.after), *done.along]:
        lines += [f"{after.name} goes along:"] if after is not done.after else []
        for name in SHOWN:
            old, new = getattr(before, name), getattr(after, name)
            if old != new:
                lines += [f"{name:<9} {old or 'none'}", f"{'':<7}-> {new or 'none'}"]
    lines += [f"substitute {one.told}" for one in substitutes.of(done.after)]
    indirect = sum(row.indirect for row in done.impact.modules)
    if done.after.module == TAILSCALE:
        lines.append("features  the same, needing the same" if not done.impact.features else "")
        lines.append("modules   the same versions" if not done.impact.modules else "")
    if indirect:
        lines.append(f"modules   {indirect} indirect ones differ too; --json names them")
    lines = [line for line in lines if line]
    lines += [f"holder    {line}" for line in done.holders]
    lines += [f"moved     {line}" for line in done.impact.moved]
    lines += [f"stops     {line}" for line in done.impact.stops]
    lines += [f"to do     {line}" for line in done.impact.todo]
    if not done.measures:
        lines.append("sizes     not measured; --build does it")
    if done.written:
        scripts = ", routeros/" if done.after.module == TAILSCALE else ""
        lines.append(f"{PINS} and {SOURCES}{scripts} are changed; next: ./dev invoke build-all")
    else:
        lines.append(f"{PINS} is as it was")
    return lines


def _measure(result: Bump) -> None:
    """Build every platform with both pins, and the one after by upstream's recipe too."""
    sets = []
    for side in (0, 1):
        chosen = [pair[side] for pair in [(result.before, result.after), *result.along]]
        with pins.instead(*chosen):
            request = order.Request(
                list(targets.targets().values()),
                order.release_of(),
                check_size=False,
                products=False,
            )
            sets.append(order.build(request).measures)
            result.shares = variants.weighed(ratio.of(sets[-1])) if side else []
    before = {(row.target, row.component): row.size for row in sets[0]}
    result.measures = [
        replace(row, before=before.get((row.target, row.component), 0)) for row in sets[1]
    ]


# --- writing ------------------------------------------------------------------------------------


def _updated(text: str, name: str, fields: Any) -> str:
    """Return the text of pins.toml with fields of one block changed and all else as it was."""
    document = tomlkit.parse(text)
    block: Any = document[name]
    for key, value in fields.items():
        if value == []:
            block.remove(key)
            continue
        block[key] = tomlkit.integer(f"{value:_}") if isinstance(value, int) else value
    return tomlkit.dumps(document)


def _write(text: str, new: Sequence[Pin], now: dict[str, Pin]) -> None:
    """Put the text in place of pins.toml after it was read back right."""
    try:
        with _temporary(pins.FILE) as fresh:
            fresh.write_text(text)
            if pins.load(fresh) != now | {one.name: one for one in new}:
                raise BuildFailed(f"{PINS} would not say what it should; it was left alone")
            shutil.copymode(pins.FILE, fresh)
            fresh.rename(pins.FILE)
    except OSError as error:
        raise UserError(f"cannot write {PINS}", why=str(error)) from error


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    fresh = path.with_suffix(".tmp")
    try:
        yield fresh
    finally:
        fresh.unlink(missing_ok=True)
