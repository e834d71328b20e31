"""The cache: whole objects or none, one builder, and a right next run after any accident."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from build.core import cache, upkeep, why
from build.core.errors import BuildFailed, UserError

ROOT = Path(__file__).resolve().parent.parent
INPUTS = {"name": "thing", "target": "arm64", "source": "abc", "flags": ["-l"]}


class Counter:
    """A builder that writes one file and counts how often it ran."""

    def __init__(self, text: str = "content") -> None:
        self.text = text
        self.ran = 0

    def __call__(self, out: Path, scratch: Path) -> dict[str, Any]:
        self.ran += 1
        (out / "sub").mkdir()
        (out / "sub" / "file").write_text(self.text)
        (out / "link").symlink_to("sub/file")
        return {"found": ["a", 1]}


def obtain(build: Callable[[Path, Path], Any], **changes: Any) -> cache.Entry:
    return cache.obtain("stage", "arm64", INPUTS | changes, build)


def test_miss_then_hit() -> None:
    build = Counter()
    first, second = obtain(build), obtain(build)
    assert build.ran == 1
    assert (first.hit, second.hit) == (False, True)
    assert second.files == first.files
    assert second.facts == {"found": ["a", 1]}
    assert second.identity == first.identity
    assert second.artifact("sub/file").path.read_text() == "content"
    assert second.artifact("sub/file").size == len("content")
    assert second.files["link"] == "-> sub/file"
    assert list((cache.prepare() / "tmp").iterdir()) == []


@pytest.mark.parametrize("name", INPUTS)
def test_each_input_counts(name: str) -> None:
    build = Counter()
    obtain(build)
    obtain(build, **{name: "other"})
    assert build.ran == 2
    assert not cache.find("other stage", cache.key_of("stage", INPUTS))


def test_a_miss_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert why.explain("stage", "arm64", INPUTS) == "not built in this checkout before"
    entry = obtain(Counter())
    assert why.changes("stage", "arm64", INPUTS) == []
    assert why.explain("stage", "arm64", INPUTS | {"source": "def"}) == "changed: source"
    differing = why.changes("stage", "arm64", {**INPUTS, "flags": ["-m"], "more": 1})
    assert differing == [("flags", "['-l']", "['-m']"), ("more", "(none)", "1")]
    cache.discard(entry)
    assert "no longer in the cache" in why.explain("stage", "arm64", INPUTS)
    capsys.readouterr()
    obtain(Counter(), source="def")
    assert "stage: changed: source" in capsys.readouterr().err


def test_a_damaged_record_of_inputs_is_no_problem(places: Path) -> None:
    obtain(Counter())
    (places / "work" / "arm64" / "stage.inputs.json").write_text("{")
    assert why.explain("stage", "arm64", INPUTS) == "not built in this checkout before"
    obtain(Counter(), source="def")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("accident", "named"),
    [
        (lambda data: flip(data / "sub" / "file"), "sub/file: wanted 0644 7 "),
        (lambda data: (data / "sub" / "file").unlink(), "got no file"),
        (lambda data: (data / "sub" / "file").chmod(0o600), "got 0600"),
        (lambda data: (data / "extra").write_text(""), "extra: wanted no such file"),
        (lambda data: ((data / "link").unlink(), (data / "link").symlink_to("x")), "got -> x"),
    ],
    ids=["flipped", "lost", "mode", "extra", "link"],
)
def test_damage_is_seen_named_and_remade(
    accident: Callable[[Path], Any], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    build = Counter()
    entry = obtain(build)
    assert cache.damage(entry) == []
    accident(entry.data)
    assert named in cache.damage(entry)[0]
    fresh = cache.intact(entry, lambda: obtain(build))
    assert build.ran == 2
    assert cache.damage(fresh) == []
    assert "is damaged" in capsys.readouterr().err
    assert cache.intact(fresh, lambda: obtain(build)) is fresh
    assert build.ran == 2


def test_a_builder_whose_output_is_always_damaged() -> None:
    entry = obtain(Counter())
    flip(entry.data / "sub" / "file")

    def again() -> cache.Entry:
        fresh = obtain(Counter())
        flip(fresh.data / "sub" / "file")
        return fresh

    with pytest.raises(BuildFailed, match="damaged right after it was made"):
        cache.intact(entry, again)


def test_one_file_checked_before_use() -> None:
    entry = obtain(Counter())
    artifact = entry.artifact("sub/file")
    assert cache.checked(artifact) == artifact.path
    flip(artifact.path)
    with pytest.raises(cache.Damaged) as caught:
        cache.checked(artifact)
    assert f"wanted sha256={artifact.sha256}, got sha256=" in caught.value.why
    cache.discard_folder(caught.value.folder)
    assert not entry.data.parent.exists()
    with pytest.raises(cache.Damaged):
        cache.checked(artifact)


def test_only_the_caches_own_objects_are_discarded(places: Path) -> None:
    """A file of the checkout that changed under the build must not take its folder with it."""
    own = places / "checkout" / "data" / "rootfs" / "entrypoint.sh"
    own.parent.mkdir(parents=True)
    own.write_text("#!/bin/sh\n")
    artifact = cache.Artifact(own, 10, "0" * 64)
    with pytest.raises(cache.Damaged) as caught:
        cache.checked(artifact)
    cache.discard_folder(caught.value.folder)
    assert own.exists()


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[]", "7", '"x"', "{}", '{"seal": 1}', "\\xff", '["seal"]', '{"seal": {}}'],
)
def test_a_broken_meta_json_counts_as_none(text: str) -> None:
    build = Counter()
    entry = obtain(build)
    (entry.data.parent / "meta.json").write_bytes(text.encode().replace(b"\\xff", b"\xff"))
    again = obtain(build)
    assert build.ran == 2
    assert not again.hit
    assert cache.damage(again) == []


@given(st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_altered_meta_json_is_believed(places: Path, data: st.DataObject) -> None:
    entry = obtain(Counter())
    meta = entry.data.parent / "meta.json"
    content = bytearray(meta.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= 1 << data.draw(st.integers(0, 7))
    meta.write_bytes(content)
    found = cache.find("stage", entry.key)
    # Where the flip changes white space only, the meaning is the same.
    assert found is None or (found.files, found.inputs) == (entry.files, entry.inputs)
    cache.discard(entry)


def test_a_lost_meta_json(places: Path) -> None:
    build = Counter()
    entry = obtain(build)
    (entry.data.parent / "meta.json").unlink()
    assert not obtain(build).hit
    assert obtain(build).hit


def test_a_builder_that_fails_leaves_nothing() -> None:
    def fails(out: Path, scratch: Path) -> None:
        (out / "half").write_text("x")
        raise BuildFailed("no such luck")

    with pytest.raises(BuildFailed, match="no such luck"):
        obtain(fails)
    root = cache.prepare()
    assert list((root / "tmp").iterdir()) == []
    assert list((root / "objects").rglob("meta.json")) == []
    build = Counter()
    obtain(build)
    assert build.ran == 1


def test_threads_that_want_the_same_make_it_once() -> None:
    build = Counter()

    def slow(out: Path, scratch: Path) -> dict[str, Any]:
        time.sleep(0.1)
        return build(out, scratch)

    threads = [threading.Thread(target=obtain, args=(slow,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert build.ran == 1


# --- other processes ----------------------------------------------------------------------------

CHILD = """
import sys, time
from pathlib import Path
from build.core import cache, upkeep, why

def build(out, scratch):
    (out / "file").write_text("content")
    with open({ran!r}, "a") as ran:
        ran.write("x")
    while not Path({go!r}).exists():
        time.sleep(0.01)
    return {{}}

print(cache.obtain("stage", "arm64", {inputs!r}, build).hit)
"""


def child(places: Path, name: str = "child") -> subprocess.Popen[str]:
    """Build in a process that ends when there is a file `go`; its log goes to `NAME.log`."""
    code = CHILD.format(ran=str(places / "ran"), go=str(places / "go"), inputs=INPUTS)
    argv = [sys.executable, "-c", textwrap.dedent(code)]
    with (places / f"{name}.log").open("w") as errors:
        return subprocess.Popen(argv, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=errors)


def waits(places: Path, name: str) -> bool:
    return "waiting for another build" in (places / f"{name}.log").read_text()


def ran(places: Path) -> int:
    return len((places / "ran").read_text()) if (places / "ran").exists() else 0


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def test_two_processes_build_one_object_once(places: Path) -> None:
    both = [child(places, "one"), child(places, "other")]
    # Nothing is finished before one of them has seen the other: time decides nothing here.
    until(lambda: ran(places) == 1 and (waits(places, "one") or waits(places, "other")))
    (places / "go").touch()
    said = [process.communicate(timeout=60)[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert ran(places) == 1
    assert sorted(said) == ["False", "True"]
    assert waits(places, "one") != waits(places, "other"), "only the later one has to wait"


def test_killed_in_the_middle(places: Path) -> None:
    process = child(places)
    until(lambda: ran(places) == 1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    root = cache.prepare()
    assert len(list((root / "tmp").iterdir())) == 1, "the killed one left its scratch"
    assert list((root / "objects").rglob("meta.json")) == []
    with cache.scratch() as alive:
        upkeep.sweep()
        assert list((root / "tmp").iterdir()) == [alive], "and only that is swept"
    build = Counter()
    assert not obtain(build).hit
    assert build.ran == 1


def test_a_scratch_folder_just_being_made_is_not_swept() -> None:
    folder = cache.prepare() / "tmp" / "young"
    folder.mkdir()
    upkeep.sweep()
    assert folder.exists()
    os.utime(folder, (0, 0))
    upkeep.sweep()
    assert not folder.exists()


def test_a_killed_waiter_does_not_hold_the_lock(places: Path) -> None:
    first = child(places, "first")
    until(lambda: ran(places) == 1)
    second = child(places, "second")
    until(lambda: waits(places, "second"))
    second.kill()
    second.communicate()
    (places / "go").touch()
    assert first.communicate(timeout=60)[0].strip() == "False"
    assert obtain(Counter()).hit


# --- full disks and other people's folders ------------------------------------------------------


def run_limited(places: Path, limit: int, body: str) -> subprocess.CompletedProcess[str]:
    """Run a builder in a process that may write files of `limit` bytes at most."""
    code = f"""
        import errno, resource, signal, sys
        from build.core import cache, errors
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

        def build(out, scratch):
            {body}

        cache.prepare()
        resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
        try:
            cache.obtain("stage", "arm64", {INPUTS!r}, build)
        except errors.Error as error:
            print(type(error).__name__, error)
            sys.exit(error.exit_code)
    """
    argv = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(argv, cwd=ROOT, text=True, capture_output=True, timeout=60)


def test_a_write_that_fails_leaves_nothing(places: Path) -> None:
    done = run_limited(places, 1000, '(out / "big").write_bytes(bytes(5000))')
    assert done.returncode == 1, done.stderr
    assert "could not make stage for arm64" in done.stdout
    assert list((places / "cache" / "tmp").iterdir()) == []
    assert obtain(Counter()).hit is False


def test_the_list_of_files_that_cannot_be_written_leaves_nothing(places: Path) -> None:
    many = '[(out / f"file-with-a-long-name-{n}").write_text("") for n in range(100)]'
    done = run_limited(places, 1000, many)
    assert done.returncode == 1, done.stderr
    assert list((places / "cache" / "objects").rglob("meta.json")) == []
    assert obtain(Counter()).hit is False


def test_no_space_is_told_with_its_cure() -> None:
    def full(out: Path, scratch: Path) -> None:
        # /dev/full answers every write with ENOSPC.
        with Path("/dev/full").open("wb", buffering=0) as sink:
            sink.write(b"x")

    with pytest.raises(UserError) as caught:
        obtain(full)
    assert "no space left while making stage for arm64" in caught.value.what
    assert "invoke cache --prune" in caught.value.cure
    assert list((cache.prepare() / "tmp").iterdir()) == []


def test_a_program_that_fails_on_an_almost_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(out: Path, scratch: Path) -> None:
        raise BuildFailed("cc ended with exit status 1")

    with pytest.raises(BuildFailed, match="exit status 1"):
        obtain(fails)
    monkeypatch.setattr(cache, "ALMOST_FULL", 1 << 62)
    with pytest.raises(UserError) as caught:
        obtain(fails)
    assert "no space left while making stage for arm64" in caught.value.what
    assert "B free; cc ended with exit status 1" in caught.value.why


@pytest.mark.parametrize("made", ["file", "file above"])
def test_a_cache_that_cannot_be(places: Path, monkeypatch: pytest.MonkeyPatch, made: str) -> None:
    (places / "block").write_text("")
    folder = places / "block" if made == "file" else places / "block" / "cache"
    monkeypatch.setenv("MT_CACHE", str(folder))
    with pytest.raises(UserError) as caught:
        obtain(Counter())
    assert "cannot use the cache" in caught.value.what
    assert "MT_CACHE" in caught.value.cure


MOUNTED = """
set -e
mount -t tmpfs -o {options} none {folder}
{more}
exec {python} - <<'EOF'
{code}
EOF
"""


def in_own_mounts(
    places: Path, options: str, code: str, more: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run Python code where the cache is a small file system of its own, unseen by others."""
    (places / "cache").mkdir(exist_ok=True)
    script = MOUNTED.format(
        options=options,
        folder=places / "cache",
        more=more,
        python=sys.executable,
        code=textwrap.dedent(code),
    )
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=60,
    )


@pytest.mark.root
def test_a_really_full_disk(places: Path) -> None:
    code = f"""
        import os
        from pathlib import Path
        from build.core import cache, errors
        root = cache.prepare()

        def build(out, scratch):
            (out / "big").write_bytes(os.urandom(size))

        for size in (4 << 20, 100):
            try:
                print(cache.obtain("stage", "arm64", {INPUTS!r}, build).hit)
            except errors.Error as error:
                print(type(error).__name__, str(error).replace(chr(10), " "))
            print(list((root / "tmp").iterdir()))

        # Not a byte left, not even for a lock.
        try:
            with open(root / "filler", "wb") as filler:
                while True:
                    filler.write(bytes(4096))
                    filler.flush()
        except OSError:
            pass
        for n in range(10000):
            try:
                (root / f"node{{n}}").write_text("")
            except OSError:
                break
        try:
            cache.obtain("stage", "arm64", {{"another": 1}}, build)
        except errors.Error as error:
            print(type(error).__name__, str(error).replace(chr(10), " "))
    """
    done = in_own_mounts(places, "size=1m,nr_inodes=200", code)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("UserError no space left while making stage for arm64")
    assert lines[1:4] == ["[]", "False", "[]"]
    assert lines[4].startswith("UserError no space left while making stage for arm64")


@pytest.mark.root
def test_a_read_only_cache_serves_what_it_has(places: Path) -> None:
    code = f"""
        from build.core import cache, errors

        def build(out, scratch):
            (out / "file").write_text("x")

        def get(inputs):
            try:
                return cache.obtain("stage", "arm64", inputs, build).hit
            except errors.Error as error:
                return f"{{type(error).__name__}} {{error.what}} {{error.cure}}"

        import subprocess
        print(get({INPUTS!r}))
        subprocess.run(["mount", "-o", "remount,ro", str(cache.cache_dir())], check=True)
        print(get({INPUTS!r}))
        print(get({{"another": 1}}))
    """
    done = in_own_mounts(places, "size=1m", code)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == ["False", "True"]
    assert lines[2].startswith("UserError cannot ")
    assert "MT_CACHE" in lines[2]


# --- its own record ----------------------------------------------------------------------------


def test_the_tag_is_the_standards() -> None:
    text = (cache.prepare() / "CACHEDIR.TAG").read_text()
    assert text.startswith("Signature: 8a477f597d28d172789f06886806bc55\n")


def test_the_meta_json_is_for_people_too() -> None:
    entry = obtain(Counter())
    meta = json.loads((entry.data.parent / "meta.json").read_text())
    assert meta["inputs"] == INPUTS
    assert set(meta) == {"inputs", "facts", "files", "seal"}
