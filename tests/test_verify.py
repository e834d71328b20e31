"""The gate's record and its lists: what publishing and `--negative` rely on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from build.core import errors
from build.gates import records, runtime
from build.gates.records import Record, Verdict
from build.lab.canary import CANARIES
from build.lab.controls import NEGATIVE_CONTROLS, negatives_for
from build.lab.topology import topology

IMAGE = "sha256:" + "1" * 64
KERNEL = sorted(canary.name for canary in records.wanted_for("kernel"))


@pytest.fixture
def passing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    monkeypatch.setenv("MT_DIST", str(tmp_path))
    verdicts = tuple(Verdict(name, True, 0.1, "seen") for name in KERNEL)
    gate = records.gate_identity()
    return Record("amd64", IMAGE, gate, "kernel", 0.0, 1.0, {"seconds_to_running": 3.0}, verdicts)


def test_a_passing_record_lets_its_image_through(passing: Record) -> None:
    records.write(passing)
    assert records.require("amd64", IMAGE) == [passing]


def refusal(image: str = IMAGE) -> str:
    with pytest.raises(errors.GateFailed) as caught:
        records.require("amd64", image)
    return caught.value.why


def test_no_record_is_refused(passing: Record) -> None:
    assert "no record" in refusal()


def test_another_image_is_refused(passing: Record) -> None:
    records.write(passing)
    assert refusal("sha256:" + "2" * 64) == f"the runtime record is of {IMAGE}"


def test_another_gate_is_refused(passing: Record) -> None:
    records.write(replace(passing, gate="old"))
    assert "another version" in refusal()


@pytest.mark.parametrize("name", KERNEL)
def test_each_canary_counts(passing: Record, name: str) -> None:
    rest = tuple(verdict for verdict in passing.canaries if verdict.name != name)
    records.write(replace(passing, canaries=rest))
    assert refusal() == f"not passed: {name}"
    records.write(replace(passing, canaries=(*rest, Verdict(name, False, 0.1, ""))))
    assert refusal() == f"not passed: {name}"


def test_a_damaged_record_is_none(passing: Record) -> None:
    path = records.write(passing)
    table = json.loads(path.read_text())
    del table["canaries"]
    path.write_text(json.dumps(table))
    assert "no record" in refusal()


def test_every_canary_has_a_negative_control_that_has_a_canary() -> None:
    assert {name for negative in NEGATIVE_CONTROLS for name in negative.fails} == set(CANARIES)
    assert all(negative.fails for negative in NEGATIVE_CONTROLS)
    for tunnel in ("kernel", "machine"):
        failing = {name for negative in negatives_for(tunnel) for name in negative.fails}
        assert {canary.name for canary in records.wanted_for(tunnel)} <= failing
    # Else a run of --negative would boot a machine to ask it nothing.
    assert "no-refusals" not in {negative.name for negative in negatives_for("machine")}


def test_what_is_missing_is_said_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(errors.UserError) as caught:
        runtime.require_machine([])
    assert all(name in caught.value.why for name in ("root", *runtime.PROGRAMS))


def test_the_network_makes_every_space_before_its_cables() -> None:
    lines = topology().script.split("\n")
    made = [i for i, line in enumerate(lines) if "netns add" in line]
    cables = [i for i, line in enumerate(lines) if "type veth" in line]
    assert len(made) == len(topology().spaces)
    assert cables
    assert max(made) < min(cables)
