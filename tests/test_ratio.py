"""Our own weight: a share of upstream's recipe that must not rise, whatever upstream's size is."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from build.bump import weighing
from build.bump.bump import Bump
from build.config import pins, targets
from build.config.targets import Target
from build.core.artifacts import Artifact
from build.core.errors import BuildFailed, GateFailed, UserError, WeightRose
from build.gates import ratio, size
from build.golang import tailscale
from build.pipeline import variants
from build.views import markdown, report

UPSTREAM = 4_000_000
OURS = 3_200_000


@pytest.fixture
def file(places: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A weight.json that accepts 0.8 for arm64, of today's pins."""
    path = places / "weight.json"
    monkeypatch.setattr(ratio, "WEIGHT", path)
    monkeypatch.setattr(ratio, "UPSTREAM", places / "upstream.json")
    ratio.write({"arm64": ratio.Weight(ratio.now(), UPSTREAM, OURS)}, path)
    yield path


def of(file: Path, ours: int) -> ratio.Share:
    rows = [
        size.Measure("arm64", ratio.BINARY, ours, 0, 0),
        size.Measure("arm64", "busybox", 7, 0, 0),
    ]
    (found,) = ratio.of(rows, file)
    return found


def older(file: Path) -> None:
    """Let the file be of the Tailscale before."""
    holds = dataclasses.replace(ratio.now(), tailscale="1.2.3")
    ratio.write({"arm64": ratio.Weight(holds, UPSTREAM, OURS)}, file)


@pytest.mark.parametrize(
    ("ours", "rises"),
    [(OURS, False), (3_215_999, False), (3_216_001, True), (1, False)],
)
def test_the_tolerance_to_the_byte(file: Path, ours: int, rises: bool) -> None:
    share = of(file, ours)
    assert share.rose == rises
    if not rises:
        ratio.require([share])
        return
    with pytest.raises(WeightRose, match="our own weight rose") as caught:
        ratio.require([share])
    assert caught.value.exit_code == 4 != GateFailed.exit_code
    assert "arm64: 0.8040 of upstream's recipe (3,216,001 of 4,000,000 B)" in caught.value.why
    assert "invoke size --accept" in caught.value.cure


@pytest.mark.parametrize(("factor", "rises"), [(1.0, False), (1.01, True), (0.9, False)])
def test_upstreams_growth_alone_never_stops(file: Path, factor: float, rises: bool) -> None:
    """A version by which both grow by a third passes; one by which ours grows more does not."""
    older(file)
    share = ratio.with_upstream(of(file, int(OURS * 4 / 3 * factor)), UPSTREAM * 4 // 3)
    assert share.rose == rises
    ((*_, grown),) = report.share_rows([share])
    assert grown == "+33.3% since 1.2.3"


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(ratio.Holds)])
def test_bytes_of_other_inputs_do_not_hold(file: Path, name: str) -> None:
    """Each of the versions counts, and so does the recipe; nothing is compared with them."""
    holds = dataclasses.replace(ratio.now(), **{name: "another"})
    ratio.write({"arm64": ratio.Weight(holds, UPSTREAM, OURS)}, file)
    share = of(file, OURS * 2)
    assert (share.upstream, share.now, share.rose) == (0, 0.0, False)
    assert share.before == 0.8, "what was accepted stays"


@pytest.mark.parametrize(
    "change",
    [{"gcflags": ("-B",)}, {"features": ("cli",)}, {"pristine": False}, {"ldflags": ()}],
)
def test_another_recipe_is_another_figure(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, object]
) -> None:
    before = ratio.now()
    other = dataclasses.replace(tailscale.UPSTREAM, **change)  # type: ignore[arg-type]
    monkeypatch.setattr(tailscale, "UPSTREAM", other)
    assert ratio.now() != before


def built(monkeypatch: pytest.MonkeyPatch, bytes_: int) -> list[str]:
    """Let upstream's recipe be built to so many bytes; returns the platforms that it was of."""
    asked: list[str] = []

    def build(target: Target, recipe: tailscale.Recipe) -> tuple[Artifact, Artifact]:
        assert recipe.pristine
        asked.append(target.name)
        made = Artifact(Path("nowhere"), size=bytes_, sha256="0" * 64)
        return made, made

    monkeypatch.setattr(variants, "build", build)
    return asked


def test_it_is_built_only_where_it_is_not_known(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = built(monkeypatch, 5_000_000)
    assert variants.weighed([of(file, OURS)]) == [of(file, OURS)]
    assert asked == []
    older(file)
    (share,) = variants.weighed([of(file, OURS)])
    assert (asked, share.upstream) == (["arm64"], 5_000_000)
    assert of(file, OURS).upstream == 5_000_000, "it is remembered, for the comment"
    assert variants.weighed([of(file, OURS)]) == [share]
    assert asked == ["arm64"]


def bumped(name: str, **fields: str) -> Bump:
    """A bump of a pin, as if these fields were new."""
    before = pins.pin(name)
    return Bump(before, dataclasses.replace(before, **fields))  # type: ignore[arg-type]


def test_a_bump_records_upstreams_bytes_and_accepts_nothing(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check after it builds nothing, and holds ours to the share that was accepted before."""
    asked, names = built(monkeypatch, 5_000_000), [*targets.targets()]
    done, accepted = bumped("tailscale", version="1.200.0"), file.read_text()
    assert weighing.record(done) == asked == names
    assert file.read_text() == accepted
    assert not ratio.measured_file().exists(), "what is recorded is in the commit"
    with pins.instead(done.after):
        assert (ratio.known(), asked) == (dict.fromkeys(names, 5_000_000), names)
        for ours, rises in ((4_000_000, False), (4_020_001, True)):
            (share,) = variants.weighed([of(file, ours)])
            assert (share.upstream, share.before, share.rose) == (5_000_000, 0.8, rises)
        assert asked == names, "nothing was built again"
    assert weighing.record(done) == [], "a bump that was stopped is run again"
    assert of(file, OURS).upstream == UPSTREAM, "the pins of before have their own bytes"


def test_a_bump_records_what_is_safe_beside_a_token_alone(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program of another pin is built and run; that is for a check, which has no secret."""
    asked = built(monkeypatch, 5_000_000)
    assert weighing.record(bumped("upx", version="4.2.5")) == asked == []
    assert not ratio.UPSTREAM.exists()


def test_a_recipe_that_cannot_be_built_stops_no_bump(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def build(*_: object) -> None:
        raise BuildFailed("go build ended with 1")

    monkeypatch.setattr(variants, "build", build)
    assert weighing.record(bumped("tailscale", version="1.200.0")) == []
    assert "arm64: upstream's recipe is not recorded: go build ended" in capsys.readouterr().err
    assert not ratio.UPSTREAM.exists()


def test_a_platform_that_nothing_was_accepted_for(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = built(monkeypatch, 5_000_000)
    file.unlink()
    share = of(file, OURS)
    assert variants.weighed([share]) == [share], "there is nothing to compare with"
    ratio.require([share])
    ratio.accept(variants.weighed([share], every=True), file)
    assert asked == ["arm64"]
    assert of(file, OURS).before == OURS / 5_000_000


def test_accepting_leaves_other_platforms_alone(file: Path) -> None:
    share = of(file, OURS + 400_000)
    assert share.rose
    ratio.write({"armv7": ratio.Weight(ratio.now(), 7, 5)}, file)
    ratio.accept([share], file)
    assert of(file, OURS + 400_000).rose is False
    assert ratio.read(file)["armv7"] == ratio.Weight(ratio.now(), 7, 5)
    assert [p.name for p in file.parent.glob("weight*")] == ["weight.json"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "cannot read the weights"),
        ("[]", "wanted a table"),
        ('{"arm64": 7}', "arm64: wanted a table with holds, upstream, ours"),
        ('{"arm64": {"holds": {}, "upstream": 0, "ours": 1}}', "arm64.upstream: wanted a whole"),
    ],
)
def test_a_broken_file(places: Path, text: str, fault: str) -> None:
    (places / "weight.json").write_text(text)
    with pytest.raises(UserError) as caught:
        ratio.read(places / "weight.json")
    assert fault in str(caught.value)


def test_the_repositorys_file_is_in_order() -> None:
    """Of platforms that there are, by pins of today or before; smaller than upstream's, each."""
    found = ratio.read()
    assert found.keys() == targets.targets().keys()
    assert all(0 < row.ours < row.upstream for row in found.values())


def test_the_comment_shows_both(file: Path) -> None:
    rows = [size.Measure("arm64", ratio.BINARY, OURS, 0, 0)]
    assert "| arm64 | 3,200,000 | 4,000,000 | 0.8000 | 0.8000 |" in markdown.summary("t", rows, [])
    older(file)
    assert "| arm64 | 3,200,000 | not measured |" in markdown.summary("t", rows, [])
