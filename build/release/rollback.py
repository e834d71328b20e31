"""`:stable` to a release that is in the registry already."""

from __future__ import annotations

from dataclasses import dataclass

from build.core import log
from build.core.errors import UserError
from build.core.version import Release, parse_release
from build.registry import published
from build.registry.client import Client, Manifest
from build.registry.published import STABLE

LISTED = 20
"""How many releases an error message lists."""


@dataclass(frozen=True)
class Plan:
    """`:stable` from the index with the digest `before` ("" for none) to the release's `index`."""

    release: Release
    index: Manifest
    before: str
    before_release: Release | None

    @property
    def moves(self) -> bool:
        """Whether anything changes."""
        return self.before != self.index.digest


def plan(client: Client, tag: str) -> Plan:
    """Return the plan to make `:stable` the release `tag`, after reading that whole.

    Raises UserError if there is no such release and lists those that there are.
    """
    release = parse_release(tag)
    index = client.manifest(release.tag)
    if index is None:
        known = [one.tag for one in published.releases(client)]
        more = f" and {len(known) - LISTED} older ones" if len(known) > LISTED else ""
        raise UserError(
            f"{client.place.text} has no release {release.tag}",
            cure="one of: " + ", ".join(known[:LISTED]) + more
            if known
            else "it has no release at all; is the name right?",
        )
    said = published.read_back(client, index.digest, index.digest)
    if said != {release}:
        names = ", ".join(sorted(one.tag if one else "no release" for one in said))
        raise UserError(f"what is behind {client.place.text}:{tag} says it is {names}")
    before = client.manifest(STABLE)
    before_release = published.release_of(client, before) if before else None
    return Plan(release, index, before.digest if before else "", before_release)


def apply(client: Client, wanted: Plan) -> None:
    """Move `:stable`. Raises UserError if somebody else has moved it since the plan was made."""
    with log.step("publish", f":{STABLE}"):
        allowed = {wanted.before, wanted.index.digest}
        published.set_tag(client, STABLE, wanted.index, allowed)
