"""The commands as people use them: help, exit codes, and JSON that is nothing but JSON."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from checkouts import copied

from build.config import targets
from build.gates import ratio, size
from build.image import products

ROOT = Path(__file__).resolve().parent.parent
TASKS = (
    "attach build build-all cache chart clean comment doctor features fetch inspect pins promote "
    "publish release release-plan rollback sbom sign signing-key site size sources tags"
).split()


def invoke(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "invoke", *words]
    return subprocess.run(
        argv, cwd=ROOT, env=os.environ | env, text=True, capture_output=True, timeout=120
    )


def listed() -> dict[str, Any]:
    done = invoke("--list", "--list-format=json")
    assert done.returncode == 0, done.stderr
    return {task["name"]: task for task in json.loads(done.stdout)["tasks"]}


def test_each_task_has_a_help_line() -> None:
    tasks = listed()
    assert set(TASKS) <= tasks.keys(), "a task of this test is gone"
    assert all(task["help"] for task in tasks.values())


def test_each_option_of_each_task_has_a_help_text() -> None:
    """In one process: invoke's own parser knows every option of every task."""
    code = """
import json
from invoke.collection import Collection
import tasks
rows = {}
for name, task in Collection.from_module(tasks).tasks.items():
    arguments = task.get_arguments()
    rows[name] = {argument.name: argument.help for argument in arguments}
print(json.dumps(rows))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert set(TASKS) <= rows.keys()
    missing = [f"{name} --{o}" for name, row in rows.items() for o, text in row.items() if not text]
    assert missing == []
    assert all({"json", "debug"} <= row.keys() for row in rows.values())


def test_what_may_be_repeated_takes_every_value() -> None:
    """A default that is no list makes invoke take the second value for a task's name."""
    code = """
import json
from invoke.collection import Collection
from invoke.parser import Parser
import tasks
found = Collection.from_module(tasks)
rows = {}
for name, task in found.tasks.items():
    for option in task.iterable:
        parser = Parser(contexts=found.to_contexts())
        (row,) = parser.parse_argv([name, "--" + option, "one", "--" + option, "two"])
        rows[name + " --" + option] = row.args[option].value
print(json.dumps(rows))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert {"build --arch", "verify --only", "evidence --require"} <= rows.keys()
    assert all(values == ["one", "two"] for values in rows.values()), rows


def test_the_help_of_a_task() -> None:
    done = invoke("--help", "build")
    assert done.returncode == 0
    assert "Build the image of one platform" in done.stdout
    assert "--arch" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["build"], 2, "which platform?"),
        (["build", "--arch", "mips"], 2, "'mips' is not an architecture"),
        (["build", "--arch", ""], 2, "'' is not an architecture"),
        (["build", "--arch", "arm64", "--release", "1.2"], 2, "'1.2' is not a release tag"),
        (["build", "--arch", "arm64", "--release", "v1.0.0-mt.1"], 2, "not a release of the"),
        (["size", "--by", "colour"], 2, "--by 'colour' is not known"),
        (["tags", "--arch", "mips"], 2, "'mips' is not an architecture"),
        (["inspect", "mips"], 2, "'mips' is not an architecture"),
        (["publish"], 2, "which repository?"),
        (["publish", "--to", "https://ghcr.io/a"], 2, "is not REGISTRY/REPOSITORY"),
        (["publish", "--to", "ghcr.io/Owner/a:b"], 2, "is not REGISTRY/REPOSITORY"),
        (["publish", "--to", "127.0.0.1:1/a"], 2, "is not the OCI layout of a release"),
        (["rollback", "--to", "latest", "--at", "127.0.0.1:1/a"], 2, "is not a release tag"),
        (["rollback", "--to", "v1.102.5-mt.1"], 2, "which repository?"),
        (["rollback", "--to", "v1.0.0-mt.1", "--channel", "x", "--at", "[::1]:1/a"], 2, "'x' is"),
        (["promote"], 2, "which repository?"),
        (["promote", "--to", "next", "--at", "127.0.0.1:1/a"], 2, "is not a release tag"),
        (["promote", "--soak", "-1", "--at", "127.0.0.1:1/a"], 2, "--soak '-1' is not a whole"),
        (["publish", "--no-stable", "--soak", "x", "--to", "127.0.0.1:1/a"], 2, "--soak 'x' is"),
    ],
)
def test_a_wrong_request(words: list[str], code: int, says: str) -> None:
    done = invoke(*words)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_offline_with_nothing_there(places: Path) -> None:
    done = invoke("build", "--arch", "arm64", "--offline", "--json")
    assert done.returncode == 1, done.stderr
    assert "is not in the cache and this build is offline" in done.stderr
    assert "invoke fetch" in done.stderr
    assert done.stdout == ""
    assert not (places / "dist").exists()


def test_debug_shows_where_it_happened() -> None:
    done = invoke("build", "--arch", "mips", "--debug")
    assert done.returncode == 2
    assert "Traceback" in done.stderr


def test_a_machine_that_lacks_everything(places: Path) -> None:
    (places / "empty").mkdir()
    done = invoke("doctor", PATH=str(places / "empty"))
    assert done.returncode == 2
    assert "apt install make" in done.stdout
    assert done.stdout.count("not found") > 30
    done = invoke("build", "--arch", "arm64", PATH=str(places / "empty"))
    assert done.returncode == 2
    assert "this machine lacks what a build needs" in done.stderr
    assert "make: not found" in done.stderr
    assert "awk: not found" in done.stderr


def test_a_machine_that_has_all() -> None:
    done = invoke("doctor", "--json")
    rows = json.loads(done.stdout)
    assert {row["name"] for row in rows} >= {"python", "machine", "cache", "make"}
    assert done.returncode == (0 if all(row["ok"] for row in rows) else 2)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (["pins"], list),
        (["cache"], list),
        (["cache", "--prune"], dict),
        (["clean"], list),
        (["doctor"], list),
    ],
)
def test_json_is_all_that_is_on_stdout(words: list[str], kind: type) -> None:
    done = invoke(*words, "--json")
    assert done.returncode in (0, 2), done.stderr
    assert isinstance(json.loads(done.stdout), kind)


def test_pins_lists_each_pin_with_its_reason() -> None:
    rows = json.loads(invoke("pins", "--json").stdout)
    assert all(row["why"] and row["sha256"] and row["licence"] for row in rows)
    assert not any(row["cached"] for row in rows)
    table = invoke("pins")
    assert table.returncode == 0
    assert "tailscale" in table.stdout


def test_clean_deletes_only_what_is_ours(places: Path) -> None:
    (places / "dist").mkdir()
    (places / "dist" / "letters.txt").write_text("mine")
    done = invoke("clean")
    assert done.returncode == 2
    assert "is not deleted" in done.stderr
    assert (places / "dist" / "letters.txt").exists()
    (places / "dist" / "build.json").write_text("{}")
    (places / "work").mkdir()
    done = invoke("clean")
    assert (places / "work").exists(), "outside the checkout and without a mark"
    assert done.returncode == 2


def test_prune_refuses_what_is_no_cache(places: Path) -> None:
    (places / "cache").mkdir()
    (places / "cache" / "letters.txt").write_text("mine")
    done = invoke("cache", "--prune", "--days", "0")
    assert done.returncode == 2
    assert "CACHEDIR.TAG" in done.stderr
    assert (places / "cache" / "letters.txt").exists()


@pytest.mark.slow
def test_the_feature_table_and_the_tags(shared_cache: Path) -> None:
    rows = json.loads(invoke("features", "--json").stdout)
    by_name = {row["name"]: row for row in rows}
    assert by_name["c2n"]["included"]
    assert by_name["c2n"]["pulled_by"]
    assert not by_name["ssh"]["included"]
    assert all(row["reason"] for row in rows)
    table = invoke("features").stdout
    assert all(name in table for name in ("osrouter", "peerapiserver", "cachenetmap"))
    tags = json.loads(invoke("tags", "--json").stdout)
    assert tags == sorted(tags)
    assert "ts_include_cli" in tags
    assert f"ts_omit_{'ssh'}" in tags
    assert invoke("tags", "--arch", "arm/v5").stdout.strip() == ",".join(tags)


@pytest.mark.slow
def test_the_whole_build_as_json(shared_cache: Path) -> None:
    done = invoke("build", "--arch", "aarch64", "--json")
    assert done.returncode in (0, 3), done.stderr
    found = json.loads(done.stdout)
    assert {row["target"] for row in found["sizes"]} == {"arm64"}
    assert "oci-arm64" in found["products"]
    again = json.loads(invoke("build", "--arch", "arm64", "--json").stdout)
    assert again["ran"] == []
    assert again["products"] == found["products"]
    inspected = json.loads(invoke("inspect", "arm64", "--json").stdout)
    paths = {row["path"]: row for row in inspected["files"]}
    assert paths["/usr/local/bin/tailscaled"]["target"] == "tailscale.combined"
    assert len(inspected["manifest"]["layers"]) == 1


@pytest.mark.slow
def test_an_exceeded_cap_ends_with_3_and_a_weight_that_rose_with_4(
    shared_cache: Path, places: Path
) -> None:
    """Negative controls of both gates, in a copy of the checkout with other figures."""
    copy = copied(places / "copy")
    data = copy / "build" / "data" / "targets.toml"
    text = data.read_text()

    def both(code: int, *, told: str, table: str) -> None:
        for words in (["build", "--arch", "arm64"], ["size", "--arch", "arm64", "--check"]):
            argv = [sys.executable, "-m", "invoke", *words]
            done = subprocess.run(argv, cwd=copy, env=os.environ, text=True, capture_output=True)
            assert done.returncode == code, done.stderr
            assert told in done.stderr
            assert table in done.stdout

    data.write_text(re.sub(r"cap_rootfs = [\d_]+", "cap_rootfs = 1", text))
    both(3, told="arm64 rootfs:", table="OVER")
    data.write_text(text)
    # A thousandth beyond the tolerance; nothing is built for that.
    rows = size.of_images(products.images([targets.target("arm64")]))
    (ours,) = [row.size for row in rows if row.component == ratio.BINARY]
    known = ratio.Weight(ratio.now(), upstream=4_000_000, ours=int(ours / 1.006))
    ratio.write({"arm64": known}, copy / "build" / "data" / "weight.json")
    both(4, told="our own weight rose", table="ROSE")
