"""The registry's client: logins, tokens, uploads that go on, retries, and what is never told."""

from __future__ import annotations

import base64
import json
import logging
import os
import ssl
import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from fakes import programs
from fakes import registry as fake
from fakes.registry import Registry, of
from hypothesis import given
from hypothesis import strategies as st

from build.core.answer import retry_after
from build.core.errors import Error, UserError
from build.image import oci
from build.registry import credentials
from build.registry.auth import challenges
from build.registry.client import Client, Manifest
from build.registry.credentials import Credentials
from build.registry.repository import Repository, parse_repository
from build.registry.transport import RegistryError, transport
from routeros import authority

NAME = "owner/images"
SECRET = "pass:word-ünique"
USER = Credentials("ci", SECRET)
USERS = {"ci": (SECRET, True), "reader": (SECRET, False)}
BLOB = bytes(range(256)) * 40
EMPTY = b"{}"


def nothing(count: int) -> None:
    """Progress that nobody watches."""


def client(
    *registries: Registry, known: Credentials | None = None, sleeps: Any = None, chunk: int = 4000
) -> Client:
    naps: list[float] = sleeps if sleeps is not None else []
    hosts = {f"r{i}": one for i, one in enumerate(registries)}
    wire = transport(session=fake.session(**hosts), sleep=naps.append)
    host = registries[0].address.partition("://")[2]
    where = Repository(registries[0].address, host, NAME)
    return Client(where, known, wire=wire, chunk=chunk)


def a_manifest(config: bytes = EMPTY) -> Manifest:
    table = {"config": oci.descriptor(oci.CONFIG, config), "layers": [], "schemaVersion": 2}
    return Manifest(json.dumps(table).encode(), oci.MANIFEST)


# --- places ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "base", "repository"),
    [
        ("ghcr.io/owner/repo", "https://ghcr.io", "owner/repo"),
        ("localhost:5000/x", "http://localhost:5000", "x"),
        ("127.0.0.1:5000/a/b/c", "http://127.0.0.1:5000", "a/b/c"),
        ("[::1]:5000/a", "http://[::1]:5000", "a"),
        ("registry:5000/a__b.c-d--e", "https://registry:5000", "a__b.c-d--e"),
        ("docker.io/owner/repo", "https://registry-1.docker.io", "owner/repo"),
    ],
)
def test_a_place(text: str, base: str, repository: str) -> None:
    found = parse_repository(text)
    assert (found.base, found.repository, found.text) == (base, repository, text)


def test_plain_http_is_asked_for() -> None:
    assert parse_repository("registry:5000/x", plain_http=True).base == "http://registry:5000"


@pytest.mark.parametrize(
    "text",
    [
        "", "/", "owner/repo", "ghcr.io", "ghcr.io/", "ghcr.io/Owner/x", "ghcr.io/x:tag",
        "ghcr.io/x@sha256:1", "https://ghcr.io/x", "ghcr.io/a//b", "ghcr.io/a/../b", "ghcr.io/ü",
        "ghcr.io/a b", "ghcr.io/a?x=1", "ghcr.io/a#x", "user:pw@ghcr.io/x", "ghcr.io/a%2fb",
        "ghcr.io/-a", "ghcr.io/a-", "ghcr.io/a___b", "ghcr.io/" + "a" * 256, "ghcr.io:port/a",
        "ghcr.io/a\n", "evil.com\\@ghcr.io/x",
    ],
)  # fmt: skip
def test_what_is_no_place(text: str) -> None:
    with pytest.raises(UserError, match="is not REGISTRY/REPOSITORY"):
        parse_repository(text)


@given(st.text(max_size=40))
def test_a_place_is_parsed_or_refused(text: str) -> None:
    try:
        found = parse_repository(text)
    except UserError:
        return
    assert found.text == text
    assert "://" not in text


# --- logins ---------------------------------------------------------------------------------------


def test_basic() -> None:
    registry = Registry(login="basic", users=USERS)
    with client(registry, known=USER) as one:
        assert one.push_blob(of(BLOB), BLOB, nothing) == "sent"
    assert registry.blobs[NAME, of(BLOB)] == BLOB


def test_bearer_pulls_anonymously_and_pushes_with_a_login() -> None:
    registry = Registry(login="bearer", users=USERS, anonymous=True)
    with client(registry) as one:
        assert not one.has_blob(of(BLOB))
        with pytest.raises(UserError, match="without a login"):
            one.push_blob(of(BLOB), BLOB, nothing)
    with client(registry, known=USER) as one:
        one.push_blob(of(BLOB), BLOB, nothing)
    assert registry.blobs[NAME, of(BLOB)] == BLOB


@pytest.mark.parametrize("uses", range(1, 12))
def test_a_token_that_expires_mid_way_is_renewed(uses: int) -> None:
    registry = Registry(login="bearer", users=USERS, uses=uses)
    with client(registry, known=USER) as one:
        one.push_blob(of(BLOB), BLOB, nothing)
        one.push_blob(of(EMPTY), EMPTY, nothing)
        manifest = a_manifest()
        one.push_manifest(manifest)
        assert one.head(manifest.digest) == manifest.digest
        assert one.blob(of(BLOB), len(BLOB)) == BLOB
    assert len(registry.tokens) >= 2


def test_a_token_is_used_again_while_it_is_good() -> None:
    registry = Registry(login="bearer", users=USERS)
    with client(registry, known=USER) as one:
        one.push_blob(of(BLOB), BLOB, nothing)
        one.push_blob(of(EMPTY), EMPTY, nothing)
    assert len(registry.tokens) == 2, "one to pull, one to push"


@pytest.mark.parametrize("login", ["basic", "bearer"])
@pytest.mark.parametrize(
    ("known", "says"),
    [
        (Credentials("ci", "wrong-word"), "refuses this user or password"),
        (None, "without a login"),
        (Credentials("reader", SECRET), "does not allow this user"),
    ],
)
def test_who_may_not_push(login: str, known: Credentials | None, says: str) -> None:
    registry = Registry(login=login, users=USERS)
    sleeps: list[float] = []
    with client(registry, known=known, sleeps=sleeps) as one, pytest.raises(UserError) as caught:
        one.push_blob(of(BLOB), BLOB, nothing)
    assert says in str(caught.value)
    assert "MT_REGISTRY_USER" in caught.value.cure
    assert registry.blobs == {}
    assert sleeps == [], "a refusal is not tried again"


def test_challenges_are_read() -> None:
    one = 'Bearer realm="https://a/t",service="s, x",scope="repository:a:pull,push", Basic realm=b'
    assert challenges(one) == {
        "bearer": {
            "realm": "https://a/t",
            "service": "s, x",
            "scope": "repository:a:pull,push",
        },
        "basic": {"realm": "b"},
    }
    assert challenges("Basic") == {"basic": {}}
    assert challenges("") == {}


# --- what is told to whom -------------------------------------------------------------------------


def authorized(registry: Registry) -> list[str]:
    return [r.path for r in registry.seen if "Authorization" in r.headers]


def test_a_redirect_to_other_storage_gets_no_credentials() -> None:
    registry = Registry(address="https://registry:1", login="basic", users=USERS)
    storage = Registry(address="https://storage:1")
    registry.storage = storage.address
    registry.blobs[NAME, of(BLOB)] = storage.blobs[NAME, of(BLOB)] = BLOB
    with client(registry, storage, known=USER) as one:
        assert one.blob(of(BLOB), len(BLOB)) == BLOB
    assert authorized(registry)
    assert storage.seen
    assert authorized(storage) == []


def test_an_upload_sent_elsewhere_gets_no_credentials() -> None:
    registry = Registry(address="https://registry:1", login="basic", users=USERS)
    other = Registry(address="https://storage:1")
    other.uploads, other.blobs = registry.uploads, registry.blobs
    plain = registry._progress
    registry._progress = lambda *words: _elsewhere(plain(*words), other)  # type: ignore[method-assign]
    with client(registry, other, known=USER) as one:
        one.push_blob(of(BLOB), BLOB, nothing)
    assert registry.blobs[NAME, of(BLOB)] == BLOB
    assert other.seen
    assert authorized(other) == []


def _elsewhere(answer: fake.Answer, other: Registry) -> fake.Answer:
    where = answer.headers["Location"].partition("/v2/")[2]
    answer.headers["Location"] = f"{other.address}/v2/{where}"
    return answer


def test_tls_is_never_left() -> None:
    registry = Registry(address="https://registry:1")
    storage = Registry(address="http://storage:1")
    registry.storage = storage.address
    registry.blobs[NAME, of(BLOB)] = BLOB
    with client(registry, storage) as one, pytest.raises(RegistryError, match="is redirected to"):
        one.blob(of(BLOB), len(BLOB))
    assert storage.seen == []


def test_a_realm_without_tls_gets_no_password() -> None:
    tokens = Registry(address="http://tokens:1", users=USERS)
    registry = Registry(address="https://registry:1", login="bearer", users=USERS)
    registry.realm = f"{tokens.address}/token"
    with client(registry, tokens, known=USER) as one, pytest.raises(RegistryError) as caught:
        one.head("x")
    assert "readable on the way" in caught.value.why
    assert tokens.seen == []


def test_the_realm_on_another_host_gets_the_password_and_the_registry_does_not() -> None:
    tokens = Registry(address="https://tokens:1", users=USERS)
    registry = Registry(address="https://registry:1", login="bearer", tokens=tokens.tokens)
    registry.realm = f"{tokens.address}/token?account=x"
    with client(registry, tokens, known=USER) as one:
        one.push_blob(of(BLOB), BLOB, nothing)
    assert {r.headers["Authorization"] for r in tokens.seen} == {USER.basic}
    sent = {r.headers.get("Authorization", "Bearer") for r in registry.seen}
    assert all(value.startswith("Bearer") for value in sent)


def test_netrc_is_not_read(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (places / "netrc").write_text("machine 127.0.0.1 login netrc-user password netrc-word\n")
    monkeypatch.setenv("NETRC", str(places / "netrc"))
    registry = Registry(login="basic", users=USERS)
    with client(registry) as one:
        one.transport._session.trust_env = True
        with pytest.raises(UserError, match="without a login"):
            one.head("x")
    assert authorized(registry) == []


@pytest.mark.parametrize("login", ["basic", "bearer"])
@pytest.mark.parametrize("fault", [*fake.FAULTS, "echo", "denied", "wrong password"])
def test_nothing_secret_is_told(
    login: str,
    fault: str,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In output, logs of libraries, messages and tracebacks with everything that caused them."""
    caplog.set_level(logging.DEBUG)
    registry = Registry(login=login, users=USERS)
    known = Credentials("reader" if fault == "denied" else USER.user, SECRET)
    if fault == "wrong password":
        registry.users = {}
    if fault == "echo":
        # A registry that says what it was told.
        monkeypatch.setattr(registry, "_upload", lambda request, *_: _echo(request))
    else:
        registry.always = fault if fault in fake.FAULTS else ""
    if fault in fake.FAULTS:
        registry.always = ""
        registry.faults = dict.fromkeys(range(4, 200), fault)
    said = ""
    try:
        with client(registry, known=known) as one:
            one.push_blob(of(BLOB), BLOB, nothing)
            one.push_blob(of(EMPTY), EMPTY, nothing)
            one.push_manifest(a_manifest())
    except Error as error:
        said = f"{error} {error!r} {one!r} {known!r} {vars(one)!r}"
        said += "".join(traceback.format_exception(error))
    else:
        assert fault == "forget" or not fault
    captured = capfd.readouterr()
    said += captured.out + captured.err + caplog.text
    assert said
    tokens = [f"token-{i}" for i in range(20)]
    for secret in (*known.secrets, "secret-state", *tokens):
        assert secret not in said


def _echo(request: fake.Request) -> fake.Answer:
    words = f"bad {request.headers['Authorization']} and {SECRET}"
    body = json.dumps({"errors": [{"code": "X", "message": words}]})
    return fake.Answer(400, {}, body.encode())


def test_the_check_for_secrets_can_fail() -> None:
    """Negative control: a message made by the library has what ours must not have."""
    import requests

    with pytest.raises(requests.RequestException) as caught:
        requests.get(f"http://127.0.0.1:1/upload?_state={USER.password[:4]}", timeout=1)
    assert f"_state={USER.password[:4]}" in str(caught.value)


# --- uploads --------------------------------------------------------------------------------------


def sent(registry: Registry) -> int:
    return sum(len(r.body) for r in registry.seen if r.method in ("PATCH", "PUT"))


@pytest.mark.parametrize("size", [0, 1, 2, 3999, 4000, 4001, 8000, 8001, 10240])
@pytest.mark.parametrize("relative", [True, False])
def test_sizes_around_the_chunks(size: int, relative: bool) -> None:
    registry = Registry(relative=relative)
    blob = BLOB[:size]
    counts: list[int] = []
    with client(registry) as one:
        assert one.push_blob(of(blob), blob, counts.append) == "sent"
        assert one.push_blob(of(blob), blob, counts.append) == "there"
    assert registry.blobs[NAME, of(blob)] == blob
    assert sum(counts) == size
    chunks = [r for r in registry.seen if r.method == "PATCH"]
    assert len(chunks) == (0 if size <= 4000 else -(-size // 4000))


def test_a_registry_that_wants_larger_chunks() -> None:
    registry = Registry(least=6000)
    with client(registry) as one:
        one.push_blob(of(BLOB), BLOB, nothing)
    assert [len(r.body) for r in registry.seen if r.method == "PATCH"] == [6000, 4240]


def test_an_upload_goes_on_where_it_was_cut() -> None:
    # 1 HEAD, 2 POST, 3 PATCH, 4 PATCH (half of it arrives), 5 GET, 6 PATCH …
    registry = Registry(faults={4: "half"})
    with client(registry) as one:
        one.push_blob(of(BLOB), BLOB, nothing)
    assert registry.blobs[NAME, of(BLOB)] == BLOB
    methods = [r.method for r in registry.seen]
    assert methods == ["HEAD", "POST", "PATCH", "PATCH", "GET", "PATCH", "PATCH", "PUT"]
    ranges = [r.headers["Content-Range"] for r in registry.seen if r.method == "PATCH"]
    assert ranges == ["0-3999", "4000-7999", "6000-9999", "10000-10239"]


def test_a_chunk_whose_answer_was_lost_is_not_sent_again() -> None:
    registry = Registry(faults={4: "cut after"})
    with client(registry) as one:
        one.push_blob(of(BLOB), BLOB, nothing)
    assert registry.blobs[NAME, of(BLOB)] == BLOB
    assert sent(registry) == len(BLOB)


def test_an_upload_that_the_registry_forgot_begins_again() -> None:
    registry = Registry(faults={4: "cut before"})

    def forget(number: int, request: fake.Request) -> None:
        if number == 5:
            registry.uploads.clear()

    registry.before = forget
    with client(registry) as one:
        one.push_blob(of(BLOB), BLOB, nothing)
    assert registry.blobs[NAME, of(BLOB)] == BLOB
    assert [r.method for r in registry.seen].count("POST") == 2


def test_an_upload_that_gets_nowhere_ends() -> None:
    registry = Registry()

    def cut(number: int, request: fake.Request) -> None:
        if request.method == "PATCH":
            raise fake.Cut

    registry.before = cut
    with client(registry) as one, pytest.raises(RegistryError, match="given up"):
        one.push_blob(of(BLOB), BLOB, nothing)
    assert registry.blobs == {}


def test_a_mount_that_is_not_possible_becomes_an_upload() -> None:
    registry = Registry(login="bearer", users=USERS, mounting=False)
    registry.blobs["owner/other", of(BLOB)] = BLOB
    with client(registry, known=USER) as one:
        assert one.push_blob(of(BLOB), BLOB, nothing, "owner/other") == "sent"
    registry.mounting = True
    del registry.blobs[NAME, of(BLOB)]
    with client(registry, known=USER) as one:
        assert one.push_blob(of(BLOB), BLOB, nothing, "owner/other") == "mounted"


# --- retries --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "wanted"),
    [("7", [7.0]), ("99999", [60.0]), ("-5", [0.0]), ("soon", [0.5]), ("", [0.5])],
)
def test_retry_after_in_seconds(header: str, wanted: list[float]) -> None:
    registry = Registry(faults={1: "429"}, retry_after=header)
    sleeps: list[float] = []
    with client(registry, sleeps=sleeps) as one:
        assert not one.has_blob(of(BLOB))
    assert sleeps == wanted


def test_retry_after_as_a_date() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    later = format_datetime(now + timedelta(seconds=30), usegmt=True)
    assert retry_after(later, now) == 30.0
    assert retry_after(later, now + timedelta(hours=1)) == 0.0
    assert retry_after("Thu, 01 Jan 2026 00:00:30", now) == 30.0
    assert retry_after("nonsense", now) is None


def test_waits_get_longer_and_end() -> None:
    registry = Registry(always="500", retry_after="")
    sleeps: list[float] = []
    with client(registry, sleeps=sleeps) as one, pytest.raises(RegistryError) as caught:
        one.head("x")
    assert sleeps == [0.5, 1.0, 2.0, 4.0, 8.0]
    assert caught.value.exit_code == 1
    assert "HTTP 500" in caught.value.why


def test_a_registry_that_is_away() -> None:
    where = parse_repository("127.0.0.1:1/x")
    one = Client(where, None, wire=transport(sleep=lambda s: None))
    with one, pytest.raises(RegistryError) as caught:
        one.head("x")
    assert "connection was refused" in caught.value.why


def test_tls_with_and_without_trust(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    files = authority.make(places / "authority", "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    registry = Registry(login="basic", users=USERS)
    with fake.serving(registry, context):
        where = Repository(registry.address, registry.address[8:], NAME)

        def push() -> None:
            with Client(where, USER, wire=transport(sleep=lambda s: None)) as one:
                one.push_blob(of(BLOB), BLOB, nothing)

        with pytest.raises(RegistryError, match="certificate is not trusted") as caught:
            push()
        assert "SSL_CERT_FILE" in caught.value.cure
        assert registry.seen == []
        monkeypatch.setenv("SSL_CERT_FILE", str(files.authority))
        push()
    assert registry.blobs[NAME, of(BLOB)] == BLOB


# --- reading --------------------------------------------------------------------------------------


def test_altered_bytes_are_not_taken() -> None:
    manifest = a_manifest()
    registry = Registry()
    registry.blobs[NAME, of(BLOB)] = BLOB[:-1] + b"!"
    registry.manifests[NAME, manifest.digest] = (manifest.content + b" ", oci.MANIFEST)
    with client(registry) as one:
        with pytest.raises(RegistryError, match="given up") as caught:
            one.blob(of(BLOB), len(BLOB))
        assert of(BLOB) in caught.value.why
        with pytest.raises(RegistryError, match="given up"):
            one.manifest(manifest.digest)


def test_a_blob_that_does_not_end_is_not_read_to_its_end() -> None:
    registry = Registry()
    registry.blobs[NAME, of(BLOB)] = BLOB * 100
    with client(registry) as one, pytest.raises(RegistryError) as caught:
        one.blob(of(BLOB), len(BLOB))
    assert f"more than {len(BLOB)} bytes" in caught.value.why


def test_tags_over_several_pages() -> None:
    registry = Registry(page=2)
    for i in range(5):
        registry.tags[NAME, f"t{i}"] = "x"
    with client(registry) as one:
        assert one.tags() == [f"t{i}" for i in range(5)]
    with client(Registry()) as one:
        assert one.tags() == []


# --- credentials ----------------------------------------------------------------------------------


@pytest.fixture
def docker(places: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write docker's config; returns the function that does."""
    monkeypatch.setenv("DOCKER_CONFIG", str(places / "docker"))
    (places / "docker").mkdir()

    def write(table: Any) -> None:
        text = table if isinstance(table, str) else json.dumps(table)
        (places / "docker" / "config.json").write_text(text)

    return write


AUTH = base64.b64encode(f"ci:{SECRET}".encode()).decode()


def test_the_environment_comes_first(docker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    docker({"auths": {"ghcr.io": {"auth": AUTH}}})
    monkeypatch.setenv("MT_REGISTRY_USER", "me")
    with pytest.raises(UserError, match="MT_REGISTRY_PASSWORD is not set"):
        credentials.find("ghcr.io")
    monkeypatch.setenv("MT_REGISTRY_PASSWORD", "mine")
    assert credentials.find("ghcr.io") == Credentials("me", "mine")


@pytest.mark.parametrize(
    ("key", "host"),
    [
        ("ghcr.io", "ghcr.io"),
        ("https://ghcr.io", "ghcr.io"),
        ("https://ghcr.io/v2/", "ghcr.io"),
        ("127.0.0.1:5000", "127.0.0.1:5000"),
        ("https://index.docker.io/v1/", "docker.io"),
    ],
)
def test_dockers_config(docker: Any, key: str, host: str) -> None:
    docker({"auths": {key: {"auth": AUTH}}})
    assert credentials.find(host) == USER
    assert credentials.find("elsewhere.io") is None
    assert credentials.find(f"evil-{host}") is None


def test_no_config_is_anonymous(docker: Any) -> None:
    assert credentials.find("ghcr.io") is None
    docker({})
    assert credentials.find("ghcr.io") is None
    docker({"auths": {"ghcr.io": {}}})
    assert credentials.find("ghcr.io") is None


@pytest.mark.parametrize(
    "table",
    [
        f"{{{SECRET}", "[]", {"auths": []}, {"auths": {"ghcr.io": {"auth": "***"}}},
        {"auths": {"ghcr.io": {"auth": base64.b64encode(b"nocolon").decode()}}},
        {"auths": {"ghcr.io": {"identitytoken": SECRET}}},
        {"auths": {"ghcr.io": 7}}, {"credHelpers": 7},
    ],
)  # fmt: skip
def test_a_config_that_cannot_be_used(docker: Any, table: Any) -> None:
    docker(table)
    with pytest.raises(UserError) as caught:
        credentials.find("ghcr.io")
    text = "".join(traceback.format_exception(caught.value))
    assert SECRET not in text
    assert "MT_REGISTRY_USER" in caught.value.cure


@pytest.mark.parametrize("key", ["credHelpers", "credsStore"])
def test_a_credential_helper(
    docker: Any, places: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    docker({key: {"ghcr.io": "safe"} if key == "credHelpers" else "safe", "auths": {"ghcr.io": {}}})
    with pytest.raises(UserError, match="docker-credential-safe, which is not installed"):
        credentials.find("ghcr.io")
    answer = json.dumps({"ServerURL": "x", "Username": "ci", "Secret": SECRET})
    body = "host = sys.stdin.read()\nprint('a warning', file=sys.stderr)\n"
    body += f"print({answer!r}) if host == 'ghcr.io' else sys.exit('credentials not found')\n"
    programs.program(places / "bin", "docker-credential-safe", body)
    monkeypatch.setenv("PATH", f"{places / 'bin'}:{os.environ['PATH']}")
    assert credentials.find("ghcr.io") == USER
    assert credentials.find("elsewhere.io") is None
    logs = [path for path in (places / "work").rglob("*") if path.is_file()]
    assert not [path for path in logs if SECRET in path.read_text(errors="replace")]


def test_credentials_do_not_show_themselves() -> None:
    shown = f"{USER} {USER!r} {[USER]} {vars(Client)}"
    assert not [secret for secret in USER.secrets if secret in shown]
