"""Commands around a release tag: plan, make, report, attach."""

from __future__ import annotations

import contextlib
import dataclasses

from invoke import task

from build.commands.common import COMMON, HEAD, command, named_release
from build.config import targets
from build.config.pins import pins
from build.core import git, paths
from build.core.version import Release
from build.gates import runtime
from build.image import dist
from build.pipeline import order
from build.release import forge
from build.release import planning as releasing
from build.views import markdown, report

RELEASE_HELP = {
    "revision": "a further revision of a Tailscale version that is released already",
    "remote": "git remote whose tags count too (release --push: origin)",
    **COMMON,
}


def _plan_release(remote: str, revision: bool) -> tuple[git.Git, releasing.Plan]:
    repository = git.Git(paths.ROOT)
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
    repository, plan = _plan_release(remote if push else "", revision)
    if not dry_run:
        releasing.apply(repository, plan, remote if push else "")
    _show_release(plan, done=not dry_run and plan.release is not None, json=json)


@task(
    help={
        "release": "tag whose images are meant, or HEAD for the commit's (default: mt.0)",
        "pull": "number of the pull request (default: the one that this CI run is for)",
        "post": "write it on the forge; without this it is only printed",
        **COMMON,
    }
)
@command
def comment(c, release="", pull=0, post=False, json=False, debug=False):
    """Report sizes and the runtime gate as Markdown, as a comment on a pull request."""
    text, _ = _summary(named_release(release))
    done = ""
    if post:
        with contextlib.closing(forge.from_environment()) as there:
            done = there.comment(pull or forge.pull_of(), text, "mikrotik-tailscale sizes")
    if json:
        report.print_json({"text": text, "done": done})
    else:
        print(text)


def _summary(release: Release) -> tuple[str, order.Result]:
    """Return the Markdown report of the images, which are built if they are not there yet."""
    request = order.Request(targets.select([]), release, check_size=False, whole=True)
    result = order.build(request)
    records = [
        record
        for name, entry in result.images.items()
        if (record := runtime.read(name)) and record.image == entry.facts["manifest"]["digest"]
    ]
    return markdown.summary(release.tag, result.measures, records), result


@task(
    help={
        "release": "tag of the release (default HEAD: the commit's)",
        "dry_run": "only list the files",
        **COMMON,
    }
)
@command
def attach(c, release=HEAD, dry_run=False, json=False, debug=False):
    """Put the files of dist/ into the forge's release of a tag, with the report as its text."""
    named = named_release(release)
    tag = named.tag
    text, result = _summary(named)
    names = [*result.record, dist.SUMS, dist.SIGNATURE]
    files = [paths.dist_dir() / name for name in sorted(names)]
    files = [path for path in files if path.is_file()]
    sent = []
    if not dry_run:
        with contextlib.closing(forge.from_environment()) as there:
            sent = there.attach(tag, text, files)
    if json:
        report.print_json({"release": tag, "files": [path.name for path in files], "sent": sent})
    else:
        rows = [(p.name, f"{p.stat().st_size:,}", "yes" if p.name in sent else "") for p in files]
        report.table(f"Files of {tag}", ("file", ">bytes", "sent"), rows)
