"""``python -m tests.routeros.trees SOURCE``: the names that real routers know, made compact.

SOURCE is a JSON file (or .json.xz) of {release: {"/menu/command": [argument, …]}}: what
``/console/inspect`` answered on routers, as tikoci/restraml publishes it (public domain), reduced
to names. ``model/trees.json`` keeps from it the menus that a script of ours could touch: one
command a line with its arguments, and a word that not every release has carries its first and last
release: ``name@7.20`` (since), ``name@-7.19.6`` (until), ``name@7.20-7.22.3``.
"""

from __future__ import annotations

import json
import lzma
import sys
from functools import cache
from pathlib import Path

DATA = Path(__file__).parent / "model" / "trees.json"
ORIGIN = "tikoci/restraml (public domain): /console/inspect of real routers, snapshot of 2026-08"
# menus whose commands are kept whole, submenus included where the name ends with /
KEPT = (
    "/",
    "/container/",
    "/disk",
    "/file",
    "/interface",
    "/interface/veth",
    "/interface/bridge",
    "/interface/bridge/port",
    "/interface/list/",
    "/ip/address",
    "/ip/route",
    "/ip/dns",
    "/ip/dns/static",
    "/ip/firewall/filter",
    "/ip/firewall/mangle",
    "/ip/firewall/nat",
    "/ip/firewall/raw",
    "/ipv6/address",
    "/ipv6/firewall/filter",
    "/ipv6/firewall/nat",
    "/ipv6/route",
    "/ipv6/settings",
    "/log",
    "/routing/rule",
    "/routing/table",
    "/system",
    "/system/clock",
    "/system/device-mode",
    "/system/identity",
    "/system/ntp/client",
    "/system/package",
    "/system/resource",
    "/system/routerboard",
    "/system/scheduler",
    "/system/script/",
    "/tool",
    "/user",
)
Tree = dict[str, list[str]]


def kept(command: str) -> bool:
    """True for a command of a menu that is kept."""
    menu = command.rpartition("/")[0] or "/"
    return (
        any(
            menu == name.rstrip("/")
            or (len(name) > 1 and name[-1] == "/" and menu.startswith(name))
            for name in KEPT
        )
        or menu == "/"
    )


def numbers(release: str) -> tuple[int, ...]:
    """``7.20`` -> (7, 20, 0)."""
    parts = [int(part) for part in release.split(".")]
    return tuple(parts + [0] * (3 - len(parts)))


def spans(present: list[bool], releases: list[str]) -> list[str]:
    """Where a word is there: "" for everywhere, else one text per unbroken stretch."""
    if all(present):
        return [""]
    found = []
    start: int | None = None
    for index, there in enumerate([*present, False]):
        if there and start is None:
            start = index
        elif not there and start is not None:
            since = releases[start] if start else ""
            until = "" if index == len(releases) else f"-{releases[index - 1]}"
            found.append(f"@{since}{until}")
            start = None
    return found


def compact(trees: dict[str, Tree]) -> dict[str, object]:
    """The trees with every command once. Raises ValueError if the releases are out of order."""
    releases = list(trees)
    if releases != sorted(releases, key=numbers):
        raise ValueError("the releases are not in order")
    commands: dict[str, str] = {}
    for command in sorted({name for tree in trees.values() for name in tree if kept(name)}):
        having = [command in tree for tree in trees.values()]
        words = [f"={span}" for span in spans(having, releases) if span]
        names = {name for tree in trees.values() for name in tree.get(command, [])}
        for name in sorted(names):
            # where the command itself is missing its arguments say nothing
            there = [name in tree[command] if command in tree else True for tree in trees.values()]
            words += [name + span for span in spans(there, releases)]
        commands[command] = " ".join(words)
    return {"origin": ORIGIN, "releases": " ".join(releases), "commands": commands}


@cache
def data() -> tuple[list[str], dict[str, list[str]]]:
    """The releases in order, and the words of every command."""
    stored = json.loads(DATA.read_text())
    commands = {name: str(words).split() for name, words in stored["commands"].items()}
    return str(stored["releases"]).split(), commands


def holds(span: str, release: str) -> bool:
    """True if ``7.20-7.22.3`` and the like hold for a known release."""
    since, dash, until = span.partition("-")
    number = numbers(release)
    if since and number < numbers(since):
        return False
    return not (dash and until) or number <= numbers(until)


@cache
def tree(release: str) -> dict[str, frozenset[str]]:
    """The arguments of every command of a known release. Raises KeyError for another one."""
    releases, commands = data()
    if release not in releases:
        raise KeyError(release)
    found = {}
    for command, words in commands.items():
        names = set()
        there = not any(word.startswith("=@") for word in words)
        for word in words:
            name, at, span = word.partition("@")
            if at and not holds(span, release):
                continue
            if name == "=":
                there = True
            else:
                names.add(name)
        if there:
            found[command] = frozenset(names)
    return found


def main(source: str) -> None:
    """Write the data anew from a source."""
    raw = Path(source).read_bytes()
    text = lzma.decompress(raw) if source.endswith(".xz") else raw
    DATA.write_text(json.dumps(compact(json.loads(text)), indent=0, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
