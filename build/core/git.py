"""What git knows of this checkout, and the two things that a release does to it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from build.core import command
from build.core.errors import BuildFailed, UserError

SECONDS = 120.0
"""How long one git command may take; the longest asks a remote."""

IDENTITY = ("-c", "user.name=mikrotik-tailscale", "-c", "user.email=release@localhost")


@dataclass(frozen=True)
class State:
    """A checkout as a release sees it.

    `commit` is the full hash of HEAD, `tags` {name: commit it stands for}, `changed` the files
    that differ from the commit or are unknown to git; `shallow` says that history and tags may be
    missing.
    """

    commit: str
    tags: dict[str, str]
    changed: tuple[str, ...] = ()
    shallow: bool = False


class Git:
    """The git command in one checkout."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *words: str, fine: tuple[int, ...] = (0,)) -> str:
        """Run `git …` and return what it printed. Raises BuildFailed unless it exits as `fine`."""
        env = command.network_environment() | {
            name: value
            for name, value in os.environ.items()
            # SUDO_UID: under sudo git trusts what belongs to the user who called it.
            if name in ("PATH", "SUDO_UID") or name.startswith(("GIT_", "SSH_"))
        }
        # No question may wait for an answer: this runs where nobody looks.
        env |= {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
        done = command.call(
            ["git", "--no-pager", *words], env=env, cwd=self.folder, timeout=SECONDS
        )
        if done.code not in fine:
            raise BuildFailed(
                f"git {words[0]} failed",
                why=done.output.strip() or f"no answer within {SECONDS:g} s",
            )
        return done.output

    def state(self, remote: str = "") -> State:
        """Look at the checkout, and at the tags of a remote if one is named.

        Raises UserError if the folder is no git checkout, BuildFailed if the remote is silent.
        """
        try:
            top = self.run("rev-parse", "--show-toplevel").strip()
        except BuildFailed as error:
            raise UserError(
                f"{self.folder} is not a git checkout", why=error.why, cure="clone the repository"
            ) from error
        if Path(top).resolve() != self.folder.resolve():
            raise UserError(
                f"{self.folder} is not the top of a git checkout", why=f"the top is {top}"
            )
        try:
            commit = self.run("rev-parse", "--verify", "HEAD^{commit}").strip()
        except BuildFailed as error:
            raise UserError(f"{self.folder} has no commit yet", why=error.why) from error
        # %(*objectname) is what an annotated tag stands for, empty for a lightweight one.
        form = "%(refname:strip=2) %(objectname) %(*objectname)"
        tags = _tags(self.run("for-each-ref", f"--format={form}", "refs/tags").splitlines())
        if remote:
            tags |= self.remote_tags(remote)
        changed = self.run("status", "--porcelain", "--untracked-files=normal")
        return State(
            commit=commit,
            tags=tags,
            changed=tuple(line[3:] for line in changed.splitlines()),
            shallow=self.run("rev-parse", "--is-shallow-repository").strip() == "true",
        )

    def remote_tags(self, remote: str) -> dict[str, str]:
        """Return {tag: commit} of a remote. git-ls-remote(1): `^{}` marks what a tag stands for."""
        found: dict[str, str] = {}
        for line in self.run("ls-remote", "--tags", "--", remote).splitlines():
            commit, _, name = line.partition("\t")
            name = name.removeprefix("refs/tags/")
            if name.endswith("^{}"):
                found[name.removesuffix("^{}")] = commit
            elif name:
                found.setdefault(name, commit)
        return found

    def on_branch(self, commit: str, remote: str, branch: str) -> bool:
        """Say whether a commit is part of a remote's branch, as the remote has it now.

        Raises BuildFailed if the remote or its branch cannot be read.
        """
        self.run("fetch", "--quiet", "--no-tags", "--", remote, f"refs/heads/{branch}")
        tip = self.run("rev-parse", "--verify", "FETCH_HEAD^{commit}").strip()
        # git-merge-base(1): the best common ancestor is the commit itself if the tip has it in its
        # history. Exit status 1 says that there is none.
        return self.run("merge-base", commit, tip, fine=(0, 1)).strip() == commit

    def tag(self, name: str, commit: str, message: str) -> None:
        """Make an annotated tag. Raises BuildFailed if it is there already."""
        known = self.run("config", "user.email", fine=(0, 1)).strip()
        who = () if known or os.environ.get("GIT_COMMITTER_EMAIL") else IDENTITY
        self.run(*who, "tag", "--annotate", "--no-sign", "--message", message, name, commit)

    def tagged(self, name: str) -> float | None:
        """Return when a tag was made, in seconds since 1970; None if it is not there.

        That is never before its commit. A lightweight tag has the date of its commit.
        """
        form = "--format=%(creatordate:unix) %(*committerdate:unix)"
        found = self.run("for-each-ref", form, f"refs/tags/{name}").split()
        return max(map(float, found), default=None)

    def push_tag(self, remote: str, name: str) -> None:
        """Push one tag, which a remote refuses to move. Raises BuildFailed."""
        self.run("push", "--quiet", "--", remote, f"refs/tags/{name}:refs/tags/{name}")

    def delete_tag(self, name: str) -> None:
        """Delete a tag of this checkout. Raises BuildFailed."""
        self.run("tag", "--delete", name)


def _tags(lines: list[str]) -> dict[str, str]:
    """Parse `name object [commit]`."""
    words = [line.split(" ") for line in lines]
    return {name: commit or own for name, own, commit in words}
