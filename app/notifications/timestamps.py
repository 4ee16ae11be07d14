"""When something happened, as RFC 3339 writes it or in seconds since 1970."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

#: Before this no registry existed; Go's zero time (year 1) is what an unset clock sends.
EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)

_RFC_3339: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,30}))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)


def moment(value: object) -> datetime | None:
    """An RFC 3339 time in UTC, nanoseconds cut to microseconds; None if it cannot be one.

    None too for a time before `EARLIEST` or one that leaves the calendar in UTC: better the receiver's
    own clock than a lag of two thousand years.
    """
    match = _RFC_3339.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    *clock, second = (int(part) for part in match.groups()[:6])
    fraction, sign, hours, minutes = match.groups()[6:]
    # A leap second, 23:59:60, is valid RFC 3339 and no datetime.
    leap = timedelta(seconds=1 if second == 60 else 0)
    try:
        offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
        zone = timezone(-offset if sign == "-" else offset)
        year, month, day, hour, minute = clock
        micro = int((fraction or "0").ljust(6, "0")[:6])
        local = datetime(year, month, day, hour, minute, min(second, 59) if leap else second, micro, zone)
        time = (local + leap).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return time if time >= EARLIEST else None


def epoch(value: object) -> datetime | None:
    """A time as whole seconds since 1970, under the same conditions as `moment`."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    try:
        time = datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return time if time >= EARLIEST else None
