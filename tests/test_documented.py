"""Every command in the tables of README.md and docs/DEVELOPMENT.md is run as it is written.

Here, in a clone that was made ready by `pip install -e .`, or by a session or test that CI runs:
which one is said for each, and a command in neither list fails. Words of the documents that stand
for something of the reader's (FILE, DIR, JOB, crash.txt, a tag) are given something real. The shell
blocks of docs/DEVELOPMENT.md are rehearsed by tests/test_development.py.
"""

from __future__ import annotations

import inspect
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from test_ci_files import ACTIONS, SESSION, lines, load
from test_development import PASSWORD, TAILSCALE, Clone, blocks, clone, git

import noxfile
from build.config import tools
from build.core import errors

assert clone  # the fixture

ROOT = Path(__file__).resolve().parent.parent
README, DEVELOPMENT = ROOT / "README.md", ROOT / "docs" / "DEVELOPMENT.md"
MINUTES = 20
_COMMAND = re.compile(r"(\./dev )?(invoke|nox|sha256sum) [^…]")


def _more(command: str, words: str) -> str:
    """Return a command with other words: in place of a flag at its end, else after it."""
    head, _, last = command.rpartition(" ")
    if words.startswith("-"):
        return f"{head if last.startswith('--') else command} {words}"
    return f"{head} {words}"


def commands(text: str, tables_only: bool = False) -> list[str]:
    """Return every command of a document's tables, and of its prose and shell blocks.

    In a row `invoke cache --list`, `--prune` are two, and so is an option that the row explains;
    `size --by package` (`section`) as well.
    """
    found: list[str] = []
    if not tables_only:
        for block in re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S):
            found += [line for line in block.splitlines() if _COMMAND.match(line)]
    text = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    for line in text.splitlines():
        row = re.match(r"\| `(invoke|nox) ", line)
        if tables_only and not row:
            continue
        base = ""
        for words in re.findall(r"`([^`]+)`", line):
            if _COMMAND.match(words):
                base = words
                found.append(words)
            elif row and re.match(r"--[a-z-]+( \S+)*$", words):
                found.append(_more(base, words))
    for base, others in re.findall(r"^\| `(invoke [^`]+)` \(((?:`\w+`(?:, )?)+)\)", text, re.M):
        found += [_more(base, word) for word in re.findall(r"`(\w+)`", others)]
    return list(dict.fromkeys(row.removeprefix("./dev ") for row in found))


def documented() -> list[str]:
    """Return the commands of both documents."""
    both = commands(README.read_text()) + commands(DEVELOPMENT.read_text(), tables_only=True)
    return list(dict.fromkeys(both))


# --- by others ----------------------------------------------------------------------------------

RELEASED = "tests/test_development.py::test_a_release"

ELSEWHERE = {
    "invoke build-all": ".ci/run",
    "nox -s tests": ".ci/run",
    "nox -s lint": ".ci/run",
    "nox -s slow": ".ci/run",
    "nox -s nightly": "nightly",
    "nox -s root": ".ci/run",
    "nox -s docker": ".ci/run",
    "nox -s network": ".ci/run",
    "nox -s rehearsal": ".ci/run",
    "nox -s bench": ".ci/run",
    "nox -s runtime": "pull",
    "nox -s report": "pull",
    "nox -s comment": "pull",
    "nox -s evidence": "pull",
    "nox -s release -- --push": "release-tag",
    "nox -s owed": "release",
    "nox -s attach": "release",
    "nox -s prove": RELEASED,
    "nox -s publish -- --to REGISTRY/REPO": RELEASED,
    "nox -s renovate": "renovate",
    "nox -s chain": "nightly",
    "nox -s bumps": "nightly",
    "nox -s machine": "nightly",
    "nox -s matrix": "nightly",
    "nox -s site": "nightly",
    "nox -s fleet": "nightly",
    "nox -s sizes": "nightly",
    "nox -s overhead": "nightly",
    "nox -s costs": "nightly",
    "nox -s starts": "nightly",
    "nox -s figures": "nightly",
    "nox -s counted": "nightly",
    "nox -s reproducible": "nightly",
    "nox -s lock": "nightly",
    "nox -s reproducible -- --release TAG --from REGISTRY/REPO": "tests/test_published.py",
    "invoke build-all --assembler buildx": "tests/test_docker.py",
    "invoke doctor --forge https://forge.example/me/it": "tests/test_protection.py",
    "invoke deploy --host https://router": "tests/test_routeros_deploy.py",
    "invoke deploy --host https://router --apply": "tests/test_routeros_deploy.py",
    "invoke deploy --inventory routers.toml": "tests/test_fleet_task.py",
    "invoke deploy --inventory routers.toml --apply": "tests/test_fleet_task.py",
    "invoke size --record v1.102.5-mt.1": RELEASED,
    "invoke publish --to REGISTRY/REPO": RELEASED,
    "invoke promote": RELEASED,
    "invoke rollback --to v1.102.5-mt.1": RELEASED,
    "invoke site --files https://forge.example/…": "tests/test_site.py",
    "invoke release --push": RELEASED,
    "invoke verify --arch amd64": "nox -s prove",
    "invoke comment --post": "nox -s comment",
    "invoke owed": "nox -s owed",
    "invoke attach": "nox -s attach",
    "invoke features --cost": "nox -s costs",
    "invoke size --by feature": "nox -s costs",
    "invoke figures": "nox -s figures",
    "invoke figures --machine": "nox -s counted",
    "invoke handover --pack": "nox -s prove",
    "invoke handover --unpack": "nox -s publish",
}
"""{command: what runs it}: a file of .ci or tests, a pipeline of CI, a nox session that CI runs, or
a test that runs the document's own blocks."""


def unfounded(command: str, where: str) -> str:
    """Say why a claim that `where` runs a command is not true; "" if it is."""
    program, *words = command.split()
    name = words[1] if program == "nox" else words[0]
    option = next((word for word in words[2 if program == "nox" else 1 :] if len(word) > 2), "")
    # A session without --arch does it for each platform.
    option = "" if option in ("--", "--to", "--host", "--arch") else option
    if where.startswith("nox -s "):
        session = where.removeprefix("nox -s ")
        source = inspect.getsource(getattr(noxfile, session).func)
        if f'"{name}"' not in source or option not in source:
            return f"{where} does not run it"
        others = [one for one in ELSEWHERE if re.match(rf"{where}( |$)", one)]
        return "" if others else f"nobody runs {where}"
    if "::" in where:
        from test_development import REHEARSED

        here = [head for head, test in REHEARSED.items() if where.endswith(f"::{test}")]
        text = "\n".join(part for head in here for part in blocks(DEVELOPMENT.read_text())[head])
        part = f"{program} -s {name}" if program == "nox" else f"{program} {name} .*{option}"
        part = part.replace(f"{name} .*publish", "publish")
        wanted = re.compile(part.rstrip(" .*") if not option else part)
        return "" if wanted.search(text) else f"its blocks have no {wanted.pattern}"
    if "/" in where or "." in where:
        text = (ROOT / where).read_text()
        lacking = [part for part in (name, option) if part and part not in text]
        return f"{where} has no {lacking}" if lacking else ""
    (file,) = [path for path in ACTIONS if path.stem == where]
    ran = [match for line in lines(load(file)) if (match := SESSION.fullmatch(line))]
    return "" if any(name in match[1].split() for match in ran) else f"{file.name} does not run it"


def test_what_others_run_is_run_there() -> None:
    found = {command: unfounded(command, where) for command, where in ELSEWHERE.items()}
    assert {command: fault for command, fault in found.items() if fault} == {}


def test_a_false_claim_is_seen() -> None:
    assert unfounded("nox -s chain", "pull")
    assert unfounded("nox -s chain", ".ci/run")
    assert unfounded("invoke attach", "nox -s owed")
    assert unfounded("invoke chart", RELEASED)
    assert unfounded("invoke build-all --assembler buildx", "tests/test_clean.py")


# --- here ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """A command of the documents: what it must say, its exit code, what it needs."""

    command: str
    says: str = ""
    code: int = 0
    before: str = ""
    env: dict[str, str] = field(default_factory=dict)


HERE = [
    Run("invoke doctor"),
    Run("invoke fetch"),
    Run("invoke build --arch arm64", "-arm64.tar"),
    Run("invoke build --arch arm64 --why", "nothing to do"),
    Run("nox -s size-check", "size-check(arch='armv5') was successful"),
    Run("nox -s \"size-check(arch='arm64')\"", "was successful"),
    Run("sha256sum -c SHA256SUMS", ": OK", before="cd dist"),
    Run("invoke features", "netstack"),
    Run("invoke tags", "ts_include_cli"),
    Run("invoke pins", "busybox"),
    Run("invoke size --check", "rootfs"),
    Run("invoke size --accept", "accepted"),
    Run("invoke size --by package", "net/http"),
    Run("invoke size --by section", ".text"),
    Run("invoke chart", "report.html"),
    Run(
        "invoke symbolize --arch arm64 crash.txt",
        "tailscaled.go",
        before="python made_crash.py > crash.txt",
    ),
    Run("invoke sbom --arch arm64", "BSD-3-Clause"),
    Run("invoke sbom --arch arm64 --json", '"specVersion": "1.6"'),
    Run("invoke inspect --arch arm64", "entrypoint"),
    Run("invoke pictures --write"),
    Run("invoke pictures --check", "all are what the records say"),
    Run("invoke sources --check"),
    Run("invoke sources --write"),
    Run("invoke signing-key --out FILE", env={"MT_SIGNING_PASSWORD": PASSWORD}),
    Run("invoke sign", env={"MT_SIGNING_PASSWORD": PASSWORD, "MT_SIGNING_KEY": "FILE"}),
    Run("invoke router --version 7.20 --out DIR", "update-tailscale.rsc"),
    Run("invoke comment", "| "),
    Run("invoke evidence --write JOB"),
    Run("invoke evidence --require JOB"),
    Run("invoke release-plan", f"v{TAILSCALE}-mt.1", before="git checkout -q . && git clean -qfd"),
    Run("invoke release", f"v{TAILSCALE}-mt.1"),
    Run(
        "invoke release --revision",
        f"v{TAILSCALE}-mt.2",
        before="git -c user.name=x -c user.email=x@localhost commit -q --allow-empty -m more "
        "&& git push -q origin HEAD:main",
    ),
    Run("invoke bump --anchors"),
    Run("invoke bump cmake 4.1.3", "4.1.3"),
    Run("invoke build --arch arm64 --compress none", "-arm64.tar", before="git checkout -q ."),
    Run("invoke build --arch arm64 --compress upx", "-arm64.tar"),
    Run("invoke cache --list", "golang"),
    Run("invoke cache --prune", "stay", env={"MT_CACHE": "CACHE"}),
    Run("invoke clean", "deleted"),
]
"""In this order; `before` makes what it needs."""

GIVEN = {"JOB": "tests", "DIR": "scripts"}

CRASH = """
import json, lzma, pathlib
from build.golang import symbols
(file,) = pathlib.Path("dist").glob("symbols-arm64-*.xz")
found = symbols.load(file.read_bytes())
func = next(f for f in found.table.funcs if f.name == "main.main")
print(found.stamp)
print("goroutine 1 [running]:")
print("main.main()")
print("\\t?:0 +0x10")
"""


def test_every_documented_command_is_run_by_somebody() -> None:
    known = [row.command for row in HERE]
    assert len(set(known)) == len(known)
    assert set(known) & ELSEWHERE.keys() == set()
    assert set(documented()) == {*known, *ELSEWHERE}


def test_a_new_command_is_seen() -> None:
    text = "| `invoke new --it`, `--other` | does `--this X` |\n`nox -s old`\n"
    assert commands(text, tables_only=True) == [
        "invoke new --it",
        "invoke new --other",
        "invoke new --this X",
    ]
    assert commands(f"{text}```sh\n./dev invoke plain\n```\n")[0] == "invoke plain"


def ready(clone: Clone) -> None:
    """Make an environment as somebody does who does not use ./dev; check that nothing is left."""
    venv = clone.folder.parent / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    argv = [str(venv / "bin" / "pip"), "install", "-q", "-e", "."]
    subprocess.run(argv, cwd=clone.folder, check=True, timeout=MINUTES * 60)
    assert git(clone.folder, "status", "--porcelain") == ""
    clone.env["PATH"] = f"{venv / 'bin'}:{clone.env['PATH']}"
    clone.env.pop("VIRTUAL_ENV", None)


def wanted(row: Run, clone: Clone) -> int:
    """Return the exit code to expect: of a disk that is nearly full `invoke doctor` says so."""
    full = shutil.disk_usage(clone.env["MT_CACHE"]).free < tools.FREE_BYTES
    return errors.UserError.exit_code if full and row.command == "invoke doctor" else row.code


@pytest.mark.rehearsal
def test_each_command_as_written(clone: Clone, capsys: pytest.CaptureFixture[str]) -> None:
    ready(clone)
    room = clone.folder.parent
    assert "-arm64.tar" in clone.shell("invoke build-all --offline")
    (clone.folder / "made_crash.py").write_text(CRASH)
    clone.env["PYTHONPATH"] = str(clone.folder)
    given = {**GIVEN, "FILE": str(room / "key"), "CACHE": str(room / "private")}
    faults = []
    for row in HERE:
        command, env = row.command, dict(row.env)
        for word, real in given.items():
            command = re.sub(rf"\b{word}\b", real, command)
            env = {name: real if value == word else value for name, value in env.items()}
        script = f"{row.before}\n{command}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=clone.folder, env=clone.env | env, text=True, capture_output=True,
            timeout=MINUTES * 60,
        )  # fmt: skip
        with capsys.disabled():
            print(f"{done.returncode} {row.command}", flush=True)
        said = done.stdout + done.stderr
        if done.returncode != wanted(row, clone) or row.says not in said or "Traceback" in said:
            faults.append(f"{row.command}: {done.returncode}, {said[:1500]} … {said[-1500:]}")
    assert faults == []
