"""The real images of all platforms, run from their archives on the oldest CPU of each."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import SHARED_CACHE

from build.config import targets
from build.config.pins import pin
from build.config.targets import Target
from build.golang.gotool import toolchain_version
from build.image import dist
from build.native import busybox
from build.pipeline import order

pytestmark = pytest.mark.slow

ALL = targets.targets()
VERSION = pin("tailscale").version

# Applets that take --help for an ordinary word; with what they print for it, and their status.
ORDINARY = {"true": ("", 0), "false": ("", 1), "echo": ("--help\n", 0), "test": ("", 0)}


@dataclass
class Machine:
    """The unpacked root file system of one platform and how to run a program of it."""

    target: Target
    root: Path
    cpu: str = ""
    applets: list[str] = field(default_factory=list)

    def run(self, path: str, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        argv = [*self.emulator(), str(self.root / path), *words]
        env = {"PATH": "/nowhere", "HOME": "/nowhere"}
        return subprocess.run(
            argv, cwd=self.root, env=env, input=stdin, text=True, capture_output=True, timeout=120
        )

    def emulator(self) -> list[str]:
        name, cpu = self.target.qemu
        if self.target.name == "amd64" and os.uname().machine == "x86_64" and not self.cpu:
            return []
        program = shutil.which(f"{name}-static") or shutil.which(name)
        if not program:
            assert "CI" not in os.environ, f"{name} has to be installed in CI"
            pytest.skip(f"{name} is not installed here; .ci/run installs it (qemu-user-static)")
        return [program, "-cpu", self.cpu or cpu]


def unpack(archive: Path, root: Path) -> None:
    """Unpack the only layer of a docker-archive, as RouterOS does."""
    with tarfile.open(archive) as outer:
        (manifest,) = json.loads(outer.extractfile("manifest.json").read())  # type: ignore[union-attr]
        (layer,) = manifest["Layers"]
        content = outer.extractfile(layer).read()  # type: ignore[union-attr]
    root.mkdir()
    with tarfile.open(fileobj=io.BytesIO(content)) as inner:
        for member in inner:
            place = root / member.name
            if member.isdir():
                place.mkdir()
            elif member.issym():
                place.symlink_to(member.linkname)
            else:
                place.write_bytes(inner.extractfile(member).read())  # type: ignore[union-attr]
            if not member.issym():
                place.chmod(member.mode)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory):
    """Build all platforms through the shared cache and unpack their archives."""
    folder = tmp_path_factory.mktemp("real")
    machines = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MT_CACHE", str(SHARED_CACHE))
        patch.setenv("MT_DIST", str(folder / "dist"))
        patch.setenv("MT_WORK", str(folder / "work"))
        release = order.release_of()
        request = order.Request(list(ALL.values()), release, whole=True, check_size=False)
        result = order.build(request)
        assert len(result.images) == len(ALL)
    for target in ALL.values():
        root = folder / target.name
        unpack(folder / "dist" / dist.archive_name(target, release), root)
        links = [path for path in (root / "bin").iterdir() if path.is_symlink()]
        machines[target.name] = Machine(target, root, applets=sorted(path.name for path in links))
    return machines


@pytest.fixture(params=ALL)
def machine(request: pytest.FixtureRequest, built: dict[str, Machine]) -> Machine:
    return built[request.param]


@pytest.mark.parametrize("words", [("tailscale", "version"), ("tailscaled", "--version")])
def test_the_version_that_it_calls_itself(machine: Machine, words: tuple[str, str]) -> None:
    program, word = words
    done = machine.run(f"usr/local/bin/{program}", word)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == VERSION
    assert f"long version: {VERSION}-mt.0" in done.stdout
    assert f"go version: go{toolchain_version(pin('go'))}\n" in done.stdout
    assert "ERR-BuildInfo" not in done.stdout + done.stderr


def test_the_daemon_takes_the_images_own_options(machine: Machine) -> None:
    """All options of CMD are known: an unknown one would end it with status 2 and its usage."""
    words = ("--no-logs-no-support", "--statedir=/nowhere", "--version")
    assert machine.run("usr/local/bin/tailscaled", *words).stdout.startswith(VERSION)
    done = machine.run("usr/local/bin/tailscaled", "--no-such-option")
    assert done.returncode != 0, "negative control"


def test_the_command_line_is_in(machine: Machine) -> None:
    done = machine.run("usr/local/bin/tailscale", "--help")
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert all(f"\n  {name} " in said for name in ("up", "status", "set", "ping"))
    # Of features that are out.
    assert not [n for n in ("drive", "file", "serve", "update", "web") if f"\n  {n} " in said]


def test_every_applet_answers(machine: Machine) -> None:
    assert {"sh", "ash", "ip", "ping", "awk", "vi", "wget", "nslookup"} <= set(machine.applets)
    wrong = []
    for name in machine.applets:
        done = machine.run(f"bin/{name}", "--help")
        said = done.stdout + done.stderr
        if name in ORDINARY:
            ok = (done.stdout, done.returncode) == ORDINARY[name]
        else:
            # Usage texts are left out of the binary (SHOW_USAGE): --help is known, and silent.
            ok = done.returncode == 0 and said == ""
        if not ok:
            wrong.append(f"{name}: status {done.returncode}, {said[:80]!r}")
    assert wrong == []


def test_the_links_are_busyboxs_own_list(machine: Machine) -> None:
    done = machine.run("bin/busybox", "--list")
    assert done.returncode == 0
    assert sorted(done.stdout.split()) == machine.applets
    refused = machine.run("bin/busybox", "no-such-applet")
    assert refused.returncode == 127
    assert "applet not found" in refused.stderr


@pytest.mark.parametrize(
    ("words", "stdin", "out"),
    [
        (("sh", "-c", 'x="${0##*/}"; for i in a b; do echo "$i$x"; done', "d/7"), "", "a7\nb7\n"),
        (("awk", "{ s += $1 } END { print s / 4 }"), "1\n2\n3\n", "1.5\n"),
        (("sed", "s/\\(a\\)b/\\1c/"), "ab\n", "ac\n"),
        (("sort", "-n"), "10\n9\n", "9\n10\n"),
        (("grep", "-c", "a"), "a\nb\na\n", "2\n"),
        (("tr", "a-z", "A-Z"), "mikrotik\n", "MIKROTIK\n"),
        (("ls", "-d", "usr/local/bin/tailscale"), "", "usr/local/bin/tailscale\n"),
        (("readlink", "bin/sh"), "", "busybox\n"),
        (("expr", "7", "*", "6"), "", "42\n"),
        (("printf", "%05.2f", "3.14159"), "", "03.14"),
        (("date", "-u", "-d", "@1700000000", "+%F"), "", "2023-11-14\n"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_applets_that_work(machine: Machine, words: tuple[str, ...], stdin: str, out: str) -> None:
    done = machine.run(f"bin/{words[0]}", *words[1:], stdin=stdin)
    assert (done.stdout, done.returncode) == (out, 0), done.stderr


def test_the_entrypoint_is_a_right_script(machine: Machine) -> None:
    for name in ("entrypoint.sh", "healthcheck.sh"):
        done = machine.run("bin/sh", "-n", f"usr/local/bin/{name}")
        assert (done.returncode, done.stderr) == (0, "")
    broken = machine.run("bin/sh", "-n", stdin="if true; then\n")
    assert broken.returncode != 0, "negative control"


@pytest.mark.parametrize("program", ["bin/busybox", "usr/local/bin/tailscale"])
def test_the_v7_image_dies_on_an_armv5_cpu(built: dict[str, Machine], program: str) -> None:
    """Negative control: the emulated CPU does refuse what it has not, as an EN7562CT would."""
    armv7 = built["armv7"]
    assert armv7.run(program, "version").returncode != -4
    old = Machine(armv7.target, armv7.root, cpu=built["armv5"].target.qemu[1])
    done = old.run(program, "version")
    assert done.returncode in (-4, 132), (done.returncode, done.stderr)


def test_the_applets_are_the_same_everywhere(built: dict[str, Machine]) -> None:
    lists = {tuple(machine.applets) for machine in built.values()}
    assert len(lists) == 1
    wanted = busybox.wanted_symbols()
    assert {"ls", "cat", "ip", "vi"} <= set(*lists)
    assert "SSL_CLIENT" not in wanted


def test_the_whole_layout_has_every_platform(built: dict[str, Machine]) -> None:
    root = next(iter(built.values())).root.parent / "dist" / "oci"
    outer = json.loads((root / "index.json").read_text())
    blob = root / "blobs" / "sha256" / outer["manifests"][0]["digest"][7:]
    platforms = [row["platform"] for row in json.loads(blob.read_text())["manifests"]]
    assert {(p["architecture"], p.get("variant", "")) for p in platforms} == {
        ("amd64", ""),
        ("arm64", ""),
        ("arm", "v7"),
        ("arm", "v5"),
    }
