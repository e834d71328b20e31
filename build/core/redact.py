"""Secrets: what must not be shown, found in the environment, and taken out of what is written.

Found are logins in addresses (indexes, module proxies, proxies, mirrors), variables whose names say
that they are secret, the words of GOAUTH and of git's extra headers, and ~/.netrc. Who gets a
secret otherwise tells it here (`know`). Programs still get the real values.
"""

from __future__ import annotations

import base64
import json
import netrc
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, unquote

UNKEYED = "what it hides from people goes into no product"

HIDDEN = "***"

SHORTEST = 4
"""A shorter secret is only taken out of addresses: it would be found in any text."""

TOKEN = 8
"""Length from which a user's name without a password is a token, and not a name such as git."""

HOLD = 8192
"""Characters of an endless line that are kept back, since a secret may go on behind them."""

_SECRET_NAME = re.compile(
    r"(?:^|_)(?:TOKEN|PASSWORD|PASSWD|PASSPHRASE|SECRET|CREDENTIALS?|API_?KEY|ACCESS_KEY|PAT)$",
    re.IGNORECASE,
)
# The scheme is bounded: an endless word would be searched from each of its characters.
_LOGIN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30}://)[^\s/?#\"'<>]*@")
_QUERY = re.compile(
    r"([?&][\w.-]*(?:token|sig|signature|password|passwd|secret|key|auth|credential)=)"
    r"[^&\s\"'<>#]+",
    re.IGNORECASE,
)
_HEADER = re.compile(
    r"(authorization[\"']?\s*[:=]\s*[\"']?(?:(?:basic|bearer|token|negotiate)\s+)?)"
    r"(?!(?:basic|bearer|token|negotiate)\b)[^\s\"',]+",
    re.IGNORECASE,
)
_known: set[str] = set()


def know(*values: str) -> None:
    """Remember secrets that come from elsewhere than the environment, for the whole process."""
    found = (form for value in values for form in _forms(value))
    _known.update(form for form in found if len(form) >= SHORTEST)


def learn(argv: Sequence[str]) -> None:
    """Remember the logins in a program's arguments: it may tell them in another form."""
    for word in argv:
        for login in _logins("", str(word)):
            know(*_of_login(login))


def _forms(word: str) -> set[str]:
    """Return a word as it may stand in a text: as it is, decoded, encoded, quoted."""
    plain = unquote(word)
    # The last is how Go encodes a password (net/url, encodeUserPassword).
    encoded = (quote(plain, safe=""), quote(plain), quote(plain, safe="$&+,;="))
    return {form for part in (word, plain, *encoded) for form in _quoted(part)}


def _quoted(word: str) -> set[str]:
    """Return a word as shells, Python and JSON write it between quotes."""
    json_own, json_ascii = (json.dumps(word, ensure_ascii=a)[1:-1] for a in (False, True))
    # Go writes these so that JSON may stand in a web page (encoding/json, HTMLEscape).
    for sign in "<>&":
        json_own = json_own.replace(sign, f"\\u{ord(sign):04x}")
    shell = shlex.quote(f"{word} ")[1:-2]
    return {word, json_own, json_ascii, shell, repr(word)[1:-1]}


def _basic(user: str, password: str) -> Iterator[str]:
    """Yield a login as RFC 7617 sends it; requests, and so pip, takes Latin-1 where that does."""
    words = f"{unquote(user)}:{unquote(password)}"
    for encoding in ("utf-8", "latin-1"):
        yield base64.b64encode(words.encode(encoding, errors="replace")).decode()


def _of_login(login: str) -> Iterator[str]:
    """Yield what is secret about `user:password` or `token` of an address."""
    user, colon, password = login.partition(":")
    yield from _basic(user, password)
    if password:
        yield login
        yield from _forms(password)
    # A token may stand in the user's place, with or without something behind it.
    if len(user) >= (TOKEN if not colon or password in ("", "x-oauth-basic") else 2 * TOKEN):
        yield from _forms(user)


def _logins(name: str, value: str) -> Iterator[str]:
    """Yield the logins in the addresses of a variable, which may be a list of them."""
    for word in {*value.split(), *re.split(r"[\s,|]+", value)}:
        scheme, _, rest = word.rpartition("://") if "://" in word else ("", "", word)
        if "@" not in rest or not (scheme or name.lower().endswith("proxy")):
            continue
        host = re.split(r"[/?#]", rest, maxsplit=1)[0]
        login = rest.rpartition("@")[0]
        if "@" in host:
            yield host.rpartition("@")[0]
        elif not (host.rpartition(":")[2].isdecimal() or ":" not in host):
            # A slash in a password should have been encoded; the password is one all the same.
            yield login


def _of_variable(name: str, value: str) -> Iterator[str]:
    if _SECRET_NAME.search(name):
        yield from _forms(value)
    if "PRIVATE KEY-----" in value:
        yield from (line for line in value.splitlines() if not line.startswith("-----"))
    if "@" in value:
        for login in _logins(name, value):
            yield from _of_login(login)
    if name == "GOAUTH":
        # `help goauth`: commands between semicolons; off, netrc and git have no secrets.
        for words in (part.split() for part in value.split(";")):
            if words and words[0] not in ("off", "netrc", "git"):
                for word in (w for w in words[1:] if len(w) >= TOKEN):
                    yield from _forms(word.rpartition("=")[2])
    if match := re.search(r"authorization:\s*(?:\S+\s+)?(\S+)\s*$", value, re.IGNORECASE):
        yield match[1]


def _of_netrc(environ: Mapping[str, str]) -> Iterator[str]:
    path = Path(environ.get("NETRC") or Path(environ.get("HOME") or "/nowhere") / ".netrc")
    try:
        hosts = netrc.netrc(str(path)).hosts.values()
    except (OSError, ValueError, netrc.NetrcParseError):
        return
    for user, _, password in hosts:
        if password:
            yield from _basic(quote(user or ""), quote(password))
            yield from _quoted(password)


def secrets(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Return everything that must not be shown, the longest first."""
    found = set(_known)
    for name, value in environ.items():
        found.update(_of_variable(name, value))
    found.update(_of_netrc(environ))
    return sorted((s for s in found if len(s) >= SHORTEST), key=lambda s: (-len(s), s))


def text(value: str, hidden: list[str] | None = None) -> str:
    """Return a text without secrets: `hidden`, else those of this process, and any login in it."""
    for secret in secrets() if hidden is None else hidden:
        value = value.replace(secret, HIDDEN)
    value = _LOGIN.sub(rf"\g<1>{HIDDEN}@", value)
    value = _QUERY.sub(rf"\g<1>{HIDDEN}", value)
    return _HEADER.sub(rf"\g<1>{HIDDEN}", value)


def remark(value: str, most: int) -> str:
    """Return what a server says, for a message: no secrets, no control characters, cut to `most`.

    Cut afterwards: half of a secret is not recognized.
    """
    return "".join(char for char in text(value).strip()[:most] if char.isprintable())


def is_secret(name: str, value: str, hidden: list[str]) -> bool:
    """Say whether a variable holds something that must not be shown, of its own or `hidden`."""
    return any(_of_variable(name, value)) or text(value, hidden) != value


class Filter:
    """Takes secrets out of a stream of bytes, line by line."""

    def __init__(self, hidden: list[str]) -> None:
        self._hidden, self._rest = hidden, ""

    def feed(self, data: bytes) -> bytes:
        """Return what may be written now; an unfinished line waits for its end."""
        self._rest += data.decode(errors="surrogateescape")
        lines, newline, self._rest = self._rest.rpartition("\n")
        done = text(lines, self._hidden) + newline if newline else ""
        if len(self._rest) > 2 * HOLD:
            self._rest = text(self._rest, self._hidden)
            done += self._rest[:-HOLD]
            self._rest = self._rest[-HOLD:]
        return done.encode(errors="surrogateescape")

    def end(self) -> bytes:
        """Return what is left."""
        done, self._rest = text(self._rest, self._hidden), ""
        return done.encode(errors="surrogateescape")
