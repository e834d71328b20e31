"""Two hundred routers behind real sockets, five with troubles: by invoke, and by ansible-playbook.

The routers are another process's, so time and memory are those of the command; they are printed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from build.config import targets
from build.image import dist
from build.pipeline import order
from build.router import passwords, restapi
from tests.routeros import bed as beds
from tests.routeros.bed import NEW, VALUES
from tests.routeros.farm import TROUBLES
from tests.routeros.model import api
from tests.routeros.model.rest import Rest

pytestmark = pytest.mark.fleet
ROOT = Path(__file__).resolve().parent.parent
COUNT, AT = 200, 30
FIVE = {AT + 3 * number: trouble for number, trouble in enumerate(TROUBLES)}
BAD = [f"router-{number:03}" for number in FIVE]
MOST_MEMORY = 100
"""MiB that a process of a command may take; a plan holds no router's scripts but ours."""
MOST_OF_ANSIBLE = 150
"""Those of ansible-playbook, which keeps what each task returned."""

MEASURED = """
import json, resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]), file=sys.stderr)
sys.exit(code)
"""
"""A small process between: what a program takes counts from the size of who starts it."""


@dataclass
class Field:
    """The routers' process, and a folder with the image that they shall get."""

    process: subprocess.Popen[str]
    addresses: dict[str, str]
    ports: dict[str, int]
    folder: Path
    tar: Path

    def ask(self, word: str) -> dict[str, Any]:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        found = json.loads(self.process.stdout.readline())
        assert isinstance(found, dict)
        return found

    def run(
        self, what: str, *argv: str, most: int = MOST_MEMORY
    ) -> subprocess.CompletedProcess[str]:
        """Run a command and print what it took."""
        env = os.environ | {"MT_DIST": str(self.folder), "MT_ROUTER_PASSWORD": "secret"}
        env |= {"ANSIBLE_FORKS": "8", "ANSIBLE_NOCOLOR": "1", "ANSIBLE_HOME": str(self.folder)}
        env |= {"ANSIBLE_PIPELINING": "1"}
        begun = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, *argv],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
        )
        err, _, last = done.stderr.rstrip("\n").rpartition("\n")
        cpu, memory = json.loads(last)
        took = time.monotonic() - begun
        print(f"\n{what}: {took:.0f} s, {cpu:.0f} s of CPU, {memory:.0f} MiB", flush=True)
        assert memory < most
        return subprocess.CompletedProcess(argv, done.returncode, done.stdout, err)


@pytest.fixture
def field(tmp_path: Path) -> Iterator[Field]:
    with made(tmp_path, COUNT, FIVE) as found:
        yield found


@contextmanager
def made(tmp_path: Path, count: int, troubles: Mapping[int, str]) -> Iterator[Field]:
    """So many routers in a process of their own; `troubles` by number, from 0."""
    target = targets.target("arm64")
    tar = tmp_path / dist.archive_name(target, order.release_of())
    tar.write_bytes(hashlib.sha256(NEW.name.encode()).hexdigest().encode() * 500)
    argv = [sys.executable, "-m", "tests.routeros.farm", str(count), tar.name]
    argv.append(json.dumps(troubles))
    process = subprocess.Popen(
        argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin and process.stdout
    told = json.loads(process.stdout.readline())
    addresses = {name: where for name, (where, _) in told.items()}
    ports = {name: port for name, (_, port) in told.items()}
    try:
        yield Field(process, addresses, ports, tmp_path, tar)
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait()


def test_invoke(field: Field) -> None:
    rows = [f'[router.{name}]\nhost = "{where}"\n' for name, where in field.addresses.items()]
    inventory = field.folder / "routers.toml"
    inventory.write_text(
        f'[defaults]\narch = "arm64"\nserve_on = "127.0.0.1"\n'
        f'set = {{ TsImage = "{VALUES.image}" }}\n{"".join(rows)}'
    )
    sum_ = hashlib.sha256(field.tar.read_bytes()).hexdigest()
    made = {"from": {"of": ["arm64"]}}
    record = {field.tar.name: {"sha256": sum_} | made, "oci": {"index": NEW.digest} | made}
    (field.folder / "build.json").write_text(json.dumps(record))
    command = (sys.executable, "-m", "invoke", "deploy", "--inventory", str(inventory))

    def outcomes(done: subprocess.CompletedProcess[str]) -> Counter[str]:
        return Counter(row["outcome"] for row in json.loads(done.stdout)["routers"])

    plan = field.run("plan", *command, "--json")
    assert plan.returncode == 6, plan.stderr
    assert outcomes(plan) == {"planned": COUNT - 4, "refused": 4}, "half does not show yet"

    stopped = field.run("rings until the first failure", *command, "--apply", "--json")
    assert stopped.returncode == 5, stopped.stderr
    assert json.loads(stopped.stdout)["stopped"] == 3
    found = outcomes(stopped)
    assert found["failed"] >= 1 and found["done"] >= 20 and found["untouched"] >= 100

    rest = field.run("the rest", *command, "--apply", "--json", "--tolerate", "3")
    assert rest.returncode == 6, rest.stderr
    assert outcomes(rest) == {"done": COUNT - 5, "failed": 5}
    failed = [row["name"] for row in json.loads(rest.stdout)["routers"] if row["why"]]
    assert failed == BAD

    seen = field.ask("cure")
    assert seen["without"] == []
    # The one whose power went has gone on by itself since it is back.
    assert set(seen["new"]) >= field.addresses.keys() - {*BAD}

    cured = field.run("the cured ones", *command, "--apply", "--json", "--tolerate", "3")
    assert cured.returncode == 6, cured.stderr
    assert outcomes(cured) == {"done": COUNT - 1, "failed": 1}, "one is still not there"
    assert len(field.ask("verdict")["new"]) == COUNT - 1


@contextmanager
def playbook(field: Field) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """What runs ansible-playbook for these routers, which fetch the tar from here."""
    hosts = {name: {"tailscale_port": port} for name, port in field.ports.items()}
    settings = (ROOT / "routeros" / "settings-tailscale.rsc").read_text()
    own = field.folder / "settings.rsc"
    own.write_text(settings.replace("ghcr.io/OWNER/mikrotik-tailscale", VALUES.image))
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    inventory = field.folder / "routers.json"
    with restapi.offer(field.tar, "127.0.0.1") as url:
        values = {
            "tailscale_host": "127.0.0.1",
            "tailscale_tls": False,
            "tailscale_settings": str(own),
            "tailscale_tar_url": url,
            "tailscale_tar_size": field.tar.stat().st_size,
            "tailscale_arch": "arm64",
            "tailscale_digest": NEW.digest,
            "tailscale_poll": 0,
        }
        inventory.write_text(json.dumps({"all": {"hosts": hosts, "vars": values}}))

        def play(what: str, *more: str) -> subprocess.CompletedProcess[str]:
            command = (program, "-i", str(inventory), "routeros/ansible/deploy.yml", *more)
            return field.run(what, *command, most=MOST_OF_ANSIBLE)

        yield play


def changed(done: subprocess.CompletedProcess[str]) -> set[str]:
    """The routers that a playbook says it has changed."""
    recap = done.stdout.partition("PLAY RECAP")[2]
    return {*re.findall(r"^(router-\d+) .* changed=[1-9]", recap, re.MULTILINE)}


def test_ansible_begins_no_ring_after_one_that_failed(tmp_path: Path) -> None:
    """All can be deployed to; the power of one of the second ring goes in the middle."""
    with made(tmp_path, 20, {1: "half"}) as field, playbook(field) as play:
        stopped = play("a failure in the second ring")
        assert stopped.returncode == 2, stopped.stdout[-3000:]
        some = changed(stopped)
        assert "router-000" in some <= {"router-000", "router-001", "router-002"}
        seen = field.ask("cure")
        assert seen["without"] == []
        assert {"router-000"} <= {*seen["new"]} <= some
        rest = play("the rest")
        assert rest.returncode == 0, rest.stdout[-3000:]
        assert len(field.ask("verdict")["new"]) == 20


def test_ansible(field: Field) -> None:
    with playbook(field) as play:
        strict = play("plan, not all can be deployed to")
        assert strict.returncode == 2, strict.stdout[-3000:]
        assert "Store the scripts" not in strict.stdout
        assert "secret" not in strict.stdout + strict.stderr
        seen = field.ask("verdict")
        assert (seen["without"], seen["new"]) == ([], [])

        rest = play("three rings", "-e", "tailscale_tolerate=3")
        assert rest.returncode == 2, rest.stdout[-3000:]
        seen = field.ask("cure")
        assert seen["without"] == []
        assert set(seen["new"]) >= field.addresses.keys() - {*BAD}, rest.stdout[-3000:]

        cured = play("the cured ones", "-e", "tailscale_tolerate=3")
        assert cured.returncode == 2, cured.stdout[-3000:]
        assert len(field.ask("verdict")["new"]) == COUNT - 1
        assert changed(cured) <= {*BAD}, "the others have it"


def test_librouteros_speaks_to_the_model() -> None:
    import librouteros
    from librouteros.exceptions import TrapError
    from librouteros.query import Key

    with api.serve(Rest(beds.installed().router)) as port:
        with pytest.raises(TrapError, match="invalid user name or password"):
            librouteros.connect("127.0.0.1", "admin", "another", port=port)
        client = librouteros.connect("127.0.0.1", "admin", "secret", port=port)
        scripts, name = client.path("system", "script"), Key("name")
        asked = scripts.select(name).where(name.In("update-tailscale", "nobody"))
        assert [*asked] == [{"name": "update-tailscale"}]
        assert [*scripts.select(name).where(name == "nobody")] == []
        for length in (100, 1000, 30_000):
            key = scripts.add(name="x", source="y" * length)
            assert [row["source"] for row in scripts if row["name"] == "x"] == ["y" * length]
            scripts.update(**{".id": key, "source": "z"})
            scripts.remove(key)
        with pytest.raises(TrapError, match="no such item"):
            scripts.remove(key)
        assert [row["running"] for row in client.path("container")] == [False], "healthy instead"
        client.close()


def test_the_real_keyring() -> None:
    import keyring
    from keyring.backend import KeyringBackend

    class Mine(KeyringBackend):  # type: ignore[misc]
        priority = 1

        def get_password(self, service: str, username: str) -> str | None:
            return "correct-horse" if (service, username) == ("routers", "deploy") else None

        def set_password(self, service: str, username: str, password: str) -> None: ...

        def delete_password(self, service: str, username: str) -> None: ...

    before = keyring.get_keyring()
    keyring.set_keyring(Mine())
    try:
        assert passwords.password("keyring:routers", "deploy") == "correct-horse"
    finally:
        keyring.set_keyring(before)
