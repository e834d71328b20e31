"""Every applet of every platform with every letter as an option: none may die by a signal."""

from __future__ import annotations

import functools
import json
import os
import signal
import string
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from running import emulator

from build.config.pins import pin
from build.config.targets import Target, targets
from build.core import cache
from build.native import busybox
from build.sources import obtain

pytestmark = pytest.mark.root

INSIDE = Path(__file__).parent / "applets_inside.py"

ASKED_FOR = {"kill", "killall", "pkill", "timeout"}
"""Applets that send the signals they are told to, to themselves too."""
SENT = {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL, signal.SIGTERM}
SENT |= {signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGPIPE}


EVERY = string.ascii_letters + string.digits


def tried(binary: Path, applet: str, target: Target, letters: str) -> dict[str, list]:
    """Return what the sandbox saw: a user namespace, so that no clock or kernel log is touched."""
    words = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--net", "--uts", "--ipc"]
    words += ["--fork", "--kill-child", "--mount-proc", sys.executable, str(INSIDE)]
    emulated = emulator(target)
    words += [str(binary), applet, "2" if emulated else "0.3", letters]
    words += [emulated[0], emulated[2]] if emulated else []
    done = subprocess.run(words, capture_output=True, text=True, timeout=900, cwd="/")
    assert done.returncode == 0, f"{applet}: {done.stderr}"
    found: dict[str, list] = json.loads(done.stdout)
    return found


def deaths(
    binary: Path, letters: dict[str, str], target: Target
) -> tuple[list[str], dict[str, str]]:
    """Try {applet: letters}; returns who died by which signal, and {applet: letters taken}."""
    # Most of them wait, for input or a signal, until their time is up.
    with ThreadPoolExecutor(4 * (os.cpu_count() or 1)) as pool:
        results = pool.map(lambda row: tried(binary, row[0], target, row[1]), letters.items())
        found = dict(zip(letters, results, strict=True))
    rows = [
        f"{' '.join(words)}: {signal.Signals(number).name}"
        for applet, seen in found.items()
        for words, number in seen["died"]
        if not (applet in ASKED_FOR and number in SENT)
    ]
    return rows, {applet: "".join(seen["taken"]) for applet, seen in found.items()}


def built(target: Target) -> tuple[Path, list[str]]:
    """Return a platform's busybox before compression, and its applets."""
    entry = busybox.build(target, pin("busybox"), pin("zig"), obtain.tree)
    return cache.checked(entry.artifact("busybox")), list(entry.facts["applets"])


def native() -> Target:
    """Return this machine's own platform."""
    (own,) = [target for target in targets().values() if not emulator(target)]
    return own


@functools.cache
def on_this_machine() -> tuple[list[str], dict[str, str]]:
    """Try every letter of every applet natively. The other platforms have the same options."""
    binary, applets = built(native())
    return deaths(binary, dict.fromkeys(applets, EVERY), native())


def some(letters: str) -> str:
    """Return what to try where each try takes seconds: who takes every letter reads none."""
    return letters if letters != EVERY else EVERY[:8]


@pytest.mark.parametrize("target", targets().values(), ids=lambda target: target.name)
def test_no_applet_dies_by_a_signal(shared_cache: Path, target: Target) -> None:
    rows, taken = on_this_machine()
    assert sum(map(len, taken.values())) > 300, "the sandbox tried nothing"
    if emulator(target):
        binary, applets = built(target)
        assert applets == list(taken)
        rows, _ = deaths(binary, {name: some(letters) for name, letters in taken.items()}, target)
    assert rows == []


def test_a_crash_is_seen(places: Path, shared_cache: Path) -> None:
    """Negative control: a program that dies of -T with a word behind it."""
    broken = places / "broken"
    source = places / "broken.c"
    text = "int main(int c, char **v) { return c > 3 && v[2][1] == 'T' ? *(volatile int *)0 : 0; }"
    source.write_text(text)
    zig = obtain.tree(pin("zig")).data / "ziglang" / "zig"
    env = {"HOME": str(places), "PATH": "/usr/bin:/bin"}
    words = [str(zig), "cc", "-target", "x86_64-linux-musl", "-static", "-fno-sanitize=all"]
    subprocess.run([*words, str(source), "-o", str(broken)], check=True, env=env, cwd=places)
    rows, _ = deaths(broken, {"wget": EVERY}, native())
    assert rows and all(row.startswith("wget -T ") and "SIG" in row for row in rows)
