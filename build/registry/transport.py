"""How registries are spoken to: `core.http`, with faults under their own name."""

from __future__ import annotations

from typing import Any

from build.core.http import HttpError, Transport


class RegistryError(HttpError):
    """The registry is away or does what it should not."""


def transport(**settings: Any) -> Transport:
    """Return a transport whose faults are RegistryErrors; `settings` as `Transport` takes them."""
    return Transport(error=RegistryError, **settings)
