"""The comment on a pull request and the files of a release, against a forge's API in this process.

The stand-in keeps what it is told, pages its lists, and takes files in both ways that forges do.
"""

from __future__ import annotations

import email.parser
import email.policy
import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from build.core.errors import BuildFailed, UserError
from build.core.http import Transport
from build.gates import records, size
from build.release import forge
from build.views import markdown

REPO = "/repos/me/it"
MARK = "sizes"


class Stand:
    """A forge's memory. `github` answers with an upload address that is a URI template."""

    def __init__(self, *, github: bool) -> None:
        self.github = github
        self.address = ""
        self.comments: list[dict[str, Any]] = []
        self.releases: dict[str, dict[str, Any]] = {}
        self.files: dict[str, bytes] = {}
        self.tags = [{"name": "v1-mt.1", "commit": {"sha": "c" * 40}}]
        self.seen: list[str] = []
        self.logins: list[str] = []

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes, kind: str) -> Any:
        """Return (status, value)."""
        if path == f"{REPO}/issues/7/comments" and method == "GET":
            at = (int(query["page"]) - 1) * forge.PAGE
            return 200, self.comments[at : at + forge.PAGE]
        if path == f"{REPO}/issues/7/comments":
            self.comments.append({"id": len(self.comments), **json.loads(body)})
            return 201, self.comments[-1]
        if path.startswith(f"{REPO}/issues/comments/") and method == "PATCH":
            row = self.comments[int(path.rsplit("/", 1)[1])]
            row.update(json.loads(body))
            return 200, row
        if path.startswith(f"{REPO}/releases/tags/"):
            found = self.releases.get(path.rsplit("/", 1)[1])
            return (200, found) if found else (404, {"message": "none"})
        if path == f"{REPO}/tags":
            at = (int(query["page"]) - 1) * forge.PAGE
            return 200, self.tags[at : at + forge.PAGE]
        if path == f"{REPO}/releases":
            wanted = json.loads(body)
            more = {"upload_url": f"{self.address}/up{{?name,label}}"} if self.github else {}
            self.releases[wanted["tag_name"]] = {"id": 3, "assets": [], **wanted, **more}
            return 201, self.releases[wanted["tag_name"]]
        if path == ("/up" if self.github else f"{REPO}/releases/3/assets"):
            content = body
            if not self.github:
                head = f"Content-Type: {kind}\r\n\r\n".encode()
                parser = email.parser.BytesParser(policy=email.policy.HTTP)
                (part,) = parser.parsebytes(head + body).iter_parts()
                content = part.get_payload(decode=True)
            self.files[query["name"]] = content
            (release,) = self.releases.values()
            release["assets"].append({"name": query["name"], "size": len(content)})
            return 201, {}
        return 404, {"message": "no such thing"}


@contextmanager
def serving(stand: Stand) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            place = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(place.query).items()}
            stand.seen.append(f"{self.command} {place.path}")
            stand.logins.append(self.headers.get("Authorization", ""))
            status, value, more = 401, {"message": "who are you?"}, ()
            if self.headers.get("Authorization") == "token secret":
                kind = self.headers.get("Content-Type", "")
                status, value, *more = stand.answer(self.command, place.path, query, body, kind)
            text = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            for name, word in dict(*more).items():
                self.send_header(name, word)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PATCH = _any

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    stand.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield stand.address
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("others", [0, 1, forge.PAGE, 2 * forge.PAGE + 1])
def test_a_comment_is_written_once_and_then_renewed(others: int) -> None:
    stand = Stand(github=False)
    stand.comments = [{"id": n, "body": "hello"} for n in range(others)]
    with serving(stand) as address, closing(forge.Forge(address, "me/it", "secret")) as there:
        assert there.comment(7, "first", MARK) == "written"
        stand.comments.append({"id": others + 1, "body": None})
        assert there.comment(7, "second", MARK) == "renewed"
    assert len(stand.comments) == others + 2
    assert stand.comments[others]["body"] == "<!-- sizes -->\nsecond"


@pytest.mark.parametrize("github", [True, False])
def test_files_are_attached_once(github: bool, tmp_path: Path) -> None:
    one, two = tmp_path / "one.tar", tmp_path / "two.json"
    one.write_bytes(bytes(range(256)) * 9)
    two.write_bytes(b"{}")
    stand = Stand(github=github)
    with serving(stand) as address, closing(forge.Forge(address, "me/it", "secret")) as there:
        assert there.attach("v1-mt.1", "notes", [one]) == ["one.tar"]
        assert there.attach("v1-mt.1", "notes", [one, two]) == ["two.json"]
        two.write_bytes(b"{ }")
        with pytest.raises(BuildFailed, match=r"has another two\.json"):
            there.attach("v1-mt.1", "notes", [one, two])
    assert stand.files == {"one.tar": one.read_bytes(), "two.json": b"{}"}
    assert stand.releases["v1-mt.1"]["body"] == "notes"


class Scripted(Stand):
    """A forge whose answer to one request is played; the others are those of `Stand`."""

    def __init__(self, method: str, path: str, *answer: Any) -> None:
        super().__init__(github=False)
        self.turn, self.play = (method, REPO + path), answer

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes, kind: str) -> Any:
        if (method, path) == self.turn or self.turn == ("ANY", REPO):
            return self.play
        return super().answer(method, path, query, body, kind)


def quick() -> Transport:
    return Transport(error=BuildFailed, sleep=lambda seconds: None, attempts=3)


def failure(stand: Stand, tag: str = "v1-mt.1", pull: int = 0) -> BuildFailed:
    """What a forge's answer comes to: one message, whatever it was."""
    with (
        serving(stand) as address,
        closing(forge.Forge(address, "me/it", "secret", quick())) as there,
        pytest.raises(BuildFailed) as told,
    ):
        if pull:
            there.comment(pull, "text", MARK)
        else:
            there.attach(tag, "notes", [])
    return told.value


def test_a_tag_that_the_forge_does_not_have_is_not_made() -> None:
    stand = Stand(github=False)
    stand.tags = [{"name": f"v0-mt.{n}", "commit": {"sha": "d" * 40}} for n in range(120)]
    error = failure(stand)
    assert "does not have the tag v1-mt.1" in error.what and "push the tag first" in error.cure
    assert stand.releases == {} and not [line for line in stand.seen if line.startswith("POST")]


def test_a_tag_far_back_in_the_list_is_found(tmp_path: Path) -> None:
    stand = Stand(github=False)
    more = [{"name": f"v0-mt.{n}", "commit": {"sha": "d" * 40}} for n in range(120)]
    stand.tags = [*more, *stand.tags]
    with serving(stand) as address, closing(forge.Forge(address, "me/it", "secret")) as there:
        there.attach("v1-mt.1", "notes", [])
    assert stand.releases["v1-mt.1"]["target_commitish"] == "c" * 40


def test_a_forge_that_sends_the_whole_list_as_every_page() -> None:
    stand = Scripted(
        "GET", "/issues/7/comments", 200, [{"id": n, "body": "hello"} for n in range(60)]
    )
    with serving(stand) as address, closing(forge.Forge(address, "me/it", "secret")) as there:
        assert there.comment(7, "text", MARK) == "written"
    assert len(stand.seen) == 3


@pytest.mark.parametrize("status", [301, 302, 303])
@pytest.mark.parametrize("what", ["POST /issues/7/comments", "POST /releases"])
def test_a_post_does_not_become_a_get(status: int, what: str) -> None:
    method, _, path = what.partition(" ")
    stand = Scripted(method, path, status, {}, {"Location": "/repos/me/renamed" + path})
    error = failure(stand, pull=7 if "issues" in path else 0)
    assert "is redirected to" in error.what and "/repos/me/renamed" in error.cure
    assert stand.comments == [] and stand.releases == {}
    assert not [line for line in stand.seen if "renamed" in line]


def test_a_post_is_sent_again_where_the_forge_says_so_and_stays_a_post() -> None:
    stand = Scripted("POST", "/issues/7/comments", 307, {}, {"Location": "/repos/it/moved"})
    with (
        serving(stand) as address,
        closing(forge.Forge(address, "me/it", "secret")) as there,
        pytest.raises(BuildFailed, match="refuses POST"),
    ):
        there.comment(7, "text", MARK)
    assert stand.seen[-1] == "POST /repos/it/moved"


@pytest.mark.parametrize("github", [True, False])
def test_no_other_host_gets_the_token(github: bool, tmp_path: Path) -> None:
    """Neither by a redirect nor by an address for files."""
    (tmp_path / "one").write_bytes(b"x")
    other = Stand(github=False)
    with serving(other) as elsewhere:
        stand: Stand = Scripted("GET", "/releases/tags/v1-mt.1", 302, {}, {"Location": elsewhere})
        if github:
            found = {"id": 1, "assets": [], "upload_url": f"{elsewhere}/up{{?name}}"}
            stand = Scripted("GET", "/releases/tags/v1-mt.1", 200, found)
        with (
            serving(stand) as address,
            closing(forge.Forge(address, "me/it", "secret")) as there,
            pytest.raises(BuildFailed) as told,
        ):
            there.attach("v1-mt.1", "notes", [tmp_path / "one"])
    assert elsewhere in str(told.value)
    assert other.seen == []


def test_githubs_upload_host_is_githubs() -> None:
    there = forge.Forge("https://api.github.com", "me/it", "secret")
    with closing(there):
        assert "Authorization" in there._headers("https://uploads.github.com/repos/x")
        for other in (
            "https://api.github.com:444",
            "http://api.github.com",
            "https://x.github.com",
        ):
            assert "Authorization" not in there._headers(other)


def test_netrc_does_not_replace_the_token(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login netrc-user password netrc-word\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    stand = Stand(github=False)
    with serving(stand) as address, closing(forge.Forge(address, "me/it", "secret")) as there:
        there.comment(7, "text", MARK)
    assert set(stand.logins) == {"token secret"}


ODD = [
    b"[" * 200_000,
    b'{"a":' * 200_000,
    b"[]" * 10,
    b"\xff\xfe",
    b'"' + b"x" * (5 << 20) + b'"',
    7, None, "text", True, [], {}, [[]], [7], [None], [{}], [{"id": None}], [{"id": [1]}],
    [{"id": True, "body": 7}], [{"name": {"x": 1}}], {"id": 1, "assets": 7},
    {"id": 1, "assets": [7]}, {"id": 1, "assets": [{"name": 1, "size": "x"}]},
]  # fmt: skip


@pytest.mark.parametrize("value", ODD, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("pull", [0, 7])
@pytest.mark.parametrize("status", [200, 500])
def test_a_hostile_forge_comes_to_one_message(value: Any, pull: int, status: int) -> None:
    with (
        serving(Scripted("ANY", "", status, value)) as address,
        closing(forge.Forge(address, "me/it", "secret", quick())) as there,
    ):
        try:
            if pull:
                there.comment(pull, "text", MARK)
            else:
                there.attach("v1-mt.1", "notes", [Path(__file__)])
        except BuildFailed as error:
            assert len(str(error)) < 2000
        else:
            assert pull and status == 200, "an empty list is a list, so the comment is written"


def test_a_refusal_does_not_tell_the_token() -> None:
    with (
        serving(Stand(github=False)) as address,
        closing(forge.Forge(address, "me/it", "wrong-token")) as there,
        pytest.raises(BuildFailed) as told,
    ):
        there.comment(7, "text", MARK)
    assert "401" in str(told.value) and "wrong-token" not in str(told.value)


def test_a_forge_that_is_away() -> None:
    with (
        closing(forge.Forge("http://127.0.0.1:9", "me/it", "secret", quick())) as there,
        pytest.raises(BuildFailed, match="does not answer"),
    ):
        there.comment(7, "text", MARK)


def test_the_run_says_which_forge_and_pull_request() -> None:
    actions = {
        "GITHUB_API_URL": "https://forge/api/v1",
        "GITHUB_REPOSITORY": "me/it",
        "GITHUB_TOKEN": "t",
        "GITHUB_REF": "refs/pull/12/merge",
    }
    woodpecker = {
        "CI_FORGE_URL": "https://forge/",
        "CI_REPO": "me/it",
        "MT_FORGE_TOKEN": "t",
        "CI_COMMIT_PULL_REQUEST": "12",
    }
    for environ in (actions, woodpecker):
        with closing(forge.from_environment(environ)) as there:
            assert there.base == "https://forge/api/v1/repos/me/it"
        assert forge.pull_of(environ) == 12
        for name in environ:
            if name.endswith(("REPOSITORY", "REPO", "TOKEN")):
                with pytest.raises(UserError, match="no forge is known"):
                    forge.from_environment({**environ, name: ""})
    for environ in ({}, {"GITHUB_REF": "refs/heads/main"}, {"CI_COMMIT_PULL_REQUEST": ""}):
        with pytest.raises(UserError, match="not the CI run of a pull request"):
            forge.pull_of(environ)


def test_the_report_names_what_is_over_and_what_failed() -> None:
    measures = [
        size.Measure("arm64", "rootfs", 1100, 1000, 900),
        size.Measure("arm64", "a|b", 10, 0, 0),
    ]
    verdicts = (records.Verdict("join", True, 1.0, ""), records.Verdict("direct", False, 1.0, ""))
    record = records.Record("arm64", "sha256:1", "", "user", 0.0, 0.0, {}, verdicts)
    text = markdown.summary("v1.102.5-mt.1", measures, [record])
    assert "| arm64 | rootfs | 1,100 | 110.0% **over** | +200 |" in text
    assert "| arm64 | a\\|b | 10 |  |  |" in text
    assert "| arm64 | user | 1 of 2 | direct | `sha256:1` |" in text
    assert "has not run" in markdown.summary("v1.102.5-mt.1", measures, [])
