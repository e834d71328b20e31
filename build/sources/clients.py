"""Wheels and Go modules of pins, brought by their registries' own clients, pip and go."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from build.config.pins import Pin
from build.core import command
from build.core.errors import BuildFailed, SourceError
from build.core.paths import work_dir
from build.sources import download

UNKEYED = "what it brings is compared with the pin"


def _attempts(wanted: Pin, folder: Path) -> Iterator[tuple[int, Path]]:
    for attempt in range(download.ROUNDS):
        if attempt:
            time.sleep(download.PAUSE * 2**attempt)
        room = folder / f"try{attempt}"
        room.mkdir()
        yield attempt, room


# What pip and go say where another try is useless. A port or a folder may well contain 404.
_FINAL = re.compile(
    r"(?<![\w:./-])(?:403|404|410)(?![\w.])|not found|no matching distribution|no such file|"
    r"do not match the hashes",
    re.IGNORECASE,
)


def is_refusal(said: str) -> bool:
    """Say whether a client was told no, which another try, or a better network, does not change."""
    return bool(_FINAL.search(said))


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
        if attempt + 1 == download.ROUNDS or is_refusal(said):
            raise SourceError(
                f"{wanted.title} could not be fetched",
                why=f"{failure.why if failure else 'the client brought no file'}",
                cure="check the network and the registry settings of pip or go (PIP_INDEX_URL, "
                f"GOPROXY), or put {wanted.file} into a folder and name it in MT_SOURCES",
            )
    raise AssertionError("unreachable: the last attempt returns or raises")


def wheel(wanted: Pin, out: Path) -> Path:
    """Have pip bring a wheel to `out`; returns where it was. Raises SourceError."""
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
    """Have the command `go` bring a module to `out`; returns where it was. Raises SourceError.

    With `database` it compares the module with the Go checksum database.
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
