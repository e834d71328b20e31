"""What all commands share: their common options, errors as exit codes, release tags."""

from __future__ import annotations

import functools
import os
import traceback
from collections.abc import Callable
from typing import Any

from invoke import Context, Exit

from build.core import errors, git, log, paths
from build.core.version import Release, parse_release
from build.pipeline import order
from build.registry import credentials
from build.registry.client import Client
from build.registry.repository import parse_repository
from build.release import planning as releasing

ARCH_HELP = "platform, repeatable; also under its other names (armv7, arm/v7, linux/arm/v7, x86)"
HEAD = "HEAD"
"""What --release takes instead of a tag: the release tag of the commit that is checked out."""

COMMON = {
    "json": "print the result as JSON on standard output and nothing else",
    "debug": "show a traceback when something fails",
}


def command(body: Callable[..., None]) -> Callable[..., None]:
    """Turn errors into one message and the exit code of their kind."""

    @functools.wraps(body)
    def guarded(context: Context, *words: Any, **options: Any) -> None:
        log.configure("quiet" if options.get("json") else "auto", details=options.get("why", False))
        try:
            with log.session():
                body(context, *words, **options)
        except errors.Error as error:
            if options.get("debug"):
                traceback.print_exc()
            raise Exit(f"error: {error}", code=error.exit_code) from None
        except KeyboardInterrupt:
            raise Exit("interrupted", code=errors.INTERRUPTED) from None

    return guarded


def named_release(tag: str) -> Release:
    """Return the release that an option names: "" for mt.0, HEAD for the commit's, else the tag.

    Raises UserError for what is no release of the pinned Tailscale.
    """
    if tag == HEAD:
        state = git.Git(paths.ROOT).state()
        return releasing.at_head(state, order.release_of().tailscale)
    release = parse_release(tag) if tag else order.release_of()
    if release.tailscale != order.release_of().tailscale:
        raise errors.UserError(
            f"{release.tag} is not a release of the pinned Tailscale",
            why=f"build/data/pins.toml pins {order.release_of().tailscale}",
            cure="check out the commit that the tag is on",
        )
    return release


def client_of(where: str, plain_http: bool = False) -> Client:
    """Return a client of REGISTRY/REPOSITORY, else of $MT_REPOSITORY. Raises UserError."""
    where = where or os.environ.get("MT_REPOSITORY", "")
    if not where:
        raise errors.UserError(
            "which repository?", cure="name it as REGISTRY/REPOSITORY, or set MT_REPOSITORY"
        )
    found = parse_repository(where, plain_http=plain_http)
    return Client(found, credentials.find(found.host))
