"""Every option of every task with nonsense: `python tests/nonsense.py ROOM [TASK…]`.

For tests/test_bad_input.py, in a copy of the checkout. Tasks and options come from invoke's own
collection. Prints one JSON row for each input: the words, the exit code, what was printed.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from invoke import Collection, Task
from invoke.main import program
from invoke.parser import Argument

REST: dict[str, list[str]] = {
    "build": ["--arch", "arm64", "--offline"],
    "build-all": ["--offline"],
    "bump": ["cmake", "4.1.3", "--dry-run"],
    "deploy": ["--host", "http://127.0.0.1:9"],
    "evidence": [],
    "handover": ["--unpack"],
    "inspect": ["arm64"],
    "promote": ["--at", "127.0.0.1:9/a/b"],
    "rollback": ["v1.102.5-mt.1", "--at", "127.0.0.1:9/a/b"],
    "publish": ["--to", "127.0.0.1:9/a/b"],
    "sbom": ["arm64"],
    "signing-key": ["key"],
    "figures": ["--offline"],
    "verify": ["--offline"],
    "symbolize": ["crash.txt", "--arch", "arm64"],
}
"""What else a command line needs, so that the option under test is reached."""

WITH = {
    ("cache", "days"): ["--prune"],
    ("cache", "size"): ["--prune"],
    ("features", "only"): ["--cost"],
    ("features", "arch"): ["--cost"],
    ("verify", "only"): ["--layout", "dist/oci"],
    ("publish", "remote"): ["--release", "HEAD"],
    ("release", "remote"): ["--push"],
    ("handover", "release"): ["--pack"],
}
"""What an option needs beside REST to have a meaning."""


def values(room: Path) -> dict[str, str]:
    """Return {kind: nonsense}, with files of every sort under `room`."""
    file = room / "a file"
    file.write_bytes(b"\xff\x00 nonsense\n")
    folder = room / "a folder"
    folder.mkdir(exist_ok=True)
    shut = room / "shut"
    shut.mkdir(mode=0o555, exist_ok=True)
    return {
        "empty": "",
        "space": " ",
        "huge": "x" * 100_000,
        "huge number": "9" * 5000,
        "negative": "-1",
        "nan": "nan",
        "infinite": "1e999",
        "float": "1.5",
        "unicode": "ʬ☃\u202e𝔘",
        "other digits": "٣",
        "not UTF-8": "\udcff\udcfe",
        "line breaks": "a\nb\r\x1b[31m",
        "NUL": "a\0b",
        "an option": "--nonsense",
        "quotes": "x\"$(y)';`z`",
        "a link out": "../../../etc/passwd",
        "file": str(file),
        "folder": str(folder),
        "absent": str(room / "absent" / "file"),
        "below a file": str(file / "below"),
        "unwritable": str(shut / "file"),
        "another user's": str(room / "theirs"),
        "below another user's": str(room / "their folder" / "file"),
        "full": "/dev/full",
        "process": "/proc/self/mem",
    }


def lines(room: Path, table: dict[str, Task[Any]]) -> Iterator[tuple[list[str], str, str]]:
    """Yield (words, option under test, kind of nonsense) for each input."""
    found = values(room)
    yield ["nonsense"], "", "a task"
    for name, one in table.items():
        yield [name, "--nonsense"], "", "an option"
        yield [name, "-Q"], "", "an option"
        rest = REST.get(name, [])
        for argument in one.get_arguments():
            option = f"--{argument.name.replace('_', '-')}"
            if argument.kind is bool:
                yield [name, *rest, f"{option}=nonsense"], argument.name, "a value of a flag"
                continue
            yield [name, option], argument.name, "no value"
            others = _others(name, one, argument)
            for kind, value in found.items():
                yield [name, *others, f"{option}={value}"], argument.name, kind
                if argument.positional and argument.kind is str:
                    yield [name, value, *others], argument.name, f"{kind}, without its name"


def _others(name: str, one: Task[Any], argument: Argument) -> list[str]:
    """Return the rest of a command line: REST without the option under test, and WITH."""
    rest = list(REST.get(name, []))
    if argument.positional and argument.kind is str and rest:
        order = [a.name for a in one.get_arguments() if a.positional]
        if argument.name in order and order.index(argument.name) < len(rest):
            del rest[order.index(argument.name)]
    option = f"--{argument.name.replace('_', '-')}"
    if option in rest:
        at = rest.index(option)
        del rest[at : at + 2]
    return [*rest, *WITH.get((name, argument.name), [])]


def run(words: list[str]) -> dict[str, Any]:
    """Run one command line in this process and return what came of it."""
    # As a terminal takes them: what is not UTF-8 cannot be printed.
    out = io.TextIOWrapper(io.BytesIO(), "utf-8", "strict")
    err = io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace")
    code: Any = 0
    sys.stdin = io.TextIOWrapper(io.BytesIO())
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            program.run(["invoke", *words])
        except SystemExit as error:
            code = error.code
        except BaseException:
            traceback.print_exc()
            code = "raised"
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode())
    return {"code": code, "out": texts[0], "err": texts[1]}


def main() -> None:
    """Print a row for each input, of the named tasks or of all."""
    room, names = Path(sys.argv[1]), sys.argv[2:]
    copy = Path.cwd()
    sys.path.insert(0, str(copy))
    import tasks

    table = dict(sorted(Collection.from_module(tasks).tasks.items()))
    stdout = sys.stdout
    for words, option, kind in lines(room, table):
        if names and words[0] not in names:
            continue
        began = time.monotonic()
        # Names without a folder are names in one that is empty.
        with tempfile.TemporaryDirectory(dir=room) as empty, contextlib.chdir(empty):
            done = run(["--search-root", str(copy), *words])
        row = {**done, "seconds": round(time.monotonic() - began, 2)}
        brief = {key: text[-3000:] if isinstance(text, str) else text for key, text in row.items()}
        brief["words"] = [word if len(word) < 200 else f"{word[:20]}…{len(word)}" for word in words]
        print(json.dumps({**brief, "option": option, "kind": kind}), file=stdout, flush=True)


if __name__ == "__main__":
    os.umask(0o022)
    main()
