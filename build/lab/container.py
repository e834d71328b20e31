"""A container as RouterOS runs it: own mount, PID, UTS namespaces; PID 1 is the entrypoint."""

from __future__ import annotations

import json
import os
import shlex
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from build.core import command
from build.core.command import Outcome
from build.core.errors import BuildFailed
from build.core.paths import ROOT
from build.core.service import Service
from build.image.bundle import Bundle
from build.lab.anchor import PATH, Anchor, children, wait_for

SCRIPT = ROOT / "build" / "lab" / "contain.sh"
FLASH_MB = 64
SECTOR = 512
"""Bytes of a sector in /sys/block/*/stat (Documentation/block/stat.rst of Linux)."""


@dataclass
class Container:
    """One container. `flash` puts root and state on a block device whose writes are counted.

    `env` is added to the image's environment, `words` to the daemon's arguments; `certificates`
    is the folder that a user mounts at /etc/ssl/certs, "" for none; `wrapper` is put before the
    entrypoint on this machine's side. `volatile` loses the state at each start: a broken mount.
    `patience` is how many times longer than on this machine things may take it.
    `emulator` is qemu-user's program and its CPU, for an image of another machine: that runs in a
    user namespace, whose binfmt_misc is its own, with userspace networking.
    """

    lab: Anchor
    name: str
    space: str
    bundle: Bundle
    nameserver: str
    flash: bool = False
    env: dict[str, str] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    certificates: str = ""
    wrapper: list[str] = field(default_factory=list)
    service: Service | None = None
    started: float = 0.0
    volatile: bool = False
    emulator: tuple[str, ...] = ()
    patience: int = 1
    _starts: int = 0
    _addresses: list[str] = field(default_factory=list)

    @property
    def home(self) -> str:
        """Where root and state lie, as the laboratory sees it."""
        return f"/run/lab/{self.name}"

    def path(self, inside: str) -> Path:
        """Return a path below `home` for this process."""
        return Path(f"/proc/{self.lab.pid}/root{self.home}/{inside}")

    def create(self) -> Container:
        """Unpack the image once, as RouterOS does, and write the resolv.conf of dns=."""
        script = f"mkdir {self.home}\n"
        if self.flash:
            # No journal: a sector that is written is one that something asked for.
            script += (
                f"truncate -s {FLASH_MB}M {self.home}.img\n"
                f"mkfs.ext4 -q -O ^has_journal -E lazy_itable_init=0 {self.home}.img\n"
                f"mount -o loop,noatime {self.home}.img {self.home}\n"
            )
        self.lab.shell(f"{script}mkdir {self.home}/root {self.home}/state\n")
        root = self.path("root")
        self.bundle.unpack(root)
        (root / "etc" / "resolv.conf").write_text(f"nameserver {self.nameserver}\n")
        return self

    def words_of_start(self) -> list[str]:
        """Return its environment and what PID 1 becomes, for `env -i`."""
        settings = dict(pair.split("=", 1) for pair in self.bundle.config["Env"]) | self.env
        if self.emulator:
            settings["QEMU_CPU"] = self.emulator[1]
        words = [f"{key}={value}" for key, value in settings.items()]
        words += [*self.wrapper, "chroot", ".", *self.bundle.config["Entrypoint"]]
        words += [*self.bundle.config["Cmd"], *self.words]
        words += ["--tun=userspace-networking"] if self.plain else []
        return words

    def start(self) -> Container:
        """Start it and return once PID 1 runs the entrypoint. Raises BuildFailed if it cannot."""
        words = self.words_of_start()
        self._starts += 1
        if self.volatile:
            self.lab.shell(f"rm -rf {self.home}/state/*\n")
        self.started = self.clock()
        places = [f"{self.home}/root", f"{self.home}/state", self.certificates, self.name]
        places.append(self.emulator[0] if self.emulator else "")
        self.service = self.lab.start(
            f"{self.name}-{self._starts}",
            self.space,
            [*self._unshare(), "sh", str(SCRIPT), *places, *words],
        )
        wait_for(lambda: self.pid or self.service_ended(), 10, f"container {self.name}")
        if not self.pid:
            raise BuildFailed(f"container {self.name} does not start", why=self.log_tail())
        return self

    def clock(self) -> float:
        """Return seconds of the clock by which it lives."""
        return time.monotonic()

    @property
    def plain(self) -> bool:
        """Whether it runs in a user namespace, which has no tunnel device."""
        return bool(self.emulator)

    def _unshare(self) -> list[str]:
        user = ["--user", "--map-root-user"] if self.plain else []
        return ["unshare", *user, "--mount", "--pid", "--uts", "--fork", "--kill-child"]

    def service_ended(self) -> bool:
        """Whether the container is no longer there."""
        return self.service is None or self.service.code is not None

    @property
    def pid(self) -> int:
        """The host's process id of PID 1, 0 if there is none."""
        if self.service_ended():
            return 0
        assert self.service is not None
        # nsenter -> unshare -> PID 1; each forks once.
        for middle in children(self.service.pid):
            for inner in children(middle):
                return inner
        return 0

    def process_status(self) -> str:
        """Return /proc/PID/status of the daemon, "" if it is not there."""
        try:
            return Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return ""

    def log(self) -> str:
        """Everything that the container printed since its last start."""
        assert self.service is not None
        text = self.service.log_file.read_text(errors="replace")
        return text.split("\n", 1)[1] if "\n" in text else ""

    def log_tail(self) -> str:
        """The last lines of the log, for messages."""
        return command.tail(self.service.log_file) if self.service else ""

    def run(self, *argv: str, timeout: float = 20) -> Outcome:
        """Run a program of the image inside the container, as /container/shell does."""
        if not (pid := self.pid):
            return Outcome(1, f"container {self.name} does not run")
        enter = ["nsenter", f"--target={pid}", "--mount", "--pid", "--net", "--uts", "--root"]
        if self.plain:
            enter.append("--user")
        env = {"PATH": PATH} | self.env
        if self.emulator:
            env["QEMU_CPU"] = self.emulator[1]
        # The image's PATH must find the image's programs, so the shell looks them up in there.
        line = [*enter, "--wd=/", "/bin/sh", "-c", shlex.join(argv)]
        return command.call(line, env=env, cwd=Path("/"), timeout=timeout)

    def cli(self, *words: str, timeout: float = 20) -> Outcome:
        """Run `tailscale …` inside."""
        return self.run("tailscale", *words, timeout=timeout)

    def status(self) -> dict[str, Any]:
        """Return `tailscale status --json`, {} if the daemon does not answer."""
        try:
            found = json.loads(self._status().output)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def _status(self) -> Outcome:
        return self.cli("status", "--json", timeout=10)

    def listening(self) -> bool:
        """Whether the daemon's socket is there."""
        return Path(f"/proc/{self.pid}/root/var/run/tailscale/tailscaled.sock").exists()

    def running(self) -> bool:
        """Whether the backend says it is connected."""
        return self.status().get("BackendState") == "Running"

    def addresses(self) -> list[str]:
        """Return its addresses in the tailnet, IPv4 first, [] if it has none.

        They are remembered: they change only with a new login.
        """
        if not self._addresses:
            self._addresses = list(self.status().get("TailscaleIPs") or [])
        return self._addresses

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to PID 1, if it is there."""
        if pid := self.pid:
            os.kill(pid, number)

    def stop(self) -> None:
        """Stop it as RouterOS does: SIGTERM to PID 1, ten seconds, SIGKILL."""
        if self.pid:
            self.signal(signal.SIGTERM)
            end = self.clock() + 10
            while self.clock() < end and not self.service_ended():
                time.sleep(0.05)
        self._end()

    def _end(self) -> None:
        """End what is left of it."""
        if self.service:
            self.service.stop(0.5)

    def kill(self) -> None:
        """End PID 1, which is the daemon, with SIGKILL: a crash or a power cut."""
        if self.pid:
            self.signal(signal.SIGKILL)
            what = f"end of container {self.name}"
            wait_for(self.service_ended, 5 * self.patience, what, clock=self.clock)

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def written(self) -> int:
        """Return the bytes written to its flash so far, once all of it has arrived there.

        Without a flash of its own (`flash` is false) that is 0.
        """
        if not self.flash:
            return 0
        device = self.lab.shell(f"sync -f {self.home}\nfindmnt -n -o SOURCE {self.home}\n")
        script = f"cat /sys/block/{Path(device.strip()).name}/stat\n"
        return int(self.lab.shell(script).split()[6]) * SECTOR

    def files(self) -> dict[str, str]:
        """Return {path: size and time} of all files on its flash."""
        found = {}
        base = self.path("")
        for path in sorted(base.rglob("*")):
            info = path.lstat()
            found[str(path.relative_to(base))] = f"{info.st_size} {info.st_mtime_ns} {info.st_ino}"
        return found

    def kept(self) -> dict[str, bytes]:
        """Return {name: content} of what lies in its state folder."""
        return {path.name: path.read_bytes() for path in self.path("state").iterdir()}

    def keep(self, name: str, content: bytes | None) -> None:
        """Put other content into a file of its state folder; None removes it."""
        place = self.path("state") / name
        if content is None:
            place.unlink()
        else:
            place.write_bytes(content)
