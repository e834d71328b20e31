"""Comparing a rebuilt release with a published one: what is the same, and what is named if not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import distribution
import pytest
from conftest import SHARED_CACHE
from fakes import images
from fakes.web import Answer, Web
from published import NotReadable, Published, differences, sha256

from build.config import targets
from build.config.pins import pin
from build.core.version import Release, parse_release
from build.image import dist
from build.pipeline import order

ROOT = Path(__file__).resolve().parent.parent
ALL = targets.targets()


def written(places: Path, release: str = "") -> tuple[Path, str]:
    """A layout of dummy images; returns it and its index' digest."""
    made = images.images(places, release)
    tag = parse_release(release) if release else images.RELEASE
    record, _ = dist.write(made, ALL, tag, lambda path, of: None, whole=True)
    kept = places / f"kept-{tag.tag}"
    (places / "dist" / "oci").rename(kept)
    return kept, record["oci"]["index"]


def serve(web: Web, folder: Path) -> Published:
    """Offer a layout's blobs as a registry would."""
    for blob in (folder / "blobs" / "sha256").iterdir():
        for kind in ("manifests", "blobs"):
            web.play(f"/v2/x/{kind}/sha256:{blob.name}", Answer(blob.read_bytes()))
    return Published(f"{web.address.removeprefix('http://')}/x")


def test_another_release_differs_in_its_configuration(places: Path, web: Web) -> None:
    theirs, digest = written(places)
    mine, _ = written(places, "v1.102.5-mt.8")
    found = differences(serve(web, theirs), digest, mine)
    assert found == [
        f"{name}: the configuration's config"
        for name in ("linux/amd64", "linux/arm/v5", "linux/arm/v7", "linux/arm64")
    ]


def test_another_file_is_named(places: Path, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, digest = written(places)
    monkeypatch.setattr(images, "APPLETS", [*images.APPLETS, "rm"])
    mine, _ = written(places, "v1.102.5-mt.8")
    found = differences(serve(web, theirs), digest, mine)
    assert "linux/arm64: bin/rm" in found
    assert "linux/arm64: the configuration's config, rootfs" in found


def test_a_platform_too_few(places: Path, web: Web) -> None:
    mine, _ = written(places)
    index = {"manifests": []}
    body = json.dumps(index).encode()
    address = web.play(f"/v2/x/manifests/{sha256(body)}", Answer(body))
    theirs = Published(f"{address.removeprefix('http://').partition('/')[0]}/x")
    found = differences(theirs, sha256(body), mine)
    assert len(found) == 4
    assert all("only in the rebuilt index" in line for line in found)


def test_bytes_that_are_not_those_of_the_digest(web: Web) -> None:
    web.play(f"/v2/x/blobs/sha256:{'a' * 64}", Answer(b"other"))
    theirs = Published(f"{web.address.removeprefix('http://')}/x")
    with pytest.raises(NotReadable, match="these are the bytes of"):
        theirs.get("blobs", f"sha256:{'a' * 64}")
    with pytest.raises(NotReadable, match="HTTP 404"):
        theirs.get("manifests", "v1")


def test_a_registry_that_is_not_there() -> None:
    with pytest.raises(NotReadable):
        Published("127.0.0.1:1/x").get("manifests", "v1")


def test_https_everywhere_but_at_home() -> None:
    assert Published("r.example/a/b").url("blobs", "x") == "https://r.example/v2/a/b/blobs/x"
    assert Published("127.0.0.1.example/a").url("blobs", "x").startswith("https://")
    assert Published("localhost:5000/a").url("blobs", "x").startswith("http://localhost:5000/")


@pytest.fixture
def guarded() -> Iterator[str]:
    """A registry that gives a manifest to those with an anonymous token."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host = f"http://127.0.0.1:{self.server.server_address[1]}"
            if self.path.startswith("/token?"):
                status, body = 200, b'{"token": "abc"}'
            elif self.headers["Authorization"] == "Bearer abc":
                status, body = 200, b"manifest"
            else:
                status, body = 401, b""
            self.send_response(status)
            if status == 401:
                scope = "repository:x:pull"
                self.send_header(
                    "WWW-Authenticate",
                    f'Bearer realm="{host}/token",service="r",scope="{scope}"',
                )
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_anonymous_token(guarded: str) -> None:
    assert Published(f"{guarded}/x").get("manifests", "v1") == b"manifest"


def run(*words: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(ROOT / "tests" / "reproducible.py"), *words]
    return subprocess.run(argv, env=env, text=True, capture_output=True, timeout=1800)


@pytest.mark.parametrize("words", [["--release", "v1.102.5-mt.1"], ["--from", "x/y"]])
def test_half_a_request(words: list[str]) -> None:
    done = run(*words, env=dict(os.environ))
    assert done.returncode == 2
    assert "go together" in done.stderr


def test_nothing_published(web: Web) -> None:
    words = ("--release", "v1.102.5-mt.1", "--from", f"{web.address.removeprefix('http://')}/x")
    done = run(*words, env=dict(os.environ))
    assert done.returncode == 2
    assert "cannot be read" in done.stderr
    assert "HTTP 404" in done.stderr


@pytest.mark.slow
@pytest.mark.nightly
def test_a_published_release_is_rebuilt(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tag of a clone, published, rebuilt from another clone; and an image that is another.

    With this user's cache: `nox -s reproducible` itself uses an empty one.
    """
    repository = places / "repository"
    tag = Release(order.release_of().tailscale, 91).tag
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(repository)], check=True)
    subprocess.run(["git", "tag", tag], cwd=repository, check=True)
    env = {name: text for name, text in os.environ.items() if not name.startswith("MT_")}
    env["MT_CACHE"] = str(SHARED_CACHE)
    argv = [sys.executable, "-m", "invoke", "build-all", "--release", tag]
    subprocess.run(argv, cwd=repository, env=env, check=True, capture_output=True, timeout=1800)
    monkeypatch.setattr(images, "EPOCH", pin("tailscale").epoch)
    other, _ = written(places, tag)
    with distribution.registry(places / "registry") as registry:
        registry.push_layout(repository / "dist" / "oci", tag, "team/tailscale")
        registry.push_layout(other, tag, "team/other")

        def rebuild(name: str, tag: str = tag) -> subprocess.CompletedProcess[str]:
            words = ["--release", tag, "--from", f"{registry.host}/team/{name}"]
            return run(*words, "--repository", str(repository), "--shared-cache", env=env)

        done = rebuild("tailscale")
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.endswith("the same\n")
        done = rebuild("other")
        assert done.returncode == 3, done.stdout + done.stderr
        files = [line for line in done.stdout.splitlines() if "differs    linux/arm64: b" in line]
        assert "bin/busybox" in files[0]
        assert "usr/local/bin/tailscale.combined" in files[0]
        assert "etc," not in files[0]
        subprocess.run(["git", "tag", "-d", tag], cwd=repository, check=True)
        done = rebuild("tailscale")
        assert done.returncode == 2
        assert "git fetch --tags" in done.stderr
        done = rebuild("tailscale", Release(order.release_of().tailscale, 92).tag)
        assert done.returncode == 2
        assert "HTTP 404" in done.stderr
