"""Release tags: what is one, how they are ordered, which Tailscale versions are stable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build.core.errors import UserError
from build.core.version import Release, is_stable, parse_release

number = st.integers(min_value=0, max_value=2000)
tag = st.builds("v{}.{}.{}-mt.{}".format, number, number, number, number)


@given(tag)
def test_parsing_and_printing_are_inverse(text: str) -> None:
    found = parse_release(text)
    assert found.tag == text
    assert found.long == text.removeprefix("v")
    assert parse_release(found.tag) == found


@given(*[st.tuples(number, number, number, number)] * 2)
def test_the_order_is_that_of_the_numbers(
    a: tuple[int, int, int, int], b: tuple[int, int, int, int]
) -> None:
    one, other = (parse_release("v{}.{}.{}-mt.{}".format(*numbers)) for numbers in (a, b))
    assert (one < other) == (a < b)
    assert (one == other) == (a == b)


@given(st.text())
def test_any_text_is_a_tag_or_a_user_error(text: str) -> None:
    try:
        assert parse_release(text).tag == text
    except UserError as error:
        assert "is not a release tag" in error.what


@pytest.mark.parametrize(
    "text",
    [
        "",
        "v1.102.5",
        "1.102.5-mt.1",
        "v1.102.5-mt.01",
        "v01.102.5-mt.1",
        "v1.102.5-mt.",
        "v1.102.5-mt.1 ",
        "v1.102.5-mt.1\n",
        "v1.102-mt.1",
        "v1.102.5.1-mt.1",
        "v1.102.5-mt.-1",
        "v1.102.5rc1-mt.1",
        "v1.102.\u0665-mt.1",  # an Arabic five
    ],
)
def test_what_is_no_tag(text: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_release(text)
    assert "v1.102.5-mt.1" in caught.value.why


def test_a_release_is_printed_in_both_ways() -> None:
    release = parse_release("v1.102.5-mt.3")
    assert isinstance(release, Release)
    assert (release.tag, release.long) == ("v1.102.5-mt.3", "1.102.5-mt.3")


@given(number, number, number)
def test_even_minors_are_stable(major: int, minor: int, patch: int) -> None:
    assert is_stable(f"{major}.{minor}.{patch}") == (minor % 2 == 0)


@pytest.mark.parametrize(
    "version",
    ["1.102", "1.102.5rc1", "1.102.5-1", "1.102.5+local", "1.103.5", "1.102.5.dev1", "x", ""],
)
def test_what_is_not_stable(version: str) -> None:
    assert not is_stable(version)
