"""Rates by the time of the day: how they are written, and which one holds when."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from app.rates import InvalidRates, Rates


def at(text: str, when: str, zone: str = "UTC") -> int | None:
    return Rates.parse(text).at(datetime.fromisoformat(when).replace(tzinfo=ZoneInfo(zone)))


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("", None),
        ("unlimited", None),
        ("50M", 50_000_000),
        ("1.5M", 1_500_000),
        ("64K", 64_000),
        ("1Gi", 1024**3),
        ("100MB/s", 100_000_000),
        ("125000", 125_000),
    ],
)
def test_a_rate_alone_always_holds(text: str, rate: int | None) -> None:
    assert at(text, "2026-03-02T12:00") == rate
    assert Rates.parse(text).unlimited == (rate is None)


# The 2nd of March 2026 is a Monday.
@pytest.mark.parametrize(
    ("when", "rate"),
    [
        ("2026-03-02T07:59:59", 50_000_000),
        ("2026-03-02T08:00", 10_000_000),
        ("2026-03-06T17:59:59", 10_000_000),
        ("2026-03-06T18:00", 50_000_000),
        ("2026-03-07T12:00", 50_000_000),
    ],
)
def test_a_window_holds_in_its_hours_and_days(when: str, rate: int) -> None:
    assert at("50M; 08:00-18:00 mon-fri 10M", when) == rate


@pytest.mark.parametrize(
    ("when", "rate"),
    [
        ("2026-03-06T21:59", None),
        ("2026-03-06T22:00", 1_000_000),
        ("2026-03-07T05:59", 1_000_000),
        ("2026-03-07T06:00", None),
        ("2026-03-07T23:00", None),
        ("2026-03-08T01:00", None),
    ],
)
def test_hours_past_midnight_belong_to_the_day_they_begin_on(when: str, rate: int | None) -> None:
    assert at("22:00-06:00 fri 1M", when) == rate


def test_of_windows_that_overlap_the_last_one_counts() -> None:
    text = "1M; 00:00-24:00 2M; 12:00-13:00 unlimited; 12:30-12:45 sat,sun 3M"
    assert at(text, "2026-03-02T11:00") == 2_000_000
    assert at(text, "2026-03-02T12:30") is None
    assert at(text, "2026-03-08T12:30") == 3_000_000


def test_days_may_pass_the_end_of_the_week() -> None:
    assert at("5M; 00:00-24:00 sat-mon 1M", "2026-03-02T10:00") == 1_000_000
    assert at("5M; 00:00-24:00 sat-mon 1M", "2026-03-03T10:00") == 5_000_000


def test_times_are_those_of_the_zone() -> None:
    # Given working hours in Berlin, an hour before UTC's in winter and two in summer
    text = "50M; 08:00-18:00 mon-fri 10M; Europe/Berlin"

    # Then
    assert at(text, "2026-03-02T07:30") == 10_000_000
    assert at(text, "2026-03-02T06:30") == 50_000_000
    assert at(text, "2026-07-06T06:30") == 10_000_000
    assert at(text, "2026-03-02T08:30", "Europe/Berlin") == 10_000_000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fast", "'fast' is neither a rate, a window nor a time zone"),
        ("50X", "'50X' is no rate"),
        ("0", "less than 64K"),
        ("10K", "less than 64K"),
        ("50M; 60M", "two rates"),
        ("UTC; Europe/Berlin", "two time zones"),
        ("08:00-18:00", "no window"),
        ("8-18 10M", "neither"),
        ("08:00-25:00 10M", "no time of the day"),
        ("08:60-10:00 10M", "no time of the day"),
        ("08:00-08:00 10M", "no length"),
        ("24:00-08:00 10M", "no length"),
        ("08:00-18:00 workdays 10M", "are no days"),
        ("08:00-18:00 mon-fri", "no rate"),
        ("08:00-18:00 mon-fri 10M now", "no window"),
        ("Mars/Olympus", "time zone"),
        ("../../etc/passwd", "time zone"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    with pytest.raises(InvalidRates, match=said):
        Rates.parse(text)
