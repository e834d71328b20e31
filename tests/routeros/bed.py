"""A router with our scripts on it, as a user would have it after the installation."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from build.router import render as renderer
from tests.routeros.lang.values import to_str
from tests.routeros.model import Image, Registry, Router
from tests.routeros.model.fetch import Transport

TEMPLATES = Path(__file__).parents[2] / "routeros" / "templates"
REPOSITORY = "me/mikrotik-tailscale"
HOST = "ghcr.example"
VALUES = renderer.Values(image=f"{HOST}/{REPOSITORY}")
OLD = Image("v1.100.0-mt.1")
NEW = Image("v1.102.5-mt.1")
TICK = 15 * 60


@cache
def script(name: str, version: str | None = None) -> str:
    """A rendered script, universal or for one version."""
    return renderer.render(name, TEMPLATES, version, VALUES)


def plant(patch: pytest.MonkeyPatch, where: str, old: str, new: str) -> None:
    """Change a script, for all that is installed from now on: a mistake that must be seen."""
    plain = script
    assert old in plain(where)
    patch.setattr(
        sys.modules[__name__],
        "script",
        lambda name, version=None: (
            plain(name, version).replace(old, new) if name == where else plain(name, version)
        ),
    )


@dataclass
class Bed:
    """A router and the registry that it follows."""

    router: Router
    registry: Registry

    def publish(self, image: Image) -> str:
        """Let the tag that routers follow point to an image."""
        return self.registry.push(REPOSITORY, "stable", image)

    def setting(self, name: str, value: str) -> None:
        """Change a line of settings-tailscale as a user would; value as written there."""
        for item in self.router.scripts.items.values():
            if item["name"] == "settings-tailscale":
                lines = to_str(item["source"]).splitlines()
                at = next(
                    number
                    for number, line in enumerate(lines)
                    if line.startswith(f":global {name} ")
                )
                lines[at] = f":global {name} {value};"
                item["source"] = "\n".join(lines) + "\n"
                return
        raise KeyError(name)

    def record(self, key: str) -> str:
        """A field of what update-tailscale keeps in the configuration."""
        for item in self.router.scripts.items.values():
            if item["name"] == "tailscale-state":
                fields = dict(part.split("=", 1) for part in to_str(item["comment"]).split())
                return fields.get(key, "")
        return ""

    def running(self) -> list[Image]:
        """The images that run and do their work."""
        containers = self.router.containers
        return [
            life.image
            for key, life in containers.lives.items()
            if life.image is not None and containers.healthy(key)
        ]

    def startable(self) -> bool:
        """True if something good runs, or could be started from flash after a power cut."""
        containers = self.router.containers
        return bool(self.running()) or any(map(containers.startable, containers.items))

    def state(self) -> str:
        """What is in the node's state file; changes if it is lost or spoilt."""
        return self.router.storage.read("tailscale/state/tailscaled.state") or "no state"

    def trees(self) -> list[str]:
        """The folders that images take up."""
        return sorted(
            to_str(item["name"])
            for item in self.router.storage.items.values()
            if item["type"] == "container store"
        )

    def update(self) -> None:
        """Run update-tailscale as if its check were due."""
        self.router.globals.pop("TsChecked", None)
        self.router.run_script("update-tailscale")


def empty(
    version: str = "7.24",
    *,
    rendered: str | None = None,
    flash_mib: int = 40,
    image: Image | None = OLD,
    transport: Transport | None = None,
    registry: Registry | None = None,
) -> Bed:
    """A router with our files uploaded and nothing installed."""
    registry = registry or Registry(host=HOST, style="/v2/token")
    # small flash comes with little RAM: no disk in RAM for pulls there
    ram = (512 if flash_mib > 16 else 128) << 20
    router = Router(
        version, registries=[registry], flash=flash_mib << 20, transport=transport, ram=ram
    )
    bed = Bed(router, registry)
    if image is not None:
        bed.publish(image)
    for name in renderer.SCRIPTS:
        router.upload(f"{name}.rsc", script(name, rendered))
    return bed


def installed(
    version: str = "7.24",
    *,
    rendered: str | None = None,
    flash_mib: int = 40,
    transport: Transport | None = None,
) -> Bed:
    """A router on which install-tailscale has run and OLD runs, an hour ago."""
    bed = empty(version, rendered=rendered, flash_mib=flash_mib, transport=transport)
    bed.router.run("/import install-tailscale.rsc")
    bed.router.advance(3600)
    return bed
