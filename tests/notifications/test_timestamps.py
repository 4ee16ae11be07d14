from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.notifications.timestamps import EARLIEST, epoch, moment

#: On a busy machine an example may take its time.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-22T07:29:56Z", datetime(2026, 11, 22, 7, 29, 56, tzinfo=UTC)),
        ("2026-11-22t07:29:56z", datetime(2026, 11, 22, 7, 29, 56, tzinfo=UTC)),
        ("2026-11-22T07:29:56.104349994Z", datetime(2026, 11, 22, 7, 29, 56, 104349, UTC)),
        ("2026-11-22T07:29:56.1+05:30", datetime(2026, 11, 22, 1, 59, 56, 100000, UTC)),
        ("2026-11-22T07:29:56.000001-11:00", datetime(2026, 11, 22, 18, 29, 56, 1, UTC)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2000-01-01T00:00:00Z", EARLIEST),
    ],
)
def test_rfc_3339_becomes_utc(text: str, expected: datetime) -> None:
    assert moment(text) == expected


@pytest.mark.parametrize(
    "value",
    [
        None,
        1700000000,
        "",
        "yesterday",
        "2026-11-22",
        "2026-11-22T07:29:56",
        "2026-11-22T07:29:56Z\n",
        "2026-13-22T07:29:56Z",
        "2026-11-22T07:29:61Z",
        "2026-11-22T07:29:56+24:00",
        "٢٠٢٦-11-22T07:29:56Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "1999-12-31T23:59:59Z",
        "9999-12-31T23:59:60Z",
        "9999-12-31T23:59:59-00:01",
        "2026-11-22T07:29:56." + "1" * 1_000_000 + "Z",
    ],
)
def test_what_cannot_be_a_time_is_none(value: object) -> None:
    assert moment(value) is None


@unhurried
@given(
    st.datetimes(datetime(2000, 1, 2), datetime(9999, 12, 30)),  # noqa: DTZ001
    st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(
        lambda gap: timedelta(minutes=gap // timedelta(minutes=1))
    ),
)
def test_every_offset_is_undone(local: datetime, offset: timedelta) -> None:
    # Given a time written with an offset
    sign = "-" if offset < timedelta() else "+"
    minutes = abs(offset) // timedelta(minutes=1)
    text = f"{local.isoformat(timespec='microseconds')}{sign}{minutes // 60:02}:{minutes % 60:02}"

    # When it is read, then it is that time in UTC
    assert moment(text) == local.replace(tzinfo=UTC) - offset


def test_seconds_since_1970_are_a_time() -> None:
    assert epoch(1586922308) == datetime(2020, 4, 15, 3, 45, 8, tzinfo=UTC)
    assert epoch(int(EARLIEST.timestamp())) == EARLIEST


@pytest.mark.parametrize("value", [None, True, "1586922308", 1586922308.5, 0, -1, 10**12, 10**30, []])
def test_what_is_no_such_time_is_none(value: object) -> None:
    assert epoch(value) is None
