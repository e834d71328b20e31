"""Commands around a release tag: plan, make, report, attach."""

from __future__ import annotations

import contextlib
import dataclasses
import os

from invoke import task

from build.commands.common import COMMON, HEAD, client_of, command, named_release, whole
from build.config import targets
from build.config.pins import pins
from build.core import errors, git, paths
from build.core.version import Release
from build.gates import records, size
from build.image import products
from build.registry.repository import parse_repository
from build.release import evidence, forge, handover
from build.release import planning as releasing
from build.views import markdown, report

RELEASE_HELP = {
    "revision": "a further revision of a Tailscale version that is released already",
    "remote": "git remote whose tags count too (release --push: origin)",
    **COMMON,
}


def _plan_release(remote: str, revision: bool) -> tuple[git.Git, releasing.Plan]:
    repository = git.Git(paths.ROOT)
    if remote:
        releasing.require_remote(repository, remote)
    state = repository.state(remote)
    if remote:
        releasing.require_on_main(repository, state.commit, remote)
    return repository, releasing.plan(state, pins()["tailscale"].version, revision=revision)


def _show_release(plan: releasing.Plan, done: bool, json: bool) -> None:
    tag = plan.release.tag if plan.release else None
    if json:
        report.print_json({**dataclasses.asdict(plan), "release": tag, "done": done})
        return
    for line in plan.notes:
        print(line)
    verb = "released" if done else "would release"
    print(f"{verb} {tag} at {plan.commit[:12]}: {plan.why}" if tag else f"no release: {plan.why}")


@task(help=RELEASE_HELP)
@command
def release_plan(c, revision=False, remote="", json=False, debug=False):
    """Say which release comes next, and why; changes nothing."""
    _show_release(_plan_release(remote, revision)[1], done=False, json=json)


@task(help={"push": "push the tag to the remote", "dry_run": "only show the plan", **RELEASE_HELP})
@command
def release(c, revision=False, push=False, remote="origin", dry_run=False, json=False, debug=False):
    """Tag the next release if there is one; CI publishes a tag that is pushed."""
    if push:
        releasing.require_remote(git.Git(paths.ROOT), remote)
    repository, plan = _plan_release(remote if push else "", revision)
    if not dry_run:
        releasing.apply(repository, plan, remote if push else "")
    _show_release(plan, done=not dry_run and plan.release is not None, json=json)


@task(
    help={
        "release": "tag whose images are meant, or HEAD for the commit's (default: mt.0)",
        "pull": "number of the pull request (default: the one that this CI run is for)",
        "post": "write it on the forge; without this it is only printed",
        "leave": "leave it as the output `report` of this CI job",
        "given": "post what such a job left in $MT_REPORT; nothing is built or read here",
        **COMMON,
    }
)
@command
def comment(
    c,
    release="",
    pull="",
    post=False,
    leave=False,
    given=False,
    json=False,
    debug=False,
):
    """Report sizes and the runtime gate of dist/ as Markdown, as a comment on a pull request."""
    number = whole("pull", pull, 1, 10**9) if pull else 0
    text = os.environ.get("MT_REPORT", "") if given else _summary(named_release(release))
    if not text.strip():
        raise errors.UserError(
            "there is no report", cure="the job before this one leaves it: nox -s report"
        )
    if leave:
        evidence.write("report", text)
    done = ""
    if post:
        with contextlib.closing(forge.from_environment()) as there:
            done = there.comment(number or forge.pull_of(), text, "mikrotik-tailscale sizes")
    if json:
        report.print_json({"text": text, "done": done})
    else:
        print(text)


def _summary(release: Release) -> str:
    """Return the Markdown report of the images in dist/. Raises UserError if one is missing."""
    images = products.images(targets.select([]), release)
    runs = [
        record
        for one in images
        for record in records.read_all(one.target.name, one.descriptor["digest"])
    ]
    return markdown.summary(release.tag, size.of_images(images), runs)


@task(
    help={
        "release": "tag of the release (default HEAD: the commit's)",
        "remote": "git remote whose main branch has to have the commit",
        "dry_run": "only list the files",
        **COMMON,
    }
)
@command
def attach(c, release=HEAD, remote="origin", dry_run=False, json=False, debug=False):
    """Put the files of dist/ and the router's scripts into the forge's release of a tag."""
    named = named_release(release)
    tag = named.tag
    files, text = handover.files_of(named)
    files += handover.scripts(tag, os.environ.get("MT_REPOSITORY", ""))
    sent = []
    if not dry_run:
        repository = git.Git(paths.ROOT)
        releasing.require_on_main(repository, repository.state().tags[tag], remote)
        with contextlib.closing(forge.from_environment()) as there:
            sent = there.attach(tag, text, files)
    if json:
        report.print_json({"release": tag, "files": [path.name for path in files], "sent": sent})
    else:
        rows = [(p.name, f"{p.stat().st_size:,}", "yes" if p.name in sent else "") for p in files]
        report.table(f"Files of {tag}", ("file", ">bytes", "sent"), rows)


@task(
    help={
        "at": "REGISTRY/REPOSITORY (default: $MT_REPOSITORY)",
        "remote": "git remote whose tags count too",
        **COMMON,
    }
)
@command
def owed(c, at="", remote="origin", json=False, debug=False):
    """Say which release has a tag and is not there whole: this run's own, else the newest.

    Left as the output `owed`. Where no later job can take it, that is exit code 3.
    """
    tag = os.environ.get("CI_COMMIT_TAG", "")
    if os.environ.get("GITHUB_REF_TYPE") == "tag":
        tag = os.environ["GITHUB_REF_NAME"]
    lacking = ["this is the run of its tag"] if tag else []
    if not tag:
        if at:
            parse_repository(at)
        repository = git.Git(paths.ROOT)
        releasing.require_remote(repository, remote)
        known, _ = releasing.releases(repository.state(remote).tags)
        if newest := max(known, default=None):
            with client_of(at) as client:
                image = client.head(newest.tag)
            with contextlib.closing(forge.from_environment(reading=True)) as there:
                lacking = handover.missing(newest.tag, image, there.files(newest.tag))
            tag = newest.tag if lacking else ""
    evidence.write("owed", tag)
    if json:
        report.print_json({"owed": tag, "missing": lacking})
    else:
        print(f"{tag} is owed: {', '.join(lacking)}" if tag else "nothing is owed")
    if tag and not os.environ.get("CI_COMMIT_TAG") and evidence.OUTPUT not in os.environ:
        raise errors.GateFailed(
            f"{tag} has its tag and is not there whole",
            why=f"missing: {', '.join(lacking)}",
            cure="restart the pipeline of the tag: what it has done already it leaves alone",
        )


@task(
    name="handover",
    help={
        "pack": "write dist/ into one file and leave its digest as the output `handover`",
        "release": "with --pack: tag of the release (default HEAD: the commit's)",
        "unpack": "let dist/ be what the file holds; its digest is asked for",
        "digest": "what the file has to be (default: $MT_HANDOVER)",
        **COMMON,
    },
)
@command
def handover_(c, pack=False, release=HEAD, unpack=False, digest="", json=False, debug=False):
    """Hand what was proved to the CI job that publishes it (exit code 3 if it is another)."""
    if pack == unpack:
        raise errors.UserError("which way?", cure="--pack or --unpack")
    if pack:
        done = handover.pack(_summary(named_release(release)))
        evidence.write("handover", done)
    else:
        done = digest or os.environ.get("MT_HANDOVER", "")
        handover.unpack(done)
    if json:
        report.print_json({"file": str(handover.path()), "digest": done})
    else:
        print(f"{handover.path()} {done}")


@task(
    name="evidence",
    iterable=["require"],
    help={
        "write": "name of this CI job: leave which commit it has proved",
        "require": "name of a job that must have proved this commit, repeatable",
        **COMMON,
    },
)
@command
def evidence_(c, require, write="", json=False, debug=False):
    """Leave for the next CI job what was proved, or ask for it (exit code 3)."""
    commit = git.Git(paths.ROOT).state().commit
    if write:
        evidence.write(write, commit)
    else:
        evidence.require(require, commit)
    if json:
        report.print_json({"commit": commit, "jobs": [write] if write else list(require)})
    else:
        print(f"{commit} {write or ' '.join(require)}")
