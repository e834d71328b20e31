"""A Docker engine of its own for a test: private folders, mounts and processes, gone at the end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

# Of the machine, before conftest takes the variable away from the tests.
UNPACKED = os.environ.get("MT_ENGINE", "")
CURE = "`.ci/engine DIR` unpacks one; then MT_ENGINE=DIR"
PROGRAMS = ("docker", "dockerd", "containerd", "containerd-shim-runc-v2", "runc")
PEERS = ("umoci", "nft", "ip", "unshare")
"""What else the tests call; .ci/run installs it."""
PLUGINS = ("usr/libexec/docker/cli-plugins", "usr/lib/docker/cli-plugins")
LOWEST = 26
"""First release whose BuildKit, 0.13, knows rewrite-timestamp."""

# The engine's first process in its own namespaces of mounts and processes: when it ends, for
# whatever reason, the kernel ends the rest and takes down every mount. Shims keep sockets in
# /run/containerd whatever they are told. Standard input has one order a line.
INIT = """
mount -t tmpfs none /run
containerd --config "$1/containerd.toml" >"$1/containerd.log" 2>&1 &
begin() {
	rm -f "$1/docker.pid"
	dockerd --config-file "$1/daemon.json" >>"$1/dockerd.log" 2>&1 &
	engine=$!
}
begin "$1"
while read -r order; do
	case $order in
	start) begin "$1" ;;
	kill) kill -KILL "$engine" ;;
	esac
done
kill "$engine" && wait "$engine"
"""


def programs() -> str:
    """The PATH on which the engine's programs are; fails the test, never skips it, without one."""
    path = os.environ["PATH"]
    if UNPACKED:
        path = f"{UNPACKED}/usr/sbin:{UNPACKED}/usr/bin:{path}"
    for wanted, cure in ((PROGRAMS, CURE), (PEERS, "apt: umoci, nftables, iproute2, util-linux")):
        if missing := [name for name in wanted if shutil.which(name, path=path) is None]:
            pytest.fail(f"not here: {', '.join(missing)}; {cure}", pytrace=False)
    said = subprocess.run(
        ["dockerd", "--version"], env={"PATH": path}, text=True, capture_output=True, check=True
    ).stdout
    if int(said.split()[2].split(".")[0]) < LOWEST:
        pytest.fail(f"too old: {said.strip()}, wanted {LOWEST}; {CURE}", pytrace=False)
    return path


def plugin(path: str) -> Path:
    """The buildx plugin that belongs to the client."""
    home = os.environ.get("DOCKER_CONFIG") or str(Path.home() / ".docker")
    client = Path(str(shutil.which("docker", path=path))).resolve()
    folders = [client.parent.parent.parent / name for name in PLUGINS]
    for folder in [*folders, Path("/usr/local/lib/docker/cli-plugins"), Path(home, "cli-plugins")]:
        if (folder / "docker-buildx").is_file():
            return folder / "docker-buildx"
    pytest.fail(f"there is no docker-buildx; {CURE}", pytrace=False)


class Engine:
    """containerd and dockerd below `root`, which must have a short path: sockets lie in it."""

    def __init__(self, root: Path, *, store: bool = True) -> None:
        self.root, self.path = root, programs()
        (root / "client" / "cli-plugins").mkdir(parents=True)
        (root / "client" / "cli-plugins" / "docker-buildx").symlink_to(plugin(self.path))
        (root / "containerd.toml").write_text(_containerd(root))
        (root / "daemon.json").write_text(json.dumps(_dockerd(root, store)))
        own = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        with (root / "init.log").open("w") as log:
            self._process = subprocess.Popen(
                [*own, "sh", "-c", INIT, "init", str(root)],
                env={"PATH": self.path, "HOME": str(root), "TMPDIR": str(root)},
                text=True,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.wait()

    @property
    def env(self) -> dict[str, str]:
        """Variables with which a docker command finds this engine."""
        return {
            "PATH": self.path,
            "DOCKER_HOST": f"unix://{self.root}/docker.sock",
            "DOCKER_CONFIG": str(self.root / "client"),
        }

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["docker", *words],
            env=self.env | {"HOME": str(self.root)},
            text=True,
            capture_output=True,
            timeout=120,
        )

    def docker(self, *words: str) -> str:
        """What a docker command that succeeds says."""
        done = self.run(*words)
        assert done.returncode == 0, f"docker {words}: {done.stdout}{done.stderr}\n{self.last()}"
        return done.stdout

    def last(self) -> str:
        """What dockerd said last: of a panic its beginning, since the traces after it are long."""
        log = (self.root / "dockerd.log").read_text()
        at = log.rfind("\npanic: ")
        return log[at : at + 3000] if at >= 0 else log[-2000:]

    def panicked(self) -> bool:
        """Whether dockerd ended by a fault of its own since it was started last."""
        return self.run("version").returncode != 0 and "\npanic: " in self.last()

    def wait(self) -> None:
        """Wait until the engine answers. It announces itself nowhere else, so it is asked."""
        end = time.monotonic() + 60
        while self.run("version").returncode:
            if self._process.poll() is not None or time.monotonic() > end:
                self.stop()
                logs = [self.root / name for name in ("init.log", "containerd.log", "dockerd.log")]
                pytest.fail("\n".join(log.read_text()[-2000:] for log in logs if log.exists()))
            time.sleep(0.05)

    def _order(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """End dockerd at once, as a crash would."""
        self._order("kill")

    def start(self) -> None:
        """Start dockerd again after it was killed."""
        self._order("start")
        self.wait()

    def stop(self) -> None:
        """End everything: dockerd in good order, then with its init whatever else runs there."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        # They belong to nobody now; a folder of cgroups is removed from its leaves up.
        for group in sorted(Path("/sys/fs/cgroup").glob(f"**/{self.root.name}/**"), reverse=True):
            group.rmdir()


def _containerd(root: Path) -> str:
    return f"""
version = 2
root = "{root}/containerd/root"
state = "{root}/containerd/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{root}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "{root}/containerd/opt"
"""


def _dockerd(root: Path, store: bool) -> dict[str, Any]:
    return {
        "features": {"containerd-snapshotter": store},
        "storage-driver": "overlayfs" if store else "overlay2",
        "containerd": f"{root}/containerd.sock",
        "hosts": [f"unix://{root}/docker.sock"],
        "data-root": f"{root}/data",
        "exec-root": f"{root}/exec",
        "pidfile": f"{root}/docker.pid",
        "cgroup-parent": f"/{root.name}",
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        # The machine's network stays as it is: no bridge, no rules, no forwarding.
        "bridge": "none",
        "iptables": False,
        "ip6tables": False,
        "ip-forward": False,
        "ip-masq": False,
    }
