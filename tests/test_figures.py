"""What follows from samples: medians, ratios, the comparison with releases, the JSON."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

import pytest

from build.core import errors
from build.gates import figures
from build.gates.figures import OURS, UPSTREAM, Result
from build.lab.measuring import Process, Sample
from build.views import plots, report

TAG = "v1.102.5-mt.1"
NAMES = [row.name for row in figures.LIST]
GATED = [row.name for row in figures.LIST if row.gate]
FIGURES = {row.name: row for row in figures.LIST}


def result(ours: list[float], theirs: list[float], **last: float) -> Result:
    """A measurement in which every figure of a round has the same value, but for `last`."""
    samples = [Sample(OURS, n, dict.fromkeys(NAMES, value)) for n, value in enumerate(ours)]
    samples += [Sample(UPSTREAM, n, dict.fromkeys(NAMES, value)) for n, value in enumerate(theirs)]
    samples[len(ours) - 1].figures.update(last)
    binaries = {OURS: "a" * 64, UPSTREAM: "b" * 64}
    return Result(TAG, "sha256:" + "1" * 64, binaries, 1 << 28, 0.0, 9.0, tuple(samples))


def test_medians_are_over_the_rounds_of_a_side() -> None:
    found = result([1.0, 9.0, 2.0], [4.0, 4.0, 40.0])
    assert found.rounds == 3
    assert found.medians[OURS]["idle_kB"] == 2.0
    assert found.medians[UPSTREAM]["idle_kB"] == 4.0


def test_a_ratio_is_taken_within_its_round() -> None:
    """A machine that is twice as slow in one round changes nothing."""
    assert result([1.0, 2.0, 1.0], [2.0, 4.0, 2.0]).ratios["cli_cpu_seconds"] == 0.5


def test_the_spread_tells_rounds_that_disagree() -> None:
    assert result([1.0, 1.0, 1.0], [1.0, 1.0, 1.0]).spreads["cli_cpu_seconds"] == 0
    assert result([1.0, 2.0, 3.0], [1.0, 1.0, 1.0]).spreads["cli_cpu_seconds"] == 1.0
    assert result([1.0], [1.0]).spreads["cli_cpu_seconds"] == 0


def test_what_upstream_has_none_of_has_no_ratio() -> None:
    found = result([8.0], [0.0])
    assert found.ratios == {}


def test_a_faster_machine_leaves_the_normalised_figures_alone() -> None:
    slow, fast = result([2.0, 2.0], [4.0, 4.0]).gated, result([1.0, 1.0], [2.0, 2.0]).gated
    same = {name for name in GATED if slow[name] == fast[name]}
    assert {name for name in GATED if FIGURES[name].gate == "ratio"} == same


def worsened(name: str, share: float) -> dict[str, float]:
    by = 1 + share
    values = dict.fromkeys(GATED, 1.0)
    return values | {name: 1 / by if FIGURES[name].more else by}


@pytest.mark.parametrize("name", GATED)
def test_over_ten_percent_worse_fails_and_names_the_figure(name: str) -> None:
    history = {TAG: dict.fromkeys(GATED, 1.0)}
    figures.require(worsened(name, 0.09), history)
    figures.require(worsened(name, -0.5), history)
    with pytest.raises(errors.GateFailed) as caught:
        figures.require(worsened(name, 0.11), history)
    assert caught.value.exit_code == 3
    named = [other for other in GATED if f"{other}:" in caught.value.why]
    assert named == [name]
    assert TAG in caught.value.what and "11% worse" in caught.value.why


def test_all_worse_figures_are_named_at_once() -> None:
    history = {TAG: dict.fromkeys(GATED, 1.0)}
    with pytest.raises(errors.GateFailed) as caught:
        figures.require({name: worsened(name, 0.5)[name] for name in GATED}, history)
    assert all(f"{name}:" in caught.value.why for name in GATED)


def test_only_the_last_release_counts() -> None:
    history = {
        "v1.102.5-mt.10": dict.fromkeys(GATED, 1.0),
        "v1.102.5-mt.9": dict.fromkeys(GATED, 0.1),
    }
    figures.require(dict.fromkeys(GATED, 1.0), history)


def test_without_a_release_everything_passes() -> None:
    figures.require(dict.fromkeys(GATED, 1.0), {})


def test_a_figure_that_is_no_longer_measured_fails() -> None:
    rest = dict.fromkeys(GATED[1:], 1.0)
    with pytest.raises(errors.GateFailed, match=TAG) as caught:
        figures.require(rest, {TAG: dict.fromkeys(GATED, 1.0)})
    assert f"{GATED[0]}: not measured" in caught.value.why
    figures.require(dict.fromkeys(GATED, 1.0), {TAG: rest})


def test_recorded_figures_come_back(tmp_path: Path) -> None:
    where = tmp_path / "figures.json"
    assert figures.recorded(where) == {}
    figures.record(TAG, {"idle_kB": 27832.4}, where)
    figures.record("v1.102.5-mt.2", {"idle_kB": 3.0}, where)
    assert figures.recorded(where) == {TAG: {"idle_kB": 27830.0}, "v1.102.5-mt.2": {"idle_kB": 3.0}}
    with pytest.raises(errors.UserError):
        figures.record("yesterday", {"idle_kB": 1.0}, where)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"v1.102.5-mt.1": 3}', '{"x": {}}', '{"v1.102.5-mt.1": {"idle_kB": 0}}']
)
def test_a_damaged_history_is_an_error(tmp_path: Path, text: str) -> None:
    where = tmp_path / "figures.json"
    where.write_text(text)
    with pytest.raises(errors.UserError):
        figures.recorded(where)


def test_the_json_has_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MT_DIST", str(tmp_path))
    table = json.loads(figures.write(result([1.0, 3.0], [2.0, 2.0])).read_text())
    assert table["image"].startswith("sha256:") and table["release"] == TAG
    assert set(table["binaries"]) == set(table["medians"]) == {OURS, UPSTREAM}
    assert table["rounds"] == 2 and len(table["samples"]) == 4
    assert all(set(sample["figures"]) == set(NAMES) for sample in table["samples"])
    assert set(table["gated"]) == set(GATED)
    assert table["ratios"]["idle_kB"] == 1.0
    assert table["ratios"]["rx_Mbit_per_s"] == 1.5, "throughput: best by best"


def test_table_and_plots_show_every_figure(tmp_path: Path) -> None:
    found = result([1.0, 1.2], [1.0, 1.0])
    history = {TAG: dict.fromkeys(GATED, 0.5)}
    rows = report.figure_rows(found, history)
    assert len(rows) == len(NAMES)
    assert all(len(row) == len(report.FIGURE_COLUMNS) for row in rows)
    assert any("FAILS" in row[-1] for row in rows)
    assert not any("FAILS" in row[-1] for row in rows if "throughput" in row[0])
    pictures = [
        plots.ratios(found),
        plots.figure_trend(history, found),
        plots.figure_trend({}, found),
    ]
    assert all("<svg" in picture and "memory idle" in picture for picture in pictures)


def test_a_process_is_known_by_its_binary_and_its_birth() -> None:
    own = Process(os.getpid())
    assert own.same() and own.cpu() > 0 and own.memory()["VmRSS"] > 1000
    wanted = hashlib.sha256(Path(sys.executable).resolve().read_bytes()).hexdigest()
    assert own.binary() == wanted
    own._born = "0"
    assert not own.same()


def test_a_process_that_is_gone_is_an_error() -> None:
    with pytest.raises(errors.BuildFailed):
        Process(2**22 + 1)
