"""What all commands share: their common options, errors as exit codes, release tags."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from invoke import Context, Exit

from build.core import errors, git, log, paths, redact
from build.core.version import Release, parse_release
from build.golang.gotool import Go
from build.pipeline import order
from build.registry import credentials
from build.registry.client import Client
from build.registry.repository import parse_repository
from build.release import planning as releasing

ARCH_HELP = "platform, repeatable; also under its other names (armv7, arm/v7, linux/arm/v7, x86)"
HEAD = "HEAD"
"""What --release takes instead of a tag: the release tag of the commit that is checked out."""

PIPE_CLOSED = 141
"""Exit status when nobody reads the output any more (128 + SIGPIPE), the shells' convention."""

LARGEST = 64_000_000
"""Bytes of a file that somebody names to be read whole."""

COMMON = {
    "json": "print the result as JSON on standard output and nothing else",
    "debug": "show a traceback when something fails",
}


_LONG = re.compile(r"\S{400,}")


def said(error: errors.Error) -> str:
    """Return the words for an error: what somebody typed in them is cut and made harmless."""
    text = _LONG.sub(lambda found: f"{found[0][:80]}… ({len(found[0]):,} characters)", str(error))
    return "".join(
        char if char == "\n" or char.isprintable() else ascii(char)[1:-1] for char in text
    )


def command(body: Callable[..., None]) -> Callable[..., None]:
    """Turn errors into one message and the exit code of their kind."""

    @functools.wraps(body)
    def guarded(context: Context, *words: Any, **options: Any) -> None:
        if odd := [name for name, value in options.items() if "\0" in str(value)]:
            error = errors.UserError(f"--{odd[0]} has a NUL in it, which no name or path can have")
            raise Exit(f"error: {error}", code=error.exit_code)
        if isinstance(sys.stdout, io.TextIOWrapper):
            # A file may have a name that is not UTF-8; what is printed of it says so.
            sys.stdout.reconfigure(errors="backslashreplace")
        log.configure("quiet" if options.get("json") else "auto", details=options.get("why", False))
        try:
            with log.session():
                body(context, *words, **options)
        except BrokenPipeError:
            # Who read the output has enough, as in `… | head`; nothing is left to be flushed.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise Exit("", code=PIPE_CLOSED) from None
        except (errors.Error, OSError) as error:
            if options.get("debug"):
                print(redact.text(traceback.format_exc()), file=sys.stderr, end="")
            told = _of_file(error) if isinstance(error, OSError) else error
            raise Exit(f"error: {said(told)}", code=told.exit_code) from None
        except KeyboardInterrupt:
            raise Exit("interrupted", code=errors.INTERRUPTED) from None

    return guarded


def _of_file(error: OSError) -> errors.UserError:
    """Return what no check foresaw: a file or a place that somebody named is at fault."""
    place = f"{error.filename}: " if error.filename else ""
    why = f"{place}{error.strerror or error}"
    return errors.UserError("a file cannot be used", why=why, cure="--debug shows where")


@contextlib.contextmanager
def cached_sources() -> Iterator[Go]:
    """Give the go command and sources as far as the cache has them, for commands that only look.

    Raises UserError, with the command that gets them, where they are not there.
    """
    try:
        yield order.go_command(offline=True)
    except errors.SourceError as error:
        raise errors.UserError(
            "the pinned sources are not in the cache, and this command fetches nothing",
            why=error.what,
            cure="invoke fetch",
        ) from error


def one_of(option: str, value: str, choices: Iterable[str]) -> str:
    """Return the value of an option if it is one of these. Raises UserError."""
    known = tuple(choices)
    if value not in known:
        raise errors.UserError(
            f"--{option} '{value}' is not known", cure=f"one of: {', '.join(known)}"
        )
    return value


def whole(option: str, text: str, low: int, high: int) -> int:
    """Return the whole number an option was given. Raises UserError unless it is low to high."""
    if not text.isascii() or not text.isdigit() or len(text) > 18 or not low <= int(text) <= high:
        raise errors.UserError(
            f"--{option} '{text}' is not a whole number in range", cure=f"{low:,} to {high:,}"
        )
    return int(text)


def typed_file(option: str, path: str) -> bytes:
    """Return the content of a file that an option names; "" or "-" is standard input.

    Raises UserError if it cannot be read, or has no end, as a device.
    """
    try:
        if path in ("", "-"):
            content = sys.stdin.buffer.read(LARGEST + 1)
        else:
            with Path(path).open("rb") as stream:
                content = stream.read(LARGEST + 1)
    except OSError as error:
        raise errors.UserError(
            f"--{option}: cannot read {path or 'standard input'}", why=str(error.strerror)
        ) from error
    if len(content) > LARGEST:
        raise errors.UserError(f"--{option}: {path} has more than {LARGEST:,} B, or no end")
    return content


def text_file(option: str, path: str) -> str:
    """Return the text of a file that an option names. Raises UserError as `typed_file` does."""
    try:
        return typed_file(option, path).decode()
    except UnicodeDecodeError as error:
        raise errors.UserError(f"--{option}: {path} is not UTF-8", why=error.reason) from error


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
