"""Where a router's password comes from: a variable of the environment, or the user's keyring."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping

from build.core import redact
from build.core.errors import UserError


def password(source: str, user: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return the password that `env:NAME` or `keyring:SERVICE` stands for.

    The keyring is asked for `user` at SERVICE by PyPI's `keyring`, which is not one of this
    project's packages: whoever wants it installs it. Raises UserError, without any secret.
    """
    kind, _, name = source.partition(":")
    found = environ.get(name) if kind == "env" else _of_keyring(name, user)
    if found is None:
        of_env = kind == "env"
        raise UserError(
            f"no password from {source}",
            why=f"${name} is not set" if of_env else f"the keyring has none of {user} there",
            cure=f"put the router's into ${name}" if of_env else f"keyring set {name} {user}",
        )
    redact.know(found)
    try:
        f"{user}{found}".encode()
    except UnicodeEncodeError as error:
        raise UserError(f"user or password from {source} is not UTF-8", why=error.reason) from None
    return found


def _of_keyring(service: str, user: str) -> str | None:
    try:
        keyring = importlib.import_module("keyring")
    except ImportError as error:
        raise UserError(
            f"no password from keyring:{service}",
            why=f"Python's package keyring is not here: {error}",
            cure="pip install keyring in this environment, or take env:NAME",
        ) from None
    try:
        found = keyring.get_password(service, user)
    except Exception as error:  # each of its backends has errors of its own
        raise UserError(
            f"no password from keyring:{service}",
            why=f"{type(error).__name__}: {error}",
            cure="keyring --list-backends shows what it can ask on this machine",
        ) from None
    return None if found is None else str(found)
