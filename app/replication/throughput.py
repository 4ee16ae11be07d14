"""Throughput: what was brought in order on each site, and how late, hour by hour over a day; from the attempts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from peewee import JOIN, Case, ModelSelect, fn

from app.models import ContainerRepositoryRegistry as Registry
from app.models import SyncAttempt

#: Hours that are told of, the one under way included.
HOURS = 24

#: Attempts that are counted at most, the newest: a page must not wait for a busy day's millions.
MOST = 200_000

#: Seconds for which a count is good enough for whoever looks.
KEPT_FOR = 30.0

#: What counts as just now, for a speed.
RECENT = timedelta(minutes=10)

#: Of the lags of an hour, the share that is at most as long as its typical one.
TYPICAL = 0.5


@dataclass(frozen=True, slots=True)
class Hour:
    """What was done in one hour. References unless it says bytes; lags are seconds from a push to its being there."""

    begins_at: datetime
    synced: int = 0
    failed: int = 0
    bytes_copied: int = 0
    #: The median and the longest; None where nothing that was pushed came.
    typical_lag: float | None = None
    longest_lag: float | None = None


@dataclass(frozen=True, slots=True)
class Day:
    """A site's last hours, the oldest first; the last one is under way."""

    hours: tuple[Hour, ...]
    #: Copied within the last minutes (`RECENT`).
    recent_bytes: int = 0
    #: Whether there were so many attempts that only the newest are counted.
    cut: bool = False

    @property
    def synced(self) -> int:
        return sum(hour.synced for hour in self.hours)

    @property
    def failed(self) -> int:
        return sum(hour.failed for hour in self.hours)

    @property
    def bytes_copied(self) -> int:
        return sum(hour.bytes_copied for hour in self.hours)

    @property
    def longest_lag(self) -> float | None:
        return max((hour.longest_lag for hour in self.hours if hour.longest_lag is not None), default=None)

    @property
    def speed(self) -> float:
        """Bytes a second over the last minutes."""
        return self.recent_bytes / RECENT.total_seconds()


def last_day(sites: Iterable[int], instant: datetime, most: int = MOST) -> dict[int, Day]:
    """The last day of each of these sites (ids), in one statement that reads at most `most` attempts by their index.

    Hours are whole ones by the clock. Call it inside `app.database.connection()`.
    """
    begins = [_hour(instant) - timedelta(hours=ago) for ago in reversed(range(HOURS))]
    found: dict[int, dict[int, tuple[Any, ...]]] = {}
    rows: Any = _counted(_attempts(begins, instant - RECENT, most)).tuples()
    for site_id, hour, *counted in rows:
        found.setdefault(site_id, {})[hour] = tuple(counted)
    counts = [values[0] for by_hour in found.values() for values in by_hour.values()]
    cut = sum(counts) >= most
    return {site_id: _day(begins, found.get(site_id, {}), cut) for site_id in sites}


def _hour(instant: datetime) -> datetime:
    return instant.replace(minute=0, second=0, microsecond=0)


def _attempts(begins: list[datetime], recent: datetime, most: int) -> ModelSelect[SyncAttempt]:
    """The newest attempts of the time, each with its site and hour."""
    # Newest first: most rows are told by few comparisons. The function that would cut the time to its hour is another
    # one in each database.
    newest_first = list(enumerate(begins))[::-1]
    hour = Case(None, [(SyncAttempt.finished_at >= begin, number) for number, begin in newest_first], 0)
    return (
        SyncAttempt.select(
            Registry.site.alias("site_id"),
            hour.alias("hour"),
            Case(None, [(SyncAttempt.outcome == "failed", 1)], 0).alias("failed"),
            SyncAttempt.bytes_copied.alias("bytes"),
            Case(None, [(SyncAttempt.finished_at >= recent, SyncAttempt.bytes_copied)], 0).alias("recent"),
            SyncAttempt.lag_seconds.alias("lag"),
        )
        # Every attempt has its row; an outer join keeps a planner from going through the rows first.
        .join(Registry, JOIN.LEFT_OUTER)
        .where(SyncAttempt.finished_at >= begins[0])
        .order_by(SyncAttempt.finished_at.desc())
        .limit(most)
    )


def _counted(attempts: ModelSelect[SyncAttempt]) -> ModelSelect[SyncAttempt]:
    one: Any = attempts.alias("one")
    lag = one.c.lag
    # Those without a lag stand apart: they say nothing of the others' order.
    place = fn.CUME_DIST().over(partition_by=[one.c.site_id, one.c.hour, lag.is_null()], order_by=[lag])
    columns = (one.c.site_id, one.c.hour, one.c.failed, one.c.bytes, one.c.recent, lag, place.alias("place"))
    ranked: Any = SyncAttempt.select(*columns).from_(one).alias("ranked")
    typical = Case(None, [(ranked.c.place >= TYPICAL, ranked.c.lag)])
    return (
        SyncAttempt.select(
            ranked.c.site_id,
            ranked.c.hour,
            fn.COUNT(ranked.c.hour),
            fn.SUM(ranked.c.failed),
            fn.SUM(ranked.c.bytes),
            fn.SUM(ranked.c.recent),
            fn.MIN(typical),
            fn.MAX(ranked.c.lag),
        )
        .from_(ranked)
        .group_by(ranked.c.site_id, ranked.c.hour)
    )


def _day(begins: list[datetime], by_hour: Mapping[int, tuple[Any, ...]], cut: bool) -> Day:
    hours, recent = [], 0
    for number, begin in enumerate(begins):
        count, failed, size, just_now, typical, longest = by_hour.get(number, (0, 0, 0, 0, None, None))
        hours.append(Hour(begin, int(count) - int(failed), int(failed), int(size), typical, longest))
        recent += int(just_now)
    return Day(tuple(hours), recent, cut)


class Memory:
    """Remembers the last day for a while: a page that refreshes every few seconds must not count it each time.

    One for each process. Threads that come at once may count twice.
    """

    def __init__(self, kept_for: float = KEPT_FOR, clock: Callable[[], float] = time.monotonic) -> None:
        self._kept_for = kept_for
        self._clock = clock
        self._kept: tuple[float, tuple[int, ...], dict[int, Day]] | None = None

    def last_day(self, sites: Sequence[int], instant: datetime) -> dict[int, Day]:
        """As the function, not older than it is kept for."""
        kept, wanted = self._kept, tuple(sites)
        if kept is not None and kept[1] == wanted and self._clock() - kept[0] < self._kept_for:
            return kept[2]
        counted = last_day(wanted, instant)
        self._kept = (self._clock(), wanted, counted)
        return counted
