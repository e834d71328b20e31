"""busybox: sources, list of applets and platform to one static binary and its applets' names."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from build.config import toolpath
from build.config.pins import Pin
from build.config.targets import Target
from build.core import cache, command, digest
from build.core.errors import BuildFailed, UserError
from build.core.paths import APPLETS, work_dir
from build.native import crosscc
from build.sources import obtain

OWN_SYMBOLS = {"EXTRA_LDFLAGS": '"-s"', "EXTRA_CFLAGS": '""'}
"""Symbols that belong to how we build, not to what the image can do: stripped by the linker."""

_LINE = re.compile(r'(?:CONFIG_)?([A-Z0-9_]+)=(y|\d+|"[^"]*")')
_FORBIDDEN = ("FEATURE_SH_STANDALONE", "FEATURE_SH_NOFORK", "FEATURE_PREFER_APPLETS")
# UPX breaks re-execution of /proc/self/exe (upx#248), which these rely on.


def wanted_symbols(path: Path = APPLETS) -> dict[str, str]:
    """Read busybox-applets.config: one SYMBOL=value each line, # starts a comment.

    Raises UserError for any other line and for symbols that do not work in a compressed binary.
    """
    wanted: dict[str, str] = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        text = line.split("#", 1)[0].strip()
        if not text:
            continue
        match = _LINE.fullmatch(text)
        if not match or match[1] in wanted or match[1] in _FORBIDDEN:
            why = 'it is neither SYMBOL=y, SYMBOL=number nor SYMBOL="text"'
            if match:
                why = "it is there twice" if match[1] in wanted else "it breaks under UPX (upx#248)"
            raise UserError(f"{path.name}:{number}: cannot take '{text}'", why=why)
        wanted[match[1]] = match[2]
    return wanted


def configured(wanted: dict[str, str], config: str) -> list[str]:
    """Return what was asked for and is not in busybox's final .config, one text for each."""
    lines = set(config.splitlines())
    missing = [
        f"CONFIG_{symbol}={value}"
        for symbol, value in wanted.items()
        if f"CONFIG_{symbol}={value}" not in lines
    ]
    return missing + [f"CONFIG_{s} (must be off)" for s in _FORBIDDEN if f"CONFIG_{s}=y" in lines]


def applet_names(table: str) -> list[str]:
    """Read the applets' names out of busybox's own include/applet_tables.h.

    Raises BuildFailed if the table has another shape or its count does not agree.
    """
    body = re.search(r"applet_names\[\][^=]*=\s*\"\"(.*?);", table, re.DOTALL)
    count = re.search(r"#define NUM_APPLETS (\d+)", table)
    names = re.findall(r'"([^"\\]+)" "\\0"', body[1]) if body else []
    if not count or len(names) != int(count[1]):
        raise BuildFailed(
            "busybox's table of applets was not understood",
            why=f"found {len(names)} names, it says {count[1] if count else 'nothing'}",
        )
    return names


def build(target: Target, source: Pin, zig: Pin, tree: Callable[[Pin], cache.Entry]) -> cache.Entry:
    """Return the object with `busybox` for a platform; its facts list the `applets`.

    `tree` gives the unpacked sources of a pin. No code of the target platform is run.
    Raises BuildFailed if an asked-for symbol is not in the final configuration.
    """
    wanted = wanted_symbols() | OWN_SYMBOLS
    inputs = {
        "name": "busybox",
        "target": target.name,
        "trees": {pin.name: obtain.tree_key(pin) for pin in (source, zig)},
        "tools": toolpath.identity(),
        "applets": digest.of_json(wanted),
        "flags": list(target.zig_target),
        "epoch": source.epoch,
    }

    def make(out: Path, scratch: Path) -> dict[str, Any]:
        sources, compiler = tree(source).data, tree(zig).data / "ziglang" / "zig"
        return _make(target, source, sources, compiler, wanted, out, scratch)

    title = f"busybox {source.version}"
    return cache.obtain("busybox", target.name, inputs, make, title=title)


def _make(
    target: Target,
    source: Pin,
    sources: Path,
    zig: Path,
    wanted: dict[str, str],
    out: Path,
    scratch: Path,
) -> dict[str, Any]:
    bin_dir, objects = scratch / "bin", scratch / "o"
    bin_dir.mkdir()
    objects.mkdir()
    # Paths must not reach the binary: it has to be the same wherever the cache is.
    maps = (f"-ffile-prefix-map={sources}=.", f"-ffile-prefix-map={objects}=.")
    flags = (*target.zig_target, *maps)
    wrappers = {"mt-cc": ("cc", *flags), "mt-hostcc": ("cc", *crosscc.HOST), "mt-ar": ("ar",)}
    crosscc.write_wrappers(bin_dir, zig, wrappers)
    programs = toolpath.folder()
    env = toolpath.environment(scratch, f"{bin_dir}:{programs}")
    env |= crosscc.environment(scratch / "zig", cache.part("zig"))
    env["SOURCE_DATE_EPOCH"] = str(source.epoch)
    record = work_dir() / target.name / "busybox.log"

    def make(*words: str, stdin: str = "", append: bool = True) -> None:
        argv = [str(programs / "make"), "-C", str(sources), f"O={objects}"]
        argv += ["CC=mt-cc", "HOSTCC=mt-hostcc"]
        argv += ["AR=mt-ar", "STRIP=true", "SKIP_STRIP=y"]
        command.run(
            [*argv, *words],
            what=f"busybox for {target.name}",
            log_file=record,
            env=env,
            cwd=objects,
            stdin=stdin,
            append=append,
        )

    make("allnoconfig", append=False)
    config = objects / ".config"
    asked = {f"CONFIG_{symbol}" for symbol in wanted}
    kept = [
        line
        for line in config.read_text().splitlines()
        if not asked & set(re.findall(r"CONFIG_\w+", line))
    ]
    kept += [f"CONFIG_{symbol}={value}" for symbol, value in wanted.items()]
    config.write_text("\n".join(kept) + "\n")
    # oldconfig asks about each symbol that the wanted ones brought up; an empty line takes
    # busybox's default.
    make("oldconfig", stdin="\n" * 5000)
    if missing := configured(wanted, config.read_text()):
        raise BuildFailed(
            f"busybox for {target.name} is not configured as asked",
            why="not in the final .config: " + ", ".join(missing),
            cure="the symbol may be unknown to this busybox or depend on another; see its "
            "Config.in, then change busybox-applets.config",
        )
    make(f"-j{os.cpu_count() or 1}", "busybox_unstripped")
    names = applet_names((objects / "include" / "applet_tables.h").read_text())
    (objects / "busybox_unstripped").rename(out / "busybox")
    (out / "config").write_text(config.read_text())
    return {"applets": names}
