"""The judge: whether a series of measurements stays where it is. Pure: numbers in, findings out."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

Point = tuple[float, float]

#: The share of the judged span that one life (a process between two restarts) has to cover to be judged by itself.
LONG = 0.4

#: Two points are compared only if they lie at least this share of the span apart: those beside each other are noise.
APART = 0.2

#: So many points of a life are enough; more are drawn together, each bunch to its median.
POINTS = 120


@dataclass(frozen=True, slots=True)
class Series:
    """What was measured, by x: a time in seconds, or how much had been done by then. A life is what one process had,
    or everything where restarts do not matter."""

    name: str
    unit: str
    lives: tuple[tuple[Point, ...], ...]

    @property
    def values(self) -> list[float]:
        return [value for life in self.lives for _, value in life]

    def within(self, begin: float, end: float) -> Series:
        """That part of it."""
        cut = (tuple(point for point in life if begin <= point[0] <= end) for life in self.lives)
        return Series(self.name, self.unit, tuple(life for life in cut if life))


@dataclass(frozen=True, slots=True)
class Limit:
    """How much a series may rise from one end of what is judged to the other: whichever of the two is more."""

    rise: float
    #: Of the median.
    share: float = 0.0

    def allowed(self, typical: float) -> float:
        return max(self.rise, self.share * abs(typical))


@dataclass(frozen=True, slots=True)
class Rate:
    """How much a series may grow for each unit of x, where it has to grow: rows for each push."""

    per: float


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What no value may exceed."""

    most: float


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of a series."""

    name: str
    unit: str
    typical: float
    most: float
    #: Of x, where that is what counts: otherwise the rise, or the highest value.
    measured: float
    allowed: float
    kind: str
    why: str = ""

    @property
    def holds(self) -> bool:
        return not self.why


def judge(series: Series, limit: Limit | Rate | Ceiling) -> Finding:
    """Hold a series to its limit. What cannot be judged does not hold."""
    values = series.values
    if not values:
        return Finding(series.name, series.unit, 0.0, 0.0, 0.0, 0.0, "nothing", "nothing was measured")
    typical, most = statistics.median(values), max(values)
    if isinstance(limit, Ceiling):
        measured, allowed, kind = most, limit.most, "at most"
    else:
        begins = min(life[0][0] for life in series.lives)
        span = max(life[-1][0] for life in series.lives) - begins
        found = [slope for life in _judged(series, span) if (slope := steepness(life, span)) is not None]
        if not found:
            return Finding(series.name, series.unit, typical, most, 0.0, 0.0, "nothing", "no life is long enough")
        if isinstance(limit, Rate):
            measured, allowed, kind = max(found), limit.per, "each"
        else:
            measured, allowed, kind = max(found) * span, limit.allowed(typical), "rise"
    why = f"{measured:.6g} is more than {allowed:.6g}" if measured > allowed else ""
    return Finding(series.name, series.unit, typical, most, measured, allowed, kind, why)


def steepness(life: Sequence[Point], span: float) -> float | None:
    """The slope of one life: that of most pairs of points, or from its beginning to its end if that is more.

    The first is Theil and Sen's, which a few wild values do not move. It does not see a step near an end either;
    the second does. None if no two points are far enough apart.
    """
    points = thinned(life, POINTS)
    slopes = [
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for place, earlier in enumerate(points)
        for later in points[place + 1 :]
        if later[0] - earlier[0] >= APART * span and later[0] > earlier[0]
    ]
    if not slopes:
        return None
    return max(statistics.median(slopes), _from_end_to_end(points))


def thinned(life: Sequence[Point], most: int) -> list[Point]:
    """At most so many points: of each bunch of neighbours the medians."""
    if len(life) <= most:
        return list(life)
    edges = [round(number * len(life) / most) for number in range(most + 1)]
    bunches = (life[begin:end] for begin, end in pairwise(edges))
    return [
        (statistics.median(x for x, _ in bunch), statistics.median(value for _, value in bunch)) for bunch in bunches
    ]


def _judged(series: Series, span: float) -> Sequence[Sequence[Point]]:
    """The long lives: a leak needs time, and what has just begun still fills its caches."""
    return [life for life in series.lives if life[-1][0] - life[0][0] >= LONG * span]


def _from_end_to_end(points: Sequence[Point]) -> float:
    """From the middle of the first fifth to that of the last."""
    fifth = max(1, len(points) // 5)
    first, last = points[:fifth], points[-fifth:]
    apart = statistics.median(x for x, _ in last) - statistics.median(x for x, _ in first)
    if apart <= 0:
        return 0.0
    return (statistics.median(v for _, v in last) - statistics.median(v for _, v in first)) / apart
