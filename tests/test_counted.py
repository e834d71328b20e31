"""The counted figures, on what a machine has told or would tell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from build.core import errors
from build.gates import counted, figures
from build.gates.counted import Counted, Result
from build.gates.figures import OURS, UPSTREAM
from build.lab import counting
from build.views import counting as view
from build.views import pages

TAG = "v1.104.5-mt.1"
GATED = [row.name for row in counted.LIST if row.gate]
LOG = """\
entrypoint: a word
gc 1 @0.105s 2%: 0.1+4.2+0 ms clock, 0.1+0/4/0+0.1 ms cpu, 3->4->2 MB, 4 MB goal, 0 MB stacks, 1 P
2026/11/26 gc 2 @0.2s is nobody's
gc 2 @0.301s 3%: 0.1+5.8+0 ms clock, 0.1+1/4/0+0.1 ms cpu, 5->6->4 MB, 8 MB goal, 0 MB stacks, 1 P
"""


def test_collections_are_read_from_gos_trace() -> None:
    seen = counting.collections(LOG)
    assert [(one.number, one.heap, one.live, one.goal) for one in seen] == [
        (1, 3, 2, 4),
        (2, 5, 4, 8),
    ]
    assert counting.collections("gc 1 of something else") == []


def test_numbers_are_read_from_the_kernels_files() -> None:
    text = "Name:\ttailscaled\nVmRSS:\t   2048 kB\nanon 4096\nx\n"
    assert counting.numbers(text) == {"VmRSS": 2048, "anon": 4096}


def side(platform: str, name: str, *rounds: float, **last: float) -> Counted:
    rows = [dict.fromkeys([row.name for row in counted.LIST], value) for value in rounds]
    rows[-1].update(last)
    return Counted(platform, name, "sha256:1", "a" * 64, tuple(rows))


def result(**last: float) -> Result:
    sides = [side(p, n, 1.0, 2.0, 3.0) for p in ("arm64", "armv5") for n in (OURS, UPSTREAM)]
    sides[0] = side("arm64", OURS, 1.0, 1.0, 1.0, **last)
    return Result(TAG, 1 << 23, 0.0, 9.0, tuple(sides))


def test_medians_ratios_and_what_is_gated() -> None:
    found = result(rx_instructions_per_GB=4.0)
    assert found.platforms == ["arm64", "armv5"]
    assert found.of("armv5", OURS).medians["idle_rss_MB"] == 2.0
    assert found.of("armv5", OURS).spreads["idle_rss_MB"] == 1.0
    assert found.ratios("arm64")["rx_instructions_per_GB"] == 0.5
    assert found.gated.keys() == {f"{p}/{n}" for p in found.platforms for n in GATED}
    assert found.gated["arm64/rx_instructions_per_GB"] == 1.0


def test_a_figure_of_the_first_round_alone_is_that() -> None:
    one = side("arm64", OURS, 7.0, 9.0)
    del one.rounds[1]["idle_live_MB"]
    assert one.medians["idle_live_MB"] == 7.0 and one.spreads["idle_live_MB"] == 0.0


@pytest.mark.parametrize("name", GATED)
def test_over_five_percent_worse_fails_and_names_the_figure(name: str) -> None:
    history = {TAG: result().gated | {"cli_kB": 9.0, "armv7/idle_cgroup_MB": 1.0}}
    key = f"arm64/{name}"
    counted.require(result().gated | {key: 1.04}, history)
    with pytest.raises(errors.GateFailed) as caught:
        counted.require(result().gated | {key: 1.06}, history)
    assert caught.value.exit_code == 3 and f"\n    {key}: 1 -> 1.06, 6.0% worse" in caught.value.why
    missing = {n: value for n, value in result().gated.items() if n != key}
    with pytest.raises(errors.GateFailed, match=f"{key}: not measured any more"):
        counted.require(missing, history)


def test_timed_and_counted_figures_share_the_history(tmp_path: Path) -> None:
    """Recording one kind keeps the other; neither gate asks for the other's figures."""
    where = tmp_path / "figures.json"
    timed = {row.name: 1.0 for row in figures.LIST if row.gate}
    figures.record(TAG, timed | {"gone": 2.0}, where)
    figures.record(TAG, {"arm64/rx_instructions_per_GB": 3.0}, where)
    figures.record(TAG, {"armv5/rx_instructions_per_GB": 4.0}, where)
    figures.record(TAG, timed, where)
    kept = figures.recorded(where)[TAG]
    both = {"arm64/rx_instructions_per_GB": 3.0, "armv5/rx_instructions_per_GB": 4.0}
    assert kept == timed | both, "what is not measured any more is gone, another platform's is not"
    figures.require(timed, {TAG: kept})


def test_the_table_and_the_plots_have_all_figures() -> None:
    found = result(rx_instructions_per_GB=1.2)
    history = {TAG: found.gated | {"arm64/status_instructions": 0.5}}
    rows = view.rows(found, history)
    assert len(rows) == 2 * len(counted.LIST) and all(len(r) == len(view.COLUMNS) for r in rows)
    assert [r[-1] for r in rows if r[-1].endswith("FAILS")] == ["100.0% worse FAILS"]
    assert "arm64" in view.ratios(found) and "arm64/idle_cgroup_MB" in view.trend(history, found)
    assert json.loads(json.dumps(found.table()))["medians"]["arm64"]["ours"]["idle_rss_MB"] == 1.0


def test_what_was_written_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MT_DIST", str(tmp_path))
    assert counted.read() is None
    found = result(rx_instructions_per_GB=1.2)
    place = counted.write(found)
    assert counted.read() == found
    table = json.loads(place.read_text())
    damaged = (
        "{}",
        "[",
        json.dumps(table | {"sides": table["sides"][:1]}),
        json.dumps(table | {"gated": {}}),
    )
    for text in damaged:
        place.write_text(text)
        with pytest.raises(errors.UserError, match="cannot read the figures"):
            counted.read()


def test_the_page_of_figures_has_the_machines_too() -> None:
    found = result()
    parts = "".join(pages.machines(found, {}, {"sha256:1"}))
    assert "router-like machines against" in parts and "other images" not in parts
    assert "other images" in "".join(pages.machines(found, {}, set()))
    assert "invoke figures --machine" in "".join(pages.machines(None, {}, set()))
