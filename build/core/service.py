"""Programs that run until they are stopped, such as servers."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from build.core import command, marks
from build.core.errors import BuildFailed


class Service:
    """A program that runs until it is stopped, with a standard input to command it.

    Standard output and errors go to `log_file`. Lines that `send` writes reach its standard input,
    which closes when this process ends, however it ends.
    """

    def __init__(self, process: subprocess.Popen[bytes], name: str, log_file: Path) -> None:
        self._process = process
        self.name = name
        self.log_file = log_file

    @property
    def pid(self) -> int:
        """The process id, as this process sees it."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """The exit code, None while it runs."""
        return self._process.poll()

    def send(self, line: str) -> None:
        """Write a line to its standard input. Raises BuildFailed if it is gone."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise BuildFailed(f"{self.name} is gone", why=command.tail(self.log_file)) from error

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program and its children, if it still runs."""
        if self.code is None:
            command.end(self._process, number)

    def stop(self, timeout: float = 5.0) -> int:
        """Close its input, ask it to end, kill it after `timeout` seconds; returns the code."""
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        self.signal(signal.SIGTERM)
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            code = self._process.wait()
        command.forget(self._process)
        return code


def start(
    argv: Sequence[str], *, name: str, log_file: Path, env: Mapping[str, str], cwd: Path
) -> Service:
    """Start a program and return at once. The caller stops it; `stop_all` does too."""
    marks.make_folder(log_file.parent)
    with log_file.open("wb") as sink:
        sink.write(f"+ {command.replay_line(argv, cwd, env)}\n".encode())
        sink.flush()
        process = command.launch(argv, env, cwd, sink.fileno(), sink.fileno())
    return Service(process, name, log_file)
