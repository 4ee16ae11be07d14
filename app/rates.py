"""Rates: how many bytes a second may flow, by the time of the day and the day of the week."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

#: The least that a cap may be, in bytes a second: below it a transfer looks like a dead one to the other side.
LEAST = 64_000

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
_UNLIMITED = "unlimited"
_DAY = timedelta(days=1)

_RATE = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)([KMG]i?)?B?(?:/s)?")
_HOURS = re.compile(r"([0-9]{1,2}):([0-9]{2})-([0-9]{1,2}):([0-9]{2})")


class InvalidRates(ValueError):
    """The text is no description of rates; the message says which part and why."""


@dataclass(frozen=True, slots=True)
class Window:
    """Hours of some days of the week and the rate in them. Hours that pass midnight belong to the day they begin on."""

    #: Since midnight. An `end` that is not after the `start` is on the next day.
    start: timedelta
    end: timedelta
    #: Monday is 0.
    days: frozenset[int]
    #: Bytes a second; None is no cap.
    rate: int | None

    def covers(self, local: datetime) -> bool:
        """Tell whether this local time is in the window."""
        since = timedelta(hours=local.hour, minutes=local.minute, seconds=local.second)
        if self.start < self.end:
            return local.weekday() in self.days and self.start <= since < self.end
        if since >= self.start:
            return local.weekday() in self.days
        return since < self.end and (local.weekday() - 1) % 7 in self.days


@dataclass(frozen=True, slots=True)
class Rates:
    """A rate and the windows in which another one holds; of windows that overlap the last one does."""

    base: int | None = None
    windows: tuple[Window, ...] = ()
    zone: tzinfo = UTC

    @classmethod
    def parse(cls, text: str) -> Rates:
        """Read parts that are separated by semicolons: a rate, windows, and a time zone, each of them optional.

        `50M; 08:00-18:00 mon-fri 10M; Europe/Berlin`: a rate is bytes a second (`K`, `M`, `G`, `Ki`, `Mi`, `Gi`) or
        `unlimited`. A window is hours, days (`mon-fri`, `sat,sun`; every day if none are named) and a rate. The zone
        is an IANA name; UTC if there is none.

        Raises:
            InvalidRates: for anything else.
        """
        base: list[int | None] = []
        windows: list[Window] = []
        zones: list[tzinfo] = []
        for part in (part.strip() for part in text.split(";")):
            words = part.split()
            if not words:
                continue
            if ":" in words[0]:
                windows.append(_window(part, words))
            elif len(words) == 1 and words[0][0].isdigit():
                base.append(_rate(part))
            elif len(words) == 1 and words[0].lower() == _UNLIMITED:
                base.append(None)
            else:
                zones.append(_zone(part))
        if len(base) > 1:
            raise InvalidRates("there are two rates without hours: which one holds?")
        if len(zones) > 1:
            raise InvalidRates("there are two time zones")
        return cls(base[0] if base else None, tuple(windows), zones[0] if zones else UTC)

    @property
    def unlimited(self) -> bool:
        """Whether there is never a cap."""
        return self.base is None and all(window.rate is None for window in self.windows)

    def at(self, instant: datetime) -> int | None:
        """Return the bytes a second at this instant (an aware time); None is no cap."""
        local = instant.astimezone(self.zone)
        for window in reversed(self.windows):
            if window.covers(local):
                return window.rate
        return self.base


def _window(part: str, words: list[str]) -> Window:
    match = _HOURS.fullmatch(words[0])
    if match is None or len(words) not in {2, 3}:
        raise InvalidRates(f"{part!r} is no window: write it like 08:00-18:00 mon-fri 10M")
    start, end = _clock(part, match[1], match[2]), _clock(part, match[3], match[4])
    if start in (_DAY, end):
        raise InvalidRates(f"{part!r} has no length: a whole day is 00:00-24:00")
    days = _days(part, words[1]) if len(words) == 3 else frozenset(range(7))
    return Window(start, end, days, _rate(words[-1]))


def _clock(part: str, hours: str, minutes: str) -> timedelta:
    since = timedelta(hours=int(hours), minutes=int(minutes))
    if int(minutes) > 59 or since > _DAY:
        raise InvalidRates(f"{part!r}: {hours}:{minutes} is no time of the day")
    return since


def _days(part: str, text: str) -> frozenset[int]:
    found: set[int] = set()
    for item in text.lower().split(","):
        first, dash, last = item.partition("-")
        if first not in _DAYS or (dash and last not in _DAYS):
            raise InvalidRates(f"{part!r}: {text} are no days: write them like mon-fri or sat,sun")
        place = _DAYS.index(first)
        length = (_DAYS.index(last) - place) % 7 if dash else 0
        found |= {(place + step) % 7 for step in range(length + 1)}
    return frozenset(found)


def _rate(text: str) -> int | None:
    if text.lower() == _UNLIMITED:
        return None
    match = _RATE.fullmatch(text)
    if match is None:
        raise InvalidRates(f"{text!r} is no rate: write bytes a second like 50M (K, M, G, Ki, Mi, Gi), or unlimited")
    rate = int(float(match[1]) * _UNITS[match[2] or ""])
    if rate < LEAST:
        raise InvalidRates(f"{text!r} is less than {LEAST // 1000}K: transfers would look dead to the registry")
    return rate


def _zone(part: str) -> tzinfo:
    if part.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(part)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidRates(
            f"{part!r} is neither a rate, a window nor a time zone that this machine knows (such as Europe/Berlin)"
        ) from None
