"""Nonsense in every option of every task: exit code 2 and one message, never a traceback.

tests/nonsense.py tries it, with the tasks and options that invoke's own collection has, in a copy
of the checkout, without the right to read what is another user's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from checkouts import copied

ROOT = Path(__file__).resolve().parent.parent
TOOL = ROOT / "tests" / "nonsense.py"

FINE = {
    # An empty text is the default of these, as in `--forge "$FORGE"`.
    ("build", "release", 1): "an empty cache, offline",
    ("build-all", "release", 1): "an empty cache, offline",
    ("figures", "layout", 1): "an empty cache, offline",
    ("figures", "record", 1): "an empty cache, offline",
    ("verify", "layout", 1): "an empty cache, offline",
    ("promote", "soak", 1): "the default: no soak, and no registry",
    ("promote", "to", 1): "the default: what :next is, and no registry",
    ("router", "image", 0): "the default",
    ("router", "version", 0): "the default",
    ("release-plan", "remote", 0): "the default: no remote is asked",
    ("doctor", "forge", 0): "the default",
    ("cache", "days", 0): "the default; halves of days and other scripts' digits are numbers",
    ("cache", "size", 0): "the default; halves of GB and other scripts' digits are numbers",
    ("router", "out", 0): "a folder may have any name",
    ("signing-key", "out", 0): "a file may have any name",
    ("evidence", "write", 0): "a job may have any name of letters and digits",
    ("evidence", "require", 3): "a job may have any name of letters and digits, and proved nothing",
}
"""{(task, option, exit code): why another exit code than 2 is right}"""


PLANTED = """
@__import__("invoke").task
def planted(c, number="1"):
    int(number)
namespace.add_task(planted)
"""


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout that is a repository, files of another user beside it."""
    room = tmp_path_factory.mktemp("nonsense")
    copy = copied(room / "copy")
    (copy / ".gitignore").write_text("__pycache__/\n")
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@localhost"]
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "x"]):
        subprocess.run([*git, *words], cwd=copy, check=True)
    (room / "files" / "their folder").mkdir(parents=True)
    (room / "files" / "theirs").write_text("x\n")
    (room / "files" / "theirs").chmod(0o600)
    (room / "files" / "their folder").chmod(0o700)
    if os.geteuid() == 0:
        for name in ("theirs", "their folder"):
            os.chown(room / "files" / name, 65534, 65534)
    else:
        (room / "files" / "theirs").chmod(0o000)
        (room / "files" / "their folder").chmod(0o000)
    return room


def tried(room: Path, *names: str) -> list[dict[str, Any]]:
    argv = [sys.executable, str(TOOL), str(room / "files"), *names]
    if os.geteuid() == 0:
        lost = "-dac_override,-dac_read_search,-fowner,-chown"
        argv = ["setpriv", f"--bounding-set={lost}", *argv]
    nowhere = "http://127.0.0.1:9"
    env = {name: value for name, value in os.environ.items() if not name.startswith("MT_")}
    env |= {f"MT_{name}": str(room / name.lower()) for name in ("CACHE", "DIST", "WORK")}
    env |= {"HTTPS_PROXY": nowhere, "HTTP_PROXY": nowhere, "MT_ROUTER_PASSWORD": "x"}
    done = subprocess.run(argv, cwd=room / "copy", env=env, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def faults(rows: list[dict[str, Any]]) -> list[str]:
    found = []
    for row in rows:
        task, option, code = row["words"][0], row["option"], row["code"]
        wrong = ""
        if "Traceback" in row["err"] or code not in (0, 1, 2, 3):
            wrong = f"traceback {row['err'][-200:]!r}"
        elif code != 2 and (task, option, code) not in FINE:
            wrong = f"exit code {code} {row['err'][-200:]!r}"
        elif code and row["err"].count("error: ") != 1:
            wrong = f"not one message {row['err'][-200:]!r}"
        elif code and len(row["err"]) > 4000:
            wrong = f"{len(row['err'])} characters"
        elif code and row["out"]:
            wrong = f"prints {row['out'][-200:]!r}"
        if wrong:
            found.append(f"{row['words']} ({row['kind']}): {wrong}")
    return found


@pytest.mark.slow
def test_every_option_of_every_task(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = subprocess.check_output(["git", "status", "--porcelain"], cwd=room / "copy")
    rows = tried(room)
    with capsys.disabled():
        print(f"\n{len(rows)} inputs tried", flush=True)
    found = faults(rows)
    assert "\n".join(found) == ""
    assert len(rows) > 1500
    used = {(row["words"][0], row["option"], row["code"]) for row in rows}
    assert FINE.keys() <= used, "an exception that nothing needs"
    assert subprocess.check_output(["git", "status", "--porcelain"], cwd=room / "copy") == before
    assert not (room / "dist").exists()


def test_a_task_that_raises_is_found(room: Path) -> None:
    """The negative control: a planted task with a fault."""
    tasks = room / "copy" / "tasks.py"
    text = tasks.read_text()
    tasks.write_text(f"{text}\n{PLANTED}")
    try:
        found = faults(tried(room, "planted"))
    finally:
        tasks.write_text(text)
    assert any("traceback" in fault for fault in found)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nonsense"], "No idea what 'nonsense' is!"),
        (["build", "--nonsense"], "No idea what '--nonsense' is!"),
        (["sbom"], "did not receive required positional arguments: 'arch'"),
        (["sbom", "--nonsense"], "'--nonsense' is not an option"),
        (["signing-key", "-Q"], "'-Q' is not an option"),
        (["verify", "--arch"], "--arch needs a value"),
        (["build", "--arch", "--json"], "--arch needs a value"),
        (["size", "--by"], "--by needs a value"),
        (["pins", "-T", "x"], "'x'"),
        (["pins", "--json=yes"], "No idea what 'yes' is!"),
        (["--list", "nope"], "'nope' not found"),
        (["--help", "nope"], "No idea what 'nope' is!"),
        (["figures", "--rounds", "0"], "--rounds '0' is not a whole number in range"),
        (["figures", "--arch", "arm64"], "--arch goes with --machine"),
        (["figures", "--machine", "--arch", "amd64"], "no router-like machine for amd64"),
        (["comment", "--pull", "x"], "--pull 'x' is not a whole number in range"),
        (["build", "--arch", "arm64", "--compress", "zstd"], "one of: lzma, upx, none"),
        (["features", "--cost", "--only", "nonsense"], "--only 'nonsense' is not known"),
        (["evidence", "--write", "/tmp/x"], "is not the name of a job"),
        (["release", "--push", "--remote=--upload-pack=x"], "is not a remote of this checkout"),
        (["symbolize", "--symbols-file", "/dev/zero", "-"], "or no end"),
    ],
)
def test_the_command_line_as_typed(words: list[str], says: str) -> None:
    program = [str(Path(sys.executable).with_name("invoke"))]
    if words == ["nonsense"]:
        program = [sys.executable, "-m", "invoke"]
    done = subprocess.run(
        [*program, *words], cwd=ROOT, text=True, capture_output=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("error: ") == 1
    assert says in done.stderr
    assert "cure: " in done.stderr or "no end" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


OWN = [
    (["-T", "x", "build"], "'x'", False),
    (["--command-timeout", "abc", "pins"], "'abc'", False),
    (["-T"], "--command-timeout needs a value", False),
    (["-D", "x", "-l"], "'x'", False),
    (["-c", "nofile", "build"], "'nofile'", False),
    (["-c"], "--collection needs a value", False),
    (["-r", "x", "pins"], "'tasks'", False),
    (["--print-completion-script", "x"], "not supported", False),
    (["-f", "nofile", "build"], "no file 'nofile'", True),
    (["-f", "nofile.yaml", "build"], "no file 'nofile.yaml'", True),
    (["-f", "LICENSE", "pins"], "not supported", True),
    (["-f", "renovate.json", "--list-format", "x", "-l"], "'x' is not known", True),
    (["-f", "LIST", "pins"], "no configuration", True),
    (["-f", "WRONG", "pins"], "no configuration", True),
    (["-f", "HALF", "pins"], "no configuration", True),
    (["-f", "/tmp", "pins"], "no file '/tmp'", True),
    (["--list-format=x", "--list"], "one of: flat, nested, json", True),
    (["--prompt-for-sudo-password", "pins"], "nobody answers", True),
]
"""(words, what is said, whether our tasks are loaded before invoke comes to it)."""


@pytest.mark.parametrize(("words", "says", "late"), OWN, ids=lambda value: str(value))
def test_options_of_invoke_itself(words: list[str], says: str, late: bool, tmp_path: Path) -> None:
    files = {"LIST": "[1]", "WRONG": '{"run": 3}', "HALF": "{"}
    for name, text in files.items():
        (tmp_path / f"{name}.json").write_text(text)
    words = [str(tmp_path / f"{word}.json") if word in files else word for word in words]
    lines = [[str(ROOT / "dev"), "invoke"]]
    if late:
        lines.append([str(Path(sys.executable).with_name("invoke"))])
    for line in lines:
        done = subprocess.run(
            [*line, *words], cwd=ROOT, text=True, capture_output=True, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 2, (line, done.stderr)
        assert done.stderr.count("error: ") == done.stderr.count("cure: ") == 1
        assert says in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""


def test_the_tasks_are_found_wherever_dev_is_called(tmp_path: Path) -> None:
    argv = [str(ROOT / "dev"), "invoke", "pins", "--json"]
    done = subprocess.run(argv, cwd=tmp_path, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)
