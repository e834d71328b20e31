"""docs/VERIFY.md: its commands, run as they stand there, against a real registry."""

from __future__ import annotations

import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import distribution
import pytest
from conftest import SHARED_CACHE
from fakes import images
from test_sbom import components, subject

from build.config import targets
from build.core.artifacts import Artifact
from build.core.digest import of_file
from build.core.version import parse_release
from build.image import dist
from build.release import referrers, signature
from build.sbom import document
from tests.routeros import bed

PAGE = Path(__file__).resolve().parent.parent / "docs" / "VERIFY.md"
TEXT = PAGE.read_text()
BLOCK = re.compile(r"(?:<!-- test: (\w+) -->\n)?```(\w+)\n(.*?)```", re.DOTALL)
BLOCKS = [(mark, kind, body) for mark, kind, body in BLOCK.findall(TEXT)]
RELEASE = parse_release("v1.102.5-mt.1")
SHELL = [body for mark, kind, body in BLOCKS if kind == "sh" and not mark]


@dataclass
class Reader:
    """Someone with the page, the public key, the files of a release, and a registry."""

    folder: Path
    env: dict[str, str]
    script: str

    def run(self, script: str = "", **changes: str) -> subprocess.CompletedProcess[str]:
        text = script or self.script
        for old, new in changes.items():
            text = text.replace(old, new)
        return subprocess.run(
            ["bash", "-euxo", "pipefail", "-c", text],
            cwd=self.folder,
            env=self.env,
            text=True,
            capture_output=True,
            timeout=120,
        )


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    folder = tmp_path_factory.mktemp("verify")
    tag = RELEASE.tag
    with pytest.MonkeyPatch.context() as patch, distribution.registry(folder / "reg") as registry:
        patch.setenv("MT_CACHE", str(SHARED_CACHE))
        path = distribution.debs(folder / "debs", "cosign", "oras")
        for name in ("cache", "dist", "work"):
            patch.setenv(f"MT_{name.upper()}", str(folder / name))
        made = images.images(folder, tag)
        beside = {}
        for name in made:
            file = folder / f"sbom-{name}.json"
            about = replace(subject(folder, name), manifest=made[name].facts["manifest"])
            file.write_text(document.render(about, components(folder), uuid.UUID(int=7)))
            title = dist.sbom_name(name, "1.102.5-mt.1-0123456789")
            beside[title] = (name, Artifact(file, file.stat().st_size, of_file(file)))
        record, _ = dist.write(
            made, targets.targets(), RELEASE, lambda path, of: None, whole=True, beside=beside
        )
        key = signature.private_key(signature.make_pair()[0])
        dist.sign(lambda content: signature.sign_bytes(content, key))
        (folder / "dist" / "signing.pub").write_bytes(signature.public_pem(key))
        repository = "team/tailscale"
        registry.push_layout(folder / "dist" / "oci", tag, repository)
        index = record["oci"]["index"]
        reference = f"{registry.host}/{repository}"
        registry.push(repository, signature.sign(reference, index, key, {"tag": tag}))
        for attachment in referrers.of_dist(folder / "dist", index, images.EPOCH):
            registry.push(repository, attachment)
        # skopeo alone has to be told that the loopback interface speaks no TLS.
        config = folder / ".config" / "containers"
        config.mkdir(parents=True)
        (config / "registries.conf").write_text(
            f'[[registry]]\nlocation = "{registry.host}"\ninsecure = true\n'
        )
        env = {"PATH": path, "HOME": str(folder)}
        script = "".join(SHELL).replace("registry.example/team/tailscale", reference)
        yield Reader(folder / "dist", env, script)


def test_the_page_has_blocks() -> None:
    assert len(SHELL) == 5
    assert TEXT.count("```") == 2 * len(BLOCKS)


@pytest.mark.slow
def test_every_command(reader: Reader) -> None:
    done = reader.run()
    assert done.returncode == 0, done.stderr
    assert "Verified OK" in done.stdout
    assert done.stdout.count(": OK\n") >= 9
    assert "mikrotik-tailscale@sha256" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "how"),
    [
        ("openssl", "sums"),
        ("sha256sum --check", "file"),
        ("cosign verify-blob", "sums"),
        ("cosign verify ", "key"),
        ("openssl", "key"),
    ],
)
def test_each_command_can_fail(reader: Reader, command: str, how: str) -> None:
    """Negative control: every check of the page by itself, with something wrong."""
    (line,) = [line for line in reader.script.splitlines() if line.startswith(command)]
    name = {"sums": "SHA256SUMS", "key": "signing.pub"}.get(how, "")
    path = reader.folder / (name or dist.archive_name(targets.target("arm64"), RELEASE))
    before = path.read_bytes()
    lead = "".join(
        line + "\n" for line in reader.script.splitlines() if re.match(r"(IMAGE|TAG|DIGEST)=", line)
    )
    try:
        if how == "key":
            path.write_bytes(signature.make_pair()[1])
        else:
            path.write_bytes(before[:-1] + b"x")
        assert reader.run(lead + line).returncode != 0
    finally:
        path.write_bytes(before)
    assert reader.run(lead + line).returncode == 0


def test_the_rebuild_is_a_session_that_there_is() -> None:
    (body,) = [body for mark, _, body in BLOCKS if mark == "rebuilt"]
    assert body.split()[:4] == ["./dev", "nox", "-s", "reproducible"]
    options = re.findall(r"--\w+", body)
    help_ = subprocess.run(
        [sys.executable, "tests/reproducible.py", "--help"],
        cwd=PAGE.parent.parent,
        text=True,
        capture_output=True,
        timeout=60,
    ).stdout
    assert options == ["--release", "--from"]
    assert all(option in help_ for option in options)


def test_the_router_shows_the_digest_of_the_index() -> None:
    (body,) = [body for _, kind, body in BLOCKS if kind == "routeros"]
    made = bed.installed()
    made.router.printed.clear()
    made.router.run(body)
    (said,) = made.router.printed
    assert made.running()[0].digest in said
    assert "sha256:" in said
