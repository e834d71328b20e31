"""Whatever a broken image does to a canary is that canary's failure, and the others still run."""

from __future__ import annotations

from typing import cast

import pytest

from build.core.errors import UserError
from build.gates import runtime
from build.lab.canary import Canary
from build.lab.world import World


@pytest.mark.parametrize(
    "error",
    [
        UserError("it says no"),
        OSError("gone"),
        ValueError("nonsense"),
        IndexError(0),
        KeyError("a"),
    ],
)
def test_a_canary_that_stumbles(error: Exception) -> None:
    def stumbles(_: World) -> str:
        raise error

    canaries = [Canary("first", "it works", stumbles), Canary("second", "so", lambda _: "seen")]
    first, second = runtime.run(cast(World, None), canaries, "test")
    assert (first.name, first.ok) == ("first", False)
    assert "it works: NOT SO" in first.detail
    assert (second.ok, second.detail) == (True, "seen")


def test_a_fault_of_ours_is_not_a_verdict() -> None:
    """Negative control: what no image can cause stays loud."""

    def wrong(_: World) -> str:
        raise AttributeError("a typing mistake in the gate")

    with pytest.raises(AttributeError):
        runtime.run(cast(World, None), [Canary("one", "it works", wrong)], "test")
