"""The routers that people have, each a block of data in `data/devices.toml`."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from build.config import schema
from build.config.targets import targets
from build.core.paths import DATA

FILE = DATA / "devices.toml"
SMALL_MB = 64
"""Flash below this holds RouterOS and no image: the devices have 16, 32, or 128 MB and more."""

_LINE = schema.text(r"[^\x00-\x1f<>]+", "a line of text")


@dataclass(frozen=True)
class Device:
    """One kind of router. The fields are explained at the top of `data/devices.toml`."""

    key: str
    name: str
    image: str
    architecture: str
    flash_mb: int
    ram_mb: int
    usb: str
    expect: str

    @property
    def small(self) -> bool:
        """Whether image and state need a disk."""
        return 0 < self.flash_mb < SMALL_MB

    @property
    def refusal(self) -> str:
        """Why it can have no container at all, or nothing."""
        if not self.image:
            return f"RouterOS has no containers on {self.architecture} processors"
        if self.small and self.usb == "no":
            return (
                f"{self.flash_mb} MB of flash have no room for an image, "
                "and there is no USB port for a disk"
            )
        return ""


def load(path: Path) -> dict[str, Device]:
    """Read a file of devices. Raises UserError naming every fault."""
    check = schema.table(
        schema.row(
            {
                "name": _LINE,
                "image": schema.one_of("", *targets()),
                "architecture": schema.text(r"[a-z0-9_]+", "RouterOS' name of an architecture"),
                "flash_mb": schema.whole(0, 1 << 20),
                "ram_mb": schema.whole(0, 1 << 20),
                "usb": schema.one_of("yes", "no", "look"),
                "expect": _LINE,
            }
        ),
        r"[a-z0-9-]+",
        "a key of small letters, digits and -",
        least=1,
    )
    found = {key: Device(key, **row) for key, row in schema.read(path, check).items()}
    faults = []
    names: dict[str, str] = {}
    for one in found.values():
        if names.setdefault(one.name, one.key) != one.key:
            faults.append(f"{one.key}.name: wanted another than that of {names[one.name]}, got it")
        if one.image and targets()[one.image].routeros != one.architecture:
            wanted = targets()[one.image].routeros
            faults.append(
                f"{one.key}.architecture: wanted {wanted} for {one.image}, got {one.architecture}"
            )
    schema.require(faults, path.name)
    return found


@functools.cache
def devices() -> dict[str, Device]:
    """Return all devices by key, in the order of the file."""
    return load(FILE)
