"""A forge's API: the comment on a pull request, and the files of a release.

The calls used here are the same for GitHub, Gitea and Forgejo ("REST API, issue comments and
releases" of GitHub; `/api/swagger` of the others), except for how a file is sent.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import requests

from build.core import log
from build.core.errors import BuildFailed, UserError

SECONDS = 60.0
PAGE = 50
"""Comments asked for at once; the largest that all forges allow."""


class Forge:
    """One repository on a forge. `api` is the address of its API, `repository` owner/name."""

    def __init__(self, api: str, repository: str, token: str) -> None:
        self.base = f"{api.rstrip('/')}/repos/{repository}"
        self.session = requests.Session()
        self.session.headers["Accept"] = "application/json"
        if token:
            self.session.headers["Authorization"] = f"token {token}"

    def close(self) -> None:
        """Close the connections."""
        self.session.close()

    def _ask(self, method: str, path: str, fine: Sequence[int] = (), **more: Any) -> Any:
        """Return the decoded answer, None for a status in `fine`. Raises BuildFailed."""
        address = path if path.startswith("http") else f"{self.base}/{path}".rstrip("/")
        try:
            answer = self.session.request(method, address, timeout=SECONDS, **more)
        except requests.RequestException as error:
            raise BuildFailed(f"the forge does not answer {method} {address}") from error
        if answer.status_code in fine:
            return None
        if not answer.ok:
            raise BuildFailed(
                f"the forge refuses {method} {address}",
                why=f"{answer.status_code} {answer.text[:300].strip()}",
                cure="the token needs the right to write issues and releases"
                if answer.status_code in (401, 403, 404)
                else "",
            )
        return answer.json() if answer.content else {}

    def comment(self, pull: int, text: str, mark: str) -> str:
        """Write a comment on a pull request, or renew the one that has `mark` in it.

        Returns `written` or `renewed`. Raises BuildFailed.
        """
        body = {"body": f"<!-- {mark} -->\n{text}"}
        page = 1
        while rows := self._ask(
            "GET",
            f"issues/{pull}/comments",
            params={"page": page, "limit": PAGE, "per_page": PAGE},
        ):
            for row in rows:
                if f"<!-- {mark} -->" in (row.get("body") or ""):
                    self._ask("PATCH", f"issues/comments/{row['id']}", json=body)
                    return "renewed"
            if len(rows) < PAGE:
                break
            page += 1
        self._ask("POST", f"issues/{pull}/comments", json=body)
        return "written"

    def look(self, path: str) -> Any:
        """Return what is at a path below the repository, None if there is nothing to see for us.

        Raises BuildFailed.
        """
        return self._ask("GET", path, fine=(401, 403, 404))

    def files(self, tag: str) -> set[str]:
        """Return the names of the files of a tag's release; none if there is no release."""
        found = self._ask("GET", f"releases/tags/{tag}", fine=(404,)) or {}
        return {str(row["name"]) for row in found.get("assets") or []}

    def attach(self, tag: str, text: str, files: Sequence[Path]) -> list[str]:
        """Give the release of a tag these files, and make the release if there is none.

        Returns the names that were sent. A file that is there with the same size is left alone.
        Raises BuildFailed, for a file of the same name and another size too: a release that
        somebody may have fetched is not changed.
        """
        found = self._ask("GET", f"releases/tags/{tag}", fine=(404,))
        if found is None:
            wanted = {"tag_name": tag, "name": tag, "body": text}
            found = self._ask("POST", "releases", json=wanted)
        there = {row["name"]: int(row["size"]) for row in found.get("assets") or []}
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

    def _send(self, release: Mapping[str, Any], path: Path) -> None:
        address = str(release.get("upload_url") or "")
        with path.open("rb") as stream:
            if "{" in address:
                # GitHub takes the bytes as they are, at another host, named by a URI template.
                more: dict[str, Any] = {"data": stream}
                more["headers"] = {"Content-Type": "application/octet-stream"}
                address = address.partition("{")[0]
            else:
                more = {"files": {"attachment": (path.name, stream)}}
                address = f"releases/{release['id']}/assets"
            self._ask("POST", address, params={"name": path.name}, **more)


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
