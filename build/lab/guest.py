"""A machine of QEMU's that takes orders: it runs programs inside and tells how they ended.

Orders and answers are lines of JSON through a virtio port, which is QEMU's standard input and
output; `mt-guest` is at the other end. The machine lives in a network namespace of the laboratory
and is the only thing on that namespace's cable: a bridge joins cable and machine.
"""

from __future__ import annotations

import itertools
import json
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.core import command
from build.core.command import Outcome
from build.core.errors import BuildFailed
from build.lab.anchor import Anchor, wait_for
from build.lab.boot import MODULES, Model
from build.lab.topology import topology

BOOT_SECONDS = 600
BUSY = 10
"""How many times slower than its own clock says a machine may run where this one is busy."""
PATIENCE = 3
"""A program inside may take that many times what it may take on this machine."""
ENVIRONMENT = {"PATH": "/bin", "LANG": "C"}
NAMESPACE = "/run/netns/node"
"""The container's network namespace inside."""


@dataclass(frozen=True)
class Boot:
    """What a machine is made of: `kernel` and `initrd` files, `memory` in MiB of the machine,
    `limit` what the container's cgroup may use, such as 96M.
    """

    model: Model
    kernel: Path
    initrd: Path
    memory: int = 256
    limit: str = "96M"


class Guest:
    """A running machine. `flash` is the image file of its disk."""

    program = "/bin/mt-guest"

    def __init__(self, lab: Anchor, space: str, boot: Boot, flash: Path) -> None:
        """Start it and return once it obeys. Raises BuildFailed if it does not boot."""
        self.console = lab.logs / "console.log"
        lab.shell(
            "ip addr flush dev eth0\nip link add cable type bridge\n"
            "ip tuntap add machine mode tap\n"
            "ip link set eth0 master cable\nip link set machine master cable\n"
            "sysctl -qw net.ipv6.conf.all.disable_ipv6=1\n"
            "ip link set cable up\nip link set machine up\n",
            space,
        )
        self._service = lab.start("machine", space, self._argv(boot, flash))
        self._numbers = itertools.count(1)
        self._read = 0
        self._answers: dict[int, Outcome] = {}
        self._told: dict[str, list[dict[str, Any]]] = {}
        self._loaded = ["base"]
        self._ready = False
        wait_for(self._is_ready, BOOT_SECONDS, "boot of the machine")
        self.must(f"date -s @{int(time.time())}")

    def _argv(self, boot: Boot, flash: Path) -> list[str]:
        model = boot.model
        home = topology().home
        facts = {"v4": f"{home.container[0]}/24", "v6": f"{home.container[1]}/64"}
        facts |= {"gw4": home.gateway[0], "gw6": home.gateway[1]}
        facts["limit"] = boot.limit
        words = [f"console={model.console}", "quiet", "panic=-1", *model.words]
        words += [f"mt.{key}={value}" for key, value in facts.items()]
        return [
            *(model.program, "-M", model.board, "-cpu", model.cpu, "-smp", "1"),
            # Its clock counts instructions, 4 ns each: else a daemon in a machine that gets little
            # of this one's time runs into its own watchdogs.
            *("-accel", "tcg,thread=single", "-icount", "shift=2"),
            *("-m", str(boot.memory), "-nodefaults", "-no-user-config"),
            *("-display", "none", "-no-reboot", "-serial", f"file:{self.console}"),
            *("-kernel", str(boot.kernel), "-initrd", str(boot.initrd), "-append", " ".join(words)),
            *("-chardev", "stdio,id=orders,signal=off"),
            *("-device", "virtio-serial-device", "-device", "virtserialport,chardev=orders"),
            *("-drive", f"if=none,id=flash,file={flash},format=raw"),
            *("-device", "virtio-blk-device,drive=flash"),
            *("-netdev", "tap,id=cable,ifname=machine,script=no,downscript=no"),
            *("-device", "virtio-net-device,netdev=cable"),
            *("-device", "virtio-rng-device"),
        ]

    def _is_ready(self) -> bool:
        if self._service.code is not None:
            raise BuildFailed(
                f"QEMU ended with status {self._service.code}",
                why=command.tail(self._service.log_file),
            )
        self._listen()
        return self._ready

    def _listen(self) -> None:
        """Take in what the machine has told since."""
        with self._service.log_file.open("rb") as stream:
            stream.seek(self._read)
            fresh = stream.read()
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.split(b"\n"):
            if not line.startswith(b"{"):
                continue
            told = json.loads(line)
            if "id" in told:
                self._answers[told["id"]] = Outcome(told.get("code"), told["output"])
            elif "name" in told:
                self._told.setdefault(told["name"], []).append(told)
            elif told.get("event") == "ready":
                self._ready = True

    def told(self, name: str) -> list[dict[str, Any]]:
        """Return the events of a started program so far: `start`, `out`, `end`."""
        self._listen()
        return self._told.get(name, [])

    def call(
        self,
        argv: Sequence[str],
        timeout: float = 15,
        stdin: str = "",
        env: Mapping[str, str] = ENVIRONMENT,
    ) -> Outcome:
        """Run a program in the machine's own namespaces. `timeout` is in seconds of a fast one."""
        number = next(self._numbers)
        seconds = timeout * PATIENCE
        self._order({"id": number, "argv": [*argv], "stdin": stdin, "seconds": seconds}, env)

        def answered() -> bool:
            self._listen()
            if self._service.code is not None:
                raise BuildFailed("the machine is gone", why=command.tail(self.console))
            return number in self._answers

        wait_for(
            answered, BUSY * seconds + 60, f"the machine's answer to {shlex.join(argv)}", step=0.02
        )
        return self._answers.pop(number)

    def _order(self, order: dict[str, Any], env: Mapping[str, str]) -> None:
        pairs = [f"{key}={value}" for key, value in env.items()]
        self._service.send(json.dumps({**order, "env": pairs}))

    def start(self, name: str, argv: Sequence[str], env: Mapping[str, str] = ENVIRONMENT) -> None:
        """Start a program whose events `told` returns under its name."""
        self._order({"name": name, "argv": [*argv]}, env)

    def inside(self, argv: Sequence[str], timeout: float = 15, stdin: str = "") -> Outcome:
        """Run a program in the container's network namespace."""
        return self.call(["nsenter", f"--net={NAMESPACE}", *argv], timeout, stdin)

    def must(self, script: str) -> str:
        """Run shell lines in the machine, each of which must succeed. Raises BuildFailed."""
        done = self.call(["sh", "-es"], 20, script)
        if not done.ok:
            raise BuildFailed("the machine refuses an order", why=f"{script}: {done.output}")
        return done.output

    def load(self, step: str) -> None:
        """Load the kernel's modules up to a step of boot.MODULES."""
        for name in MODULES:
            if name not in self._loaded:
                self.must(f"while read -r m; do insmod /modules/$m.ko; done < /modules/{name}\n")
                self._loaded.append(name)
            if name == step:
                return
