"""Packed programs as they run: the right ones, damaged ones, and where the kernel offers less."""

from __future__ import annotations

import ctypes
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from running import emulator

from build.config.pins import pin
from build.config.targets import Target, targets
from build.core.artifacts import Artifact
from build.core.errors import BuildFailed
from build.golang import tailscale
from build.native import branches, busybox, compress, packer, packers
from build.pipeline import order

EACH = pytest.mark.parametrize("target", targets().values(), ids=lambda target: target.name)
AMD64 = targets()["amd64"]
HEADER = struct.Struct("<8s16s4I5I2I4BII")
FAULT = "this program cannot be started: "

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shared_cache")]


def image(target: Target) -> dict[str, Path]:
    """{name: the binary as it is in the image} of one packed by us."""
    request = order.Request(
        [target], order.release_of(), compress="lzma", check_size=False, products=False
    )
    files = order.build(request).rootfs[target.name]
    return {
        Path(entry.path).name: entry.source
        for entry in files.entries
        if entry.source and Path(entry.path).name in ("busybox", "tailscale.combined")
    }


def shell(target: Target, folder: Path) -> Path:
    """The packed busybox, in a file of the test's own."""
    path = folder / "busybox"
    shutil.copy(image(target)["busybox"], path)
    return path


def run(
    target: Target, program: Path, *words: str, before: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*emulator(target), str(program), *words],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        preexec_fn=before,
    )


def compiled(target: Target) -> Artifact:
    """busybox as it is packed."""
    trees = order.go_command().trees
    return busybox.build(target, pin("busybox"), pin("zig"), trees).artifact("busybox")


def payload(content: bytes) -> int:
    """Where the payload begins."""
    return content.index(packer.MAGIC)


# --- the right ones -------------------------------------------------------------------------------


@EACH
def test_all_programs_run_and_are_who_they_are(target: Target, tmp_path: Path) -> None:
    binaries = image(target)
    daemon = tmp_path / "tailscaled"
    shutil.copy(binaries["tailscale.combined"], daemon)
    assert order.release_of().tag.removeprefix("v") in run(target, daemon, "--version").stdout
    program = shell(target, tmp_path)
    assert run(target, program, "echo", "a b", "c").stdout == "a b c\n"
    assert run(target, program, "sh", "-c", "exit 7").returncode == 7


def test_to_the_system_it_is_the_file_that_was_started(tmp_path: Path) -> None:
    program = shell(AMD64, tmp_path)
    link = tmp_path / "cat"
    link.symlink_to(program)
    stat = run(AMD64, link, "/proc/self/comm", "/proc/self/cmdline").stdout
    assert stat == f"cat\n{link}\0/proc/self/comm\0/proc/self/cmdline\0"
    assert run(AMD64, program, "readlink", "/proc/self/exe").stdout == f"{program}\n"
    left = run(AMD64, program, "ls", "/proc/self/fd").stdout.split()
    assert left == ["0", "1", "2", "3"], "3 is that of ls itself"


@pytest.mark.parametrize("before", [None, "no memory files"])
def test_unpacking_takes_the_program_and_little_more(tmp_path: Path, before: str | None) -> None:
    """What docs/DESIGN.md says of memory: the program, the packed file's pages, and 64 kB."""
    program = shell(AMD64, tmp_path)
    content = program.read_bytes()
    header = HEADER.unpack_from(content, payload(content))
    # Without a file there are two copies of the segment that is being put in place.
    copies = 2 if before else 1
    deny = denying(MEMFD) if before else None
    status = run(AMD64, program, "cat", "/proc/self/status", before=deny).stdout
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert peak
    assert header[2] < int(peak[1]) * 1024 < copies * header[2] + len(content) + 65536


@EACH
def test_what_the_daemon_writes_to_is_its_own(target: Target) -> None:
    go = order.go_command()
    made = tailscale.build(go, target, order.release_of(), linker=order.lean_linker(go))
    program = packer.read(made.artifact("tailscale.combined").path.read_bytes(), "it")
    (first, variables), (data, more) = program.own
    last = program.loaded[-1]
    assert (first, variables) == (last.offset, packer.VARIABLES)
    assert first + variables <= data and 0 < more < 1 << 18
    assert data + more >= last.offset + last.in_file
    content = image(target)["tailscale.combined"].read_bytes()
    assert HEADER.unpack_from(content, payload(content))[6:10] == (first, variables, data, more)
    shell = packer.read(compiled(target).path.read_bytes(), "it")
    assert shell.own == ((0, 0), (0, 0)), "no Go program"


@EACH
def test_packing_again_gives_the_same_bytes(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = packers.tools("lzma", target, order.go_command().trees)
    made = image(target)["busybox"]
    source = compiled(target)
    monkeypatch.setenv("MT_CACHE", str(tmp_path / "other"))
    again = compress.compress(source, target.name, "lzma", lambda: tools)
    assert not again.hit
    assert again.artifact("busybox").path.read_bytes() == made.read_bytes()


def test_a_packed_file_that_unpacks_to_something_else_is_no_product(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control of the proof: a filter without its inverse."""
    tools = packers.tools("lzma", AMD64, order.go_command().trees)
    source = compiled(AMD64)
    monkeypatch.setenv("MT_CACHE", str(tmp_path / "other"))
    monkeypatch.setitem(branches.FILTERS, 3, lambda code, start: code)
    with pytest.raises(BuildFailed, match="does not unpack to what was packed"):
        compress.compress(source, "amd64", "lzma", lambda: tools)
    assert not list((tmp_path / "other").glob("objects/*/*/data"))


# --- damaged ones ---------------------------------------------------------------------------------


def flipped(content: bytes, place: int, bit: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]


@EACH
def test_a_flipped_bit_never_runs(target: Target, tmp_path: Path) -> None:
    program = shell(target, tmp_path)
    content = program.read_bytes()
    begin = payload(content)
    chance = random.Random(target.name)
    places = [*range(begin, begin + HEADER.size), len(content) - 1]
    places += chance.sample(range(begin + HEADER.size, len(content)), 30)
    for place in places:
        program.write_bytes(flipped(content, place, chance.randrange(8)))
        done = run(target, program, "echo", "alive")
        assert done.stdout == "", place
        assert (done.returncode, done.stderr[: len(FAULT)]) == (126, FAULT), (place, done)
    program.write_bytes(content)
    assert run(target, program, "echo", "alive").stdout == "alive\n", "negative control"


@EACH
def test_a_file_that_was_cut_off_never_runs(target: Target, tmp_path: Path) -> None:
    program = shell(target, tmp_path)
    content = program.read_bytes()
    begin, chance = payload(content), random.Random(target.name)
    lengths = [begin + HEADER.size, begin + HEADER.size + 1, len(content) - 9, len(content) - 4096]
    lengths += [0x4000, 0x10000, *chance.sample(range(begin + HEADER.size, len(content)), 10)]
    for length in lengths:
        if not content[length:].strip(b"\0"):
            continue  # in memory, where zeros follow a file, nothing is missing
        program.write_bytes(content[:length])
        done = run(target, program, "echo", "alive")
        assert done.returncode and "alive" not in done.stdout, (length, done)
        if target is AMD64 or length > len(content) - 4096:
            # qemu-user itself dies of the page that is not there.
            assert (done.returncode, done.stderr[: len(FAULT)]) == (126, FAULT), (length, done)
    for length in (0, 10, 100, begin // 2, begin - 1, begin + 20):
        # Without the whole stub there is nobody to say so.
        program.write_bytes(content[:length])
        try:
            done = run(target, program, "echo", "alive")
        except OSError:
            continue
        assert done.returncode != 0 and "alive" not in done.stdout, length


def test_made_to_mislead(tmp_path: Path) -> None:
    """Headers and streams of chance with right sums: refused, or unpacked to something, no more."""
    program = shell(AMD64, tmp_path)
    content = program.read_bytes()
    begin, chance = payload(content), random.Random(1)
    tool = packers.tools("lzma", AMD64, order.go_command().trees)["unpack"].path
    outcomes = set()
    for number in range(300):
        values = list(HEADER.unpack_from(content, begin))
        stream = bytearray(content[begin + HEADER.size :])
        for _ in range(chance.randrange(1, 20)):
            stream[chance.randrange(1, min(len(stream), 1 << chance.randrange(4, 18)))] = (
                chance.randrange(256)
            )
        if number % 2:
            field = chance.choice([2, *range(4, 17)])
            limit = 256 if field > 12 else 1 << 32
            values[field] = chance.choice([0, 1, limit - 1, chance.randrange(limit)])
        values[17] = zlib.crc32(stream)
        head = content[:begin] + HEADER.pack(*values)[:-4]
        crafted = head + struct.pack("<I", zlib.crc32(head)) + stream
        program.write_bytes(crafted)
        done = subprocess.run([tool, program, str(begin), tmp_path / "out"], capture_output=True)
        assert done.returncode in (0, 1), (number, done)
        outcomes.add((done.returncode, done.stderr))
    assert (1, b"it cannot be unpacked\n") in outcomes
    assert (1, b"its header is damaged\n") in outcomes


# --- where the kernel offers less -----------------------------------------------------------------

MEMFD, MMAP = 319, 9


def denying(*numbers: int) -> Callable[[], None]:
    """Return what makes these system calls of x86-64 fail with ENOSYS from now on (seccomp(2))."""
    rows = [(0x20, 0, 0, 0)]  # load the number
    for number in numbers:
        rows += [(0x15, 0, 1, number), (0x06, 0, 0, 0x00050000 | 38)]
    rows += [(0x06, 0, 0, 0x7FFF0000)]
    code = b"".join(struct.pack("<HBBI", *row) for row in rows)
    place = ctypes.create_string_buffer(code)
    table = ctypes.create_string_buffer(
        struct.pack("<HxxxxxxQ", len(rows), ctypes.addressof(place))
    )
    libc = ctypes.CDLL(None, use_errno=True)

    def before() -> None:
        assert place  # what `table` points to
        assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
        assert libc.prctl(22, 2, table, 0, 0) == 0  # PR_SET_SECCOMP, by a filter

    return before


def test_without_memory_files(tmp_path: Path) -> None:
    program = shell(AMD64, tmp_path)
    maps = run(AMD64, program, "cat", "/proc/self/maps")
    assert "/memfd:mt-" in maps.stdout
    maps = run(AMD64, program, "cat", "/proc/self/maps", before=denying(MEMFD))
    assert maps.returncode == 0 and "/memfd:" not in maps.stdout, maps
    daemon = tmp_path / "tailscaled"
    shutil.copy(image(AMD64)["tailscale.combined"], daemon)
    done = run(AMD64, daemon, "--version", before=denying(MEMFD))
    assert order.release_of().tag.removeprefix("v") in done.stdout
    assert "out of memory" not in done.stderr
    done = run(AMD64, program, "echo", before=denying(MMAP))
    assert (done.returncode, done.stderr) == (126, f"{FAULT}there is not enough memory\n")


def inside(program: Path, script: str, *, proc: bool = True) -> str:
    """Run the packed shell as the first process of namespaces of its own."""
    mount = "mount -t proc proc /proc" if proc else "mount -t tmpfs none /proc"
    words = ["unshare", "--pid", "--fork", "--mount", "/bin/sh", "-c"]
    words += [f'{mount} && exec "$@"', "sh", str(program), "sh", "-c", script]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout


def memory_files(maps: str) -> set[str]:
    """Inodes of the packed programs in a list of mappings."""
    return set(re.findall(r" (\d+) +/memfd:mt-[0-9a-f]{12} \(deleted\)", maps))


@pytest.mark.root
def test_the_first_process_shares_what_it_unpacked(tmp_path: Path) -> None:
    program = shell(AMD64, tmp_path)
    both = f"cat /proc/1/maps; echo; {program} cat /proc/self/maps"
    first, own = inside(program, f"{both}; :").split("\n\n")
    assert memory_files(first) and memory_files(first) == memory_files(own)
    kept = inside(program, f"{program} ls -l /proc/1/fd; {program} ls -l /proc/self/fd; :")
    assert kept.count("/memfd:mt-") == 1, "the child keeps none"
    # What has the same name and is not sealed, or has another name, is not it.
    content = program.read_bytes()
    one = HEADER.unpack_from(content, payload(content))[1].rstrip(b"\0").decode()
    for name, seal in {one: False, "mt-000000000000": True}.items():
        other = (
            "import fcntl, os, subprocess, sys\n"
            f"fd = os.memfd_create({name!r}, 2)\n"
            "os.write(fd, b'no program'); os.dup2(fd, 100)\n"
            f"fcntl.fcntl(fd, 1033, 15 if {seal} else 0)\n"
            "subprocess.run([sys.argv[1], 'cat', '/proc/self/maps'], check=True, close_fds=False)\n"
        )
        words = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-IS", "-c", other]
        done = subprocess.run([*words, str(program)], capture_output=True, text=True, check=True)
        assert memory_files(done.stdout), done
    # Nothing to look into.
    assert inside(program, f"{program} echo alive", proc=False) == "alive\n"


def cached(path: Path) -> int:
    """Bytes of a file in the page cache."""
    words = ["fincore", "--noheadings", "--bytes", "--output", "RES", str(path)]
    return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


@pytest.mark.root
def test_the_first_process_gives_its_file_back(tmp_path: Path) -> None:
    """The container is charged for a file's pages as for others."""
    program = shell(AMD64, tmp_path)
    with program.open("rb") as file:
        os.fsync(file.fileno())  # pages that were not written out stay
    size = len(program.read_bytes())
    assert run(AMD64, program, "echo", "alive").stdout == "alive\n"
    assert cached(program) >= size, "negative control: another process needs it again"
    assert inside(program, "echo alive") == "alive\n"
    assert cached(program) < size // 2, "64 kB lie around the page that is still needed"


@pytest.mark.root
def test_who_shares_unpacks_his_own_pages_alone(tmp_path: Path) -> None:
    """Beside the daemon only the stream's beginning is looked at, and that closely."""
    content = image(AMD64)["tailscale.combined"].read_bytes()
    begin = payload(content) + HEADER.size
    copies = {
        "first": content,
        "whole": content,
        "late": flipped(content, len(content) - 1000, 0),
        "early": flipped(content, begin + 1000, 0),
    }
    for name, text in copies.items():
        (tmp_path / name).mkdir()
        program = tmp_path / name / "tailscaled"
        program.write_bytes(text)
        program.chmod(0o755)
    script = (
        "mount -t proc proc /proc && cd $0 && ("
        "until readlink /proc/1/fd/100; do sleep 0.1; done > /dev/null;"
        "for n in whole late early; do $n/tailscaled --version 2>&1 | head -n 1; done;"
        "while kill -TERM 1; do sleep 1; done) & cd $0 && "
        "exec first/tailscaled --tun=userspace-networking --state=mem: --socket=$0/s --port=0 2>log"
    )
    words = ["unshare", "--pid", "--fork", "--mount", "/bin/sh", "-c", script, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    version = pin("tailscale").version
    whole, late, early = done.stdout.splitlines()
    assert whole.startswith(version) and late == whole, done
    assert early == f"{FAULT}it cannot be unpacked"
    # Negative control: alone, all of it is unpacked.
    assert run(AMD64, tmp_path / "late" / "tailscaled", "--version").returncode == 126


@pytest.mark.root
def test_another_user_unpacks_for_himself() -> None:
    """Who may not look into the first process' descriptors, as in a container's own user."""
    with tempfile.TemporaryDirectory() as folder:  # pytest's are closed to others
        Path(folder).chmod(0o755)
        _as_another_user(shell(AMD64, Path(folder)))


def _as_another_user(program: Path) -> None:
    drop = "setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set=-all"
    denied = f"{drop} {program} readlink /proc/1/fd/100 || echo denied"
    told = inside(
        program, f"{denied}; cat /proc/1/maps; echo; {drop} {program} cat /proc/self/maps; :"
    )
    first, own = told.removeprefix("denied\n").split("\n\n")
    assert told.startswith("denied\n")
    assert memory_files(first) and memory_files(own)
    assert not memory_files(first) & memory_files(own)


@pytest.mark.root
@pytest.mark.parametrize("value", ["0", "1", "2"])
def test_where_memory_files_may_not_be_run(tmp_path: Path, value: str) -> None:
    """vm.memfd_noexec belongs to the PID namespace (Linux 6.3): 2 wants the seal."""
    program = shell(AMD64, tmp_path)
    daemon = tmp_path / "tailscaled"
    shutil.copy(image(AMD64)["tailscale.combined"], daemon)
    knob = "/proc/sys/vm/memfd_noexec"
    plain = f"{sys.executable} -IS -c 'import os; os.memfd_create(\"x\", 0x11)' 2>&1 | tail -n 1"
    script = f"echo {value} > {knob}; cat {knob}; {program} echo alive; {daemon} --version; {plain}"
    told = inside(program, script).splitlines()
    assert told[:2] == [value, "alive"]
    assert told[2].startswith(pin("tailscale").version)
    # Negative control: the kernel does refuse the others.
    assert ("PermissionError" in told[-1]) == (value == "2"), told
