"""What we add to Tailscale: the log filter's own Go tests run, and can fail."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from build.core import command
from build.core.errors import BuildFailed
from build.core.paths import PATCHES
from build.golang import tailscale
from build.golang.tailscale import ROOTS_TAG
from build.pipeline import order

FOLDER = PATCHES / "tailscale" / "new" / "cmd" / "tailscaled"
TAG = "ts_omit_logtail"


@pytest.fixture
def module(places: Path) -> Path:
    folder = places / "filter"
    folder.mkdir()
    files = sorted(FOLDER.glob("mt_logfilter*.go"))
    assert [path.name for path in files] == ["mt_logfilter.go", "mt_logfilter_test.go"]
    for path in files:
        shutil.copy(path, folder)
    (folder / "go.mod").write_text("module filter\n\ngo 1.26\n")
    (folder / "main.go").write_text("package main\n\nfunc main() {}\n")
    return folder


def go(places: Path, module: Path, *words: str, **env: str) -> str:
    tool = order.go_command()
    return command.run(
        [str(tool.root / "bin" / "go"), *words],
        what="the log filter's tests",
        log_file=places / "go.log",
        env=tool.environment(places) | env,
        cwd=module,
    )


def test_what_is_added_only_where_a_build_asks_for_it() -> None:
    """The filter stands in for a feature that is left out; a build with logtail needs none."""
    wanted = {"mt_logfilter.go": TAG, "mt_logfilter_test.go": TAG, "mt_roots.go": ROOTS_TAG}
    for name, tag in wanted.items():
        head = (FOLDER / name).read_text().partition("\npackage ")[0]
        (line,) = [line for line in head.splitlines() if line.startswith("//go:build ")]
        assert tag in line.split()


@pytest.mark.slow
def test_the_filters_own_tests_pass(shared_cache: Path, places: Path, module: Path) -> None:
    said = go(places, module, "test", "-v", f"-tags={TAG}", "./...")
    assert said.count("--- PASS: TestMTLogFilter") >= 3
    go(places, module, "vet", f"-tags={TAG}", "./...")


@pytest.mark.slow
def test_without_the_tag_nothing_is_there(shared_cache: Path, places: Path, module: Path) -> None:
    assert "TestMTLogFilter" not in go(places, module, "test", "-v", "./...")


@pytest.mark.slow
def test_a_disabled_filter_fails_them(shared_cache: Path, places: Path, module: Path) -> None:
    path = module / "mt_logfilter.go"
    text = path.read_text()
    assert "if mtIsVerbose(message) {" in text
    path.write_text(text.replace("if mtIsVerbose(message) {", "if false {"))
    with pytest.raises(BuildFailed):
        go(places, module, "test", f"-tags={TAG}", "./...")
    assert "--- FAIL: TestMTLogFilterWithTheLogPackage" in (places / "go.log").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("verbosity", "shown"), [("", False), ("0", False), ("1", True)])
def test_a_real_program_with_the_filter(
    shared_cache: Path, places: Path, module: Path, verbosity: str, shown: bool
) -> None:
    (module / "main.go").write_text(
        'package main\n\nimport "log"\n\n'
        'func main() {\n\tlog.Printf("kept")\n\tlog.Printf("x: [v1] verbose")\n}\n'
    )
    (module / "mt_logfilter_test.go").unlink()
    go(places, module, "build", f"-tags={TAG}", "-o", "filter")
    env = {"TS_LOG_VERBOSITY": verbosity} if verbosity else {}
    record = places / "run.log"
    command.run([str(module / "filter")], what="x", log_file=record, env=env, cwd=places)
    assert "kept" in record.read_text()
    assert ("[v1] verbose" in record.read_text()) == shown


OWN = ("mt_stamp", "mt_memory", "mt_tunnel", "mt_reap", "mt_lan")
"""Our files with Go tests of their own; of what the last needs, mt_masquerade has none."""


@pytest.mark.slow
def test_the_daemons_own_files_pass_their_tests(shared_cache: Path, places: Path) -> None:
    """In Tailscale's tree, by name: the package's other tests need modules that no build takes."""
    tool = order.go_command()
    folder = tool.source / "cmd" / "tailscaled"
    files = [f"{name}{end}.go" for name in OWN for end in ("", "_test")]
    words = ["test", "-v", f"-tags={','.join(tailscale.tags(tool))}", *files, "mt_masquerade.go"]
    # Of the machine's programs a build sees none; these tests start some.
    env = {**tool.environment(places), "PATH": os.environ["PATH"]}
    argv = [str(tool.root / "bin" / "go"), *words]
    log_file = places / "go.log"
    said = command.run(argv, what="our tests", log_file=log_file, env=env, cwd=folder)
    written = [
        line.split("(")[0].removeprefix("func ")
        for name in OWN
        for line in (folder / f"{name}_test.go").read_text().splitlines()
        if line.startswith("func Test")
    ]
    assert len(written) >= 6
    assert [name for name in written if f"--- PASS: {name} " not in said] == []
