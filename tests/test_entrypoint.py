"""The entrypoint's settings: values are data, whatever stands in them."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from build.core.paths import DATA

RECORD = """#!/bin/sh
[ {1} = tailscaled ] || cat > {0}/stdin
env > {0}/{1}.env
for word in "$@"; do printf "%s\\n" "$word"; done > {0}/{1}.new
mv {0}/{1}.new {0}/{1}.words
"""


LOGIN = (
    *("LOGIN_SERVER", "TS_AUTHKEY", "TS_AUTH_KEY", "AUTH_KEY", "TS_ROUTES", "ADVERTISE_ROUTES"),
    *("TS_HOSTNAME", "TS_ACCEPT_DNS", "TS_EXTRA_ARGS", "TAILSCALE_ARGS"),
)
"""The variables that are settings of a first login: with one of them `tailscale up` is run."""


@pytest.fixture
def box(places: Path) -> Path:
    """A folder with the script, its places moved there, and recorders for what it starts."""
    box = places / "box"
    (box / "run").mkdir(parents=True)
    (box / "state").mkdir()
    (box / "resolv.conf").write_text("nameserver 192.0.2.1\n")
    for name in ("tailscale", "tailscaled"):
        (box / name).write_text(RECORD.format(box, name))
        (box / name).chmod(0o755)
    script = (DATA / "rootfs" / "entrypoint.sh").read_text()
    moves = {
        "/usr/local/bin/tailscaled": f"{box}/tailscaled",
        "tailscale up --auth-key": f"{box}/tailscale up --auth-key",
        "\t\ttailscale up ": f"\t\t{box}/tailscale up ",
        "/var/run/tailscale": f"{box}/run",
        "/etc/resolv.conf": f"{box}/resolv.conf",
        "state=/var/lib/tailscale": f"state={box}/state",
        "-S ": "-d ",
        "/tailscaled.sock": "",
        "/proc/sys/": f"{box}/sys/",
    }
    for old, new in moves.items():
        assert old in script
        script = script.replace(old, new)
    (box / "entrypoint.sh").write_text(script)
    return box


def start(box: Path, *args: str, **env: str) -> tuple[list[str], list[str], str]:
    """Run it; returns the words of the daemon, of `tailscale up`, and what was said."""
    for name in ("tailscale", "tailscaled"):
        (box / f"{name}.words").unlink(missing_ok=True)
    done = subprocess.run(
        ["sh", str(box / "entrypoint.sh"), *args],
        env={"PATH": "/usr/bin:/bin"} | env,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=box,
    )
    assert done.returncode == 0, done.stderr
    up = box / "tailscale.words"
    if "logged in already" not in done.stderr and any(env.get(name) for name in LOGIN):
        end = time.monotonic() + 60  # it runs in the background
        while not up.exists():
            assert time.monotonic() < end, "no `tailscale up`"
            time.sleep(0.05)
    time.sleep(0.2)
    words = up.read_text().splitlines() if up.exists() else []
    return (box / "tailscaled.words").read_text().splitlines(), words, done.stderr


def test_nothing_set_starts_the_daemon_alone(box: Path) -> None:
    assert start(box, "--state=x", "a b") == (["--state=x", "a b"], [], "")
    assert "PORT=41641\n" in (box / "tailscaled.env").read_text()


def test_values_are_data(box: Path) -> None:
    nasty = "a b'c\"d$(touch owned)`touch owned`;touch owned *"
    key = f"tskey-auth-{nasty}"
    daemon, up, said = start(
        box,
        TS_AUTHKEY=key,
        TS_HOSTNAME=nasty,
        TS_ROUTES="192.0.2.0/24,198.51.100.0/24",
        TS_ACCEPT_DNS="true",
        TS_EXTRA_ARGS="--accept-routes  --operator=* $HOME",
        TS_TAILSCALED_EXTRA_ARGS="--verbose=1 *",
    )
    assert daemon == ["--verbose=1", "*"]
    wanted = ["up", "--auth-key=file:/proc/self/fd/0", "--timeout=15m", f"--hostname={nasty}"]
    wanted += ["--accept-dns=true", "--advertise-routes=192.0.2.0/24,198.51.100.0/24"]
    assert up == [*wanted, "--accept-routes", "--operator=*", "$HOME"]
    assert (box / "stdin").read_text() == key
    assert not (box / "owned").exists()
    for name in ("tailscale", "tailscaled"):
        for kind in ("env", "words"):
            assert "tskey" not in (box / f"{name}.{kind}").read_text()
    assert "tskey" not in said


def test_the_settings_of_fluents_image(box: Path) -> None:
    _, up, said = start(
        box,
        AUTH_KEY="tskey-auth-x",
        ADVERTISE_ROUTES="192.0.2.0/24",
        LOGIN_SERVER="https://head.example",
        TAILSCALE_ARGS="--accept-routes",
        PASSWORD="secret",
        CONTAINER_GATEWAY="192.0.2.1",
        UPDATE_TAILSCALE="",
        STARTUP_SCRIPT="/x.sh",
    )
    assert up[2:] == [
        "--timeout=15m",
        "--login-server=https://head.example",
        "--advertise-routes=192.0.2.0/24",
        "--accept-routes",
    ]
    for name in ("CONTAINER_GATEWAY", "UPDATE_TAILSCALE", "STARTUP_SCRIPT"):
        assert f"{name} is not for this image: " in said
    assert "secret" not in said + (box / "tailscaled.env").read_text()


def test_a_node_that_is_logged_in_is_left_alone(box: Path) -> None:
    (box / "state" / "tailscaled.state").write_text('{\n "_current-profile": "eHg="\n}')
    _, up, said = start(box, TS_AUTHKEY="tskey-auth-x")
    assert up == []
    assert said.count("\n") == 1 and "logged in already" in said


def test_a_state_folder_of_its_own(box: Path) -> None:
    daemon, _, _ = start(box, "--statedir=/old", TS_STATE_DIR=f"{box}/other dir")
    assert daemon[1:] == [
        f"--statedir={box}/other dir",
        f"--state={box}/other dir/tailscaled.state",
    ]
    assert (box / "other dir").is_dir()


@pytest.mark.parametrize(
    ("env", "port", "complains"),
    [
        ({"TS_PORT": "45000"}, "45000", False),
        ({"PORT": "45001"}, "45001", False),
        ({"TS_PORT": "0"}, "0", False),
        ({"TS_PORT": "65535"}, "65535", False),
        ({"TS_PORT": "65536"}, "41641", True),
        ({"TS_PORT": "123456789012345678901"}, "41641", True),
        ({"TS_PORT": "4x"}, "41641", True),
        ({"TS_PORT": "-1"}, "41641", True),
        ({"TS_PORT": "1 2"}, "41641", True),
    ],
)
def test_the_port(box: Path, env: dict[str, str], port: str, complains: bool) -> None:
    _, _, said = start(box, **env)
    assert f"\nPORT={port}\n" in "\n" + (box / "tailscaled.env").read_text()
    assert ("TS_PORT has to be" in said) == complains
