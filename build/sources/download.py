"""Bringing the file of a pin here: over HTTP, by pip, or by the go command.

Nothing is compared with the pin here, and nothing goes into the cache: `obtain` does both.
"""

from __future__ import annotations

import os
import re
import ssl
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from build.config.pins import Pin
from build.core import command, digest, log
from build.core.errors import BuildFailed, SourceError
from build.core.paths import work_dir

UNKEYED = "what it brings is compared with the pin"

ROUNDS = 3
"""How often all addresses of a pin are tried before giving up."""

PAUSE = 0.5
"""Seconds before the second round; each later one waits twice as long."""

CONNECT_SECONDS, READ_SECONDS = 10.0, 60.0


def fault_of(wanted: Pin, path: Path) -> str:
    """Return what differs between a file and its pin, "" if nothing does."""
    if not wanted.sha256:  # of a draft; a pin without sums is not loaded
        return ""
    size, sha256 = path.stat().st_size, digest.of_file(path)
    if (size, sha256) == (wanted.size, wanted.sha256):
        return ""
    return (
        f"{wanted.file}: wanted size={wanted.size} sha256={wanted.sha256}, "
        f"got size={size} sha256={sha256}"
    )


def fault_of_sum(wanted: Pin, path: Path) -> str:
    """Compare a Go module with its h1 sum, which ties the pin to the Go checksum database."""
    if not wanted.h1 or (got := digest.of_go_module(path)) == wanted.h1:
        return ""
    return f"{wanted.file}: wanted {wanted.h1}, got {got}"


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
    """Download from the first address that has the right file; returns that address."""
    addresses = list(wanted.urls)
    if wanted.debian_pool:
        addresses += [f"{mirror}/pool/{wanted.debian_pool}" for mirror in debian_mirrors()]
    outcomes: dict[str, str] = {}
    for attempt in range(ROUNDS):
        for address in list(addresses):
            final, outcome = _download(address, out, wanted, advance)
            if not outcome:
                return address
            outcomes[address] = outcome
            if final:
                addresses.remove(address)
        if not addresses:
            break
        if attempt + 1 < ROUNDS:
            time.sleep(PAUSE * 2**attempt)
    raise SourceError(
        f"{wanted.title} could not be downloaded",
        why="; ".join(f"{address}: {why}" for address, why in outcomes.items()) or "no address",
        cure="check the network; set MT_DEBIAN_MIRROR to a Debian mirror that answers, or put "
        f"{wanted.file} into a folder and name it in MT_SOURCES",
    )


def _download(address: str, out: Path, wanted: Pin, advance: log.Advance) -> tuple[bool, str]:
    """Try one address; returns (another try is useless, what went wrong or "")."""
    # Imported here: requests costs 100 ms that a build with everything in the cache need not pay.
    import requests

    try:
        with requests.Session() as session:
            session.verify = certificates()
            timeout = (CONNECT_SECONDS, READ_SECONDS)
            with session.get(address, stream=True, timeout=timeout) as answer:
                if answer.status_code != 200:
                    passing = answer.status_code >= 500 or answer.status_code in (408, 429)
                    return not passing, f"HTTP {answer.status_code} {answer.reason}"
                with out.open("wb") as sink:
                    for chunk in answer.iter_content(1 << 16):
                        sink.write(chunk)
                        advance(len(chunk))
    except requests.RequestException as error:
        return False, network_phrase(error) or str(error)
    if fault := fault_of(wanted, out):
        # A truncated transfer may be whole next time, other bytes will not change.
        return out.stat().st_size >= wanted.size, fault
    return True, ""


def certificates() -> str | bool:
    """Return what requests should trust: the machine's own authorities, unless it is told else."""
    if any(name in os.environ for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")):
        return True
    paths = ssl.get_default_verify_paths()
    return paths.cafile or paths.capath or True


def network_phrase(error: Exception) -> str:
    """Return what a failed request means to people, "" if that is not known."""
    text = str(error)
    for mark, phrase in (
        ("NameResolution", "its name cannot be resolved (no network?)"),
        ("Failed to resolve", "its name cannot be resolved (no network?)"),
        ("Connection refused", "the connection was refused"),
        ("timed out", "it did not answer in time"),
        ("IncompleteRead", "the transfer broke off"),
        ("CERTIFICATE_VERIFY_FAILED", "its certificate is not trusted"),
        ("SSL", "it does not speak TLS as it should"),
        ("onnection aborted", "the connection was cut"),
        ("onnection broken", "the connection was cut"),
        ("reset by peer", "the connection was cut"),
    ):
        if mark in text:
            return phrase
    return ""


def _attempts(wanted: Pin, folder: Path) -> Iterator[tuple[int, Path]]:
    for attempt in range(ROUNDS):
        if attempt:
            time.sleep(PAUSE * 2**attempt)
        room = folder / f"try{attempt}"
        room.mkdir()
        yield attempt, room


# What pip and go say where another try is useless. A port or a folder may well contain 404.
_FINAL = re.compile(
    r"(?<![\w:./-])(?:403|404|410)(?![\w.])|not found|no matching distribution|no such file|"
    r"do not match the hashes",
    re.IGNORECASE,
)


def _by_client(wanted: Pin, out: Path, argv: list[str], product: str, env: dict[str, str]) -> Path:
    """Run a registry's own client, which leaves `product` in its folder; passing faults retried.

    `product` may be a glob pattern. Returns where the client had left it.
    """
    folder = out.parent
    record = work_dir() / "fetch" / f"{wanted.name}.log"
    for attempt, room in _attempts(wanted, folder):
        here = [part.replace("{room}", str(room)) for part in argv]
        variables = {name: value.replace("{room}", str(room)) for name, value in env.items()}
        failure = None
        try:
            command.run(
                here, what=f"fetching {wanted.title}", log_file=record, env=variables, cwd=room
            )
        except BuildFailed as error:
            failure = error
        # The go command refuses a module that needs a newer Go, but has it by then.
        if found := next(room.glob(product), None):
            found.rename(out)
            return found
        said = record.read_text(errors="replace").partition("\n")[2]
        if attempt + 1 == ROUNDS or _FINAL.search(said):
            raise SourceError(
                f"{wanted.title} could not be fetched",
                why=f"{failure.why if failure else 'the client brought no file'}",
                cure="check the network and the registry settings of pip or go (PIP_INDEX_URL, "
                f"GOPROXY), or put {wanted.file} into a folder and name it in MT_SOURCES",
            )
    raise AssertionError("unreachable: the last attempt returns or raises")


def wheel(wanted: Pin, out: Path) -> Path:
    """Bring a wheel by pip, and return where that left it. Raises SourceError."""
    requirement = out.parent / "requirement.txt"
    known = f" --hash=sha256:{wanted.sha256}" if wanted.sha256 else ""
    requirement.write_text(f"{wanted.package}=={wanted.version}{known}\n")
    argv = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    argv += ["--no-cache-dir", "--progress-bar=off", "--disable-pip-version-check"]
    argv += ["--require-hashes"] if known else []
    argv += ["-r", str(requirement), "-d", "{room}"]
    env = command.network_environment() | {"PATH": os.environ.get("PATH", "/usr/bin:/bin")}
    # Another version's wheel may be made for other platforms, which its file name lists.
    return _by_client(wanted, out, argv, wanted.file if known else "*.whl", env)


def gomodule(wanted: Pin, out: Path, go: Path, *, database: bool = False) -> Path:
    """Bring the zip of a Go module by the go command `go`, and return where that left it.

    With `database` it is compared with the Go checksum database. Raises SourceError.
    """
    argv = [str(go), "mod", "download", "-json", f"{wanted.module}@v{wanted.version}"]
    env = command.network_environment() | {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "HOME": os.environ.get("HOME", "{room}"),
        "GOENV": "off",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-modcacherw",
        "GOMODCACHE": "{room}",
        "GOPATH": "{room}/gopath",
        "GOCACHE": "{room}/gocache",
    }
    if database:
        # GOPRIVATE of the user's settings would quietly leave the database out.
        env["GONOSUMDB"] = "none"
    elif wanted.module != "golang.org/toolchain":
        # The pin's own sum is checked below. For toolchains the go command insists on the
        # checksum database, which its module proxy passes on.
        env["GOSUMDB"] = "off"
    product = f"cache/download/{wanted.module}/@v/v{wanted.version}.zip"
    return _by_client(wanted, out, argv, product, env)
