"""The linker without line tables: refused for an unknown toolchain, and right at run time."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from go_programs import compile_program
from running import emulator

from build.config.targets import Target, targets
from build.core import errors
from build.golang import linker, overlay


def test_a_toolchain_without_the_file_stops_the_build(tmp_path: Path) -> None:
    with pytest.raises(errors.BuildFailed, match="no src/cmd/link"):
        overlay.changed(tmp_path, linker.FOLDER, tmp_path / "out")


def run(program: Path, target: Target, *words: str) -> subprocess.CompletedProcess[str]:
    words_of_emulator = emulator(target)
    env = {"PATH": "/usr/bin:/bin", "EMULATOR": " ".join(words_of_emulator)}
    argv = [*words_of_emulator, str(program), *words]
    return subprocess.run(argv, capture_output=True, text=True, env=env, timeout=600)


@pytest.mark.slow
@pytest.mark.parametrize("target", targets().values(), ids=lambda target: target.name)
def test_the_runtime_works_without_line_tables(
    target: Target, tmp_path: Path, shared_cache: Path
) -> None:
    program = tmp_path / "linetables"
    compile_program(program, target, lean=True, numbers=True)
    done = run(program, target)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 failed" in done.stdout


@pytest.mark.slow
def test_names_stay_where_the_runtime_has_no_numbers(tmp_path: Path, shared_cache: Path) -> None:
    target = targets()["amd64"]
    program = tmp_path / "linetables"
    compile_program(program, target, lean=True)
    assert run(program, target, "-names").returncode == 0
    done = run(program, target)
    assert done.returncode != 0
    assert " 1 failed" in done.stdout
    assert "FAIL numbers" in done.stdout


@pytest.mark.slow
def test_the_check_tells_the_linkers_apart(tmp_path: Path, shared_cache: Path) -> None:
    target = targets()["amd64"]
    program = tmp_path / "linetables"
    compile_program(program, target, lean=False)
    done = run(program, target)
    assert done.returncode != 0
    assert " 2 failed" in done.stdout
    assert "FAIL lines" in done.stdout
    assert "FAIL numbers" in done.stdout
    assert run(program, target, "-lines").returncode == 0
