"""Both assemblers against a real Docker engine: the same images, loaded and run by it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import SHARED_CACHE
from dockerd import Engine

from build.config import targets
from build.config.pins import pin
from build.core import digest
from build.core.errors import GateFailed
from build.gates import audit
from build.image import buildx, dist, oci
from build.pipeline import order

pytestmark = pytest.mark.docker

ROOT = Path(__file__).resolve().parent.parent
ALL = targets.targets()
RELEASE = order.release_of()
VERSION = pin("tailscale").version
LOAD_NAME = f"{oci.REPOSITORY}:{RELEASE.tag}"

DIFFERENT = {"history"}
"""What may differ between the configurations: the story of how each was assembled."""
ADDED = {"ArgsEscaped"}
"""What buildx adds to the settings: it says that a Windows command line is quoted."""


@dataclass
class Place:
    """An engine, and folders to build into with the machine's own cache."""

    engine: Engine
    folder: Path

    @property
    def env(self) -> dict[str, str]:
        mine = {key: text for key, text in os.environ.items() if not key.startswith("MT_")}
        mine |= {"MT_CACHE": str(SHARED_CACHE), "MT_DIST": str(self.dist)}
        return mine | {"MT_WORK": str(self.folder / "work")} | self.engine.env

    @property
    def dist(self) -> Path:
        return self.folder / "dist"

    @property
    def log(self) -> Path:
        return self.folder / "work" / "all" / "buildx.log"

    def start(self, *words: str, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "invoke", "build-all", "--json", *words],
            cwd=ROOT,
            env=self.env | env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def build(self, *words: str, **env: str) -> dict[str, Any]:
        """The result of a build that succeeds."""
        return ended(self.start(*words, **env), 0)[0]

    def during(self, engine_says: str) -> subprocess.Popen[str]:
        """Start a build and return when buildx has said this much."""
        self.log.unlink(missing_ok=True)
        process = self.start("--assembler", "buildx")
        end = time.monotonic() + 60
        while not (self.log.exists() and engine_says in self.log.read_text().partition("\n")[2]):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.01)
        return process


def ended(process: subprocess.Popen[str], code: int) -> tuple[dict[str, Any], str]:
    out, said = process.communicate(timeout=1800)
    assert process.returncode == code, said
    return (json.loads(out) if out else {}), said


@contextmanager
def own_engine(*, store: bool = True) -> Iterator[Engine]:
    # Not pytest's own folder: the path of a socket may have 108 bytes.
    root = Path(tempfile.mkdtemp(prefix="mt-docker-"))
    try:
        running = Engine(root, store=store)
        try:
            yield running
        finally:
            running.stop()
    finally:
        shutil.rmtree(root)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with own_engine() as running:
        yield running


@pytest.fixture(scope="module")
def built(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Both assemblers' layouts side by side in one dist/."""
    place = Place(engine, tmp_path_factory.mktemp("docker"))
    place.build()
    result = place.build("--assembler", "buildx")
    assert result["ran"] == ["buildx all"]
    return place


@pytest.fixture
def copy(built: Place, tmp_path: Path) -> Place:
    """The same with a dist/ of its own, to be spoiled."""
    shutil.copytree(built.dist, tmp_path / "copy" / "dist")
    return Place(built.engine, tmp_path / "copy")


def blob(folder: Path, name: str) -> Any:
    return json.loads((folder / "blobs" / "sha256" / name.removeprefix("sha256:")).read_bytes())


def manifests(folder: Path) -> dict[str, dict[str, Any]]:
    """{platform: descriptor} of a layout's image index."""
    (outer,) = json.loads((folder / "index.json").read_bytes())["manifests"]
    index = blob(folder, outer["digest"])["manifests"]
    return {
        target.name: next(row for row in index if row["platform"] == oci.platform(target))
        for target in ALL.values()
    }


def configuration(folder: Path, name: str) -> dict[str, Any]:
    manifest = blob(folder, manifests(folder)[name]["digest"])
    return blob(folder, manifest["config"]["digest"])  # type: ignore[no-any-return]


def unpacked(folder: Path, name: str, out: Path) -> dict[str, Any]:
    """What umoci, which knows neither assembler, makes of a platform's image: {path: facts}."""
    # It takes layouts of one image only.
    single = out / "layout"
    single.mkdir(parents=True)
    (single / "blobs").symlink_to(folder / "blobs")
    shutil.copy(folder / "oci-layout", single)
    row = {key: manifests(folder)[name][key] for key in ("mediaType", "digest", "size")}
    row["annotations"] = {"org.opencontainers.image.ref.name": "x"}
    (single / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [row]}))
    argv = ["umoci", "raw", "unpack", "--image", f"{single}:x", str(out / "tree")]
    done = subprocess.run(argv, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return listing(out / "tree")


def listing(tree: Path) -> dict[str, Any]:
    found = {}
    for path in tree.rglob("*"):
        facts = path.lstat()
        kind = stat.S_IFMT(facts.st_mode)
        found[str(path.relative_to(tree))] = {
            "type": {stat.S_IFDIR: "dir", stat.S_IFLNK: "link", stat.S_IFREG: "file"}[kind],
            "mode": f"{stat.S_IMODE(facts.st_mode):04o}",
            "owner": f"{facts.st_uid}:{facts.st_gid}",
            "link": str(path.readlink()) if path.is_symlink() else "",
            "size": 0 if kind == stat.S_IFDIR else facts.st_size,
            "names": 0 if kind == stat.S_IFDIR else facts.st_nlink,
            "mtime": facts.st_mtime_ns,
            "sha256": digest.of_file(path) if kind == stat.S_IFREG else "",
        }
    return found


# --- the same images ----------------------------------------------------------------------------


def test_every_platform_and_nothing_else(built: Place) -> None:
    assert audit.layout_faults(built.dist / "oci-buildx", ALL) == []
    index = dist.read_record(built.dist)["oci-buildx"]["index"]
    entries = blob(built.dist / "oci-buildx", index)["manifests"]
    assert [row["platform"] for row in entries] == [oci.platform(one) for one in ALL.values()]
    assert not [row for row in entries if "annotations" in row], "no attestations"


def test_the_record_says_who_made_it(built: Place) -> None:
    row = dist.read_record(built.dist)["oci-buildx"]
    assert row["tag"] == RELEASE.tag
    assert row["builder"]["driver"] == "docker"
    version = built.engine.docker("version", "--format", "{{.Server.Version}}").strip()
    assert row["builder"]["engine"] == version


@pytest.mark.parametrize("name", ALL)
def test_the_same_trees(built: Place, tmp_path: Path, name: str) -> None:
    ours = unpacked(built.dist / "oci", name, tmp_path / "ours")
    theirs = unpacked(built.dist / "oci-buildx", name, tmp_path / "theirs")
    assert {"bin/busybox", "bin/sh", "usr/local/bin/tailscaled", "tmp"} <= ours.keys()
    assert buildx.differences(ours, theirs) == []


@pytest.mark.parametrize("name", ALL)
def test_the_same_configurations(built: Place, name: str) -> None:
    ours, theirs = (configuration(built.dist / box, name) for box in ("oci", "oci-buildx"))
    for row in (ours, theirs):
        # Of the tars, whose members are the same: BuildKit writes device numbers into headers.
        assert len(row.pop("rootfs")["diff_ids"]) == 1
    assert theirs["config"].keys() - ours["config"].keys() == ADDED
    for key in ADDED:
        del theirs["config"][key]
    different = {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)}
    assert different == DIFFERENT
    assert {
        "Env",
        "Entrypoint",
        "Cmd",
        "Volumes",
        "WorkingDir",
        "Labels",
        "Healthcheck",
    } == ours["config"].keys()


def test_the_same_digest_again(
    built: Place, copy: Place, inside: Callable[[], order.Result]
) -> None:
    """With nothing in BuildKit's cache, and a context made anew."""
    first = dist.read_record(built.dist)["oci-buildx"]["index"]
    built.engine.docker("buildx", "prune", "--all", "--force")
    shutil.rmtree(copy.dist)
    again = inside()
    assert again.record["oci-buildx"]["index"] == first
    other = buildx.Job(ALL, again.rootfs, RELEASE, pin("tailscale").epoch + 1)
    assert buildx.assemble(other, copy.folder / "other")["index"] != first, "negative control"


def test_nothing_to_do_needs_no_engine(built: Place) -> None:
    start = time.monotonic()
    result = built.build("--assembler", "buildx", DOCKER_HOST="unix:///nowhere")
    assert result["ran"] == []
    assert time.monotonic() - start < 10
    damaged = next((built.dist / "oci-buildx" / "blobs" / "sha256").iterdir())
    content = damaged.read_bytes()
    damaged.write_bytes(content + b"x")
    process = built.start("--assembler", "buildx", DOCKER_HOST="unix:///nowhere")
    assert "the Docker engine does not answer" in ended(process, 2)[1]
    damaged.write_bytes(content)


# --- what must be seen --------------------------------------------------------------------------


def change_mode(tree: Path) -> None:
    (tree / "usr/local/bin/entrypoint.sh").chmod(0o750)


def change_byte(tree: Path) -> None:
    path = tree / "bin/busybox"
    times = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def change_owner(tree: Path) -> None:
    os.chown(tree / "bin/sh", 1, 0, follow_symlinks=False)


def change_time(tree: Path) -> None:
    os.utime(tree / "etc", (0, 0))


def change_link(tree: Path) -> None:
    times = (tree / "bin").stat()
    (tree / "bin/sh").unlink()
    (tree / "bin/sh").symlink_to("/bin/busybox")
    os.utime(tree / "bin", ns=(times.st_atime_ns, times.st_mtime_ns))


def one_more(tree: Path) -> None:
    (tree / "tmp/left").write_text("")


@pytest.mark.parametrize(
    ("change", "path", "fact"),
    [
        (change_mode, "usr/local/bin/entrypoint.sh", "mode"),
        (change_byte, "bin/busybox", "sha256"),
        (change_owner, "bin/sh", "owner"),
        (change_time, "etc", "mtime"),
        (change_link, "bin/sh", "link"),
        (one_more, "tmp/left", ""),
    ],
)
def test_a_changed_tree_is_seen(
    built: Place, tmp_path: Path, change: Callable[[Path], None], path: str, fact: str
) -> None:
    """Negative control of the comparison."""
    wanted = unpacked(built.dist / "oci-buildx", "armv5", tmp_path / "one")
    change(tmp_path / "one" / "tree")
    got = listing(tmp_path / "one" / "tree")
    assert path in {row.partition(":")[0] for row in buildx.differences(wanted, got)}
    if fact:
        assert wanted[path][fact] != got[path][fact]


@pytest.fixture
def inside(copy: Place, monkeypatch: pytest.MonkeyPatch) -> Callable[[], order.Result]:
    """Build in this process, whose code a test changes."""
    for key, text in (copy.env | {"MT_WORK": str(copy.folder / "work")}).items():
        monkeypatch.setenv(key, text)
    request = order.Request(list(ALL.values()), RELEASE, whole=True, assembler="buildx")
    return lambda: order.build(request)


def refused(copy: Place, inside: Callable[[], order.Result]) -> str:
    """Why the gate refuses what buildx makes; what was in dist/ stays."""
    before = digest.tree_manifest(copy.dist)
    with pytest.raises(GateFailed, match="oci-buildx did not pass the audit") as caught:
        inside()
    assert digest.tree_manifest(copy.dist) == before
    return caught.value.why


def test_attestations_are_refused(
    copy: Place, inside: Callable[[], order.Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        buildx,
        "ARGUMENTS",
        tuple(word.replace("provenance=false", "provenance=true") for word in buildx.ARGUMENTS),
    )
    assert "wanted 4 images, got 8" in refused(copy, inside)


def test_what_buildx_makes_otherwise_is_refused(
    copy: Place, inside: Callable[[], order.Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = buildx.dockerfile(RELEASE).replace("COPY ", "COPY --chown=7:0 ")
    made = made.replace("--no-logs-no-support", "--no-logs")
    monkeypatch.setattr(buildx, "dockerfile", lambda release: made)
    why = refused(copy, inside)
    assert "armv5: bin/busybox: wanted " in why
    assert "'owner': [7, 0, '', '']" in why
    assert "amd64: Cmd: wanted ['--no-logs-no-support'" in why


def test_a_later_change_of_the_image_is_refused(
    copy: Place, inside: Callable[[], order.Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second layer: what both hold would be stored twice."""
    made = buildx.dockerfile(RELEASE) + "COPY ${TARGETPLATFORM}/etc /etc\n"
    monkeypatch.setattr(buildx, "dockerfile", lambda release: made)
    assert "amd64: layers: wanted one, got 2" in refused(copy, inside)


# --- faults -------------------------------------------------------------------------------------


def untouched(place: Place, before: dict[str, str]) -> None:
    assert digest.tree_manifest(place.dist) == before
    assert not (place.dist / ".fresh").exists()
    mark = str(place.log.parent).encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            assert mark not in (folder / "environ").read_bytes(), (folder / "cmdline").read_text()
        except OSError:
            continue


@pytest.fixture
def shaken(built: Place, tmp_path: Path) -> Iterator[Place]:
    """A copy of dist/ with an engine of its own, whose end no other test notices."""
    shutil.copytree(built.dist, tmp_path / "copy" / "dist")
    with own_engine() as engine:
        yield Place(engine, tmp_path / "copy")


@pytest.mark.parametrize("moment", ["load remote build context", "exporting layers"])
def test_the_engine_dies_half_way(shaken: Place, moment: str) -> None:
    """What it knows of the build that it did not finish must not spoil the next one."""
    shutil.rmtree(shaken.dist / "oci-buildx")
    before = digest.tree_manifest(shaken.dist)
    process = shaken.during(moment)
    shaken.engine.kill()
    said = ended(process, 1)[1]
    no_engine(said)
    assert not shaken.engine.panicked(), "it was killed"
    untouched(shaken, before)
    shaken.engine.start()
    again = shaken.start("--assembler", "buildx")
    out, said = again.communicate(timeout=1800)
    if again.returncode and shaken.engine.panicked():
        # dockerd 26.1.5 did so once, on a busy machine. That is the engine's own fault: it must be
        # told as such and leave nothing behind, and another engine must take what we send.
        print(shaken.engine.last())
        no_engine(said)
        untouched(shaken, before)
        with own_engine() as other:
            built = Place(other, shaken.folder).build("--assembler", "buildx")
            assert built["ran"] == ["buildx all"]
        return
    assert again.returncode == 0, said
    assert json.loads(out)["ran"] == ["buildx all"]


def no_engine(said: str) -> None:
    assert "assembling the images: docker ended with exit status 1" in said
    assert "see that the Docker engine runs" in said
    assert "Traceback" not in said


def test_interrupted(copy: Place) -> None:
    shutil.rmtree(copy.dist / "oci-buildx")
    before = digest.tree_manifest(copy.dist)
    process = copy.during("load remote build context")
    process.send_signal(signal.SIGINT)
    assert "interrupted" in ended(process, 130)[1]
    untouched(copy, before)
    assert copy.build("--assembler", "buildx")["ran"] == ["buildx all"]


def test_two_at_once(copy: Place) -> None:
    shutil.rmtree(copy.dist)
    both = [copy.start("--assembler", "buildx") for _ in range(2)]
    ran = [ended(process, 0)[0]["ran"] for process in both]
    assert sorted(ran) == [[], ["buildx all"]]
    assert audit.layout_faults(copy.dist / "oci-buildx", ALL) == []


def test_an_engine_with_the_old_image_store(tmp_path: Path) -> None:
    with own_engine(store=False) as old:
        said = ended(Place(old, tmp_path).start("--assembler", "buildx"), 2)[1]
    assert "keeps images in the old store" in said
    assert "containerd-snapshotter" in said
    assert not (tmp_path / "dist").exists(), "said before anything was built"


# --- loaded and run -----------------------------------------------------------------------------


def loaded(engine: Engine, tar: Path) -> None:
    """Load an archive as the only image that the engine has."""
    for name in engine.docker("images", "--quiet").split():
        engine.docker("rmi", "--force", name)
    said = engine.docker("load", "--input", str(tar))
    assert LOAD_NAME in said, said


@pytest.fixture(scope="module", params=["archive", "oci", "oci-buildx"])
def container(
    request: pytest.FixtureRequest, built: Place, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the amd64 image, loaded from RouterOS' archive and from both layouts."""
    tar = built.dist / dist.archive_name(ALL["amd64"], RELEASE)
    if request.param != "archive":
        tar = tmp_path_factory.mktemp("load") / "layout.tar"
        with tarfile.open(tar, "w") as archive:
            archive.add(built.dist / request.param, arcname=".")
    loaded(built.engine, tar)

    def run(program: str, *words: str) -> subprocess.CompletedProcess[str]:
        own = [
            "--rm",
            "--pull=never",
            "--network=none",
            "--platform=linux/amd64",
            f"--entrypoint={program}",
        ]
        return built.engine.run("run", *own, LOAD_NAME, *words)

    return run


def test_the_programs_run(container: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    for program, word in (("tailscale", "version"), ("tailscaled", "--version")):
        done = container(f"/usr/local/bin/{program}", word)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[0] == VERSION
    done = container(
        "sh", "-c", "id -u; readlink /bin/sh; ls -ld /tmp /var/lib/tailscale | cut -c-10"
    )
    wanted = ["0", "busybox", "drwxrwxrwt", "drwx------"]
    assert (done.stdout.split(), done.returncode) == (wanted, 0), done
    assert container("sh", "-c", "exit 7").returncode == 7, "negative control"


def test_the_image_starts_as_it_is(
    built: Place, container: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """Entrypoint and command line of the image itself; only the tunnel is without a device."""
    command = oci.settings(RELEASE)["Cmd"]
    name = built.engine.docker(
        *("run", "--detach", "--pull=never", "--network=none", LOAD_NAME),
        *(*command, "--tun=userspace-networking"),
    ).strip()
    try:
        end = time.monotonic() + 60
        while True:
            status = built.engine.run("exec", name, "tailscale", "status")
            if "Logged out" in status.stdout:
                break
            assert time.monotonic() < end, built.engine.run("logs", name)
            time.sleep(0.2)
        assert status.returncode == 1
        first = built.engine.docker("exec", name, "cat", "/proc/1/cmdline").split("\0")[0]
        assert first == "/usr/local/bin/tailscaled", "the entrypoint became the daemon"
        mounts = json.loads(built.engine.docker("inspect", "--format", "{{json .Mounts}}", name))
        assert [row["Destination"] for row in mounts] == ["/var/lib/tailscale"]
    finally:
        built.engine.docker("rm", "--force", "--volumes", name)


# --- the machine --------------------------------------------------------------------------------

PLACES = "/run/containerd /run/docker /opt/containerd /var/lib/docker /etc/docker /run/docker.sock"


def said(*argv: str) -> str:
    return subprocess.run(argv, text=True, capture_output=True, check=True).stdout


def machine(name: str) -> dict[str, Any]:
    """What an engine whose folder has that name could leave behind on this machine."""
    switches = [Path("/proc/sys/net/ipv4/ip_forward")]
    switches += Path("/proc/sys/net").glob("ipv*/conf/all/forwarding")
    return {
        "rules": said("nft", "list", "ruleset"),
        "bridges": said("ip", "-o", "link", "show", "type", "bridge"),
        "forwarding": {str(path): path.read_text() for path in switches},
        "mounts": [row for row in Path("/proc/mounts").read_text().splitlines() if name in row],
        "folders": [path for path in PLACES.split() if Path(path).exists()],
        "cgroups": [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/{name}")],
    }


@pytest.mark.parametrize(
    ("trace", "kind"),
    [
        ("nft add table ip DOCKER", "rules"),
        ("ip link add docker0 type bridge", "bridges"),
        ("echo 1 >/proc/sys/net/ipv4/ip_forward", "forwarding"),
    ],
)
def test_a_trace_on_the_network_is_seen(trace: str, kind: str) -> None:
    """Negative control of the next test, in a network of its own."""
    code = "import json, test_docker; print(json.dumps(test_docker.machine('nobody')))"
    python = f"PYTHONPATH={ROOT}:{ROOT / 'tests'} {sys.executable} -c {shlex.quote(code)}"
    argv = ["unshare", "--net", "sh", "-c", f"{python}; {trace}; {python}"]
    before, after = (json.loads(row) for row in said(*argv).splitlines())
    assert [key for key in before if before[key] != after[key]] == [kind]


def test_nothing_is_left_behind(built: Place) -> None:
    """Of an engine that is stopped while a container runs."""
    root = Path(tempfile.mkdtemp(prefix="mt-docker-"))
    try:
        before = machine(root.name)
        other = Engine(root)
        try:
            tar = built.dist / dist.archive_name(ALL["amd64"], RELEASE)
            other.docker("load", "--input", str(tar))
            words = ["--entrypoint=sleep", "--stop-signal=KILL", "--network=none", LOAD_NAME, "600"]
            other.docker("run", "--detach", "--pull=never", *words)
            assert machine(root.name)["cgroups"] != before["cgroups"], "negative control"
        finally:
            other.stop()
        assert machine(root.name) == before
    finally:
        shutil.rmtree(root)
