"""Versions as tags spell them, and ranges of them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.replication.semver import InvalidRange, Range, Version


def covers(text: str, tag: str) -> bool:
    version = Version.of(tag)
    return version is not None and Range(text).covers(version)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        (">=1.2 <2", "1.2.0 v1.2.0 1.2 1.99.99 1.3.0_build.4 01.02.03", "1.1.9 2.0.0 2.0 2.0.0-rc.1 1.3.0-rc.1"),
        (">=1.2, <2", "1.2.0", "2.0.0"),
        (">=1.2<2", "1.2.0", "2.0.0"),
        (">= 1.2 < 2", "1.2.0", "2.0.0"),
        (">=1.2.3", "1.2.3 9.0.0", "1.2.2 1.2.4-rc.1"),
        (">1.2", "1.3.0", "1.2.0 1.2.9"),
        (">1.2.3", "1.2.4", "1.2.3"),
        ("<=1.2", "1.2.9 0.1.0", "1.3.0"),
        ("<=1.2.3", "1.2.3", "1.2.4"),
        ("<1.2.3", "1.2.2", "1.2.3 1.2.3-rc.1"),
        ("1.2.3", "1.2.3 v1.2.3 1.2.3_5", "1.2.4 1.2.3-rc.1"),
        ("=1.2", "1.2.0 1.2.9", "1.3.0 1.1.9"),
        ("1.x", "1.0.0 1.9.0", "2.0.0 0.9.0"),
        ("1.2.*", "1.2.7", "1.3.0"),
        ("*", "0.0.1 7.0", "1.0.0-rc.1"),
        ("~1.2.3", "1.2.3 1.2.9", "1.2.2 1.3.0"),
        ("~1.2", "1.2.0 1.2.9", "1.3.0"),
        ("~1", "1.0.0 1.9.0", "2.0.0"),
        ("^1.2.3", "1.2.3 1.9.0", "1.2.2 2.0.0"),
        ("^1", "1.0.0 1.9.9", "2.0.0"),
        ("^0.2.3", "0.2.3 0.2.9", "0.3.0 0.2.2"),
        ("^0.0.3", "0.0.3", "0.0.4 0.0.2"),
        ("^0.0", "0.0.9", "0.1.0"),
        ("^0", "0.9.9", "1.0.0"),
        ("^1 || ^3", "1.5.0 3.0.0", "2.0.0 4.0.0"),
        ("<1||>=3", "0.9.0 3.0.0", "1.0.0 2.9.9"),
        (">=1.2-0 <2", "1.2.0-alpha 1.3.0-alpine 1.4.0", "2.0.0-rc.1 1.1.0-rc.1"),
        ("~1.2.3-rc.1", "1.2.3-rc.2 1.2.3 1.2.4", "1.2.3-alpha 1.3.0-rc.1"),
        ("1.2.3-rc.1", "1.2.3-rc.1", "1.2.3"),
        (">=2024.01", "2024.01.15 2024.3", "2023.12.31"),
    ],
)
def test_a_range_covers(text: str, inside: str, outside: str) -> None:
    assert [tag for tag in inside.split() if not covers(text, tag)] == []
    assert [tag for tag in outside.split() if covers(text, tag)] == []


@pytest.mark.parametrize(
    "tag", ["latest", "1", "20240101", "1234567", "v1", "1.2.3.4", "1.2.3-", "1..2", "1.2.3-a..b", "x.1.2", "1.٢.3"]
)
def test_what_is_no_version_is_in_no_range(tag: str) -> None:
    assert Version.of(tag) is None


@pytest.mark.parametrize(
    "text",
    ["", " ", "||", "^1 ||", "latest", ">=", ">=1.2 <", "1.x.3", "x.1", ">*", "<x", "1.2.3.4", "=>1", ">>1", "1 - 2"],
)
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(InvalidRange):
        Range(text)


def test_precedence_is_that_of_the_specification() -> None:
    # Given the order of section 11, and numbers that text would sort otherwise
    ordered = "1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0 1.10.0"
    versions = [Version.of(tag) for tag in ordered.split()]
    assert versions == sorted(versions, key=lambda version: version or Version((0, 0, 0)))
    assert all(a is not None and b is not None and a < b for a, b in itertools.pairwise(versions))
    assert Version.of("1.0.0-01") == Version.of("v1.0-1_build")


NUMBERS = st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))


@given(NUMBERS, NUMBERS)
def test_caret_and_tilde_say_what_they_stand_for(low: tuple[int, int, int], tag: tuple[int, int, int]) -> None:
    # Given the two as npm defines them: `^` keeps the first number that is not 0, `~` the first two
    text, candidate = (".".join(map(str, each)) for each in (low, tag))
    kept = next((place for place, number in enumerate(low, 1) if number), 3)
    assert covers(f"^{text}", candidate) is (tag >= low and tag[:kept] == low[:kept])
    assert covers(f"~{text}", candidate) is (tag >= low and tag[:2] == low[:2])


@given(st.text(alphabet="0123456789.xX*v-<>=~^| ,abz", max_size=20))
def test_any_text_is_a_range_or_refused(text: str) -> None:
    try:
        found = Range(text)
    except InvalidRange:
        return
    found.covers(Version((1, 2, 3)))
