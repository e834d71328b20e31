"""Running programs: the only place that starts processes.

Every program gets a small, stated environment, a closed standard input and a log file whose first
line replays it by hand.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.core import log, marks
from build.core.errors import BuildFailed

TAIL = 15
"""Lines of a failed program's log that are shown."""

_running: set[subprocess.Popen[bytes]] = set()
_lock = threading.Lock()
_stopping = threading.Event()

NETWORK_VARIABLES = (
    "http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY SSL_CERT_FILE SSL_CERT_DIR "
    "REQUESTS_CA_BUNDLE CURL_CA_BUNDLE GOPROXY GONOPROXY GOPRIVATE GOAUTH NETRC HOME"
).split()


def network_environment() -> dict[str, str]:
    """Return the variables that tell clients how this machine reaches the network.

    Those of pip are included, so that the user's mirror and certificates are used.
    """
    chosen = {name: os.environ[name] for name in NETWORK_VARIABLES if name in os.environ}
    return chosen | {name: value for name, value in os.environ.items() if name.startswith("PIP_")}


def replay_line(argv: Sequence[str], cwd: Path, env: Mapping[str, str]) -> str:
    """Return a shell line that runs the same program with the same environment."""
    variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in sorted(env.items()))
    return f"cd {shlex.quote(str(cwd))} && env -i {variables} {shlex.join(argv)}"


def run(
    argv: Sequence[str],
    *,
    what: str,
    log_file: Path,
    env: Mapping[str, str],
    cwd: Path,
    stdin: str | bytes = "",
    cure: str = "",
    append: bool = False,
) -> str:
    """Run a program to its end and return its standard output.

    Output and errors go to `log_file`; standard output is also returned. `stdin` is what the
    program can read. Raises BuildFailed with the log's tail if it does not exit with 0, and
    KeyboardInterrupt if `stop_all` ended it.
    """
    # plumbum is imported here because it costs 60 ms that a build with nothing to run need not pay.
    from plumbum import local

    marks.make_folder(log_file.parent)
    output = bytearray()
    with log_file.open("ab" if append else "wb") as sink:
        sink.write(f"+ {replay_line(argv, cwd, env)}\n".encode())
        sink.flush()
        path = shutil.which(argv[0], path=env.get("PATH", ""))
        if path is None:
            raise BuildFailed(f"{what}: the program {argv[0]} is not there")
        program = local[path]
        # plumbum adds the variables of `local.env`, a copy of this process's, to those it is given.
        for name in list(local.env.keys()):
            local.env.pop(name, "")
        arguments = [str(part) for part in argv[1:]]
        with _ending(_started(program, arguments, cwd, env, sink.fileno())) as process:
            data = stdin.encode() if isinstance(stdin, str) else stdin
            feeder = threading.Thread(target=_feed, args=(process, data), daemon=True)
            feeder.start()
            assert process.stdout is not None
            while chunk := os.read(process.stdout.fileno(), 65536):
                output += chunk
                os.write(sink.fileno(), chunk)
            code = process.wait()
            feeder.join()
    if _stopping.is_set():
        raise KeyboardInterrupt
    if code != 0:
        raise BuildFailed(
            f"{what}: {Path(argv[0]).name} ended with {_phrase(code)}",
            why=f"the last lines of {log_file}:\n{tail(log_file)}",
            cure=cure or f"the whole log is {log_file}; its first line runs the command again",
        )
    return output.decode(errors="replace")


def _started(
    program: Any, arguments: list[str], cwd: Path, env: Mapping[str, str], log_fd: int
) -> subprocess.Popen[bytes]:
    """Start a plumbum program in a process group of its own."""
    with _lock:
        if _stopping.is_set():
            raise KeyboardInterrupt
        process: subprocess.Popen[bytes] = program.popen(
            arguments,
            cwd=str(cwd),
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log_fd,
            start_new_session=True,
        )
        _running.add(process)
    return process


@contextlib.contextmanager
def _ending(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """End the whole process group when the block is left, and close its pipes."""
    try:
        yield process
    finally:
        if process.poll() is None:
            _end(process, signal.SIGKILL)
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        with _lock:
            _running.discard(process)


def _feed(process: subprocess.Popen[bytes], data: bytes) -> None:
    # A program may end without reading all: that is its right.
    with contextlib.suppress(OSError):
        assert process.stdin is not None
        process.stdin.write(data)
        process.stdin.close()


def _end(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def stop_all() -> None:
    """End every program that runs, with its children; until `resume`, `run` raises at once."""
    _stopping.set()
    with _lock:
        running = list(_running)
    for process in running:
        log.note("", f"ending {process.pid}")
        _end(process, signal.SIGTERM)
    for process in running:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=3)
        # Its children may be deaf to SIGTERM even where it is not.
        _end(process, signal.SIGKILL)


def resume() -> None:
    """Allow `run` again after `stop_all`, once every thread that used it has ended."""
    _stopping.clear()


def _phrase(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    return f"signal {-code} ({signal.Signals(-code).name})"


def tail(log_file: Path, lines: int = TAIL) -> str:
    """Return the last lines of a log, indented for an error message."""
    text = log_file.read_bytes()[-20000:].decode(errors="replace").rstrip("\n")
    return "\n".join("      " + line[:300] for line in text.split("\n")[-lines:])


@dataclass(frozen=True)
class Outcome:
    """How a program ended: exit `code` (None if it ran out of time), and what it printed."""

    code: int | None
    output: str

    @property
    def ok(self) -> bool:
        """Whether it ended by itself with status 0."""
        return self.code == 0


def call(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    timeout: float,
    stdin: str = "",
) -> Outcome:
    """Run a program whose failure is a result, not an error: a probe.

    `timeout` is in seconds; output and errors are returned together. Raises KeyboardInterrupt if
    `stop_all` ended it and BuildFailed if the program does not exist.
    """
    with _ending(_launch(argv, env, cwd, subprocess.PIPE, subprocess.STDOUT)) as process:
        try:
            output, _ = process.communicate(stdin.encode(), timeout=timeout)
            code: int | None = process.returncode
        except subprocess.TimeoutExpired:
            _end(process, signal.SIGKILL)
            output, _ = process.communicate()
            code = None
    if _stopping.is_set():
        raise KeyboardInterrupt
    return Outcome(code, output.decode(errors="replace"))


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
            raise BuildFailed(f"{self.name} is gone", why=tail(self.log_file)) from error

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program and its children, if it still runs."""
        if self.code is None:
            _end(self._process, number)

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
        with _lock:
            _running.discard(self._process)
        return code


def start(
    argv: Sequence[str], *, name: str, log_file: Path, env: Mapping[str, str], cwd: Path
) -> Service:
    """Start a program and return at once. The caller stops it; `stop_all` does too."""
    marks.make_folder(log_file.parent)
    with log_file.open("wb") as sink:
        sink.write(f"+ {replay_line(argv, cwd, env)}\n".encode())
        sink.flush()
        process = _launch(argv, env, cwd, sink.fileno(), sink.fileno())
    return Service(process, name, log_file)


def _launch(
    argv: Sequence[str], env: Mapping[str, str], cwd: Path, stdout: int, stderr: int
) -> subprocess.Popen[bytes]:
    with _lock:
        if _stopping.is_set():
            raise KeyboardInterrupt
        try:
            process = subprocess.Popen(
                list(argv),
                cwd=cwd,
                env=dict(env),
                stdin=subprocess.PIPE,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise BuildFailed(f"the program {argv[0]} is not there") from error
        _running.add(process)
    return process
