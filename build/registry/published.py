"""What a registry has of our releases: reading it back whole, and setting tags with care."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from build.core import log
from build.core.answer import decoded
from build.core.errors import UserError
from build.core.http import TransientError
from build.core.version import Release, parse_release
from build.registry.client import Client, Manifest
from build.registry.transport import RegistryError

NEXT, STABLE = CHANNELS = ("next", "stable")
"""The tags that move, in the order of moving: every release has been `:next` before `:stable`."""

VERSION = "org.opencontainers.image.version"

TAG_ATTEMPTS = 4


class _Everything:
    def __contains__(self, item: object) -> bool:
        return True


ANYTHING = _Everything()
"""Where a tag may point that can be moved from anywhere."""


def require(client: Client, reference: str) -> Manifest:
    """Return a manifest that must be there. Raises RegistryError if it is not."""
    found = client.manifest(reference)
    if found is None:
        raise RegistryError(f"{client.place.text} has no {reference}, though something names it")
    return found


def _named(manifest: Manifest) -> list[dict[str, Any]]:
    """Return the blobs that a manifest names, its configuration first."""
    table = manifest.table
    return [table["config"], *table["layers"]]


def version_of(config: bytes) -> Release | None:
    """Return the release that an image configuration says it is, None if it is none of ours."""
    try:
        return parse_release(str(decoded(config)["config"]["Labels"][VERSION]))
    except (UserError, ValueError, KeyError, TypeError):
        return None


def release_of(client: Client, index: Manifest) -> Release | None:
    """Return the release whose index this is, None if it is none of ours."""
    try:
        first = index.table["manifests"][0]
        config = _named(require(client, first["digest"]))[0]
        return version_of(client.blob(config["digest"], config["size"]))
    except (KeyError, IndexError, TypeError):
        return None


def standing(client: Client, tag: str) -> tuple[str, Release | None]:
    """Return the digest that a tag has ("" for none), and which release of ours that is."""
    index = client.manifest(tag)
    return (index.digest, release_of(client, index)) if index else ("", None)


def read_back(client: Client, reference: str, wanted: str) -> set[Release | None]:
    """Read an index by tag or digest and everything it names; returns what its images say they are.

    Every byte is compared with its digest. Raises RegistryError if the index is not `wanted` or
    something is missing, of another size, or altered.
    """
    index = require(client, reference)
    if index.digest != wanted:
        raise RegistryError(f"{reference} is {index.digest}, wanted {wanted}")
    found = set()
    try:
        with log.step("registry", f"read {reference[:19]} back") as advance:
            for row in index.table["manifests"]:
                manifest = require(client, row["digest"])
                _same_size(row, len(manifest.content))
                for number, entry in enumerate(_named(manifest)):
                    content = client.blob(entry["digest"], entry["size"])
                    _same_size(entry, len(content))
                    advance(len(content))
                    if number == 0:
                        found.add(version_of(content))
    except (KeyError, TypeError) as error:
        raise RegistryError(f"{wanted} is not an index of images", why=repr(error)) from error
    return found


def _same_size(entry: dict[str, Any], size: int) -> None:
    if entry["size"] != size:
        raise RegistryError(f"{entry['digest']}: wanted {entry['size']} bytes, got {size}")


def releases(client: Client) -> list[Release]:
    """Return the releases that the repository has tags of, newest first."""
    found = []
    for tag in client.tags():
        try:
            found.append(parse_release(tag))
        except UserError:
            continue
    return sorted(found, reverse=True)


def set_tag(client: Client, tag: str, manifest: Manifest, allowed: Container[str]) -> bool:
    """Point a tag at a manifest that is there; returns False if it pointed there already.

    `allowed` are the digests it may point to before ("" for a free tag). The protocol has no
    compare-and-swap: the tag is asked for just before the one request that sets it, and again
    afterwards. Who loses a race within that instant is told, not stopped. Raises UserError if the
    tag points elsewhere, RegistryError if it cannot be set.
    """
    what = f"setting {tag}"
    for attempt in range(TAG_ATTEMPTS):
        now = client.head(tag)
        if now == manifest.digest:
            return attempt > 0
        if now not in allowed:
            raise UserError(
                f"{client.place.text}:{tag} points to {now or 'nothing'}",
                why="somebody else has set it",
                cure="see what that is before you run this again",
            )
        try:
            client.put_manifest(tag, manifest)
            break
        except TransientError as fault:
            # Not simply sent again: it may have arrived, and somebody else may have moved it since.
            if attempt + 1 == TAG_ATTEMPTS:
                raise RegistryError(
                    f"{what}: given up after {TAG_ATTEMPTS} attempts",
                    why=str(fault),
                    cure="run the same command again: what was done is not done twice",
                ) from None
            client.transport.pause(what, fault, attempt)
    now = client.head(tag)
    if now != manifest.digest:
        raise RegistryError(
            f"{client.place.text}:{tag} points to {now or 'nothing'} right after it was set",
            why=f"wanted {manifest.digest}; somebody else publishes at the same time",
            cure="let one publisher run at a time, then run this again",
        )
    return True
