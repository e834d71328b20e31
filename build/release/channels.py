"""The tags that move, `:next` and `:stable`, to a release that is in the registry already.

Back is a rollback, forward a promotion, which waits until a release has been out for its soak.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from build.core import git, log
from build.core.errors import GateFailed, UserError
from build.core.version import Release, parse_release
from build.registry import published
from build.registry.client import Client, Manifest
from build.registry.published import NEXT, STABLE

LISTED = 20
"""How many releases an error message lists."""
DAY = 86_400
"""Seconds."""
LONGEST_SOAK = 365
"""Days."""


@dataclass(frozen=True)
class Move:
    """A channel from the index with the digest `before` ("" for none) to the release's `index`."""

    channel: str
    release: Release
    index: Manifest
    before: str
    before_release: Release | None

    @property
    def moves(self) -> bool:
        """Whether anything changes."""
        return self.before != self.index.digest

    @property
    def was(self) -> str:
        """What the channel was: a release, else the digest of what is none of ours, else ""."""
        return self.before_release.tag if self.before_release else self.before


def back(client: Client, tag: str, channel: str = STABLE) -> list[Move]:
    """Return what moves a channel to the release `tag`, after reading that whole.

    `:next` goes with `:stable` where it is the release that is withdrawn: routers on it must not
    stay there, and nothing must promote it again. It goes first: until `:stable` has moved, a run
    that was stopped can be repeated. Raises UserError if there is no such release and lists those
    that there are.
    """
    release, index = _whole(client, tag)
    wanted = _move(client, channel, release, index)
    if channel == STABLE and wanted.moves and wanted.before:
        beside = _move(client, NEXT, release, index)
        if beside.before == wanted.before:
            return [beside, wanted]
    return [wanted]


def forward(client: Client, tag: str = "") -> list[Move]:
    """Return what makes `:stable` the release `tag` ("" for what `:next` is), after reading it.

    `:next` goes first where it is older: who follows it is never behind `:stable`. Raises UserError
    if there is no such release, if `:stable` is a newer one, or if `:next` is moved meanwhile.
    """
    given = tag
    if not given:
        there, ahead = published.standing(client, NEXT)
        if ahead is None:
            raise UserError(
                f"{client.place.text}:{NEXT} is {'no release of ours' if there else 'not there'}",
                why="it is what is promoted",
                cure="invoke publish, or --to with a release",
            )
        tag = ahead.tag
    release, index = _whole(client, tag)
    wanted = _move(client, STABLE, release, index)
    if wanted.before_release and wanted.before_release > release:
        raise UserError(
            f"{release.tag} is older than {wanted.before_release.tag}, which :{STABLE} is",
            cure=f"to move routers back: invoke rollback --to {release.tag}",
        )
    beside = _move(client, NEXT, release, index)
    if not given and beside.moves:
        # Reading takes a while: somebody may have withdrawn it since. Or it was never that release.
        raise UserError(
            f"{client.place.text}:{NEXT} is {beside.before or 'gone'}, and {release.tag} is "
            f"{index.digest}",
            why="it is another build, or somebody has moved it meanwhile",
            cure=f"see what it is, then run this again, or with --to {release.tag}",
        )
    behind = beside.before_release is None or beside.before_release < release
    return [beside, wanted] if wanted.moves and behind else [wanted]


def require_soaked(repository: git.Git, release: Release, days: int) -> None:
    """Raise GateFailed unless a release's tag was made so many days ago.

    A registry does not tell when it was given something. A clock that was behind cannot shorten a
    soak further back than the commit. Raises UserError if this checkout has no such tag.
    """
    if days == 0:
        return
    made = repository.tagged(release.tag)
    if made is None:
        raise UserError(
            f"this checkout has no tag {release.tag}",
            why="its date says how long the release has been out",
            cure="git fetch --tags",
        )
    out = (time.time() - made) / DAY
    if out < days:
        # Cut, not rounded: what lacks an hour is not "7.0 days".
        shown = math.floor(max(out, 0) * 10) / 10
        raise GateFailed(
            f"{release.tag} is out for {shown} days, and its soak is {days}",
            cure="wait, or --soak 0 if it cannot wait",
        )


def _whole(client: Client, tag: str) -> tuple[Release, Manifest]:
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
    return release, index


def _move(client: Client, channel: str, release: Release, index: Manifest) -> Move:
    return Move(channel, release, index, *published.standing(client, channel))


def apply(client: Client, wanted: Sequence[Move]) -> None:
    """Move channels, each by one request.

    Raises UserError if somebody else has moved one since the plan was made.
    """
    for one in wanted:
        with log.step("publish", f":{one.channel}"):
            published.set_tag(client, one.channel, one.index, {one.before, one.index.digest})
