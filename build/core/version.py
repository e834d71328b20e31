"""Versions: `v<TAILSCALE>-mt.<N>` of our releases, and which Tailscale versions are stable."""

from __future__ import annotations

import re
from dataclasses import dataclass

from packaging.version import InvalidVersion, Version

from build.core.errors import UserError

_NUMBER = r"(?:0|[1-9][0-9]*)"
_TAG = re.compile(rf"v(?P<tailscale>{_NUMBER}(?:\.{_NUMBER}){{2}})-mt\.(?P<revision>{_NUMBER})")


@dataclass(frozen=True, order=True)
class Release:
    """One release: the bundled Tailscale version and our revision of it.

    Revision 0 is a build that nobody released; released revisions count from 1.
    """

    tailscale: Version
    revision: int

    @property
    def tag(self) -> str:
        """The full tag, as in the image's version label and the registry."""
        return f"v{self.tailscale}-mt.{self.revision}"

    @property
    def long(self) -> str:
        """What the binary calls itself in `long version` and to the control server."""
        return f"{self.tailscale}-mt.{self.revision}"


def first_of(tailscale: str) -> Release:
    """Return the first release of a Tailscale version, such as v1.102.5-mt.1."""
    return Release(Version(tailscale), 1)


def parse_release(tag: str) -> Release:
    """Parse a tag such as `v1.102.5-mt.1`. Raises UserError for anything else."""
    match = _TAG.fullmatch(tag)
    if not match:
        raise UserError(
            f"'{tag}' is not a release tag",
            why="a tag reads v<TAILSCALE>-mt.<N>, for example v1.102.5-mt.1",
            cure="correct the tag",
        )
    return Release(Version(match["tailscale"]), int(match["revision"]))


def is_stable(version: str) -> bool:
    """Say whether a Tailscale version is stable: three numbers, the minor one even.

    Source: Tailscale's versioning scheme (even minors stable, odd minors unstable).
    """
    try:
        parsed = Version(version)
    except InvalidVersion:
        return False
    plain = len(parsed.release) == 3 and not (parsed.is_prerelease or parsed.is_postrelease)
    return plain and parsed.local is None and parsed.minor % 2 == 0
