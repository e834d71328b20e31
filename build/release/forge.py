"""A forge's API: the comment on a pull request, and the files of a release.

The calls used here are the same for GitHub, Gitea and Forgejo ("REST API, issue comments and
releases" of GitHub; `/api/swagger` of the others), except for how a file is sent.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from build.core import http, log, redact
from build.core.address import origin, shown
from build.core.answer import Answer, decoded
from build.core.errors import BuildFailed, UserError

PAGE = 50
"""Rows of a list asked for at once; the largest that all forges allow."""

PAGES = 400
"""Pages of a list that are read."""

UPLOADS = {"https://api.github.com": "https://uploads.github.com"}
"""Forges that take files at another host: that one may have the token too."""

RIGHTS = "the token needs the right to write issues and releases"


class Forge:
    """One repository on a forge. `api` is the address of its API, `repository` owner/name.

    The token goes to the host of `api` and nowhere else. `wire` is for tests.
    """

    def __init__(
        self, api: str, repository: str, token: str, wire: http.Transport | None = None
    ) -> None:
        self.base = f"{api.rstrip('/')}/repos/{repository}"
        self._wire = wire or http.Transport(error=BuildFailed, attempts=4)
        self._token = token
        self._known = {origin(self.base)}
        self._known |= {origin(up) for at, up in UPLOADS.items() if origin(at) in self._known}
        redact.know(token)

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()

    def _headers(self, address: str) -> dict[str, str]:
        headers = {"Accept": "application/json"}
        if self._token and origin(address) in self._known:
            headers["Authorization"] = f"token {self._token}"
        return headers

    def _ask(
        self,
        method: str,
        path: str,
        fine: Sequence[int] = (),
        *,
        params: Mapping[str, Any] | None = None,
        value: Any = None,
        body: bytes = b"",
        kind: str = "application/json",
    ) -> Any:
        """Return the decoded answer, None for a status in `fine`. Raises BuildFailed.

        `path` is below the repository, or a whole address. What is sent is `value` as JSON, or
        `body` of type `kind`.
        """
        address = path if "://" in path else f"{self.base}/{path}".rstrip("/")
        address += f"?{urlencode(params)}" if params else ""
        data = json.dumps(value).encode() if value is not None else body
        what = f"{method} {shown(address)}"

        def own(where: str) -> dict[str, str]:
            return self._headers(where) | ({"Content-Type": kind} if data else {})

        def send() -> Answer:
            try:
                answer = self._wire.follow(method, address, own, data, leave=False)
            except http.TransientError as fault:
                # What may have been done is not done twice.
                if method == "POST" and fault.sent:
                    raise BuildFailed(f"the forge does not answer {what}", why=str(fault)) from None
                raise
            if answer.status == 429 or (answer.status in http.PASSING and method != "POST"):
                raise http.passing(answer)
            return answer

        answer = self._wire.repeat(f"the forge does not answer {what}", send)
        if answer.status in fine:
            return None
        if not 200 <= answer.status < 300:
            said = answer.body[: http.MOST].decode(errors="replace")
            raise BuildFailed(
                f"the forge refuses {what}",
                why=f"{answer.status} {redact.remark(said, 300)}",
                cure=RIGHTS if answer.status in (401, 403, 404) else "",
            )
        try:
            return decoded(answer.body) if answer.body else {}
        except ValueError as error:
            raise BuildFailed(f"the forge's answer to {what} is no JSON", why=str(error)) from None

    def _rows(self, path: str) -> Iterator[dict[str, Any]]:
        """Yield the rows of a list, each once: some forges send the whole list as each page."""
        seen: set[str] = set()
        for page in range(1, PAGES + 1):
            words = {"page": page, "limit": PAGE, "per_page": PAGE}
            rows = self._ask("GET", path, params=words)
            if not isinstance(rows, list):
                raise _strange(path, "no list")
            before = len(seen)
            for row in rows:
                named = isinstance(row, dict) and "id" not in row
                name = str(_field(row, "name" if named else "id", (int, str), path))
                if name not in seen:
                    seen.add(name)
                    yield row
            if len(seen) == before:
                return
        raise _strange(path, f"a list of more than {PAGES} pages")

    def comment(self, pull: int, text: str, mark: str) -> str:
        """Write a comment on a pull request, or renew the one that has `mark` in it.

        Returns `written` or `renewed`. Raises BuildFailed.
        """
        body = {"body": f"<!-- {mark} -->\n{text}"}
        path = f"issues/{pull}/comments"
        for row in self._rows(path):
            if f"<!-- {mark} -->" in str(row.get("body") or ""):
                self._ask("PATCH", f"issues/comments/{_field(row, 'id', (int,), path)}", value=body)
                return "renewed"
        self._ask("POST", path, value=body)
        return "written"

    def look(self, path: str) -> Any:
        """Return what is at a path below the repository, None if there is nothing to see for us.

        Raises BuildFailed.
        """
        return self._ask("GET", path, fine=(401, 403, 404))

    def files(self, tag: str) -> set[str]:
        """Return the names of the files of a tag's release; none if there is no release."""
        found = self._ask("GET", f"releases/tags/{tag}", fine=(404,)) or {}
        rows = _field(found, "assets", (list, type(None)), "the release") if found else None
        return {str(_field(row, "name", (str,), "the release")) for row in rows or []}

    def attach(self, tag: str, text: str, files: Sequence[Path]) -> list[str]:
        """Give the release of a tag these files, and make the release if there is none.

        Returns the names that were sent. A file that is there with the same size is left alone.
        Raises BuildFailed if the forge does not have the tag, which it would make itself on the
        default branch, and for a file of the same name and another size: a release that somebody
        may have fetched is not changed.
        """
        where = f"releases/tags/{quote(tag, safe='')}"
        found = self._ask("GET", where, fine=(404,))
        if found is None:
            wanted = {"tag_name": tag, "name": tag, "body": text}
            # Where the tag is now, should it vanish meanwhile.
            wanted["target_commitish"] = self._commit(tag)
            found = self._ask("POST", "releases", value=wanted)
        there = {}
        for row in _field(found, "assets", (list, type(None)), where) or []:
            there[_field(row, "name", (str,), where)] = _field(row, "size", (int,), where)
        sent = []
        for path in files:
            size = path.stat().st_size
            if there.get(path.name, size) != size:
                raise BuildFailed(
                    f"release {tag} has another {path.name}",
                    why=f"{there[path.name]:,} B there, {size:,} B here",
                    cure="release a revision; what is published is not changed",
                )
            if path.name not in there:
                with log.step("forge", f"send {path.name}", size):
                    self._send(found, path)
                sent.append(path.name)
        return sent

    def _commit(self, tag: str) -> str:
        """Return the commit of a tag that the forge has. Raises BuildFailed if it has none."""
        for row in self._rows("tags"):
            if row.get("name") == tag:
                commit = _field(row, "commit", (dict,), "tags")
                return str(_field(commit, "sha", (str,), "tags"))
        raise BuildFailed(
            f"the forge does not have the tag {tag}",
            why="it would make one itself, on whatever its default branch has now",
            cure="push the tag first: `invoke release --push`",
        )

    def _send(self, release: Mapping[str, Any], path: Path) -> None:
        address = str(release.get("upload_url") or "")
        content, kind = path.read_bytes(), "application/octet-stream"
        if "{" in address:
            # GitHub takes the bytes as they are, at another host, named by a URI template.
            address = address.partition("{")[0]
            if origin(address) not in self._known:
                raise BuildFailed(
                    f"the forge wants {path.name} sent to {shown(address)}",
                    why="that is another host, which does not get the token",
                    cure="attach the file by hand if you trust it",
                )
        else:
            number = _field(release, "id", (int,), "the release")
            address = f"releases/{number}/assets"
            content, kind = http.form("attachment", path.name, content)
        self._ask("POST", address, params={"name": path.name}, body=content, kind=kind)


def _strange(path: str, why: str) -> BuildFailed:
    return BuildFailed(f"the forge's answer for {path} is not what its API says", why=why)


def _field(row: Any, name: str, kinds: tuple[type, ...], path: str) -> Any:
    """Return a field of a row that must be of one of these types. Raises BuildFailed."""
    value = row.get(name) if isinstance(row, dict) else None
    if not isinstance(row, dict) or not isinstance(value, kinds) or isinstance(value, bool):
        raise _strange(path, f"{name} is missing or of another type: {value!r:.80}")
    return value


def from_environment(environ: Mapping[str, str] = os.environ, *, reading: bool = False) -> Forge:
    """Return the forge of this CI run. The token is `$MT_FORGE_TOKEN`, else `$GITHUB_TOKEN`.

    For `reading` it may be missing: what is public needs none.

    Variables: `GITHUB_API_URL` and `GITHUB_REPOSITORY` of GitHub's and Forgejo's Actions,
    `CI_FORGE_URL` and `CI_REPO` of Woodpecker. Raises UserError if they are not there.
    """
    api, repository = environ.get("GITHUB_API_URL"), environ.get("GITHUB_REPOSITORY")
    if environ.get("CI_FORGE_URL"):
        api, repository = f"{environ['CI_FORGE_URL'].rstrip('/')}/api/v1", environ.get("CI_REPO")
    token = environ.get("MT_FORGE_TOKEN") or environ.get("GITHUB_TOKEN")
    if not (api and repository and (token or reading)):
        raise UserError(
            "no forge is known here",
            why="this is neither a run of Actions nor of Woodpecker, or it has no token",
            cure="set GITHUB_API_URL, GITHUB_REPOSITORY and MT_FORGE_TOKEN",
        )
    return Forge(api, repository, token or "")


def pull_of(environ: Mapping[str, str] = os.environ) -> int:
    """Return the number of the pull request that this CI run is for. Raises UserError."""
    number = environ.get("CI_COMMIT_PULL_REQUEST", "")
    words = environ.get("GITHUB_REF", "").split("/")
    if words[:2] == ["refs", "pull"] and len(words) > 2:
        number = words[2]
    if not number.isdecimal():
        raise UserError("this is not the CI run of a pull request", cure="name it: --pull NUMBER")
    return int(number)
