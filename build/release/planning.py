"""Releases `v<TAILSCALE>-mt.<N>`: which tag comes next and why (pure), then making it.

A new Tailscale version is released by itself, as mt.1. Everything else that changes rides along
with the next one, unless a maintainer asks for a revision: routers hear of nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

from packaging.version import Version

from build.core.errors import BuildFailed, UserError
from build.core.git import Git, State
from build.core.version import Release, is_stable, parse_release

MAIN = "main"
"""The branch that releases come from."""

SHOWN = 5
"""Names listed in a message before it says how many more there are."""


@dataclass(frozen=True)
class Plan:
    """What a release would do: make `release` at `commit`, or nothing if that is None.

    `why` is the reason for either; `notes` are lines about what was seen on the way.
    """

    release: Release | None
    commit: str
    why: str
    notes: tuple[str, ...] = ()


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def releases(tags: dict[str, str]) -> tuple[dict[Release, str], list[str]]:
    """Return {release: commit} of the tags that are releases, and names that only look like one.

    Revision 0 and what does not parse are no releases.
    """
    found: dict[Release, str] = {}
    odd = []
    for name, commit in tags.items():
        try:
            release = parse_release(name)
        except UserError:
            if "-mt." in name:
                odd.append(name)
            continue
        if release.revision:
            found[release] = commit
        else:
            odd.append(name)
    return found, sorted(odd)


def plan(state: State, tailscale: str, *, revision: bool = False) -> Plan:
    """Return what comes next for a checkout that pins this Tailscale version.

    Without `revision` only a Tailscale version that has no release yet gets one. Raises UserError
    for a version that is not stable, a changed tree, a shallow clone, a Tailscale older than what
    was released, and a revision of a commit that is released already.
    """
    if not is_stable(tailscale):
        raise UserError(
            f"Tailscale {tailscale} is not released",
            why="only even minor versions without suffix are stable",
            cure="pin a stable version: invoke bump tailscale VERSION",
        )
    if state.shallow:
        raise UserError(
            "this clone is shallow",
            why="tags that it does not have would be given a second time",
            cure="git fetch --unshallow --tags",
        )
    if state.changed:
        raise UserError(
            "the tree is not what is committed",
            why=_listed(sorted(state.changed)),
            cure="commit or remove it: a release is a commit that everyone can build",
        )
    known, odd = releases(state.tags)
    notes = [f"no release tags: {_listed(odd)}"] if odd else []
    version = Version(tailscale)
    ours = sorted(release for release in known if release.tailscale == version)
    newest = max(known, default=None)
    here = sorted(release.tag for release, commit in known.items() if commit == state.commit)
    if newest:
        notes.append(f"newest release: {newest.tag}")
    if revision and here:
        raise UserError(
            f"{state.commit[:12]} is released already, as {_listed(here)}",
            why="a second tag would give routers the same again",
            cure="commit what the revision is for",
        )
    if not revision and ours:
        why = f"Tailscale {tailscale} is released as {ours[-1].tag}; changes ride along with the"
        why += " next version. For one of its own: invoke release --revision"
        return Plan(None, state.commit, why, tuple(notes))
    if newest and newest.tailscale > version and not revision:
        raise UserError(
            f"Tailscale {tailscale} is older than the released {newest.tag}",
            why="routers would go back by themselves",
            cure=f"to go back to an older image: invoke rollback --to TAG; if {tailscale} is meant "
            "to be released: invoke release --revision",
        )
    number = ours[-1].revision + 1 if ours else 1
    why = f"Tailscale {tailscale} has no release yet"
    if ours:
        why = f"a revision was asked for; the last of Tailscale {tailscale} is {ours[-1].tag}"
    return Plan(Release(version, number), state.commit, why, tuple(notes))


def apply(git: Git, wanted: Plan, remote: str = "") -> None:
    """Make the planned tag, and push it to a remote if one is named.

    A tag that cannot be pushed is taken back, so that the next run starts from the same place.
    Raises BuildFailed.
    """
    if wanted.release is None:
        return
    tag = wanted.release.tag
    message = f"{tag}: Tailscale {wanted.release.tailscale}, revision {wanted.release.revision}"
    git.tag(tag, wanted.commit, f"{message}\n\n{wanted.why}.")
    if not remote:
        return
    try:
        git.push_tag(remote, tag)
    except BaseException as error:
        git.delete_tag(tag)
        if not isinstance(error, BuildFailed):
            raise
        raise BuildFailed(
            f"{tag} could not be pushed to {remote}; nothing was released",
            why=error.why,
            cure="if somebody else was quicker, that release is the right one; else try again",
        ) from error


def require_remote(git: Git, remote: str) -> None:
    """Raise UserError unless git knows a remote by this name; nobody is asked."""
    names = git.run("remote").split()
    if remote not in names:
        raise UserError(
            f"--remote '{remote}' is not a remote of this checkout",
            cure=f"one of: {', '.join(names)}" if names else "git remote add origin ADDRESS",
        )


def require_on_main(git: Git, commit: str, remote: str) -> None:
    """Raise UserError unless a commit is on the remote's main branch.

    Whoever can push a tag could else release what nobody reviewed. Raises BuildFailed if the
    remote does not answer.
    """
    require_remote(git, remote)
    if not git.on_branch(commit, remote, MAIN):
        raise UserError(
            f"{commit[:12]} is not on {MAIN} of {remote}; it is not released",
            why=f"a release is what was merged into {MAIN}, whoever set the tag",
            cure="merge it first; in a shallow clone: git fetch --unshallow",
        )


def require_tagged(state: State, wanted: Release) -> None:
    """Raise UserError unless HEAD carries the tag and the tree is what is committed."""
    at = state.tags.get(wanted.tag)
    why = ""
    if at is None:
        why = "there is no such tag in this checkout"
    elif at != state.commit:
        why = f"the tag is on {at[:12]}, HEAD is {state.commit[:12]}"
    elif state.changed:
        why = f"the tree is not what is committed: {_listed(sorted(state.changed))}"
    if why:
        raise UserError(
            f"this checkout is not {wanted.tag}",
            why=why,
            cure=f"git checkout {wanted.tag}, or make the tag: invoke release",
        )


def at_head(state: State, tailscale: Version) -> Release:
    """Return the newest release that HEAD is tagged as. Raises UserError if there is none.

    A changed tree is refused: it is not what the tag says.
    """
    known = releases(state.tags)[0]
    here = [r for r, at in known.items() if at == state.commit and r.tailscale == tailscale]
    if not here:
        raise UserError(
            f"{state.commit[:12]} is not tagged as a release of Tailscale {tailscale}",
            cure="invoke release makes the tag; git fetch --tags gets those that there are",
        )
    require_tagged(state, max(here))
    return max(here)
