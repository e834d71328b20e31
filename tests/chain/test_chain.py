"""A bump, from Renovate to the router, on real servers: each step is asserted from outside."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
from conftest import SHARED_CACHE

from build.gates import runtime  # noqa: F401 (it registers the canaries)
from build.lab.canary import CANARIES
from build.lab.controls import NEGATIVE_CONTROLS
from build.release import protection
from build.router import render
from chain.servers import SECONDS, statuses
from chain.story import AFTER, BEFORE, MERGED, PASSWORD, REPOSITORY, ROOT, Story, scene
from tests.routeros import authority
from tests.routeros import bed as beds
from tests.routeros.model.fetch import Socket
from tests.routeros.model.registry import Answer, Image, Registry, serve

pytestmark = pytest.mark.chain

TAG = f"v{AFTER}-mt.1"
KERNEL = sum("kernel" in canary.tunnels for canary in CANARIES.values())
ALL_PASSED = f"{KERNEL} of {KERNEL}"
"""What the gate's table says of the platform that is booted with a kernel's tunnel."""
ENTRYPOINT = "build/data/rootfs/entrypoint.sh"
the_bump = pytest.mark.skipif(MERGED, reason="MT_CHAIN_FROM=release: the bump is merged already")


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    # Not below pytest's own folder: Gitea is another user, who may pass through but not look.
    room = Path(tempfile.mkdtemp(prefix="mt-chain-"))
    room.chmod(0o711)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MT_CACHE", str(SHARED_CACHE))
            with scene(room) as made:
                yield made
    finally:
        if not os.environ.get("MT_CHAIN_KEEP"):
            shutil.rmtree(room)


def doctor(story: Story) -> dict[str, bool]:
    """What `invoke doctor --forge` says."""
    argv = [sys.executable, "-m", "invoke", "doctor", "--json", "--forge"]
    env = {**os.environ, "MT_FORGE_TOKEN": story.server.token}
    done = subprocess.run(
        [*argv, f"{story.server.address}/{REPOSITORY}"],
        cwd=ROOT, env=env, text=True, capture_output=True,
    )  # fmt: skip
    assert done.stdout, done.stderr
    return {row["name"]: row["ok"] for row in json.loads(done.stdout)}


def require_checks(story: Story, wanted: bool) -> None:
    """Let branch protection ask for the checks, or for none."""
    names = protection.contexts(False) if wanted else []
    checks = {"enable_status_check": wanted, "status_check_contexts": names}
    story.ask("PATCH", "branch_protections/main", **checks)


def test_the_forge_is_in_order(story: Story) -> None:
    with story.step("doctor --forge finds the settings in order") as seen:
        found = doctor(story)
        assert all(found.values()), found
        seen.append(f"{len(found)} findings")
    with story.step("doctor --forge sees each setting that is taken away") as seen:
        (rule,) = story.ask("GET", "tag_protections")
        story.ask("DELETE", f"tag_protections/{rule['id']}")
        assert [name for name, ok in doctor(story).items() if not ok] == ["tags"]
        story.ask("POST", "tag_protections", name_pattern="v*-mt.*", whitelist_usernames=["tagger"])
        require_checks(story, False)
        assert [name for name, ok in doctor(story).items() if not ok] == ["required checks"]
        require_checks(story, True)
        assert all(doctor(story).values())
        seen.append("tags, required checks")


def test_a_tag_is_the_bot_s_alone(story: Story) -> None:
    with story.step("a protected tag is refused to others") as seen:
        remote = story.server.remote(REPOSITORY, "renovate", story.tokens["renovate"])
        done = subprocess.run(
            ["git", "push", remote, "HEAD:refs/tags/v9.9.9-mt.1"],
            cwd=story.work, text=True, capture_output=True,
        )  # fmt: skip
        assert done.returncode
        seen += [row.strip() for row in done.stderr.splitlines() if "protected" in row][:1]
        assert seen, done.stderr


@the_bump
def test_renovate_opens_a_complete_pull_request(story: Story) -> None:
    with story.step(f"Renovate sees Tailscale {AFTER} and opens a pull request") as seen:
        story.bot()
        (pull,) = story.pulls()
        assert AFTER in pull["title"], pull["title"]
        seen.append(f"#{pull['number']} {pull['title']}")
    with story.step("its postUpgrade task has completed the pin") as seen:
        files = {row["filename"] for row in story.ask("GET", f"pulls/{pull['number']}/files")}
        scripts = {name for name in files if re.fullmatch(r"routeros/[a-z-]+\.rsc", name)}
        # Where a linked module names another holder of its copyright, that is recorded too.
        files -= {"build/data/holders.json"}
        upstream = "build/data/upstream.json"
        assert files - scripts == {"build/data/pins.toml", upstream, "docs/SOURCES.md"}
        story.git("fetch", "-q", "origin", pull["head"]["ref"])
        text = story.git("show", "FETCH_HEAD:build/data/pins.toml")
        assert text + "\n" == (ROOT / "build" / "data" / "pins.toml").read_text()
        seen.append(f"{', '.join(sorted(files))}; pins.toml is this checkout's")
    with story.step("it has recorded upstream's bytes, so that no check builds its recipe") as seen:
        bytes_ = {}
        for place, said in (
            ("bump", story.git("show", f"FETCH_HEAD:{upstream}")),
            ("here", (ROOT / "build" / "data" / "weight.json").read_text()),
        ):
            rows = json.loads(said)
            assert {row["holds"]["tailscale"] for row in rows.values()} == {AFTER}, place
            bytes_[place] = {name: row["upstream"] for name, row in rows.items()}
        assert bytes_["bump"] == bytes_["here"]
        seen.append(", ".join(f"{name} {size:,}" for name, size in bytes_["bump"].items()))


@the_bump
def test_checks_gate_the_merge(story: Story) -> None:
    (pull,) = story.pulls()
    commit = pull["head"]["sha"]
    assert story.runs("release-tag.yaml") == story.runs("release.yaml") == []
    with story.step("while checks run Renovate waits, even where none is required") as seen:
        require_checks(story, False)
        story.renovate()
        require_checks(story, True)
        assert [row["number"] for row in story.pulls()] == [pull["number"]]
        found = statuses(story.server, REPOSITORY, commit)
        assert "pending" in found.values(), found
        seen.append(f"#{pull['number']} is open")
    with story.step("where they are required, nobody merges") as seen:
        assert not merges(story, pull)
        seen.append("405")
    with story.step("the runner runs the pipeline: tests, images, passed") as seen:
        wanted = dict.fromkeys(protection.contexts(False), "success")
        found = story.wait_for(commit, wanted, 40)
        seen.append(", ".join(f"{name}: {state}" for name, state in sorted(found.items())))
    with story.step("the report is a comment of the run's own token") as seen:
        # No merge waits for this job, so `passed` may be green before it is done.
        story.wait_for(commit, {"pull request / comment (pull_request)": "success"}, 10)
        rows = story.ask("GET", f"issues/{pull['number']}/comments")
        reports = [row["body"] for row in rows if "mikrotik-tailscale sizes" in row["body"]]
        assert len(reports) == 1
        assert f"v{AFTER}-mt.0" in reports[0] and ALL_PASSED in reports[0]
        seen.append(reports[0].splitlines()[1])


def remote_tags(story: Story) -> set[str]:
    rows = story.git("ls-remote", "--tags", "origin").splitlines()
    return {row.split("refs/tags/")[1] for row in rows if not row.endswith("^{}")}


@the_bump
def test_renovate_merges_what_is_green(story: Story) -> None:
    before = story.git("ls-remote", "origin", "refs/heads/main").split()[0]
    with story.step("Renovate merges what is green") as seen:
        story.bot()
        assert story.pulls() == []
        after = story.git("ls-remote", "origin", "refs/heads/main").split()[0]
        assert after != before
        seen.append(f"main {before[:12]} -> {after[:12]}")


def nightly(story: Story, *, owed: bool) -> str:
    """Start the release's workflow as every night does; what its jobs were, checked."""
    before = story.newest("release.yaml")
    story.dispatch("release.yaml")
    ended = story.wait_run("release.yaml", before, 30)
    jobs = {name: row["conclusion"] for name, row in story.jobs(ended).items()}
    rest = "success" if owed else "skipped"
    wanted = {"owed": "success", "prove": rest, "publish": rest}
    assert jobs == wanted, f"{jobs}\n{story.last_log()}"
    return ", ".join(f"{name}: {end}" for name, end in jobs.items())


def test_a_tag_that_was_lost_is_made_up_for(story: Story) -> None:
    with story.step("the runner is stopped in the job that tags") as seen:
        if MERGED:
            story.dispatch("release-tag.yaml")
        said = story.kill_in("release-tag.yaml", "tag", "dev")
        assert TAG not in remote_tags(story)
        seen.append(f"the forge says {said}; no tag")
    with story.step("the next night's run makes the tag") as seen:
        before = story.newest("release-tag.yaml")
        story.dispatch("release-tag.yaml")
        run = story.wait_run("release-tag.yaml", before, 5)
        assert run["conclusion"] == "success", story.last_log()
        assert remote_tags(story) == {f"v{BEFORE}-mt.1", TAG}
        seen.append(TAG)


def test_a_release_that_was_lost_is_made_up_for(story: Story) -> None:
    stable = index_of(story, "stable")
    with story.step("the runner is stopped while the image is proved") as seen:
        said = story.kill_in("release.yaml", "prove", "verify", 10)
        story.wait_run("release.yaml", story.newest("release.yaml") - 1, 10)
        assert index_of(story, TAG) == "" and index_of(story, "stable") == stable
        jobs = story.jobs(story.runs("release.yaml")[0])
        assert jobs["publish"]["conclusion"] != "success"
        seen.append(f"the forge says {said}; publish: {jobs['publish']['conclusion']}; no image")
    with story.step("the next night's run proves, signs and publishes it") as seen:
        seen.append(nightly(story, owed=True))


def skopeo(story: Story, tag: str) -> bytes:
    """A manifest as anybody reads it, b"" if there is none."""
    where = f"{story.server.address.removeprefix('http://')}/{REPOSITORY}:{tag}"
    argv = ["skopeo", "inspect", "--raw", "--tls-verify=false", "--no-creds", f"docker://{where}"]
    done = subprocess.run(argv, capture_output=True, timeout=SECONDS)
    return b"" if done.returncode else done.stdout


def index_of(story: Story, tag: str) -> str:
    content = skopeo(story, tag)
    return f"sha256:{hashlib.sha256(content).hexdigest()}" if content else ""


def test_what_is_published_is_whole(story: Story) -> None:
    with story.step("the registry has the release, :stable and the signature") as seen:
        index = index_of(story, TAG)
        assert index and index == index_of(story, "stable")
        assert len(json.loads(skopeo(story, TAG))["manifests"]) == 4
        assert skopeo(story, f"{index.replace(':', '-')}.sig")
        seen.append(index)
    with story.step("the forge's release has the files, signed, and the five scripts") as seen:
        release = story.ask("GET", f"releases/tags/{TAG}")
        folder = story.room / "fetched"
        folder.mkdir()
        for row in release["assets"]:
            content = requests.get(row["browser_download_url"], timeout=SECONDS).content
            (folder / row["name"]).write_bytes(content)
        names = {path.name for path in folder.iterdir()}
        assert {f"{name}.rsc" for name in render.SCRIPTS} <= names
        assert ALL_PASSED in release["body"]
        shutil.copy(story.room / "signing.pub", folder)
        words = "openssl dgst -sha256 -verify signing.pub -signature SHA256SUMS.sig SHA256SUMS"
        assert "Verified OK" in run(folder, *words.split())
        sums = (folder / "SHA256SUMS").read_text().splitlines(keepends=True)
        listed = [row for row in sums if "/" not in row]
        (folder / "listed").write_text("".join(listed))
        assert run(folder, "sha256sum", "-c", "listed").count(": OK") == len(listed) > 8
        assert REPOSITORY in (folder / "settings-tailscale.rsc").read_text()
        seen.append(f"{len(names)} files, {len(listed)} sums right, signature verified")
    with story.step("no log of any job has a secret in it") as seen:
        logs = story.logs()
        text = "".join(logs.values())
        private = (story.room / "signing").read_text().splitlines()[1]
        for value in (*story.tokens.values(), PASSWORD, private):
            assert value not in text
        assert len(logs) > 6 and "./dev nox -s publish" in text
        seen.append(f"{len(logs)} logs")
    with story.step("nothing is owed any more") as seen:
        seen.append(nightly(story, owed=False))


def run(folder: Path, *words: str, **env: str) -> str:
    done = subprocess.run(
        words, cwd=folder, env=os.environ | env, text=True, capture_output=True, timeout=5 * SECONDS
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Behind(Registry):
    """Gitea's registry behind the certificate of a name; what a router pulls stays in the model."""

    def __init__(self, host: str, address: str) -> None:
        super().__init__(host=host)
        self.address = address

    def answer(self, method: str, url: str, headers: Mapping[str, str]) -> Answer:
        self.asked.append(f"{method} {url}")
        sent = {name: text for name, text in headers.items() if name.lower() != "host"}
        found = requests.request(method, self.address + url, headers=sent, timeout=SECONDS)
        kept = {n: t for n, t in found.headers.items() if n.lower().startswith(("docker", "www"))}
        kept["Content-Type"] = found.headers.get("Content-Type", "")
        return Answer(found.status_code, kept, found.text)


@pytest.fixture(scope="module")
def router(story: Story, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Behind]]:
    """A router that runs the release before and follows this forge's registry over a socket."""
    host = "forge.example"
    files = authority.make(tmp_path_factory.mktemp("router") / "authority", host)
    behind = Behind(host, story.server.address)
    made = beds.installed()
    made.router.registries.append(behind)
    made.setting("TsImage", f'"{host}/{REPOSITORY}"')
    with serve(behind, files.certificate, files.key) as port:
        made.router.fetch.transport = Socket({host: port}, files.authority)
        yield made, behind


def update(made: Any) -> None:
    made.router.advance(beds.TICK)
    made.update()


def test_the_router_switches(story: Story, router: tuple[Any, Behind]) -> None:
    made, behind = router
    with story.step("the router's script sees the new digest over TLS, and switches") as seen:
        index = index_of(story, "stable")
        behind.images[index] = beds.NEW
        assert made.running() == [beds.OLD]
        made.update()
        assert made.running() == [beds.NEW]
        asked = list(behind.asked)
        update(made)
        assert made.running() == [beds.NEW]
        assert any(row.startswith("HEAD") and "/manifests/stable" in row for row in asked), asked
        assert made.record("digest") == index
        seen.append(f"{', '.join(row.split('?')[0] for row in asked)} -> {index[:19]}")


def request_of(story: Story, branch: str, edits: dict[str, tuple[str, str]]) -> dict[str, Any]:
    """Open a pull request that replaces a text in each file, as a person would."""
    story.git("fetch", "-q", "origin", "main")
    story.git("checkout", "-q", "-f", "-B", branch, "FETCH_HEAD")
    for name, (old, new) in edits.items():
        path = story.work / name
        text = path.read_text()
        assert text.count(old) == 1, f"{name}: {old}"
        path.write_text(text.replace(old, new))
    story.git("commit", "-q", "-am", branch)
    story.git("push", "-q", "origin", branch)
    made: dict[str, Any] = story.ask("POST", "pulls", head=branch, base="main", title=branch)
    return made


def merges(story: Story, pull: dict[str, Any]) -> bool:
    """Whether the forge lets the request be merged now."""
    path = f"pulls/{pull['number']}/merge"
    story.ask("POST", path, Do="merge", fine=(405,), token=story.tokens["renovate"])
    return bool(story.ask("GET", f"pulls/{pull['number']}")["merged"])


def test_a_stopped_runner_merges_nothing(story: Story) -> None:
    edits = {"CHANGELOG.md": ("# Changelog", "# The changelog")}
    pull = request_of(story, "words", edits)
    commit = pull["head"]["sha"]
    with story.step("the runner is stopped in the middle of both jobs of a request") as seen:
        for job in ("tests", "images"):
            said = story.kill_in("pull.yaml", job, "nox", 10)
            seen.append(f"{job}: the forge says {said}")
    with story.step("it is not merged: `passed` asks what they have left") as seen:
        passed = protection.contexts(False)[-1]
        found = story.wait_for(commit, {passed: "failure"}, 10)
        assert not merges(story, pull)
        seen.append(", ".join(f"{name}: {state}" for name, state in sorted(found.items())))
    with story.step("run again, a request that touches documents alone is merged") as seen:
        story.git("commit", "-q", "--allow-empty", "-m", "Again")
        story.git("push", "-q", "origin", "words")
        commit = story.git("rev-parse", "HEAD")
        story.wait_for(commit, dict.fromkeys(protection.contexts(False), "success"), 60)
        assert merges(story, pull)
        seen.append(f"#{pull['number']}")


def test_a_bad_release_is_taken_back(story: Story, router: tuple[Any, Behind]) -> None:
    first, tag = index_of(story, "stable"), f"v{AFTER}-mt.2"
    with story.step("a person asks for a revision; the runner is stopped in `publish`") as seen:
        story.git("fetch", "-q", "origin", "main")
        story.git("checkout", "-q", "-f", "-B", "main", "FETCH_HEAD")
        tagger = story.server.remote(REPOSITORY, "tagger", story.tokens["tagger"])
        story.git("remote", "add", "tagger", tagger)
        before = story.newest("release.yaml")
        words = "invoke release --revision --push --remote tagger"
        run(story.work, sys.executable, "-m", *words.split())
        assert tag in remote_tags(story)
        said = story.kill_in("release.yaml", "publish", "publish", 30)
        story.wait_run("release.yaml", before, 10)
        assert index_of(story, "stable") == first
        seen.append(f"the forge says {said}; :stable has not moved")
    with story.step("the next night's run publishes it") as seen:
        seen.append(nightly(story, owed=True))
        second = index_of(story, "stable")
        assert second == index_of(story, tag) != first
        seen.append(f"{tag} is {second[:19]}")
    made, behind = router
    with story.step("it fails on the router only: the router goes back by itself") as seen:
        behind.images[second] = Image(tag, "deaf")
        update(made)
        assert made.running() == [beds.NEW]
        assert (made.record("digest"), made.record("bad")) == (first, second)
        seen.append(f"{made.record('digest')[:19]} runs, {made.record('bad')[:19]} is bad")
    with story.step("`invoke rollback` takes it back for all others") as seen:
        env = {"MT_REGISTRY_USER": "publisher", "MT_REGISTRY_PASSWORD": story.tokens["publisher"]}
        place = f"{story.server.address.removeprefix('http://')}/{REPOSITORY}"
        words = f"invoke rollback --to {TAG} --at {place}"
        said = run(story.work, sys.executable, "-m", *words.split(), **env)
        assert index_of(story, "stable") == first and index_of(story, tag) == second
        update(made)
        assert made.running() == [beds.NEW] and made.record("digest") == first
        seen.append(said.splitlines()[0])
    with story.step("no night moves it forward again") as seen:
        seen.append(nightly(story, owed=False))
        assert index_of(story, "stable") == first


def test_a_broken_image_is_not_merged(story: Story) -> None:
    broken = next(one for one in NEGATIVE_CONTROLS if one.entrypoint and not one.tags)
    ((old, new),) = list(broken.entrypoint.items())[:1]
    pull = request_of(story, "broken", {ENTRYPOINT: (old, new)})
    with story.step(f"an image broken on purpose ({broken.name}) is not merged") as seen:
        # The tests are not what has to see it.
        story.kill_in("pull.yaml", "tests", "nox", 10)
        images = protection.contexts(False)[1]
        story.wait_for(pull["head"]["sha"], {images: "failure"}, 40)
        assert not merges(story, pull)
        log = next(text for name, text in story.logs().items() if name.endswith(" images"))
        assert any(f"✕ {name}" in log for name in broken.fails), log[-3000:]
        seen.append(f"{images}: failure")
