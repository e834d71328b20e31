"""Running programs: the log, the failure's tail, the replay, and an end without survivors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from fakes.programs import calls, program

from build.core import command
from build.core.errors import BuildFailed

PYTHON = sys.executable


def run(places: Path, code: str, *words: str, **options: object) -> str:
    defaults = {
        "what": "the test",
        "log_file": places / "logs" / "test.log",
        "env": {"PATH": "/usr/bin:/bin", "GREETING": "hello 'world' $HOME"},
        "cwd": places,
    }
    return command.run([PYTHON, "-IS", "-c", code, *words], **(defaults | options))  # type: ignore[arg-type]


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(condition, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def test_output_is_returned_and_logged_with_errors(places: Path) -> None:
    said = run(
        places, "import sys; print('out'); sys.stdout.flush(); print('err', file=sys.stderr)"
    )
    assert said == "out\n"
    log = (places / "logs" / "test.log").read_text().splitlines()
    assert sorted(log[1:]) == ["err", "out"]
    assert log[0].startswith("+ cd ")


def test_the_environment_is_what_is_stated(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAK", "1")
    fake = program(places / "bin", "tool")
    command.run(
        [str(fake), "a b", ""], what="x", log_file=places / "log", env={"A": "1"}, cwd=places
    )
    (call,) = calls(fake)
    assert call["argv"][1:] == ["a b", ""]
    assert call["cwd"] == str(places)
    assert {k: v for k, v in call["env"].items() if k != "LC_CTYPE"} == {"A": "1"}


def test_stdin_is_closed_unless_given(places: Path) -> None:
    code = "import sys; print(repr(sys.stdin.read()))"
    assert run(places, code) == "''\n"
    assert run(places, code, stdin="\n\nyes") == "'\\n\\nyes'\n"


def test_a_program_need_not_read_its_stdin(places: Path) -> None:
    assert run(places, "print(1)", stdin="x" * 1_000_000) == "1\n"


def test_much_output_both_ways_does_not_hang(places: Path) -> None:
    code = "import sys; sys.stdout.write(sys.stdin.read())"
    assert len(run(places, code, stdin="y\n" * 200_000)) == 400_000


def test_a_failure_shows_the_tail_and_names_the_log(places: Path) -> None:
    code = "import sys\nfor n in range(100): print('line', n)\nsys.exit(7)"
    with pytest.raises(BuildFailed) as caught:
        run(places, code)
    error = caught.value
    assert "the test:" in error.what
    assert "exit status 7" in error.what
    assert str(places / "logs" / "test.log") in error.why
    shown = [line.strip() for line in error.why.splitlines()[1:]]
    assert shown == [f"line {n}" for n in range(100 - command.TAIL, 100)]
    assert str(places / "logs" / "test.log") in error.cure


def test_a_failure_with_its_own_cure(places: Path) -> None:
    with pytest.raises(BuildFailed) as caught:
        run(places, "raise SystemExit(1)", cure="do this")
    assert caught.value.cure == "do this"


def test_a_signal_is_named(places: Path) -> None:
    with pytest.raises(BuildFailed, match=r"signal 4 \(SIGILL\)"):
        run(places, "import os, signal; os.kill(os.getpid(), signal.SIGILL)")


def test_a_program_that_is_not_there(places: Path) -> None:
    with pytest.raises(BuildFailed, match="the program no-such-tool is not there"):
        command.run(["no-such-tool"], what="x", log_file=places / "log", env={}, cwd=places)


def test_a_log_is_replaced_or_continued(places: Path) -> None:
    run(places, "print('one')")
    run(places, "print('two')", append=True)
    log = (places / "logs" / "test.log").read_text()
    assert "one" in log
    assert "two" in log
    assert log.count("+ cd ") == 2
    run(places, "print('three')")
    assert "one" not in (places / "logs" / "test.log").read_text().partition("\n")[2]


def test_the_replay_line_replays(places: Path) -> None:
    folder = places / "a folder with 'quotes'"
    folder.mkdir()
    code = "import os, sys; print(os.getcwd(), sys.argv[1:], os.environ['GREETING'])"
    words = ("two words", "$HOME", "quote'd", 'double"d', "back\\slash", "")
    said = run(places, code, *words, cwd=folder)
    line = (places / "logs" / "test.log").read_text().splitlines()[0]
    assert line.startswith("+ ")
    replayed = subprocess.run(
        ["sh", "-c", line[2:]], capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"}
    )
    assert replayed.stdout == said
    assert str(folder) in said
    assert "hello 'world' $HOME" in said


GRANDCHILD = """
import os, signal, subprocess, sys, time
deaf = sys.argv[2] == "deaf"
code = "import signal, time\\n"
code += "signal.signal(signal.SIGTERM, signal.SIG_IGN)\\n" if deaf else ""
code += "print('up', flush=True)\\ntime.sleep(600)"
child = subprocess.Popen([sys.executable, "-IS", "-c", code], stdout=subprocess.PIPE)
child.stdout.readline()
with open(sys.argv[1] + ".new", "w") as note:
    note.write(f"{os.getpid()} {child.pid}")
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(600)
"""


@pytest.mark.parametrize("hearing", ["hears", "deaf"])
def test_stop_all_ends_grandchildren_too(places: Path, hearing: str) -> None:
    note = places / "pids"
    outcome: list[BaseException] = []

    def work() -> None:
        try:
            run(places, GRANDCHILD, str(note), hearing)
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    until(note.exists)
    pids = [int(word) for word in note.read_text().split()]
    assert all(alive(pid) for pid in pids)
    command.stop_all()
    thread.join(timeout=120)
    assert not thread.is_alive()
    until(lambda: not any(alive(pid) for pid in pids), seconds=5)
    assert [type(error) for error in outcome] == [KeyboardInterrupt]

    with pytest.raises(KeyboardInterrupt):
        run(places, "print(1)")
    command.resume()
    assert run(places, "print(1)") == "1\n"


def test_an_exception_in_the_caller_ends_the_program(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while a program runs in the main thread: the program does not outlive the call."""
    note = places / "pids"
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
from pathlib import Path
from build.core import command
command.run([sys.executable, "-IS", "-c", {GRANDCHILD!r}, {str(note)!r}, "hears"], what="x",
            log_file=Path({str(places / "log")!r}), env={{}}, cwd=Path({str(places)!r}))
"""
    process = subprocess.Popen([PYTHON, "-c", code], stderr=subprocess.PIPE)
    until(note.exists)
    pids = [int(word) for word in note.read_text().split()]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert b"KeyboardInterrupt" in errors
    until(lambda: not any(alive(pid) for pid in pids), seconds=5)


def test_the_network_settings_that_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "no_proxy", "PIP_INDEX_URL", "GOPROXY", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("GOFLAGS", "-x")
    monkeypatch.setenv("PYTHONPATH", "/x")
    found = command.network_environment()
    assert {"HTTPS_PROXY", "no_proxy", "PIP_INDEX_URL", "GOPROXY", "SSL_CERT_FILE"} <= set(found)
    assert not {"GOFLAGS", "PYTHONPATH", "PATH"} & set(found)
    assert os.environ["PATH"]
