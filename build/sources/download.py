"""Archives of pins over HTTP: upstream's addresses, then Debian's pool, several rounds."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from build.config.pins import Pin
from build.core import http, log
from build.core.address import shown, split_login
from build.core.errors import SourceError

UNKEYED = "what it brings is compared with the pin"

ROUNDS = 3
"""How often all addresses of a pin are tried before giving up."""

PAUSE = 0.5
"""Seconds before the second round; each later one waits twice as long."""

LARGEST = 1 << 30
"""Bytes of a file whose size is not known yet, of a draft."""


def debian_mirrors() -> list[str]:
    """Return addresses of Debian mirrors: $MT_DEBIAN_MIRROR, else those apt is configured with.

    Format: sources.list(5), both the one-line and the deb822 style.
    """
    if own := os.environ.get("MT_DEBIAN_MIRROR"):
        return [own.rstrip("/")]
    apt = Path(os.environ.get("MT_APT_DIR", "/etc/apt"))
    found: dict[str, None] = {}
    for path in [apt / "sources.list", *sorted(apt.glob("sources.list.d/*"))]:
        if not path.is_file():
            continue
        for line in path.read_text(errors="replace").splitlines():
            words = line.split()
            if words[:1] in (["deb"], ["URIs:"]):
                found |= {w.rstrip("/"): None for w in words if w.startswith(("http:", "https:"))}
    return [address for address in found if "security" not in address]


def archive(wanted: Pin, out: Path, advance: log.Advance) -> str:
    """Download from the first address that has a file of the pin's size; returns that address.

    Raises SourceError. The file's sum is not compared here, but a shorter one is asked for again.
    """
    addresses = list(wanted.urls)
    if wanted.debian_pool:
        addresses += [f"{mirror}/pool/{wanted.debian_pool}" for mirror in debian_mirrors()]
    outcomes: dict[str, str] = {}
    with contextlib.closing(http.Transport(attempts=1)) as wire:
        for attempt in range(ROUNDS):
            wait = 0.0
            for address in list(addresses):
                final, outcome, asked = _download(wire, address, out, wanted, advance)
                if not outcome:
                    return split_login(address)[0]
                outcomes[shown(address)] = outcome
                wait = max(wait, asked)
                if final:
                    addresses.remove(address)
            if not addresses:
                break
            if attempt + 1 < ROUNDS:
                time.sleep(max(PAUSE * 2**attempt, min(wait, http.LONGEST_PAUSE)))
    raise SourceError(
        f"{wanted.title} could not be downloaded",
        why="; ".join(f"{address}: {why}" for address, why in outcomes.items()) or "no address",
        cure="check the network; set MT_DEBIAN_MIRROR to a Debian mirror that answers, or put "
        f"{wanted.file} into a folder and name it in MT_SOURCES",
    )


def _download(
    wire: http.Transport, address: str, out: Path, wanted: Pin, advance: log.Advance
) -> tuple[bool, str, float]:
    """Try one address; returns (another try is useless, what went wrong or "", seconds to wait)."""
    most = wanted.size + 1 if wanted.sha256 else LARGEST
    try:
        with out.open("wb") as sink:

            def take(piece: bytes) -> None:
                sink.write(piece)
                advance(len(piece))

            answer = wire.follow("GET", address, lambda where: {}, most=most, sink=take)
    except http.TooLongError:
        return True, f"{wanted.file}: wanted size={most - 1}, got more than {most} bytes", 0.0
    except http.TransientError as fault:
        return False, _reason(fault, address), fault.wait or 0.0
    except http.HttpError as error:
        return True, _reason(error, address), 0.0
    if answer.status != 200:
        asked = http.passing(answer).wait
        return answer.status not in http.PASSING, f"HTTP {answer.status}", asked or 0.0
    size = out.stat().st_size
    if wanted.sha256 and size < wanted.size:
        # A truncated transfer may be whole next time, other bytes will not change.
        return False, f"{wanted.file}: wanted size={wanted.size}, got size={size} ", 0.0
    return True, "", 0.0


def _reason(error: Exception, address: str) -> str:
    return str(error).removeprefix(f"{shown(address)}: ").replace("\n", "; ")
