"""Which release comes next: over many sets of tags, and on real git repositories."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from build.core.errors import BuildFailed, UserError
from build.core.git import Git, State
from build.core.version import Release, parse_release
from build.release import planning

HEAD = "a" * 40
OTHER = "b" * 40

numbers = st.integers(0, 3)
versions = st.builds(lambda minor, patch: f"1.{minor}.{patch}", st.integers(100, 105), numbers)
stable_versions = versions.filter(lambda text: Version(text).minor % 2 == 0)
release_tags = st.builds(lambda v, n: f"v{v}-mt.{n}", versions, st.integers(1, 12))
other_tags = st.sampled_from(
    "v1.102.0 stable mt.1 v1.102.1-mt.01 v1.102.1-mt. v1.102.1rc1-mt.1 v1.102.1-mt.0 v1-mt.1 "
    "v1.102.1-mt.1-mt.2 V1.102.1-mt.1".split()
)
tag_sets = st.dictionaries(release_tags | other_tags, st.just(OTHER), max_size=12)


def state(tags: dict[str, str] | None = None, **more: object) -> State:
    return State(HEAD, tags or {}, **more)  # type: ignore[arg-type]


def own(tags: dict[str, str], version: str) -> list[int]:
    """Revisions of a version, computed here without the code under test."""
    head = f"v{version}-mt."
    tails = [tag.removeprefix(head) for tag in tags if tag.startswith(head)]
    return [int(tail) for tail in tails if tail.isdecimal() and tail[0] != "0"]


def newer(tags: dict[str, str], version: str) -> bool:
    found = planning.releases(tags)[0]
    return any(one.tailscale > Version(version) for one in found)


@given(tag_sets, stable_versions)
def test_a_version_is_released_by_itself_exactly_once(tags: dict[str, str], version: str) -> None:
    try:
        wanted = planning.plan(state(tags), version)
    except UserError:
        assert newer(tags, version) and not own(tags, version)
        return
    if own(tags, version):
        assert wanted.release is None
        return
    assert not newer(tags, version)
    assert wanted.release == Release(Version(version), 1)
    # Once it is made, there is nothing more to do: plan, apply, plan.
    after = state({**tags, wanted.release.tag: HEAD})
    assert planning.plan(after, version).release is None


@given(tag_sets, stable_versions)
def test_a_revision_is_above_all_that_there_are(tags: dict[str, str], version: str) -> None:
    wanted = planning.plan(state(tags), version, revision=True).release
    assert wanted is not None and wanted.tag not in tags
    assert wanted.revision == max(own(tags, version), default=0) + 1
    assert parse_release(wanted.tag) == wanted


@given(tag_sets, versions.filter(lambda text: Version(text).minor % 2 == 1), st.booleans())
def test_an_odd_minor_is_never_released(tags: dict[str, str], version: str, by_hand: bool) -> None:
    with pytest.raises(UserError, match="is not released"):
        planning.plan(state(tags), version, revision=by_hand)


@pytest.mark.parametrize(
    "version", ["1.104.0rc1", "1.104", "1.104.0.post1", "1.104.0+x", "nonsense"]
)
def test_what_is_no_stable_version_is_never_released(version: str) -> None:
    with pytest.raises(UserError, match="is not released"):
        planning.plan(state(), version)


@given(tag_sets, stable_versions, st.booleans())
def test_a_changed_tree_and_a_shallow_clone_release_nothing(
    tags: dict[str, str], version: str, by_hand: bool
) -> None:
    with pytest.raises(UserError, match="not what is committed"):
        planning.plan(state(tags, changed=("build/x.py",)), version, revision=by_hand)
    with pytest.raises(UserError, match="shallow"):
        planning.plan(state(tags, shallow=True), version, revision=by_hand)


def test_a_gap_in_the_revisions_is_not_filled() -> None:
    wanted = planning.plan(state({"v1.102.5-mt.2": OTHER}), "1.102.5", revision=True)
    assert wanted.release and wanted.release.tag == "v1.102.5-mt.3"


def test_a_released_commit_is_not_released_again() -> None:
    with pytest.raises(UserError, match=r"released already, as v1\.102\.5-mt\.1"):
        planning.plan(state({"v1.102.5-mt.1": HEAD}), "1.102.5", revision=True)


def test_going_back_to_an_older_tailscale_needs_a_hand() -> None:
    tags = {"v1.102.5-mt.1": OTHER}
    with pytest.raises(UserError, match="older than the released"):
        planning.plan(state(tags), "1.100.0")
    assert planning.plan(state(tags), "1.100.0", revision=True).release


def test_what_only_looks_like_a_release_is_told() -> None:
    notes = planning.plan(state({"v1.102.5-mt.01": OTHER, "stable": OTHER}), "1.102.5").notes
    assert notes == ("no release tags: v1.102.5-mt.01",)


def git(folder: Path, *words: str) -> str:
    line = ["git", "-c", "user.name=x", "-c", "user.email=x@localhost", *words]
    return subprocess.run(line, cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit, and a bare remote that has it too; no git settings."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    git(tmp_path, "init", "-q", "--bare", "remote.git")
    folder = tmp_path / "work tree"
    git(tmp_path, "init", "-q", "-b", "main", str(folder))
    commit(folder)
    git(folder, "remote", "add", "origin", str(tmp_path / "remote.git"))
    git(folder, "push", "-q", "origin", "main")
    return folder


def commit(folder: Path) -> None:
    with (folder / "file").open("a") as stream:
        stream.write("line\n")
    git(folder, "add", "file")
    git(folder, "commit", "-q", "-m", "A change")


def test_a_release_is_planned_made_and_pushed(repository: Path) -> None:
    here = Git(repository)
    wanted = planning.plan(here.state("origin"), "1.102.5")
    planning.apply(here, wanted, "origin")
    assert wanted.release is not None
    assert here.remote_tags("origin") == {"v1.102.5-mt.1": wanted.commit}
    planning.require_tagged(here.state(), wanted.release)
    assert planning.at_head(here.state(), Version("1.102.5")) == wanted.release
    with pytest.raises(UserError, match="not tagged as a release of Tailscale 1"):
        planning.at_head(here.state(), Version("1.104.1"))
    assert planning.plan(here.state("origin"), "1.102.5").release is None
    commit(repository)
    with pytest.raises(UserError, match="HEAD is"):
        planning.require_tagged(here.state(), wanted.release)
    second = planning.plan(here.state("origin"), "1.102.5", revision=True)
    assert second.release and second.release.tag == "v1.102.5-mt.2"


def test_only_what_is_on_the_remote_s_main_is_released(repository: Path) -> None:
    here = Git(repository)
    merged = here.state().commit
    commit(repository)
    own = here.state().commit
    planning.require_on_main(here, merged, "origin")
    for branch in ("", "HEAD:refs/heads/other"):
        if branch:
            git(repository, "push", "-q", "origin", branch)
        with pytest.raises(UserError, match="not on main of origin"):
            planning.require_on_main(here, own, "origin")
    # A reference of the checkout says nothing: the remote is asked.
    git(repository, "update-ref", "refs/remotes/origin/main", own)
    with pytest.raises(UserError, match="not on main"):
        planning.require_on_main(here, own, "origin")
    git(repository, "push", "-q", "origin", "HEAD:main")
    planning.require_on_main(here, own, "origin")
    planning.require_on_main(here, merged, "origin")


def test_a_commit_without_a_common_history_is_not_on_main(repository: Path) -> None:
    other = git(repository, "commit-tree", "HEAD^{tree}", "-m", "Other").strip()
    with pytest.raises(UserError, match="not on main"):
        planning.require_on_main(Git(repository), other, "origin")


def test_a_remote_without_main_is_told(repository: Path) -> None:
    git(repository, "push", "-q", "origin", "HEAD:refs/heads/trunk", ":refs/heads/main")
    with pytest.raises(BuildFailed, match="git fetch failed"):
        planning.require_on_main(Git(repository), Git(repository).state().commit, "origin")


def test_tags_that_only_the_remote_has_count(repository: Path) -> None:
    git(repository, "push", "-q", "origin", "HEAD:refs/tags/v1.102.5-mt.4")
    assert planning.plan(Git(repository).state(), "1.102.5").release
    assert planning.plan(Git(repository).state("origin"), "1.102.5").release is None


def test_a_tag_that_cannot_be_pushed_is_taken_back(repository: Path) -> None:
    here = Git(repository)
    wanted = planning.plan(here.state("origin"), "1.102.5")
    # Somebody else is quicker, with another commit.
    other = git(repository, "commit-tree", "HEAD^{tree}", "-m", "Other").strip()
    git(repository, "push", "-q", "origin", f"{other}:refs/tags/v1.102.5-mt.1")
    with pytest.raises(BuildFailed, match="nothing was released"):
        planning.apply(here, wanted, "origin")
    assert here.state().tags == {}
    assert here.remote_tags("origin") == {"v1.102.5-mt.1": other}


def test_a_remote_that_is_not_there(repository: Path) -> None:
    with pytest.raises(BuildFailed, match="git ls-remote failed"):
        Git(repository).state("nowhere")


def test_a_shallow_clone_and_a_changed_tree_are_seen(repository: Path, tmp_path: Path) -> None:
    commit(repository)
    git(repository, "push", "-q", "origin", "main")
    git(tmp_path, "clone", "-q", "--depth=1", "-b", "main", f"file://{tmp_path}/remote.git", "s")
    assert Git(tmp_path / "s").state().shallow
    (repository / "new file").touch()
    assert Git(repository).state().changed == ('"new file"',)
    with pytest.raises(UserError, match="new file"):
        planning.plan(Git(repository).state(), "1.102.5")


@pytest.mark.root
def test_under_sudo_the_caller_s_checkout_is_trusted(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in [repository, *repository.rglob("*")]:
        os.chown(path, 12345, 12345)
    with pytest.raises(UserError, match="not a git checkout"):
        Git(repository).state()
    monkeypatch.setenv("SUDO_UID", "12345")
    assert Git(repository).state().tags == {}


def test_no_checkout_and_no_commit_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a git checkout"):
        Git(tmp_path).state()
    git(tmp_path, "init", "-q")
    with pytest.raises(UserError, match="has no commit"):
        Git(tmp_path).state()


def test_every_reason_not_to_be_a_tagged_checkout_is_told() -> None:
    wanted = parse_release("v1.102.5-mt.1")
    tags = {wanted.tag: HEAD}
    planning.require_tagged(state(tags), wanted)
    for wrong, why in (
        (state(), "no such tag"),
        (state({wanted.tag: OTHER}), "the tag is on"),
        (state(tags, changed=("x",)), "not what is committed"),
    ):
        with pytest.raises(UserError) as told:
            planning.require_tagged(wrong, wanted)
        assert why in told.value.why
