"""The pipeline's own decisions: what is made again, and when that is given up."""

from __future__ import annotations

from pathlib import Path

import pytest

from build.core import cache
from build.pipeline import order


def request() -> order.Request:
    return order.Request([], order.release_of(), check_size=False)


def damaged(places: Path, name: str) -> cache.Damaged:
    return cache.Damaged(places / "cache" / "objects" / "stage" / name / "data" / "file", "why")


def test_each_damaged_object_is_made_again(
    places: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    faults = [damaged(places, "a"), damaged(places, "b")]

    def once(request: order.Request) -> order.Result:
        if faults:
            raise faults.pop()
        return order.Result()

    monkeypatch.setattr(order, "_build_once", once)
    order.build(request())
    assert capsys.readouterr().err.count("it is made again") == 2


def test_an_object_damaged_twice_ends_the_build(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failing disk, or a cache that cannot be written: no endless loop."""
    rounds = []

    def once(request: order.Request) -> order.Result:
        rounds.append(1)
        assert len(rounds) < 10
        raise damaged(places, "a")

    monkeypatch.setattr(order, "_build_once", once)
    with pytest.raises(cache.Damaged):
        order.build(request())
    assert len(rounds) == 2


def test_a_build_sweeps_what_a_killed_one_left(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = cache.prepare() / "tmp" / "left"
    left.mkdir()
    (left / "owner.lock").write_text("")
    monkeypatch.setattr(order, "_build_once", lambda _: order.Result())
    order.build(request())
    assert not left.exists()
