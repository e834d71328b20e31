"""Our changes of Go's standard library: the table of P-256 is upstream's to the byte, and lazy."""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path

import pytest
from running import emulator

from build.config.targets import Target, targets
from build.core import cache, errors
from build.golang import stdlib
from build.pipeline import order

PACKAGE = "crypto/internal/fips140/nistec"


def test_tests_are_no_part_of_the_key() -> None:
    assert not [path for path in stdlib.identity() if path.endswith("_test.go")]
    assert [path for path in stdlib.identity() if path.endswith("mt_p256_table.go")]


def own_tests(out: Path, target: Target, spoil: str = "") -> subprocess.CompletedProcess[str]:
    """Run the package's tests, upstream's and ours, on a platform's oldest CPU."""
    go = order.go_command()
    with cache.scratch() as scratch:
        option = stdlib.option(go, scratch)
        overlay = scratch / "stdlib.json"
        rows = overlay.read_text()
        home = go.root / "src" / PACKAGE
        for path in (stdlib.FOLDER / "new" / "src" / PACKAGE).glob("*_test.go"):
            rows = rows.replace('"Replace": {', f'"Replace": {{"{home / path.name}": "{path}", ', 1)
        if spoil:
            ours = stdlib.build(go).data / "src" / PACKAGE / "mt_p256_table.go"
            wrong = scratch / "wrong.go"
            wrong.write_text(ours.read_text().replace(spoil, "multiples[30]"))
            assert wrong.read_text() != ours.read_text()
            rows = rows.replace(f'"{ours}"', f'"{wrong}"')
        overlay.write_text(rows)
        words = ["test", "-c", option, "-o", str(out), PACKAGE]
        record = out.with_suffix(".log")
        go.run(words, what="the tests of P-256", record=record, scratch=scratch, target=target)
    argv = [*emulator(target), str(out), "-test.v"]
    return subprocess.run(argv, capture_output=True, text=True, timeout=600)


def upstreams_table() -> str:
    """The sum of the table in the toolchain's own source."""
    source = (order.go_command().root / "src" / PACKAGE / "p256_table.go").read_text()
    table = bytes(int(byte, 16) for byte in re.findall(r"0x[0-9a-f]{1,2}", source))
    assert len(table) == 43 * 32 * 2 * 32
    return hashlib.sha256(table).hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("target", targets().values(), ids=lambda target: target.name)
def test_the_table_is_upstreams(target: Target, tmp_path: Path, shared_cache: Path) -> None:
    done = own_tests(tmp_path / "nistec", target)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"table: {upstreams_table()}" in done.stdout
    assert re.search(r"^first use: \S+s$", done.stdout, re.MULTILINE)


@pytest.mark.slow
def test_a_wrong_table_is_seen(tmp_path: Path, shared_cache: Path) -> None:
    done = own_tests(tmp_path / "nistec", targets()["amd64"], spoil="multiples[31]")
    assert f"table: {upstreams_table()}" not in done.stdout


@pytest.mark.slow
def test_another_toolchain_is_refused(
    tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(errors.BuildFailed, match="the sources have no"):
        stdlib.overlay.changed(tmp_path, stdlib.FOLDER, tmp_path / "out")
