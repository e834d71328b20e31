"""What `tailscale status` costs beside the running daemon, by each way of compressing (root).

The image is built with UPX, with our own packer and without compression, all of the same linked
binary, and booted as RouterOS starts it, in namespaces without a network and without a login. That
the daemon runs what was built is checked. Then the command runs beside the idle daemon. Its
instructions are those of the command alone, counted by a QEMU plugin, its unpacking included. CPU
time is the kernel's, user and system, of the command and of `nsenter` around it, less that of
`nsenter` around a program that does nothing.

Memory is looked at while the daemon is stopped and the command waits for its answer, so both stand
still: the proportional set sizes of both processes (each page once) less that of the daemon before.
The idle daemon's is its own pages, its pages of files, and its unpacked file in memory, whole, also
where nobody maps it. Pages of the flash's own files can be given back and read again; those of an
unpacked file cannot. Not in there: page tables, and the page cache of what is on the flash.

Needs qemu-user as benchmarks/speed.py does.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import speed  # noqa: E402
from build.config.targets import Target, target  # noqa: E402
from build.core import digest, errors, log  # noqa: E402
from build.core.artifacts import Artifact  # noqa: E402
from build.golang import tailscale  # noqa: E402
from build.image import rootfs  # noqa: E402
from build.lab.anchor import children, wait_for  # noqa: E402
from build.lab.container import SCRIPT  # noqa: E402
from build.pipeline import order, variants  # noqa: E402
from build.trials import runs  # noqa: E402
from build.views import report  # noqa: E402

SIDES = ("upx", "lzma", "none")
COMMAND = "/usr/local/bin/tailscale"
ENTRYPOINT = ("/usr/local/bin/entrypoint.sh", "--tun=userspace-networking")
PATH = "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PATIENCE = 30
"""Seconds that a step may take."""
IDLE = 20
"""Seconds from the first answer to the look at the idle daemon."""
KEPT = 100
"""The descriptor that the stub keeps (build/native/stub/stub.c)."""
LOGGED_OUT = "Logged out."
Figures = dict[str, float]


class Daemon:
    """The image's daemon as PID 1 of namespaces of its own; `pid` is its number outside."""

    def __init__(self, pid: int, root: Path) -> None:
        self.pid = pid
        self.root = root

    def enter(self, *words: str, inside: bool = True) -> list[str]:
        """Return the words that run a program beside it: in its root, or in the machine's."""
        argv = ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--net", "--uts"]
        return [*argv, *(["--root", "--wd=/"] if inside else []), *words]

    def status(self) -> str:
        """Return what `tailscale status` says."""
        argv = self.enter(COMMAND, "status")
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
        return done.stdout + done.stderr


@contextmanager
def booted(root: Path, folder: Path) -> Iterator[Daemon]:
    """Run the image that was unpacked at `root`, and end it. Raises BuildFailed if it is not up."""
    state = folder / "state"
    state.mkdir()
    argv = ["unshare", "--mount", "--pid", "--net", "--uts", "--fork", "--kill-child"]
    argv += ["sh", str(SCRIPT), str(root), str(state), "", "node", "", PATH, "chroot", "."]
    with (folder / "log").open("w") as out:
        process = subprocess.Popen([*argv, *ENTRYPOINT], stdout=out, stderr=out)
    try:
        wait_for(lambda: children(process.pid), PATIENCE, "start of the container")
        daemon = Daemon(children(process.pid)[0], root)
        wait_for(lambda: LOGGED_OUT in daemon.status(), PATIENCE, "answer of the daemon")
        yield daemon
    finally:
        process.kill()
        process.wait()


def check_identity(daemon: Daemon, packed: Artifact) -> None:
    """Raise BuildFailed if the daemon was not started from this file."""
    found = digest.of_file(daemon.root / runs.BINARY)
    running = Path(f"/proc/{daemon.pid}/exe")
    if found != packed.sha256 or not running.samefile(daemon.root / runs.BINARY):
        started = running.readlink()
        why = f"it runs {started}; the image has sha256 {found}, built was {packed.sha256}"
        raise errors.BuildFailed("what is measured is not what was built", why=why)


def proportional(pid: int) -> int:
    """Return a process' proportional set size in kB."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    match = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    assert match
    return int(match[1])


def memory(pid: int) -> dict[str, int]:
    """Return kB of a process by the kernel's names (proc(5)): RssAnon, RssFile, …"""
    text = Path(f"/proc/{pid}/status").read_text()
    return {name: int(kB) for name, kB in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}


def idle(pid: int) -> int:
    """Return kB that the daemon holds: its own pages, those of files, its whole file in memory."""
    found = memory(pid)
    kept = Path(f"/proc/{pid}/fd/{KEPT}")
    in_memory = kept.stat().st_blocks // 2 if kept.exists() else 0
    return found["RssAnon"] + found["RssFile"] + in_memory


def flash(root: Path) -> int:
    """Return kB of all files of an unpacked image, each in whole blocks, hard links once."""
    facts = [one.lstat() for one in root.rglob("*") if one.is_file() and not one.is_symlink()]
    return sum({row.st_ino: row.st_blocks for row in facts}.values()) // 2


def added(daemon: Daemon) -> tuple[int, int]:
    """Return kB that the command adds while it waits for its answer, and its own resident kB."""
    os.kill(daemon.pid, signal.SIGSTOP)
    process = None
    try:
        before = proportional(daemon.pid)
        process = subprocess.Popen(daemon.enter(COMMAND, "status"), stdout=subprocess.DEVNULL)
        wait_for(lambda: children(process.pid), PATIENCE, "start of the command")
        (pid,) = children(process.pid)
        wait_for(lambda: b"status" in _text(pid, "cmdline"), PATIENCE, "exec of the command")
        wait_for(lambda: _connected(pid), PATIENCE, "question of the command")
        time.sleep(1)
        both = proportional(daemon.pid) + proportional(pid)
        match = re.search(rb"VmRSS:\s+(\d+)", _text(pid, "status"))
        assert match
        return both - before, int(match[1])
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
        if process:
            process.wait(60)


def _text(pid: int, name: str) -> bytes:
    return Path(f"/proc/{pid}/{name}").read_bytes()


def _connected(pid: int) -> bool:
    """Whether a process has a socket, which the command opens for its question."""
    for link in Path(f"/proc/{pid}/fd").iterdir():
        # One that is closed meanwhile is gone.
        with suppress(FileNotFoundError):
            if str(link.readlink()).startswith("socket:"):
                return True
    return False


def cpu(argv: Sequence[str]) -> float:
    """Return seconds of CPU of a command and its children."""
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


def instructions(daemon: Daemon, one: Target, counter: Path, folder: Path) -> int:
    """Return the instructions of one `tailscale status`. Raises BuildFailed without an answer."""
    out = folder / "count.txt"
    out.unlink(missing_ok=True)
    # The emulator is the machine's, so /proc has to be the container's: there PID 1 is the daemon.
    argv = daemon.enter("unshare", "--mount", "--mount-proc", speed.emulator(one), inside=False)
    argv += ["-cpu", one.qemu[1], "-plugin", f"{counter},out={out}", f"{daemon.root}{COMMAND}"]
    argv += [f"--socket={daemon.root}/var/run/tailscale/tailscaled.sock", "status"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300)
    if LOGGED_OUT not in done.stdout + done.stderr:
        raise errors.BuildFailed("the counted command got no answer", why=done.stderr[-300:])
    return int(out.read_text().split("\n", 1)[0])


def measure(one: Target, side: str, times: int, counter: Path, folder: Path) -> Figures:
    """Boot one side's image and return its figures."""
    _, packed = variants.build(one, tailscale.OURS, side)
    request = order.Request(
        [one], order.release_of(), compress=side, check_size=False, products=False
    )
    root = folder / "root"
    rootfs.unpack(order.build(request).rootfs[one.name], root)
    with booted(root, folder) as daemon:
        check_identity(daemon, packed)
        time.sleep(IDLE)
        found: Figures = {"flash": flash(root), "idle": idle(daemon.pid)}
        found["file"] = 0 if side != "none" else memory(daemon.pid)["RssFile"]
        both = [added(daemon) for _ in range(3)]
        found["added"] = statistics.median(more for more, _ in both)
        found["resident"] = statistics.median(resident for _, resident in both)
        nothing = [cpu(daemon.enter("/bin/true", inside=False)) for _ in range(times)]
        raw = [cpu(daemon.enter(COMMAND, "status")) for _ in range(times)]
        found["CPU time"] = (statistics.median(raw) - statistics.median(nothing)) * 1000
        counted = [instructions(daemon, one, counter, folder) for _ in range(3)]
        found["instructions"] = statistics.median(counted)
    return found


def _ratio(sides: dict[str, Figures], name: str) -> str:
    upx, own = (sides[side][name] for side in SIDES[:2])
    return f"{own / upx:.3f}" if upx else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40, help="runs for the CPU time")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    log.configure("quiet" if options.json else "auto")
    try:
        if os.geteuid() != 0:
            raise errors.UserError("nothing was measured: namespaces and their mounts need root")
        one, sides = target(runs.PEERS), {}
        speed.emulator(one)
        with log.session(), tempfile.TemporaryDirectory() as place:
            counter = speed.plugin(Path(place))
            for side in SIDES:
                folder = Path(place) / side
                folder.mkdir()
                with log.step(one.name, f"status beside the daemon, {side}"):
                    sides[side] = measure(one, side, options.runs, counter, folder)
    except errors.Error as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if options.json:
        report.print_json(sides)
        return 0
    titles = {
        "flash": "files of the image on flash, kB",
        "instructions": "`tailscale status`, instructions",
        "CPU time": "its CPU time, ms",
        "added": "memory that it adds beside the daemon, kB",
        "resident": "its resident set, kB",
        "idle": "memory of the idle daemon, kB",
        "file": "of that, pages of the flash's file, which can be given back, kB",
    }
    report.table(
        f"Beside the running daemon, {one.name}",
        ("figure", *(f">{side}" for side in SIDES), f">{SIDES[1]} / {SIDES[0]}"),
        [
            (title, *(f"{sides[side][n]:,.1f}" for side in SIDES), _ratio(sides, n))
            for n, title in titles.items()
        ],
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
