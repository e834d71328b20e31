"""Who we are at a registry: from the environment, else as docker keeps it; never shown.

Formats: docker's `config.json` (docker-login(1)) and the credential helpers' protocol
(github.com/docker/docker-credential-helpers: the host on standard input, JSON back).
"""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.core import command, redact
from build.core.address import basic
from build.core.answer import decoded
from build.core.errors import BuildFailed, UserError
from build.registry.repository import DOCKER_HUB

CURE = "set MT_REGISTRY_USER and MT_REGISTRY_PASSWORD, or log in with `docker login`"
HELPER_SECONDS = 60.0
"""A helper may ask its owner for a password, but not for ever."""


@dataclass(frozen=True, repr=False)
class Credentials:
    """A user's name and password or token. Neither is in its `repr`, so no message has them."""

    user: str
    password: str

    def __post_init__(self) -> None:
        """Tell what must not be shown, wherever these come from."""
        redact.know(*self.secrets)

    @property
    def basic(self) -> str:
        """The value of an `Authorization` header (RFC 7617)."""
        return basic(self.user, self.password)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Everything that must not be shown."""
        return (self.basic, self.basic.removeprefix("Basic "), self.password)


def find(host: str) -> Credentials | None:
    """Return the credentials for a registry, None if there are none (which is anonymous access).

    Looks at MT_REGISTRY_USER and MT_REGISTRY_PASSWORD, then at docker's `config.json` in
    $DOCKER_CONFIG or ~/.docker with its helpers. Raises UserError for what cannot be used.
    """
    user, password = (os.environ.get(f"MT_REGISTRY_{name}", "") for name in ("USER", "PASSWORD"))
    if user and password:
        return Credentials(user, password)
    if user or password:
        lacking = "PASSWORD" if user else "USER"
        raise UserError(f"$MT_REGISTRY_{lacking} is not set, but its companion is", cure=CURE)
    return _of_docker(host)


def _of_docker(host: str) -> Credentials | None:
    folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    path = folder / "config.json"
    try:
        table = decoded(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"cannot read {path}", why=str(error.strerror), cure=CURE) from None
    except ValueError:
        # The parser's own words are left out: they may quote the file.
        raise UserError(f"{path} is not JSON", cure=f"correct it, or {CURE}") from None
    try:
        helper = table.get("credHelpers", {}).get(host) or table.get("credsStore")
        if helper and (found := _of_helper(str(helper), _docker_name(host))):
            return found
        for name, row in table.get("auths", {}).items():
            if _same_host(name, host) and (found := _of_row(row)):
                return found
    except (AttributeError, TypeError, ValueError, binascii.Error):
        raise UserError(f"{path} is not what docker writes", cure=CURE) from None
    return None


def _docker_name(host: str) -> str:
    return "https://index.docker.io/v1/" if host in DOCKER_HUB else host


def _same_host(name: str, host: str) -> bool:
    """Compare a key of `auths`, which may be an address, with a registry's host."""
    plain = name.partition("://")[2] or name
    named = plain.partition("/")[0]
    return named == host or {named, host} <= DOCKER_HUB


def _of_row(row: dict[str, Any]) -> Credentials | None:
    if row.get("identitytoken"):
        raise UserError(
            "docker's config has an identity token for this registry, which is not supported",
            cure="set MT_REGISTRY_USER and MT_REGISTRY_PASSWORD",
        )
    if row.get("auth"):
        text = base64.b64decode(row["auth"], validate=True).decode()
        user, colon, password = text.partition(":")
        if not colon:
            raise ValueError
        # docker pads some of them with NUL bytes.
        return Credentials(user, password.rstrip("\0"))
    if row.get("username"):
        return Credentials(str(row["username"]), str(row["password"]))
    # docker leaves an empty row where a helper keeps the password.
    return None


def _of_helper(helper: str, server: str) -> Credentials | None:
    program = f"docker-credential-{helper}"
    # The helper is the user's own program: it gets the user's environment, and no log.
    env = {name: value for name, value in os.environ.items() if not name.startswith("MT_")}
    try:
        done = command.call(
            [program, "get"], env=env, cwd=Path.cwd(), timeout=HELPER_SECONDS, stdin=server
        )
    except BuildFailed:
        raise UserError(
            f"docker's config names the helper {program}, which is not installed", cure=CURE
        ) from None
    if not done.ok:
        # It has nothing for this registry, or its keychain is locked: it does not tell which.
        return None
    try:
        # Warnings may stand before or behind the answer.
        output = done.output[done.output.find("{") : done.output.rfind("}") + 1]
        answer = decoded(output.encode())
        user, password = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{program} did not answer with credentials", cure=CURE) from None
    if user == "<token>":
        return _of_row({"identitytoken": password})
    return Credentials(user, password)
