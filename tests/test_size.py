"""The gate on size: caps, the history of releases, and what grew."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from fakes import images

from build.config import targets
from build.core.errors import GateFailed, UserError
from build.core.paths import ROOT
from build.gates import size

ARM64 = targets.target("arm64")
HISTORY = {
    "v1.102.5-mt.9": {"arm64": {"busybox": 1000, "rootfs": 2000}},
    "v1.102.5-mt.10": {"arm64": {"busybox": 1100, "rootfs": 2100}},
    "v1.98.5-mt.30": {"arm64": {"busybox": 1, "rootfs": 1}},
}


def test_measures(places: Path) -> None:
    files = images.files(places, ARM64)
    rows = {row.component: row for row in size.measure(ARM64, files, HISTORY)}
    assert set(rows) == {
        "busybox",
        "tailscale.combined",
        "entrypoint.sh",
        "healthcheck.sh",
        "rootfs",
    }
    parts = [row.size for name, row in rows.items() if name != "rootfs"]
    assert rows["rootfs"].size == sum(parts) == files.size
    assert rows["busybox"].before == 1100, "the newest release counts, by number, not by text"
    assert rows["rootfs"].cap == ARM64.cap_rootfs
    assert {row.cap for name, row in rows.items() if name != "rootfs"} == {0}
    assert rows["entrypoint.sh"].before == 0
    assert len(rows["busybox"].sha256) == 64
    size.require(list(rows.values()))


@pytest.mark.parametrize(("spare", "passes"), [(1, True), (0, True), (-1, False)])
def test_the_cap_to_the_byte(places: Path, spare: int, passes: bool) -> None:
    files = images.files(places, ARM64)
    (row,) = [r for r in size.measure(ARM64, files, {}) if r.component == "rootfs"]
    tight = dataclasses.replace(ARM64, cap_rootfs=row.size + spare)
    rows = size.measure(tight, files, {})
    if passes:
        size.require(rows)
        return
    with pytest.raises(GateFailed) as caught:
        size.require(rows)
    assert caught.value.exit_code == 3
    assert f"arm64 rootfs: {row.size:,} B of {row.size - 1:,} B allowed" in caught.value.why
    assert "1 B too many" in caught.value.why
    assert caught.value.why.count("arm64") == 1, "only what is over is named"


def test_what_grew_is_said(places: Path) -> None:
    rows = [size.Measure("armv5", "rootfs", 2000, 1500, 1200)]
    with pytest.raises(GateFailed) as caught:
        size.require(rows)
    assert "500 B too many, +800 B since the last release" in caught.value.why


def test_an_update_at_the_cap_fits_in_what_the_scripts_ask_for() -> None:
    """Two images are on flash during an update, and the scripts ask for so much (`TsNeed`)."""
    text = (ROOT / "routeros" / "templates" / "settings-tailscale.rsc").read_text()
    (need,) = re.findall(r"^:global TsNeed (\d+);", text, re.MULTILINE)
    for target in targets.targets().values():
        assert 2 * target.cap_rootfs <= int(need), target.name


def test_recording_a_release(places: Path) -> None:
    path = places / "sizes.json"
    files = images.files(places, ARM64)
    assert size.recorded(path) == {}
    assert size.last_release({}) == ""
    rows = size.measure(ARM64, files, {})
    size.record("v1.102.5-mt.1", rows, path)
    size.record("v1.102.5-mt.2", rows, path)
    history = size.recorded(path)
    assert size.last_release(history) == "v1.102.5-mt.2"
    assert history["v1.102.5-mt.1"]["arm64"]["rootfs"] == files.size
    again = size.measure(ARM64, files, history)
    assert all(row.before == row.size for row in again)
    assert [p.name for p in places.glob("sizes*")] == ["sizes.json"]


@pytest.mark.parametrize(
    "text", ["{", "[]", "7", '{"v1.102.5-mt.1": 7}', '{"a": {"b": {"c": "d"}}}']
)
def test_a_broken_history(places: Path, text: str) -> None:
    (places / "sizes.json").write_text(text)
    with pytest.raises(UserError, match="cannot read the recorded sizes"):
        size.recorded(places / "sizes.json")


def test_the_repositorys_history_can_be_read() -> None:
    assert isinstance(json.loads(json.dumps(size.recorded())), dict)
