"""Credentials reach the programs that need them, and no log, no replay line and no message.

Every place that starts a program is found in the source and exercised with a program that shouts
all it was given, in every spelling. The HTTP door is driven through each of its failures.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import json
import os
import platform
import shlex
import socket
import subprocess
import sys
import textwrap
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from fakes.web import Answer, Web
from test_sources import archive, wheel_bytes, wheel_pin

from build.config.pins import pin
from build.config.targets import target
from build.core import command, digest, git, http, log, redact, service
from build.core.artifacts import Artifact
from build.core.errors import Error
from build.golang.gotool import Go
from build.image import buildx, engine
from build.lab.anchor import Anchor, wait_for
from build.lab.container import Container
from build.native import busybox, compress, stub, upx
from build.registry import credentials
from build.registry.client import Client
from build.registry.repository import parse_repository
from build.release.forge import Forge
from build.router.restapi import Client as Router
from build.sources import clients, download

ROOT = Path(__file__).resolve().parent.parent
ODD = "x7Q'&\"<+\\é/"
"""Signs that shells, JSON, Python and addresses each write in their own way."""


def secret(name: str) -> str:
    """A password that stands nowhere else."""
    return f"Kw{name}{ODD}9z"


def login(name: str) -> str:
    """What stands before the @ of an address."""
    return f"bot:{quote(secret(name), safe='')}"


NAMES = "pip extra go proxy plain mirror git netrc registry forge known auth header".split()


@pytest.fixture
def planted(places: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set credentials wherever users have them."""
    netrc = places / "planted" / "netrc"
    netrc.parent.mkdir()
    # netrc has no quoting that all readers know, so its password is a simple one.
    netrc.write_text("machine files.test login bot password Kwnetrcx7Q9z\n")
    for name, value in {
        "PIP_INDEX_URL": f"http://{login('pip')}@127.0.0.1:9/simple/",
        "PIP_EXTRA_INDEX_URL": f"http://a.test/simple http://{login('extra')}@127.0.0.1:9/simple/",
        "GOPROXY": f"http://{login('go')}@127.0.0.1:9|https://b.test,direct",
        "https_proxy": f"http://{login('proxy')}@127.0.0.1:9",
        "HTTP_PROXY": f"{login('plain')}@127.0.0.1:9",
        "no_proxy": "127.0.0.1,localhost",
        "MT_DEBIAN_MIRROR": f"http://{login('mirror')}@127.0.0.1:9/debian",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "http.extraheader",
        "GIT_CONFIG_VALUE_0": f"Authorization: Basic {blob('git')}",
        "NETRC": str(netrc),
        "MT_REGISTRY_PASSWORD": secret("registry"),
        "MT_FORGE_TOKEN": secret("forge"),
        "GOAUTH": f"/bin/give --token={secret('auth').replace(' ', '')}",
        "HOME": str(places / "planted"),
    }.items():
        monkeypatch.setenv(name, value)
    redact.know(secret("known"))
    return places


def blob(name: str) -> str:
    """Name and password as Basic sends them."""
    return base64.b64encode(f"bot:{secret(name)}".encode()).decode()


def spellings(name: str) -> set[str]:
    """How a password may stand in a text: written apart from what the code knows of it."""
    word = "Kwnetrcx7Q9z" if name == "netrc" else secret(name)
    basic = {base64.b64encode(f"bot:{word}".encode(e)).decode() for e in ("utf-8", "latin-1")}
    quoted = {quote(word, safe=""), quote(word), quote(word, safe="$&+,;=")}
    found = {word, *basic, *quoted}
    for one in (word, *quoted):
        in_json = json.dumps(one, ensure_ascii=False)[1:-1]
        go = in_json.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
        found |= {in_json, json.dumps(one)[1:-1], go, repr(one)[1:-1]}
        found.add(one.replace("'", "'\"'\"'"))
    return found


def leaks(text: str) -> list[str]:
    """Which secrets are in a text, whole or a good part of one."""
    found = {name for name in NAMES for form in spellings(name) if form in text}
    # `Kw` and a name is the beginning of each; what was taken out leaves nothing of it.
    return sorted(found | {name for name in NAMES if f"Kw{name}x7Q" in text})


SHOUT = """
import json, os, shlex, sys
from urllib.parse import unquote
import base64, re
open({record!r}, "a").write(json.dumps([sys.argv[1:], dict(os.environ)]) + "\\n")
words = [*sys.argv[1:], *(f"{{k}}={{v}}" for k, v in os.environ.items())]
for out in (sys.stdout, sys.stderr):
    for word in words:
        for one in (word, unquote(word)):
            go = json.dumps(one, ensure_ascii=False)
            go = go.replace("&", "\\\\u0026").replace("<", "\\\\u003c").replace(">", "\\\\u003e")
            print(one, json.dumps(one), go, repr(one), shlex.quote(one), file=out)
        for user, password in re.findall(r"(bot):([^@\\s]+)@", word):
            print(base64.b64encode(f"{{user}}:{{unquote(password)}}".encode()).decode(), file=out)
            print(unquote(password), file=out)
            # One sign at a time, and no end of the line.
            for sign in unquote(password):
                out.write(sign); out.flush()
            out.write(" " * 20000)
            print(file=out)
    out.write(words[-1]); out.flush()
sys.exit({code})
"""


class Stage:
    """Has every program that is started be the one that shouts; keeps what people can read."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
        self.folder, self._record = folder, folder / "planted" / "record"
        script = folder / "planted" / "shout.py"
        script.write_text(SHOUT.format(record=str(self._record), code=code))
        platform.processor()  # Python asks `uname` for it, once in a process
        real = subprocess.Popen.__init__

        def start(process: Any, argv: Any, *more: Any, **options: Any) -> None:
            words = [sys.executable, "-IS", str(script), *map(str, argv)]
            options.pop("executable", None)
            real(process, words, *more, **options)

        monkeypatch.setattr(subprocess.Popen, "__init__", start)
        self.said: list[str] = []

    def play(self, action: Callable[[], Any]) -> None:
        """Run something that may fail, and keep its message with all that it is chained to."""
        try:
            action()
        except Exception as error:  # the program does nothing of what it should
            self.said += [str(error), *traceback.format_exception(error)]

    @property
    def calls(self) -> list[tuple[list[str], dict[str, str]]]:
        """What the programs were given."""
        if not self._record.exists():
            return []
        return [tuple(json.loads(line)) for line in self._record.read_text().splitlines()]

    def readable(self, capsys: pytest.CaptureFixture[str]) -> str:
        """All that was written for people: messages, standard output and errors, every file."""
        parts = [*self.said, *capsys.readouterr()]
        for path in self.folder.rglob("*"):
            if path.is_file() and "planted" not in path.relative_to(self.folder).parts:
                parts += [str(path), path.read_text(errors="replace")]
        return "\n".join(parts)


def trees(places: Path) -> Callable[[Any], Any]:
    """Sources that need not be there."""
    folder = places / "tree"
    (folder / "bin").mkdir(parents=True, exist_ok=True)
    (folder / "ziglang").mkdir(exist_ok=True)
    for program in ("bin/go", "bin/upx", "bin/cmake", "ziglang/zig"):
        (folder / program).write_text("#!/bin/true\n")
        (folder / program).chmod(0o755)
    (folder / "cmake" / "data").mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        (folder / "cmake" / "data" / "bin").symlink_to(folder / "bin")
    return lambda wanted: SimpleNamespace(data=folder)


def in_go(places: Path) -> None:
    go = Go(pin("tailscale"), pin("go"), trees(places))
    go.run(["list", f"-x={secret('known')}"], what="go", record=places / "go.log", scratch=places)


def in_buildx(places: Path) -> None:
    job = SimpleNamespace(release=SimpleNamespace(tag="v1-mt.1"), targets={}, epoch=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "require", dict)
        patch.setattr(buildx, "context", lambda job: b"")
        buildx.assemble(job, places / "layout")  # type: ignore[arg-type]


def in_engine(places: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shutil.which", lambda *words, **more: "/usr/bin/docker")
        engine.require()


def in_helper(places: Path) -> None:
    folder = places / "planted" / "docker"
    folder.mkdir()
    (folder / "config.json").write_text('{"credsStore": "shout"}')
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MT_REGISTRY_PASSWORD")
        patch.setenv("DOCKER_CONFIG", str(folder))
        credentials.find("registry.test")


def in_clients(places: Path) -> None:
    (places / "room").mkdir()
    with contextlib.suppress(Error):
        clients.wheel(wheel_pin(), places / "room" / "a.whl")
    wanted = archive(kind="gomodule", module="example.test/tiny")
    for path in (places / "room").glob("try*"):
        path.rmdir()
    clients.gomodule(wanted, places / "room" / "a.zip", places / "tree" / "bin" / "go")


def in_busybox(places: Path) -> None:
    busybox._make(
        target("arm64"), pin("busybox"), places, places / "zig", {}, places / "out", places
    )


def in_upx(places: Path) -> None:
    upx.build(pin("upx"), pin("cmake"), pin("zig"), trees(places))


def in_stub(places: Path) -> None:
    stub.build(target("arm64"), pin("zig"), trees(places))


def in_compress(places: Path) -> None:
    trees(places)
    path = places / "tree" / "bin" / "upx"
    packed = Artifact(path, path.stat().st_size, digest.of_file(path))
    compress.compress(packed, "arm64", "upx", lambda: {"upx": packed})


def in_git(places: Path) -> None:
    remote = f"https://{login('known')}@forge.test/me/it"
    git.Git(places).run("push", "--quiet", "--", remote, "refs/tags/v1")


def lab(places: Path) -> Anchor:
    found = Anchor(places / "lab", places / "logs")
    found.pid = os.getpid()
    return found


def in_lab(places: Path) -> None:
    one = lab(places).start("one", "", ["ip", "address"])
    wait_for(lambda: one.code is not None, 20, "the program's end")
    one.stop()


def in_container(places: Path) -> None:
    box = Container(lab(places), "box", "", SimpleNamespace(), "")  # type: ignore[arg-type]
    box.service = SimpleNamespace(code=None, pid=0)  # type: ignore[assignment]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Container, "pid", property(lambda self: 1))
        box.run("ip", "address")


def in_anchor(places: Path) -> None:
    with lab(places):
        pass


SITES: dict[str, Callable[[Path], Any]] = {
    "core.git:run": in_git,
    "golang.gotool:run": in_go,
    "image.buildx:assemble": in_buildx,
    "image.engine:_ask": in_engine,
    "lab.anchor:__enter__": in_anchor,
    "lab.anchor:call": lambda places: lab(places).call("", ["ip", "address"]),
    "lab.anchor:start": in_lab,
    "lab.container:run": in_container,
    "native.busybox:make": in_busybox,
    "native.compress:__call__": in_compress,
    "native.hostprogram:make": in_upx,
    "native.stub:make": in_stub,
    "registry.credentials:_of_helper": in_helper,
    "sources.clients:_by_client": in_clients,
}
"""{where a program is started: how to come there}."""

GIVEN = {
    "core.git:run": {"git", "go", "proxy", "plain", "known"},
    "golang.gotool:run": {"go", "proxy", "plain", "pip", "known"},
    "image.buildx:assemble": {"proxy", "plain"},
    "image.engine:_ask": {"proxy", "plain"},
    "registry.credentials:_of_helper": {"go", "proxy", "plain", "pip"},
    "sources.clients:_by_client": {"pip", "extra", "go", "proxy", "plain"},
}
"""Who is given what, as the real program needs it. The others are given nothing that is secret."""


def started() -> set[str]:
    """Where the source starts programs: `room.module:function`."""
    found = set()
    for path in (ROOT / "build").rglob("*.py"):
        name = ".".join(path.relative_to(ROOT / "build").with_suffix("").parts)
        if name in ("core.command", "core.service"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                found |= {f"{name}:{node.name}" for inner in _own(node) if _starts(inner)}
    return found


def _own(function: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(function):
        if not isinstance(node, ast.FunctionDef):
            yield node
            yield from _own(node)


def _starts(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr)
        in {("command", "run"), ("command", "call"), ("command", "launch"), ("service", "start")}
    )


def test_every_place_that_starts_a_program_is_tried() -> None:
    assert started() == set(SITES)
    for path in (ROOT / "build").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module in (
                "build.core.command",
                "build.core.service",
            ):
                names = {alias.name for alias in node.names}
                assert not names & {"run", "call", "launch", "start"}, f"{path} hides a start"


@pytest.mark.parametrize("code", [0, 3])
@pytest.mark.parametrize("site", SITES)
def test_a_program_that_tells_all_it_knows(
    planted: Path,
    site: str,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    log.configure("plain", details=True)
    stage = Stage(planted, monkeypatch, code)
    trees(planted)
    stage.play(lambda: SITES[site](planted))
    assert stage.calls, f"nothing was started: {stage.said}"
    told = json.dumps(stage.calls, ensure_ascii=False)
    assert GIVEN.get(site, set()) <= set(leaks(told)), "it would not work any more"
    if site not in GIVEN:
        assert leaks(told) == [], "it needs no secret"
    assert leaks(stage.readable(capsys)) == []


@pytest.mark.parametrize("site", ["golang.gotool:run", "sources.clients:_by_client"])
def test_the_search_finds_what_is_not_hidden(
    planted: Path,
    site: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(redact, "text", lambda value, hidden=None: value)
    monkeypatch.setattr(redact, "is_secret", lambda *words: False)
    stage = Stage(planted, monkeypatch, 3)
    trees(planted)
    stage.play(lambda: SITES[site](planted))
    assert GIVEN[site] <= set(leaks(stage.readable(capsys)))


def test_a_replay_line_takes_secrets_from_who_runs_it(planted: Path) -> None:
    env = {"GOPROXY": os.environ["GOPROXY"], "PLAIN": "a b", "PATH": "/usr/bin:/bin"}
    argv = [sys.executable, "-c", "import os; print(os.environ['GOPROXY'], os.environ['PLAIN'])"]
    line = command.replay_line([*argv, secret("go")], planted, env)
    assert leaks(line) == []
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout == f"{os.environ['GOPROXY']} a b\n"
    assert shlex.split(line)[-1] == redact.HIDDEN, "it is still a line for a shell"


def test_a_service_is_given_no_secret(planted: Path) -> None:
    """Its words go into its log unfiltered, so it must know none: see GIVEN for the programs."""
    seen = {site for site in SITES if site.startswith("lab.")}
    assert seen and not seen & set(GIVEN)
    one = service.start(
        ["env"], name="env", log_file=planted / "e.log", env={"A": "b"}, cwd=planted
    )
    wait_for(lambda: one.code is not None, 20, "the program's end")
    one.stop()
    assert (planted / "e.log").read_text().splitlines()[1:] == ["A=b"]


# --- the door for HTTP --------------------------------------------------------------------------


@contextlib.contextmanager
def answering(reply: bytes) -> Iterator[int]:
    """A server that says the same bytes to each who comes, whatever they want; yields its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.recv(65536)
                    connection.sendall(reply)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def reply(status: str, *headers: str, body: bytes = b"") -> bytes:
    head = "\r\n".join([f"HTTP/1.1 {status}", *headers, "Connection: close", "", ""])
    return head.encode() + body


ECHO = json.dumps({"message": secret("known"), "errors": [{"message": secret("forge")}]}).encode()
LONG = f"Content-Length: {len(ECHO)}"
FAULTS = {
    "refused login": reply("401 Unauthorized", LONG, body=ECHO),
    "forbidden": reply("403 Forbidden", LONG, body=ECHO),
    "gone": reply("404 Not Found", LONG, body=ECHO),
    "busy": reply("503 Later", LONG, body=ECHO),
    "reason": reply(f"500 {secret('known')}", LONG, body=ECHO),
    "elsewhere": reply(
        "302 Found", f"Location: https://{login('known')}@127.0.0.1:9/?token={login('known')}"
    ),
    "in a circle": reply("302 Found", f"Location: /again?token={login('known')}"),
    "no address": reply("302 Found", f"Location: http://{login('known')}@[::/"),
    "cut": reply("200 OK", "Content-Length: 100000", body=ECHO),
    "no chunk": reply("200 OK", "Transfer-Encoding: chunked", body=secret("known").encode()),
    "no HTTP": secret("known").encode(),
    "silent": b"",
    "odd answer": reply("200 OK", LONG, body=ECHO),
    "challenge": reply(
        "401 No", f'WWW-Authenticate: Bearer realm="http://{login("known")}@127.0.0.1:9/t"'
    ),
}


def callers(port: int) -> dict[str, Callable[[], Any]]:
    """Who uses the door, each with a login in its address and one of its own."""
    at = f"127.0.0.1:{port}"
    address = f"http://{login('known')}@{at}"

    def wire(**more: Any) -> http.Transport:
        return http.Transport(sleep=lambda seconds: None, attempts=2, **more)

    def registry() -> None:
        known = credentials.Credentials("bot", secret("registry"))
        with Client(parse_repository(f"{at}/me/it"), known, wire=wire()) as client:
            client.manifest("v1")

    def source() -> None:
        wanted = archive(f"{address}/a.tar?token={login('known')}", debian_pool="m/a.tar")
        download.archive(wanted, Path(os.environ["MT_WORK"]).parent / "got", lambda count: None)

    def router() -> None:
        Router(address, "bot", secret("known"), wire=wire()).call("GET", "system/resource")

    return {
        "plain": lambda: wire().exchange("GET", f"{address}/?token={login('known')}"),
        "sending": lambda: wire().follow("POST", f"{address}/", lambda where: {}, b"body"),
        "reading": lambda: wire().follow("GET", f"{address}/", lambda where: {}),
        "forge": lambda: Forge(f"{address}/api", "me/it", secret("forge"), wire()).files("v1"),
        "registry": registry,
        "source": source,
        "router": router,
    }


def tried(action: Callable[[], Any]) -> str:
    """What people can read of a request that failed, with all that the error is chained to."""
    try:
        action()
    except (Error, http.TransientError) as error:
        return "\n".join([str(error), *traceback.format_exception(error)])
    return ""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_that_fails(planted: Path, fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("plain", details=True)
    failed = 0
    with answering(FAULTS[fault]) as port:
        for name, action in callers(port).items():
            said = tried(action)
            failed += bool(said)
            assert leaks(said) == [], name
    assert failed, "no one minded"
    out, err = capsys.readouterr()
    assert leaks(out + err) == []


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "answer",
    [reply(f"407 {login('proxy')}", LONG, body=ECHO), reply("403 No", LONG, body=ECHO), b"", None],
)
def test_a_proxy_that_fails(
    planted: Path,
    scheme: str,
    answer: bytes | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    log.configure("plain", details=True)
    monkeypatch.delenv("no_proxy")
    with answering(answer or b"") as port:
        at = port if answer is not None else 9
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://{login('proxy')}@127.0.0.1:{at}")
        wire = http.Transport(sleep=lambda seconds: None, attempts=2)
        address = f"{scheme}://{login('known')}@files.test/a?token={login('known')}"
        said = tried(lambda: wire.repeat("asking", lambda: http_ok(wire.exchange("GET", address))))
    assert said, "no one minded"
    out, err = capsys.readouterr()
    assert leaks(said + out + err) == []


def http_ok(answer: Any) -> Any:
    """Fail as callers do for a status that is none of theirs."""
    if answer.status != 200:
        raise http.passing(answer)
    return answer


@pytest.mark.parametrize(
    "address",
    [
        f"http://{login('known')}@no-such-host.invalid/",
        f"http://{login('known')}@[::/",
        f"ftp://{login('known')}@127.0.0.1/",
        f"http://{login('known')}@127.0.0.1:port/",
        f"http://{login('known')}@127.0.0.1:9/",
        f"{login('known')}@127.0.0.1",
        "",
    ],
)
def test_an_address_that_is_none(planted: Path, address: str) -> None:
    said = tried(lambda: http.Transport().exchange("GET", address))
    assert said
    assert leaks(said) == []


def test_the_door_tells_all_if_nothing_is_hidden(
    planted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search finds a secret in such a message: it is not blind."""
    monkeypatch.setattr(redact, "text", lambda value, hidden=None: value)
    with answering(FAULTS["forbidden"]) as port:
        assert "known" in leaks(tried(callers(port)["forge"]))


@pytest.mark.parametrize("last", ['BuildFailed("it fails")', 'OSError("a file is bad")'])
def test_a_traceback_is_filtered_too(planted: Path, last: str) -> None:
    code = f"""
        from invoke import Context
        from build.commands import common
        from build.core.errors import BuildFailed
        @common.command
        def fail(context, debug=False):
            try:
                raise ValueError(SECRET)
            except ValueError as error:
                raise {last} from error
        import os
        SECRET = os.environ["MT_FORGE_TOKEN"]
        fail(Context(), debug=True)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, capture_output=True, text=True
    )
    assert "ValueError: ***" in done.stderr
    assert leaks(done.stdout + done.stderr) == []


# --- real clients, whole commands ---------------------------------------------------------------


def test_the_real_pip_logs_in_and_tells_nothing(
    planted: Path, web: Web, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_VERBOSE", "3")
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL")
    host = web.address.removeprefix("http://")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://{login('pip')}@{host}/simple/")
    file = "tiny_tool-1.0-py3-none-any.whl"
    page = f'<!DOCTYPE html><html><body><a href="/files/{file}">{file}</a></body></html>'
    web.play("/simple/tiny-tool/", Answer(page.encode(), kind="text/html"))
    web.play(f"/files/{file}", Answer(wheel_bytes()))
    (planted / "room").mkdir()
    clients.wheel(wheel_pin(), planted / "room" / file)
    assert web.logins and all(leaks(sent) == ["pip"] for sent in web.logins), "pip did not log in"
    web.play(f"/files/{file}", Answer(b"no", 403))
    (planted / "again").mkdir()
    said = tried(lambda: clients.wheel(wheel_pin(), planted / "again" / file))
    assert "could not be fetched" in said
    logs = [path.read_text() for path in (planted / "work").rglob("*.log")]
    assert logs
    out, err = capsys.readouterr()
    assert leaks("\n".join([said, out, err, *logs])) == []


@pytest.mark.slow
def test_a_whole_command_tells_nothing(planted: Path) -> None:
    argv = [sys.executable, "-m", "invoke", "fetch", "--debug"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stderr
    said = [done.stdout, done.stderr]
    said += [path.read_text(errors="replace") for path in (planted / "work").rglob("*.*")]
    assert "could not be" in done.stderr
    assert leaks("\n".join(said)) == []
