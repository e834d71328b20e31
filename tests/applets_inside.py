"""Tries letters as options of one applet; PID 1 of the sandbox that test_applets.py makes.

    applets_inside.py BUSYBOX APPLET SECONDS LETTERS [EMULATOR CPU]

Prints one JSON line: `died` lists [words, signal], `taken` the letters that the applet knows.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

MORE = (["1"], ["a", "b"], ["1", "a", "b"], ["x=y", "1"], ["b"])
"""What is put behind a letter that is taken: numbers, files and assignments."""

REFUSED = ("invalid option", "unrecognized option", "illegal option", "bad option")


def prepare(busybox: Path, emulator: list[str]) -> Path:
    """Make a root of its own in memory: the applet can touch nothing else."""
    # Read before the mounts: the cache may well lie in /tmp.
    programs = {"busybox": busybox.read_bytes()}
    if emulator:
        programs["emulator"] = Path(emulator[0]).read_bytes()
    for words in (["-t", "tmpfs", "root", "/mnt"], ["-t", "tmpfs", "scratch", "/tmp"]):
        subprocess.run(["mount", *words], check=True)
    root = Path("/mnt")
    for name in ("bin", "proc", "dev", "work"):
        (root / name).mkdir()
    subprocess.run(["mount", "-t", "proc", "proc", str(root / "proc")], check=True)
    (root / "dev/null").touch()
    subprocess.run(["mount", "--bind", "/dev/null", str(root / "dev/null")], check=True)
    for name, content in programs.items():
        (root / "bin" / name).write_bytes(content)
        (root / "bin" / name).chmod(0o755)
    return root


def attempt(root: Path, argv: list[str], seconds: float) -> tuple[int | None, str]:
    """Run a program of the sandbox; returns its status (None: it did not end) and what it said."""
    for name in ("a", "b"):
        (root / "work" / name).write_text(f"{name} 1\n2 {name}\n")
    words = ["chroot", str(root), *argv]
    with subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        start_new_session=True,
    ) as process:
        try:
            said = process.communicate(timeout=seconds)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            return None, ""
    return process.returncode, said.decode(errors="replace")


def main(busybox: str, applet: str, patience: str, letters: str, *emulator: str) -> None:
    """Try the letters, and those that are taken with words behind them."""
    # A signal without a handler cannot end PID 1, and `kill -2 1` is among what is tried.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    root, seconds = prepare(Path(busybox), list(emulator)), float(patience)
    before = ["/bin/emulator", "-cpu", emulator[1]] if emulator else []
    died, taken = [], []
    for letter in letters:
        first = [applet, f"-{letter}"]
        tries = [first]
        while tries:
            words = tries.pop()
            status, said = attempt(root, [*before, "/bin/busybox", *words], seconds)
            if status is not None and (status < 0 or 128 < status < 160):
                died.append([words, -status if status < 0 else status - 128])
            if words == first and not any(text in said for text in REFUSED):
                taken.append(letter)
                tries += [[*first, *more] for more in (MORE if status is not None else MORE[:1])]
    print(json.dumps({"died": died, "taken": "".join(taken)}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
