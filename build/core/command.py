"""Running programs to their end. Here and in `service` are the only places that start processes.

Every program gets a small, stated environment, a closed standard input and a log file whose first
line replays it by hand. Secrets reach the program, and neither its log nor its failure.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from build.core import log, marks, redact
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
    """Return a shell line that runs the same program with the same environment.

    A secret is not in it: the line takes that variable from who runs it.
    """
    hidden = redact.secrets({**os.environ, **env})
    variables = " ".join(
        f'{name}="${name}"'
        if redact.is_secret(name, value, hidden)
        else f"{name}={shlex.quote(value)}"
        for name, value in sorted(env.items())
    )
    # Each word before it is quoted: quoting may tear a secret apart.
    words = shlex.join(redact.text(str(word), hidden) for word in argv)
    place = shlex.quote(redact.text(str(cwd), hidden))
    return f"cd {place} && env -i {variables} {words}"


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

    redact.learn(argv)
    marks.make_folder(log_file.parent)
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
        with _ending(_started(program, arguments, cwd, env)) as process:
            data = stdin.encode() if isinstance(stdin, str) else stdin
            feeder = threading.Thread(target=_feed, args=(process, data), daemon=True)
            feeder.start()
            output = _listen(process, redact.secrets({**os.environ, **env}), sink)
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
    program: Any, arguments: list[str], cwd: Path, env: Mapping[str, str]
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
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        _running.add(process)
    return process


def _listen(process: subprocess.Popen[bytes], hidden: list[str], sink: BinaryIO) -> bytes:
    """Write what a program says to its log, without what is `hidden`; return its standard output.

    Ends when standard output is closed and the program has ended: what it leaves running may keep
    its standard error for ever.
    """
    assert process.stdout is not None and process.stderr is not None
    output = bytearray()
    filters = {pipe: redact.Filter(hidden) for pipe in (process.stdout, process.stderr)}
    with selectors.DefaultSelector() as waiting:
        for pipe in filters:
            waiting.register(pipe, selectors.EVENT_READ)
        while waiting.get_map():
            alone = process.stdout not in (key.fileobj for key in waiting.get_map().values())
            ended = alone and process.poll() is not None
            ready = waiting.select(0 if ended else 0.1 if alone else None)
            if ended and not ready:
                break
            for pipe in [pipe for pipe in filters if pipe in (key.fileobj for key, _ in ready)]:
                chunk = os.read(pipe.fileno(), 65536)
                if not chunk:
                    waiting.unregister(pipe)
                if pipe is process.stdout:
                    output += chunk
                sink.write(filters[pipe].feed(chunk) if chunk else filters[pipe].end())
                sink.flush()
        for rest in filters.values():
            sink.write(rest.end())
    return bytes(output)


@contextlib.contextmanager
def _ending(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """End the whole process group when the block is left, and close its pipes."""
    try:
        yield process
    finally:
        if process.poll() is None:
            end(process, signal.SIGKILL)
            process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        forget(process)


def forget(process: subprocess.Popen[bytes]) -> None:
    """Tell `stop_all` that a program has ended."""
    with _lock:
        _running.discard(process)


def _feed(process: subprocess.Popen[bytes], data: bytes) -> None:
    # A program may end without reading all: that is its right.
    with contextlib.suppress(OSError):
        assert process.stdin is not None
        process.stdin.write(data)
        process.stdin.close()


def end(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to a program and its children."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def stop_all() -> None:
    """End every program that runs, with its children; until `resume`, `run` raises at once."""
    _stopping.set()
    with _lock:
        running = list(_running)
    for process in running:
        log.note("", f"ending {process.pid}")
        end(process, signal.SIGTERM)
    for process in running:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=3)
        # Its children may be deaf to SIGTERM even where it is not.
        end(process, signal.SIGKILL)


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
    with _ending(launch(argv, env, cwd, subprocess.PIPE, subprocess.STDOUT)) as process:
        try:
            output, _ = process.communicate(stdin.encode(), timeout=timeout)
            code: int | None = process.returncode
        except subprocess.TimeoutExpired:
            end(process, signal.SIGKILL)
            output, _ = process.communicate()
            code = None
    if _stopping.is_set():
        raise KeyboardInterrupt
    return Outcome(code, output.decode(errors="replace"))


def launch(
    argv: Sequence[str], env: Mapping[str, str], cwd: Path, stdout: int, stderr: int
) -> subprocess.Popen[bytes]:
    """Start a program in a process group of its own, which `stop_all` ends, and return at once.

    Raises BuildFailed if there is no such program.
    """
    redact.learn(argv)
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
