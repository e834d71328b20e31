"""The namespaces of one run, held by one process: when it goes, the kernel removes everything.

The anchor is PID 1 of a new PID namespace with mount, network, UTS and IPC namespaces of its own.
Its standard input is a pipe from this process. However this process ends, the pipe closes, the
anchor exits, and with it every process, mount, loop device and network namespace of the run. Names
of network namespaces live on a tmpfs that only the run sees, so two runs cannot collide.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from build.core import command, service
from build.core.command import Outcome
from build.core.errors import BuildFailed
from build.core.service import Service

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {"PATH": PATH, "LANG": "C", "LC_ALL": "C"}


def children(pid: int) -> list[int]:
    """Return the child processes of a process, [] if it is gone."""
    try:
        return [int(w) for w in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def events(service: Service) -> list[dict[str, Any]]:
    """Return the JSON lines that one of our servers has printed so far."""
    found = []
    for line in service.log_file.read_text(errors="replace").split("\n")[:-1]:
        if line.startswith("{"):
            found.append(json.loads(line))
    return found


RESPITE = 2
"""How many times longer than a question took the asked one is left alone before the next."""


def wait_for(
    test: Callable[[], Any],
    seconds: float,
    what: str,
    step: float = 0.05,
    clock: Callable[[], float] = time.monotonic,
) -> Any:
    """Call `test` until it returns something true and return that. Raises BuildFailed if late.

    `seconds` are the clock's, which for a machine of its own is that machine's.
    """
    end = clock() + seconds
    while True:
        began = time.monotonic()
        if found := test():
            return found
        if clock() > end:
            raise BuildFailed(f"{what}: not within {seconds:g} s")
        # A machine answers with the processor that it also needs for what is waited for.
        time.sleep(max(step, RESPITE * (time.monotonic() - began)))


class Elsewhere(Protocol):
    """A machine that stands where a space's cable ends: what is run in the space is run there."""

    program: str

    def inside(self, argv: Sequence[str], timeout: float = 15, stdin: str = "") -> Outcome:
        """Run a program there."""
        ...


class Anchor:
    """One run's namespaces. Use it as a context manager; `logs` is where services log."""

    def __init__(self, program: Path, logs: Path) -> None:
        self.program = program
        self.logs = logs
        self._services: list[Service] = []
        self.pid = 0
        self.elsewhere: dict[str, Elsewhere] = {}

    def __enter__(self) -> Anchor:
        """Make the namespaces. Raises BuildFailed if the kernel refuses."""
        argv = ["unshare", "--mount", "--propagation=private", "--pid", "--net", "--uts", "--ipc"]
        argv += ["--fork", "--kill-child", "--mount-proc", str(self.program), "anchor"]
        log_file = self.logs / "anchor.log"
        self._anchor = service.start(
            argv, name="anchor", log_file=log_file, env=ENVIRONMENT, cwd=Path("/")
        )
        try:
            self._ready(self._anchor)
            (self.pid,) = children(self._anchor.pid)
            self.shell("mount -t tmpfs lab /run\nmkdir /run/netns /run/lab\nip link set lo up\n")
        except BaseException:
            self._anchor.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End everything in the namespaces and wait until it is gone."""
        self._anchor.stop()
        for one in self._services:
            one.stop()

    def _enter(self, space: str) -> list[str]:
        words = ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--uts", "--ipc"]
        return [*words, f"--net=/proc/{self.pid}/root/run/netns/{space}" if space else "--net"]

    def shell(self, script: str, space: str = "") -> str:
        """Run shell lines as root inside, each of which must succeed. Raises BuildFailed."""
        done = self.call(space, ["sh", "-es"], 60, script)
        if not done.ok:
            raise BuildFailed("the laboratory cannot be set up", why=done.output.strip())
        return done.output

    def call(
        self, space: str, argv: Sequence[str], timeout: float = 15, stdin: str = ""
    ) -> Outcome:
        """Run a program of this machine in a network namespace, or of the machine that is there."""
        if there := self.elsewhere.get(space):
            return there.inside(argv, timeout, stdin)
        return command.call(
            [*self._enter(space), *argv],
            env=ENVIRONMENT,
            cwd=Path("/"),
            timeout=timeout,
            stdin=stdin,
        )

    def probe(self, space: str, *words: str, timeout: float = 15) -> dict[str, Any]:
        """Run a probe of ours (ask, pour) there and return what it told."""
        there = self.elsewhere.get(space)
        program = there.program if there else str(self.program)
        done = self.call(space, [program, *words], timeout)
        lines = [line for line in done.output.split("\n") if line.startswith("{")]
        return json.loads(lines[-1]) if lines else {"error": done.output.strip() or "no answer"}

    def start(
        self, name: str, space: str, argv: Sequence[str], env: dict[str, str] | None = None
    ) -> Service:
        """Start a program of this machine in a network namespace."""
        started = service.start(
            [*self._enter(space), *argv],
            name=name,
            log_file=self.logs / f"{name}.log",
            env=ENVIRONMENT if env is None else env,
            cwd=Path("/"),
        )
        self._services.append(started)
        return started

    def server(self, name: str, space: str, *words: str) -> Service:
        """Start one of our servers and wait until it is ready. Raises BuildFailed."""
        service = self.start(name, space, [str(self.program), *words])
        self._ready(service)
        return service

    def _ready(self, service: Service) -> None:
        def ready() -> bool:
            if service.code is not None:
                raise BuildFailed(
                    f"the laboratory's {service.name} ended with status {service.code}",
                    why=command.tail(service.log_file),
                )
            return any(event.get("event") == "ready" for event in events(service))

        wait_for(ready, 20, f"start of {service.name}")
