"""Where images are published: REGISTRY/REPOSITORY, and the address of the registry behind it.

Format: OCI distribution specification 1.1, "Pulling manifests", for the repository's name.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from build.core.errors import UserError

DOCKER_HUB = {"docker.io", "index.docker.io", "registry-1.docker.io"}
"""Names of one registry: people's, docker's and its API's."""

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_HOST = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?")


@dataclass(frozen=True)
class Repository:
    """A repository in a registry: `base` is the registry's scheme and host, `text` for people."""

    base: str
    host: str
    repository: str

    @property
    def text(self) -> str:
        """The place as people write it."""
        return f"{self.host}/{self.repository}"


def parse_repository(text: str, *, plain_http: bool = False) -> Repository:
    """Parse REGISTRY/REPOSITORY. A registry on this machine is spoken to without TLS.

    Raises UserError for what is not one, an address or a name with a tag in particular.
    """
    host, _, repository = text.partition("/")
    named = "." in host or ":" in host or host == "localhost"
    fits = _REPOSITORY.fullmatch(repository) and len(repository) <= 255
    if not (named and _HOST.fullmatch(host) and fits):
        raise UserError(
            f"'{text}' is not REGISTRY/REPOSITORY",
            why="that is a host, with a port if need be, and a name of a-z 0-9 . _ - /",
            cure="for example ghcr.io/owner/mikrotik-tailscale, without https:// and without a tag",
        )
    name = host.partition("]")[0].strip("[") if host.startswith("[") else host.partition(":")[0]
    scheme = "http" if plain_http or _is_loopback(name) else "https"
    api = "registry-1.docker.io" if host in DOCKER_HUB else host
    return Repository(f"{scheme}://{api}", host, repository)


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
