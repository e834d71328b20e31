"""The gate on size: measure, compare with the cap and the last recorded release."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from build.config.targets import Target
from build.core.artifacts import Rootfs
from build.core.errors import GateFailed, UserError
from build.core.paths import DATA
from build.core.version import parse_release
from build.image import products

SIZES = DATA / "sizes.json"
ROOTFS = "rootfs"

Recorded = dict[str, dict[str, dict[str, int]]]


@dataclass(frozen=True)
class Measure:
    """One measured component of one platform's image; sizes in bytes, `cap` 0 for none.

    `before` is the size in the last recorded release, 0 if there is none.
    """

    target: str
    component: str
    size: int
    cap: int
    before: int
    sha256: str = ""

    @property
    def over(self) -> bool:
        """Whether it exceeds its cap."""
        return bool(self.cap) and self.size > self.cap


def recorded(path: Path = SIZES) -> Recorded:
    """Return {release tag: {platform: {component: bytes}}} of the recorded releases.

    Raises UserError if the file is not that.
    """
    try:
        found = json.loads(path.read_text())
        return {
            tag: {
                name: {part: int(size) for part, size in sizes.items()}
                for name, sizes in platforms.items()
            }
            for tag, platforms in found.items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UserError(f"cannot read the recorded sizes in {path}", why=str(error)) from error


def last_release(history: Recorded) -> str:
    """Return the tag of the newest recorded release, or an empty text."""
    return max(history, key=parse_release, default="")


def measure(target: Target, files: Rootfs, history: Recorded) -> list[Measure]:
    """Return the measures of a platform's root file system: each file, and the whole."""
    before = history.get(last_release(history), {}).get(target.name, {})
    caps = {ROOTFS: target.cap_rootfs}
    sizes: Mapping[str, tuple[int, str]] = {
        Path(entry.path).name: (entry.size, entry.sha256)
        for entry in files.entries
        if entry.kind == "file"
    }
    rows = {**sizes, ROOTFS: (files.size, "")}
    return [
        Measure(target.name, part, size, caps.get(part, 0), before.get(part, 0), sha256)
        for part, (size, sha256) in rows.items()
    ]


def of_images(images: Iterable[products.Image]) -> list[Measure]:
    """Return the measures of images in dist/, one after the other."""
    history = recorded()
    return [row for image in images for row in measure(image.target, image.files, history)]


def require(measures: list[Measure]) -> None:
    """Raise GateFailed naming what exceeds its cap and by how much, if anything does."""
    over = [row for row in measures if row.over]
    if over:
        raise GateFailed(
            "the image is larger than its cap",
            why="".join(
                f"\n    {row.target} {row.component}: {row.size:,} B of {row.cap:,} B allowed, "
                f"{row.size - row.cap:,} B too many"
                + (f", {row.size - row.before:+,} B since the last release" if row.before else "")
                for row in over
            ),
            cure="`invoke features` shows what is in; whether the devices can have more is for a "
            "person to say, in build/data/targets.toml",
        )


def record(tag: str, measures: list[Measure], path: Path = SIZES) -> None:
    """Add a release's sizes to the history file, by a temporary name and a rename."""
    history = recorded(path)
    history[tag] = {}
    for row in measures:
        history[tag].setdefault(row.target, {})[row.component] = row.size
    fresh = path.with_suffix(".tmp")
    fresh.write_text(json.dumps(history, indent=1, sort_keys=True) + "\n")
    fresh.rename(path)
