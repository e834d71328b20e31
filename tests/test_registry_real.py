"""Publishing to Debian's docker-registry, with passwords and with tokens, under faults.

skopeo, which shares no code with us, looks at the outcome.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from distribution import htpasswd, program, registry
from fakes import releases
from fakes.proxy import FAULTS, Proxy
from fakes.registry import Request, serving
from fakes.releases import Made
from fakes.tokens import ISSUER, SERVICE, Tokens

from build.config import targets
from build.config.targets import Target
from build.core.errors import Error, UserError
from build.gates import audit, records
from build.registry import published
from build.registry.client import Client
from build.registry.credentials import Credentials
from build.registry.repository import parse_repository
from build.registry.transport import transport
from build.release import channels, publish

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
OLD, NEW = "v1.102.5-mt.6", "v1.102.5-mt.7"
USER, PASSWORD = "ci", "correct:horse-battery"
READER = "reader"
KNOWN = Credentials(USER, PASSWORD)


@dataclass
class Server:
    """A running docker-registry: host and port, its files, and its token service if it has one."""

    host: str
    files: Path
    tokens: Tokens | None = None

    def copy(self, source: str, name: str) -> None:
        """Make a repository like another one; blobs are shared by all of them."""
        repositories = self.files / "docker/registry/v2/repositories"
        shutil.copytree(repositories / source, repositories / name)


@pytest.fixture(scope="module")
def passwords(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("htpasswd")
    auth = htpasswd(folder / "users", USER, READER, password=PASSWORD)
    with registry(folder, auth) as found:
        yield Server(found.host, found.files)


@pytest.fixture(scope="module")
def bearer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("tokens")
    tokens = Tokens({USER: (PASSWORD, True), READER: (PASSWORD, False)})
    with serving(tokens):
        auth = f"{{token: {{realm: '{tokens.address}/token', service: {SERVICE}, "
        auth += f"issuer: {ISSUER}, rootcertbundle: {tokens.bundle(folder / 'ca.pem')}}}}}"
        with registry(folder, auth) as found:
            yield Server(found.host, found.files, tokens)


@pytest.fixture(params=["passwords", "bearer"])
def server(request: pytest.FixtureRequest) -> Server:
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Made]:
    folder = tmp_path_factory.mktemp("releases")
    return {tag: releases.make(folder, tag) for tag in (OLD, NEW)}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Made]:
    folder = tmp_path_factory.mktemp("small")
    return {tag: releases.make(folder, tag, "armv5") for tag in (OLD, NEW)}


@pytest.fixture
def one_platform(small: dict[str, Made], monkeypatch: pytest.MonkeyPatch) -> dict[str, Made]:
    """For the loops: one platform, audited once."""
    only = {"armv5": targets.target("armv5")}
    assert audit.layout_faults(small[NEW].layout, only) == []
    identity = records.gate_identity()
    monkeypatch.setattr(records, "gate_identity", lambda: identity)
    monkeypatch.setattr(targets, "targets", lambda: only)
    monkeypatch.setattr(audit, "layout_faults", lambda *_: [])
    return small


def client(
    host: str,
    name: str,
    known: Credentials | None = KNOWN,
    *,
    attempts: int = 6,
    timeouts: tuple[float, float] = (10.0, 60.0),
) -> Client:
    wire = transport(sleep=lambda s: None, attempts=attempts, timeouts=timeouts)
    where = parse_repository(f"{host}/{name}")
    return Client(where, known, wire=wire, chunk=3000)


def run(host: str, name: str, wanted: Made, **options: Any) -> None:
    releases.passed(wanted)
    with client(host, name, **options) as one:
        publish.apply(one, publish.plan(one, wanted.layout, wanted.release))


# --- skopeo ---------------------------------------------------------------------------------------


def skopeo(*words: str | Path) -> bytes:
    argv = [program("skopeo", "skopeo"), *map(str, words)]
    done = subprocess.run(argv, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def digest_of(host: str, name: str, tag: str) -> str:
    """What skopeo finds under a tag: the digest of the very bytes."""
    creds = f"--creds={USER}:{PASSWORD}"
    raw = skopeo("inspect", "--tls-verify=false", creds, "--raw", f"docker://{host}/{name}:{tag}")
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def copied(host: str, name: str, target: Target, out: Path) -> str:
    """Pull a platform's image with skopeo, which verifies every blob; returns its manifest."""
    words = [f"--override-arch={target.oci_architecture}", "--override-os=linux"]
    if target.oci_variant:
        words.append(f"--override-variant={target.oci_variant}")
    source = f"docker://{host}/{name}:stable"
    creds = f"--src-creds={USER}:{PASSWORD}"
    skopeo(*words, "copy", "--src-tls-verify=false", creds, source, f"dir:{out}")
    content = (out / "manifest.json").read_bytes()
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


# --- without faults -------------------------------------------------------------------------------


def test_published_replaced_and_rolled_back(
    server: Server, made: dict[str, Made], places: Path
) -> None:
    host, name = server.host, "owner/whole"
    for tag in (OLD, NEW):
        run(host, name, made[tag])
        assert digest_of(host, name, tag) == made[tag].index
        assert digest_of(host, name, "stable") == made[tag].index
    for target in targets.targets().values():
        assert copied(host, name, target, places / target.name) == made[NEW].manifests[target.name]
    with client(host, name) as one:
        channels.apply(one, channels.back(one, OLD))
        assert published.releases(one) == [made[NEW].release, made[OLD].release]
    assert digest_of(host, name, "stable") == made[OLD].index
    assert digest_of(host, name, NEW) == made[NEW].index


def test_blobs_are_mounted(server: Server, made: dict[str, Made]) -> None:
    run(server.host, "owner/source", made[NEW])
    releases.passed(made[NEW])
    proxy = Proxy(server.host)
    with serving(proxy), client(proxy.address[7:], "owner/mounted") as one:
        wanted = publish.plan(one, made[NEW].layout, made[NEW].release)
        publish.apply(one, wanted, mount_from="owner/source")
    assert not [r for r in proxy.seen if r.method in ("PATCH", "PUT") and "/uploads/" in r.path]
    assert digest_of(server.host, "owner/mounted", "stable") == made[NEW].index


@pytest.mark.parametrize(
    ("known", "says"),
    [
        (None, "without a login"),
        (Credentials(USER, "wrong"), "refuses this user or password"),
        (Credentials("nobody", PASSWORD), "refuses this user or password"),
    ],
)
def test_a_wrong_login(
    server: Server, made: dict[str, Made], known: Credentials | None, says: str
) -> None:
    with pytest.raises(UserError) as caught:
        run(server.host, "owner/refused", made[NEW], known=known)
    assert says in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_a_token_that_only_reads(bearer: Server, made: dict[str, Made]) -> None:
    with pytest.raises(UserError, match="does not allow this user"):
        run(bearer.host, "owner/read-only", made[NEW], known=Credentials(READER, PASSWORD))


def test_a_token_that_expires_mid_way(bearer: Server, made: dict[str, Made]) -> None:
    assert bearer.tokens is not None
    tokens = bearer.tokens
    proxy = Proxy(bearer.host)
    waited = []

    def hold(number: int, request: Request) -> None:
        """Before the first upload's second request: the token that it brings is dead by then."""
        if request.method in ("PATCH", "PUT") and not waited:
            waited.append(number)
            while time.time() <= tokens.ends + 1:
                threading.Event().wait(tokens.ends + 1.01 - time.time())

    proxy.before = hold
    tokens.issued.clear()
    tokens.lasts = 3
    try:
        with serving(proxy):
            run(proxy.address[7:], "owner/expired", made[NEW])
    finally:
        tokens.lasts = 300
    assert waited
    refused = [r for r in proxy.seen[waited[0] - 1 :] if r.method in ("PATCH", "PUT")]
    assert refused[0].path == refused[1].path, "the same request again, with another token"
    assert refused[0].headers["Authorization"] != refused[1].headers["Authorization"]
    assert digest_of(bearer.host, "owner/expired", "stable") == made[NEW].index


# --- faults ---------------------------------------------------------------------------------------


def outcome(server: Server, name: str, small: dict[str, Made]) -> str:
    """Read all tags whole, past the proxy; returns `:stable`'s release."""
    with client(server.host, name) as one:
        for release in published.releases(one):
            found = published.read_back(one, release.tag, small[release.tag].index)
            assert found == {release}
        stable = one.manifest("stable")
        assert stable
        published.read_back(one, "stable", stable.digest)
        release_ = published.release_of(one, stable)
        assert release_
    return release_.tag


def spoilt(
    server: Server, small: dict[str, Made], fault: str, numbers: range, **options: Any
) -> Iterator[tuple[str, bool]]:
    """Publish with a fault at each of these requests; yields the repository, whether it ended."""
    base = f"owner/base-{fault.replace(' ', '-')}-{options.get('attempts', 0)}"
    run(server.host, base, small[OLD])
    proxy = Proxy(server.host)
    with serving(proxy):
        number = numbers.start
        while True:
            name = f"{base}-{number}"
            server.copy(base, name)
            proxy.faults = {number: fault}
            proxy.seen.clear()
            try:
                run(proxy.address[7:], name, small[NEW], **options)
                ended = False
            except Error:
                ended = True
            if len(proxy.seen) < number:
                break
            yield name, ended
            number += numbers.step
        proxy.closing.set()


@pytest.mark.nightly
@pytest.mark.parametrize("fault", FAULTS)
def test_killed_at_each_request(server: Server, one_platform: dict[str, Made], fault: str) -> None:
    ended, rounds = 0, 0
    for name, failed in spoilt(server, one_platform, fault, range(1, 999), attempts=1):
        ended, rounds = ended + failed, rounds + 1
        assert outcome(server, name, one_platform) in (OLD, NEW)
        assert digest_of(server.host, name, OLD) == one_platform[OLD].index
        run(server.host, name, one_platform[NEW])
        assert outcome(server, name, one_platform) == NEW
    assert rounds > 30
    assert ended > rounds // 2


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_every_third_request_is_lived_through(
    server: Server, one_platform: dict[str, Made], fault: str
) -> None:
    for name, failed in spoilt(server, one_platform, fault, range(1, 999, 3)):
        assert not failed, name
        assert outcome(server, name, one_platform) == NEW


def test_slow_answers(passwords: Server, one_platform: dict[str, Made]) -> None:
    rounds = spoilt(passwords, one_platform, "slow", range(1, 999, 5), timeouts=(1.0, 0.3))
    for name, failed in rounds:
        assert not failed, name
        assert outcome(passwords, name, one_platform) == NEW


# --- the commands ---------------------------------------------------------------------------------


def words(host: str, name: str, *more: str) -> list[str]:
    return [sys.executable, "-m", "invoke", *more, f"{host}/{name}"]


def environment(password: str = PASSWORD) -> dict[str, str]:
    return {**os.environ, "MT_REGISTRY_USER": USER, "MT_REGISTRY_PASSWORD": password}


def invoked(argv: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        argv, cwd=ROOT, env=environment(**options), text=True, capture_output=True, timeout=120
    )
    assert PASSWORD not in done.stdout + done.stderr
    assert KNOWN.basic[6:] not in done.stdout + done.stderr
    return done


def test_the_commands(server: Server, made: dict[str, Made]) -> None:
    host, name = server.host, "owner/commands"
    for tag in (OLD, NEW):
        releases.passed(made[tag])
        layout = ["--layout", str(made[tag].layout)]
        dry = invoked(
            [*words(host, name, "publish", "--no-sign", "--dry-run", *layout, "--json", "--to")]
        )
        assert dry.returncode == 0, dry.stderr
        plan = json.loads(dry.stdout)
        assert plan["release"] == tag
        assert plan["parts"][-1]["state"].startswith("to be set")
        done = invoked(words(host, name, "publish", "--no-sign", *layout, "--to"))
        assert done.returncode == 0, done.stderr
        assert f"{host}/{name}@{made[tag].index}" in done.stdout
        assert digest_of(host, name, "stable") == made[tag].index
    done = invoked(words(host, name, "rollback", "--to", "v1.102.5-mt.1", "--at"))
    assert done.returncode == 2
    assert f"one of: {NEW}, {OLD}" in done.stderr
    done = invoked(words(host, name, "rollback", "--to", OLD, "--dry-run", "--at"))
    assert "would move" in done.stdout
    assert digest_of(host, name, "stable") == made[NEW].index
    done = invoked(words(host, name, "rollback", "--to", OLD, "--at"))
    assert done.returncode == 0, done.stderr
    assert digest_of(host, name, "stable") == digest_of(host, name, "next") == made[OLD].index
    done = invoked([*words(host, name, "publish", "--no-sign", "--soak", "7", *layout, "--to")])
    assert digest_of(host, name, "next") == made[NEW].index, done.stderr
    assert digest_of(host, name, "stable") == made[OLD].index
    done = invoked(words(host, name, "promote", "--soak", "7", "--at"))
    assert done.returncode == 2 and f"this checkout has no tag {NEW}" in done.stderr
    assert digest_of(host, name, "stable") == made[OLD].index
    for moved in ("moved from", "is"):
        done = invoked(words(host, name, "promote", "--at"))
        assert f":stable {moved} " in done.stdout
        assert digest_of(host, name, "stable") == made[NEW].index
    done = invoked(words(host, name, "rollback", "--to", OLD, "--at"))
    assert done.returncode == 0, done.stderr
    releases.passed(made[OLD])
    done = invoked(
        words(host, name, "publish", "--no-sign", "--layout", str(made[OLD].layout), "--to")
    )
    assert done.returncode == 0, done.stderr
    records.path_of("arm64").unlink()
    done = invoked(
        words(host, name, "publish", "--no-sign", "--layout", str(made[OLD].layout), "--to")
    )
    assert done.returncode == 3
    releases.passed(made[NEW])
    layout = ["--layout", str(made[NEW].layout)]
    done = invoked(words(host, name, "publish", "--no-sign", *layout, "--to"), password="wrong")
    assert done.returncode == 2
    assert "refuses this user or password" in done.stderr


@pytest.mark.parametrize("number", [3, 15, 30, 45, 60, 75, -1])
def test_killed_and_started_again(passwords: Server, made: dict[str, Made], number: int) -> None:
    """kill -9 while a request is at the registry; -1: while it sets :stable."""
    host, name = passwords.host, f"owner/killed{number}"
    run(host, name, made[OLD])
    releases.passed(made[NEW])
    proxy, reached, go_on = Proxy(host), threading.Event(), threading.Event()

    def hold(at: int, request: Request) -> None:
        last = request.method == "PUT" and request.path.endswith("/stable")
        if at == number or (number == -1 and last):
            reached.set()
            go_on.wait(60)

    proxy.before = hold
    with ExitStack() as stack:
        stack.enter_context(serving(proxy))
        stack.callback(go_on.set)
        argv = words(
            proxy.address[7:],
            name,
            "publish",
            "--no-sign",
            "--layout",
            str(made[NEW].layout),
            "--to",
        )
        process = subprocess.Popen(
            argv, cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        stack.callback(process.wait, 10)
        stack.callback(process.kill)
        assert reached.wait(60)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        go_on.set()
    assert outcome(passwords, name, made) in (OLD, NEW)
    done = invoked(
        words(host, name, "publish", "--no-sign", "--layout", str(made[NEW].layout), "--to")
    )
    assert done.returncode == 0, done.stderr
    assert outcome(passwords, name, made) == NEW
    assert digest_of(host, name, "stable") == made[NEW].index
