"""The container under test inside a router-like machine: another kernel, another CPU, a flash."""

from __future__ import annotations

import shlex
import signal
from dataclasses import dataclass
from pathlib import Path

from build.core.command import Outcome
from build.core.errors import BuildFailed
from build.lab.anchor import PATH, wait_for
from build.lab.container import FLASH_MB, SECTOR, Container
from build.lab.guest import NAMESPACE, PATIENCE, Boot, Guest

CGROUP = "/sys/fs/cgroup/node"


@dataclass
class Machine(Container):
    """A container that runs in a machine of its own. `boot` is what that is made of.

    `modules` is the step of boot.MODULES up to which its kernel has them before the first start.
    """

    patience: int = PATIENCE
    boot: Boot | None = None
    modules: str = "base"
    _guest: Guest | None = None
    _process: str = ""
    _pid: int = 0

    @property
    def guest(self) -> Guest:
        """The machine, which `create` has booted."""
        assert self._guest is not None
        return self._guest

    def create(self) -> Machine:
        """Unpack the image onto the machine's flash, and boot the machine."""
        assert self.boot is not None
        work = f"{self.home}.tree"
        self.lab.shell(f"mkdir -p {work}/root {work}/state\n")
        tree = self.path("").parent / f"{self.name}.tree"
        self.bundle.unpack(tree / "root")
        (tree / "root" / "etc" / "resolv.conf").write_text(f"nameserver {self.nameserver}\n")
        # No journal: a sector that is written is one that something asked for.
        self.lab.shell(
            f"truncate -s {FLASH_MB}M {self.home}.img\n"
            "mkfs.ext4 -q -O ^has_journal -E lazy_itable_init=0 -d "
            f"{work} {self.home}.img\nrm -rf {work}\n"
        )
        self._guest = Guest(self.lab, self.space, self.boot, Path(f"{self.home}.img"))
        self.lab.elsewhere[self.space] = self._guest
        ca = self.lab.shell(f"cat {self.certificates}/*.pem\n")
        self.guest.must(f"cat > {self.certificates}/ca.pem <<'END'\n{ca}END\n")
        self.guest.load(self.modules)
        return self

    def start(self) -> Machine:
        """Start it as on a router. Raises BuildFailed if it cannot."""
        self._starts += 1
        self._process, self._pid = f"{self.name}-{self._starts}", 0
        if self.volatile:
            self.guest.must(f"rm -rf {self.home}/state/*\n")
        self.started = self.clock()
        places = [f"{self.home}/root", f"{self.home}/state", self.certificates, self.name, ""]
        run = ["nsenter", f"--net={NAMESPACE}", "unshare", "--mount", "--pid", "--uts", "--fork"]
        line = [*run, "sh", "/contain.sh", *places, *self.words_of_start()]
        script = f"echo $$ > {CGROUP}/cgroup.procs; exec {shlex.join(line)}"
        self.guest.start(self._process, ["sh", "-c", script])
        wait_for(
            lambda: self.pid or self.service_ended(), 30, f"container {self.name}", clock=self.clock
        )
        if not self.pid:
            raise BuildFailed(f"container {self.name} does not start", why=self.log_tail())
        return self

    def clock(self) -> float:
        """Return seconds since the machine's boot, by its own clock."""
        return float(self._ask("cat /proc/uptime").split()[0])

    def _events(self, kind: str) -> list[dict[str, object]]:
        return [event for event in self.guest.told(self._process) if event["event"] == kind]

    def service_ended(self) -> bool:
        """Whether the container is no longer there."""
        return not self._process or bool(self._events("end"))

    @property
    def pid(self) -> int:
        """The machine's process id of PID 1, 0 if there is none."""
        if self.service_ended():
            return 0
        if not self._pid and (begun := self._events("start")):
            outer = begun[0]["pid"]
            found = self.guest.call(["cat", f"/proc/{outer}/task/{outer}/children"]).output
            self._pid = int((found.split() or ["0"])[0])
        return self._pid

    def _ask(self, script: str) -> str:
        return self.guest.call(["sh", "-c", script]).output

    def group(self, name: str) -> str:
        """Return a file of the container's control group, such as memory.max."""
        return self.guest.must(f"cat {CGROUP}/{name}\n")

    def process_status(self) -> str:
        """Return /proc/PID/status of the daemon, "" if it is not there."""
        return self._ask(f"cat /proc/{self.pid}/status 2>/dev/null")

    def log(self) -> str:
        """Everything that the container printed since its last start."""
        return "".join(str(event["text"]) for event in self._events("out"))

    def log_tail(self) -> str:
        """The last lines of the log, for messages."""
        lines = self.log().split("\n")[-20:]
        return "\n".join([*lines, *(f"ended with status {e['code']}" for e in self._events("end"))])

    def run(self, *argv: str, timeout: float = 20) -> Outcome:
        """Run a program of the image inside the container, as /container/shell does."""
        if not (pid := self.pid):
            return Outcome(1, f"container {self.name} does not run")
        enter = [f"--target={pid}", "--mount", "--pid", "--net", "--uts", "--root", "--wd"]
        line = ["nsenter", *enter, "/bin/sh", "-c", shlex.join(argv)]
        script = f"echo $$ > {CGROUP}/cgroup.procs; exec {shlex.join(line)}"
        return self.guest.call(["sh", "-c", script], timeout, "", {"PATH": PATH} | self.env)

    def _status(self) -> Outcome:
        # By the daemon's socket: the command line takes seconds under emulation.
        return self.guest.call([self.guest.program, "status", self._socket()], 10)

    def _socket(self) -> str:
        return f"/proc/{self.pid}/root/var/run/tailscale/tailscaled.sock"

    def listening(self) -> bool:
        """Whether the daemon's socket is there."""
        return self._ask(f"[ -S {self._socket()} ] && echo yes").strip() == "yes"

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to PID 1, if it is there."""
        if pid := self.pid:
            self._ask(f"kill -{int(number)} {pid}")

    def _end(self) -> None:
        self.kill()

    def written(self) -> int:
        """Return the bytes written to its flash so far, once all of it has arrived there."""
        return int(self._ask("sync; cat /sys/block/vda/stat").split()[6]) * SECTOR

    def files(self) -> dict[str, str]:
        """Return {path: size and time} of all files on its flash."""
        listed = self._ask(f"cd {self.home} && find . | xargs stat -c '%n|%s %y %i'")
        rows = [line.partition("|") for line in listed.split("\n") if line]
        return {name.removeprefix("./"): facts for name, _, facts in rows}

    def kept(self) -> dict[str, bytes]:
        """Return {name: content} of what lies in its state folder."""
        names = self._ask(f"ls {self.home}/state").split()
        return {name: self._ask(f"cat {self.home}/state/{name}").encode() for name in names}

    def keep(self, name: str, content: bytes | None) -> None:
        """Put other content into a file of its state folder; None removes it."""
        place = f"{self.home}/state/{name}"
        if content is None:
            self.guest.must(f"rm {place}\n")
        else:
            self.guest.call(["sh", "-c", f"cat > {place}"], 15, content.decode())
