"""The real binary as built: its crash reports, its CA roots, its ciphers on each platform."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from running import emulator

from build.config.targets import Target, targets
from build.core import cache
from build.core.errors import BuildFailed, UserError
from build.golang import modules, stdlib, symbols, tailscale, unsign
from build.pipeline import order

ROOTS = Path(__file__).parent / "golang" / "roots"
EACH = pytest.mark.parametrize("target", targets().values(), ids=lambda target: target.name)
ARM = [target for target in targets().values() if target.goarch == "arm"]
WITH_OURS = [target for target in targets().values() if target.goarch in ("arm", "arm64")]
"""Platforms with assembly of ours for ciphers."""


def shipped(target: Target, folder: Path) -> Path:
    """The daemon as it is in the image, compressed, under its own name."""
    request = order.Request([target], order.release_of(), check_size=False)
    files = order.build(request).rootfs[target.name]
    (entry,) = [e for e in files.entries if e.path.endswith("tailscale.combined")]
    assert entry.source is not None
    daemon = folder / "tailscaled"
    daemon.write_bytes(entry.source.read_bytes())
    daemon.chmod(0o755)
    return daemon


def crash(target: Target, daemon: Path, folder: Path) -> str:
    """Start the daemon, abort it once it works, and return all that it said."""
    record = folder / "crash.txt"
    words = ["--tun=userspace-networking", "--state=mem:", "--no-logs-no-support"]
    words += [f"--socket={folder / 'sock'}", f"--statedir={folder}"]
    with record.open("wb") as sink:
        process = subprocess.Popen(
            [*emulator(target), str(daemon), *words],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            env={"PATH": "/usr/bin:/bin", "GOTRACEBACK": "all", "HOME": str(folder)},
        )
        try:
            end = time.monotonic() + 120
            while "Engine created" not in record.read_text(errors="replace"):
                assert process.poll() is None, record.read_text(errors="replace")
                assert time.monotonic() < end, record.read_text(errors="replace")
                time.sleep(0.1)
            process.send_signal(signal.SIGABRT)
            process.wait(timeout=60)
        finally:
            process.kill()
            process.wait()
    return record.read_text(errors="replace")


def symbols_of(target: Target) -> Path:
    go = order.go_command()
    made = tailscale.build(go, target, order.release_of(), linker=order.lean_linker(go))
    return cache.checked(made.artifact(tailscale.SYMBOLS))


@pytest.mark.slow
@EACH
def test_a_crash_of_the_shipped_daemon(target: Target, tmp_path: Path, shared_cache: Path) -> None:
    report = crash(target, shipped(target, tmp_path), tmp_path)
    assert "?:0" in report, "a trace without places was expected"
    sidecar = symbols.load(symbols_of(target).read_bytes())
    assert sidecar.stamp in report
    done = symbols.symbolize(report, sidecar)
    assert "?:0" not in done
    assert "main.main()" in done
    assert "tailscale.com/cmd/tailscaled/tailscaled.go:" in done
    # More frames than the trace had: the inlined calls are back.
    assert done.count("\n") > report.count("\n")

    other = next(t for t in targets().values() if t.name != target.name)
    wrong = symbols.load(symbols_of(other).read_bytes())
    with pytest.raises(UserError, match="not of the build"):
        symbols.symbolize(report, wrong)
    with pytest.raises(UserError, match="not of the build"):
        symbols.symbolize(report, wrong, trust=True)


def test_symbols_that_are_none() -> None:
    with pytest.raises(UserError, match="not a file of symbols"):
        symbols.load(b"nonsense")


@pytest.fixture
def tree(shared_cache: Path) -> Path:
    """Tailscale's sources with our patched modules."""
    return modules.source(order.go_command()).data


def go(
    words: list[str], cwd: Path, folder: Path, target: Target | None = None, ours: bool = False
) -> str:
    """Run the go command; with `ours`, on our standard library."""
    with cache.scratch() as scratch:
        more = [stdlib.option(order.go_command(), scratch)] if ours else []
        return order.go_command().run(
            [words[0], *more, *words[1:]],
            what="a test's go command",
            record=folder / "go.log",
            scratch=scratch,
            target=target,
            cwd=cwd,
        )


@pytest.mark.slow
def test_the_roots(tree: Path, tmp_path: Path) -> None:
    program = tmp_path / "roots"
    # With the daemon's own file, which puts the roots in place.
    sources = [ROOTS / "main.go", tree / "cmd" / "tailscaled" / "mt_roots.go"]
    (tmp_path / "program").mkdir()
    files = [str(shutil.copy(path, tmp_path / "program")) for path in sources]
    go(
        ["build", f"-tags={tailscale.ROOTS_TAG}", "-o", str(program), *files],
        tree,
        tmp_path,
        ours=True,
    )
    empty = tmp_path / "empty"
    empty.mkdir()
    none = {"SSL_CERT_FILE": str(tmp_path / "missing"), "SSL_CERT_DIR": str(empty)}
    private = tmp_path / "private.pem"
    with subprocess.Popen(
        [program, "serve", private], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        address = server.stdout.readline().strip()

        def run(*words: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
            argv = [str(word) for word in (program, *words)]
            return subprocess.run(argv, capture_output=True, text=True, env=env, timeout=60)

        # Built in: a real chain to a public root is good, a root of somebody's own is not.
        known = run("chain", ROOTS / "chain.pem", **none)
        assert known.returncode == 0, known.stderr
        bundle = tree / modules.INSIDE / modules.ROOTS / "bundle" / "bundle.go"
        same = run("parsed", str(bundle.read_text().count("certStartOff:")), **none)
        assert same.returncode == 0, same.stderr
        assert run("parsed", "1", **none).returncode != 0
        unknown = run("dial", address, **none)
        assert unknown.returncode != 0
        assert "unknown authority" in unknown.stderr
        # Mounted: the user's own roots win, as a file and as a folder.
        assert (
            run("dial", address, SSL_CERT_FILE=str(private), SSL_CERT_DIR=str(empty)).stderr == ""
        )
        folder = tmp_path / "certs"
        folder.mkdir()
        (folder / "private.pem").write_bytes(private.read_bytes())
        own = {"SSL_CERT_FILE": str(tmp_path / "missing"), "SSL_CERT_DIR": str(folder)}
        assert run("dial", address, **own).stderr == ""
        # They replace the built-in set, they do not add to it.
        assert run("chain", ROOTS / "chain.pem", **own).returncode != 0


@pytest.mark.slow
def test_the_set_of_roots_is_mozillas(tree: Path, tmp_path: Path) -> None:
    """Only signatures differ from the original, and its own tests still pass."""
    place = tree / modules.INSIDE / modules.ROOTS
    words = ["list", "-m", "-f={{.Dir}}", modules.ROOTS]
    pristine = order.go_command().source
    original = Path(go(words, pristine, tmp_path).strip()) / "bundle" / "bundle.der"
    ours = (place / "bundle" / "bundle.der").read_bytes()
    theirs = original.read_bytes()
    assert ours == unsign.unsign(theirs)
    assert ours != theirs
    assert unsign.unsign(ours) == ours
    assert len(ours) == len(theirs)
    # Not those of bundle/: they compare the hashes of whole certificates.
    go(["test", "."], place, tmp_path)


ENTRY = '\t{\n\t\tcn:           "x",\n\t\tsha256Hash:   "0a",\n\t\tcertStartOff: 0,\n\t},\n'


def test_labels_are_left_out() -> None:
    assert unsign.unlabel(ENTRY * 2) == "\t{\n\t\tcertStartOff: 0,\n\t},\n" * 2


@pytest.mark.parametrize(
    "listing", ["", ENTRY.replace("cn:", "name:"), ENTRY + "\t\tcertStartOff:"]
)
def test_a_listing_of_another_form_is_refused(listing: str) -> None:
    with pytest.raises(BuildFailed):
        unsign.unlabel(listing)


@pytest.mark.parametrize("damage", [b"\x31", b"\x30\x82\xff\xff"])
def test_a_bundle_of_another_form_is_refused(damage: bytes) -> None:
    with pytest.raises(BuildFailed):
        unsign.unsign(damage + bytes(20))


@pytest.mark.parametrize(
    "comparisons",
    [
        pytest.param("-short", marks=pytest.mark.slow),
        pytest.param("-short=false", marks=[pytest.mark.slow, pytest.mark.nightly]),
    ],
    ids=["thousands", "a million"],
)
@pytest.mark.parametrize("target", WITH_OURS, ids=lambda target: target.name)
def test_the_ciphers_that_are_ours(
    target: Target, comparisons: str, tree: Path, tmp_path: Path
) -> None:
    """RFC 8439's vectors, edge cases, and random comparisons with the generic code."""
    place = tree / modules.INSIDE / "golang.org/x/crypto"
    packages = ["./chacha20", "./chacha20poly1305", "./internal/poly1305"]
    ran = f"-exec={' '.join(emulator(target))}"
    words = ["test", ran, comparisons, "-timeout=20m", "-v", *packages]
    said = go(words, place, tmp_path, target)
    assert said.count("\nok  \t") + said.startswith("ok  \t") == len(packages), said[-2000:]
    assert "Random" in said or "Generic" in said, os.linesep.join(said.splitlines()[:40])


@pytest.mark.slow
@pytest.mark.parametrize("neon", ["on", "off"])
@pytest.mark.parametrize("target", ARM, ids=lambda target: target.name)
def test_the_device_takes_the_cipher_that_fits_the_cpu(
    target: Target, neon: str, tree: Path, tmp_path: Path
) -> None:
    """Where packets are sealed: tsasm with NEON, x/crypto (ours) without it."""
    program, cpu = emulator(target)[0], "cortex-a7" if neon == "on" else "cortex-a7,neon=off"
    place = tree / modules.INSIDE / "github.com/tailscale/wireguard-go"
    env = shutil.which("env")
    words = ["test", f"-exec={env} MT_NEON={neon} {program} -cpu {cpu}", "-v", "-run=MTAEAD", "."]
    said = go(words, place / "device", tmp_path, target)
    assert "--- PASS: TestMTAEADByCPU" in said, said[-2000:]
