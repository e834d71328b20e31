"""Renders the scripts under ``routeros/`` from their templates, and checks their form.

A template is RouterOS script with lines of its own, each beginning with ``#@``:

    #@ include common      the text of common.rsc from the same folder
    #@ if 7.20-7.22        kept when rendered for a version in the range (7.20: from, -7.19: to)
    #@ if universal        kept when rendered for every version at once
    #@ if fixed            kept when rendered for one version
    #@ end

and ``{{NAME}}`` for values. The scripts in the repository are the universal ones: they ask the
router for its version while they run. A script for one version is shorter and refuses others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from build.config.pins import pin
from build.core.errors import UserError
from build.core.version import first_of

SCRIPTS = (
    "settings-tailscale",
    "library-tailscale",
    "update-tailscale",
    "install-tailscale",
    "uninstall-tailscale",
    "status-tailscale",
)
# what the scripts do needs these permissions; a script with more of them than its caller is refused
POLICY = "ftp,read,write,policy,test"
# those that only look: anybody who may run scripts may run them
LOOKING = ("status-tailscale",)
POLICIES = dict.fromkeys(SCRIPTS, POLICY) | dict.fromkeys(LOOKING, "read,write,test")
MINIMUM = "7.19"
# the newest release whose commands are known (tests/routeros/model/trees.json)
NEWEST = "7.24"
# a script's source can be edited on the router up to this many characters (manual, scripting)
LIMIT = 30_000
WIDTH = 120
_VALUE = re.compile(r"\{\{([A-Z]+)\}\}")


class TemplateError(UserError):
    """A template or a version that cannot be rendered; the message says where and why."""


@dataclass(frozen=True)
class Values:
    """What the templates are filled with. Raises TemplateError for an image or tag that is none.

    image: host/path without a tag, always with the host. tag: what routers follow. release: the
    tag that these scripts were released with: the first one of the pinned Tailscale. year: a clock
    that shows an earlier year is not set. entrypoint, cmd: what the container runs, said outright
    because RouterOS 7.22 loses the image's own (docs/USAGE.md); they must agree with
    build/data/rootfs.toml.
    """

    image: str = "ghcr.io/OWNER/mikrotik-tailscale"
    tag: str = "stable"
    release: str = field(default_factory=lambda: first_of(pin("tailscale").version).tag)
    year: int = 2026
    entrypoint: str = "/usr/local/bin/entrypoint.sh"
    cmd: str = (
        "--no-logs-no-support --state=/var/lib/tailscale/tailscaled.state "
        "--socket=/var/run/tailscale/tailscaled.sock --statedir=/var/lib/tailscale"
    )
    tmpfs: str = "/var/run/tailscale"

    def __post_init__(self) -> None:
        """Refuse what would not be an address or a tag on the router."""
        host, path = r"[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?", r"[A-Za-z0-9._-]+"
        if not re.fullmatch(rf"{host}(/{path})+", self.image):
            raise TemplateError(
                f"{self.image!r} is no image",
                why="it reads HOST/PATH, without a tag or digest",
                cure="write it as ghcr.io/you/mikrotik-tailscale",
            )
        if not re.fullmatch(r"([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?", self.tag):
            raise TemplateError(f"{self.tag!r} is no tag")


def quoted(text: str) -> str:
    """A text as data between the quotes of a script: nothing in it is code.

    Source: the manual's scripting, escapes of a string.
    """
    return re.sub(r'(["\\$?])', r"\\\1", text)


Version = tuple[int, int, int]


def parse_version(text: str) -> Version:
    """``7.20`` -> (7, 20, 0), ``7.20.8`` -> (7, 20, 8). Raises TemplateError for anything else."""
    match = re.fullmatch(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    if not match:
        raise TemplateError(f"{text!r} is no RouterOS version; write it as 7.20 or 7.20.8")
    return int(match[1]), int(match[2]), int(match[3] or 0)


def supported(version: str) -> Version:
    """The version's numbers. Raises TemplateError if the scripts cannot work on it."""
    numbers = parse_version(version)
    if numbers < parse_version(MINIMUM):
        raise TemplateError(
            f"RouterOS {version} has no named containers; {MINIMUM} is the oldest "
            "that the scripts work on"
        )
    return numbers


def holds(condition: str, version: Version | None) -> bool:
    """Whether a ``#@ if`` keeps its lines; None renders for every version at once.

    Raises TemplateError for a condition that is none.
    """
    if condition == "universal":
        return version is None
    if condition == "fixed":
        return version is not None
    since, dash, until = condition.partition("-")
    if not since and not until:
        raise TemplateError(f"empty condition {condition!r}")
    low = parse_version(since) if since else (0, 0, 0)
    high = parse_version(until) if until else (99, 99, 99)
    if until.count(".") == 1:
        # an end of two numbers takes in its patch releases
        high = (high[0], high[1], 99)
    if not dash:
        high = (99, 99, 99)
    return version is not None and low <= version <= high


def _number(version: Version) -> int:
    """As the scripts count: 7.23.2 -> 72302."""
    return version[0] * 10000 + version[1] * 100 + version[2]


def _expand(path: Path, version: Version | None) -> list[str]:
    if not path.is_file():
        raise TemplateError(f"no template {path}")
    lines: list[str] = []
    keep: list[bool] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.startswith("#@"):
            if all(keep):
                lines.append(line)
            continue
        word, _, argument = line[2:].strip().partition(" ")
        if word == "if":
            keep.append(holds(argument, version))
        elif word == "end" and keep:
            keep.pop()
        elif word == "include":
            if all(keep):
                lines.extend(_expand(path.with_name(f"{argument}.rsc"), version))
        else:
            raise TemplateError(f"{path.name}:{number}: cannot read {line!r}")
    if keep:
        raise TemplateError(f"{path.name}: {len(keep)} #@ if without #@ end")
    return lines


def _wrapped(text: str) -> str:
    """Words of a quoted string, one on a line of the script, joined by its own operator."""
    return ' " . \\\n    "'.join(text.split(" "))


def render(
    name: str, folder: Path, version: str | None = None, values: Values | None = None
) -> str:
    """The text of one script.

    name: one of SCRIPTS. folder: where the templates are. version: a RouterOS version, or None
    for a script that works on all of them. values: what to fill in; the defaults if None.
    Raises TemplateError for an unknown name, version or placeholder.
    """
    if name not in SCRIPTS:
        raise TemplateError(f"no script {name!r}; there are {', '.join(SCRIPTS)}")
    numbers = supported(version) if version is not None else None
    chosen = values or Values()
    known = {
        "IMAGE": quoted(chosen.image),
        "TAG": quoted(chosen.tag),
        "POLICY": POLICY,
        "LOOKING": POLICIES[LOOKING[0]],
        "RELEASE": chosen.release,
        "YEAR": str(chosen.year),
        "ENTRYPOINT": chosen.entrypoint,
        "CMD": _wrapped(chosen.cmd),
        "TMPFS": chosen.tmpfs,
        "MINIMUM": version or MINIMUM,
        "NEWEST": NEWEST,
        "KNOWN": str(_number(parse_version(NEWEST)) // 100),
        "RENDERED": f"{version}" if version else f"{MINIMUM} and newer",
        "FROM": str(_number(numbers)) if numbers else "",
        "TO": str(_number((numbers[0], numbers[1], 99))) if numbers else "",
    }

    def fill(match: re.Match[str]) -> str:
        if match[1] not in known:
            raise TemplateError(f"{name}: no value for {match[0]}")
        return known[match[1]]

    text = "\n".join(_expand(folder / f"{name}.rsc", numbers)) + "\n"
    return _VALUE.sub(fill, text)


def render_all(
    folder: Path, version: str | None = None, values: Values | None = None
) -> dict[str, str]:
    """Every script, by file name."""
    return {f"{name}.rsc": render(name, folder, version, values) for name in SCRIPTS}


def write(folder: Path, texts: dict[str, str]) -> list[Path]:
    """Write {file name: text} into a folder that is there, each whole or not at all; sorted."""
    for name, text in texts.items():
        fresh = folder / f"{name}.tmp"
        fresh.write_text(text)
        fresh.replace(folder / name)
    return [folder / name for name in sorted(texts)]


def lint(name: str, text: str) -> list[str]:
    """What is wrong with the form of a script, one finding a line; [] if nothing.

    The header is a contract: people and tools read from it what the script needs.
    """
    findings = []
    lines = text.splitlines()
    head = "\n".join(lines[:20])
    if lines[:1] != ["#!rsc by RouterOS"]:
        findings.append("the first line is not '#!rsc by RouterOS'")
    for pattern, what in (
        (rf"^# RouterOS script: {re.escape(name)}$", f"'# RouterOS script: {name}'"),
        (r"^# requires RouterOS, version=\d+\.\d+", "'# requires RouterOS, version='"),
        (r"^# docs/USAGE\.md#[a-z-]+$", "a link to its section of docs/USAGE.md"),
    ):
        if not re.search(pattern, head, re.MULTILINE):
            findings.append(f"the header lacks {what}")
    if len(text) > LIMIT:
        findings.append(f"{len(text)} characters, more than the {LIMIT} a router can edit")
    for number, line in enumerate(lines, 1):
        if len(line) > WIDTH:
            findings.append(f"line {number} has {len(line)} characters, more than {WIDTH}")
        if "\t" in line or line != line.rstrip():
            findings.append(f"line {number} has a tab or blanks at its end")
        if not line.isascii():
            findings.append(f"line {number} has a character outside ASCII")
        if "{{" in line and _VALUE.search(line):
            findings.append(f"line {number} has a value that nobody filled in")
        if line.startswith("#@"):
            findings.append(f"line {number} is a template line")
    return findings
