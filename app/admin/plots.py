"""Plots: hours side by side as columns, drawn by the server so that they need neither script nor inline style."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from app.admin.format import clock, duration, number
from app.replication.throughput import Day, Hour
from app.units import size

#: Of a column's place, the share that it fills, in percent.
FILLED = 80.0

#: The least height of what is there at all, in percent of the plot.
LEAST = 2.0

#: Percent of the height between two lines across.
APART = 22.0

#: The shortest lag that a plot tells apart from none, in seconds.
SHORTEST_LAG = 0.1


@dataclass(frozen=True, slots=True)
class Piece:
    """A rectangle, in percent of the plot, measured from its upper left; `kind` is its class."""

    kind: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Column:
    """An hour: its pieces, and what is said of it."""

    title: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Plot:
    """`top` is what its full height stands for; `summary` says in words what it shows."""

    columns: tuple[Column, ...]
    top: str
    summary: str
    #: Heights of lines across, in percent from above, and what they stand for.
    lines: tuple[tuple[float, str], ...] = ()


def throughput_plot(day: Day) -> Plot:
    """References brought in order each hour, with failed tries upon them."""
    most = max((hour.synced + hour.failed for hour in day.hours), default=0) or 1
    columns = []
    for place, hour in enumerate(day.hours):
        parts = [("synced", hour.synced / most), ("failed", hour.failed / most)]
        columns.append(Column(f"{clock(hour.begins_at)}: {_said(hour)}", _stacked(place, len(day.hours), parts)))
    failed = f", {number(day.failed)} failed tries" if day.failed else ""
    summary = (
        f"{number(day.synced)} tags and digests brought in order in 24 hours{failed}, {size(day.bytes_copied)} copied"
    )
    return Plot(tuple(columns), f"{number(most)} an hour", summary)


def lag_plot(day: Day) -> Plot:
    """How long pushes took to be there: the typical one upon the longest of each hour, by powers of ten."""
    longest = day.longest_lag or 0.0
    top = max(longest, 1.0)
    columns = []
    for place, hour in enumerate(day.hours):
        pieces: tuple[Piece, ...] = ()
        if hour.longest_lag is not None:
            high = _logarithmic(hour.longest_lag, top)
            typical = _logarithmic(hour.typical_lag or 0.0, top)
            pieces = _column(place, len(day.hours), [("longest", 0.0, high), ("typical", 0.0, typical)])
        said = "nothing pushed" if hour.longest_lag is None else _lags(hour)
        columns.append(Column(f"{clock(hour.begins_at)}: {said}", pieces))
    summary = f"From push to being there: {_typical(day)} typically, {duration(longest)} at most in 24 hours"
    return Plot(tuple(columns), duration(top), summary, _lines(top))


def _lines(top: float) -> tuple[tuple[float, str], ...]:
    """Round lags to draw a line at, so far apart that their names do not meet."""
    lines: list[tuple[float, str]] = []
    last = 0.0
    for seconds in (3600.0, 600.0, 60.0, 10.0, 1.0):
        height = round(100 - 100 * _logarithmic(seconds, top), 2)
        if seconds < top and height - last >= APART and height <= 100 - APART / 2:
            lines.append((height, duration(seconds)))
            last = height
    return tuple(lines)


def _typical(day: Day) -> str:
    """The middle one of the hours' typical lags."""
    lags = sorted(hour.typical_lag for hour in day.hours if hour.typical_lag is not None)
    return duration(lags[len(lags) // 2]) if lags else "nothing"


def _said(hour: Hour) -> str:
    failed = f", {number(hour.failed)} failed" if hour.failed else ""
    return f"{number(hour.synced)} in order{failed}, {size(hour.bytes_copied)}"


def _lags(hour: Hour) -> str:
    return f"typically {duration(hour.typical_lag)}, at most {duration(hour.longest_lag)}"


def _logarithmic(seconds: float, top: float) -> float:
    """The share of the height that stands for so many seconds."""
    if seconds <= SHORTEST_LAG:
        return LEAST / 100
    return min(1.0, max(LEAST / 100, math.log10(seconds / SHORTEST_LAG) / math.log10(top / SHORTEST_LAG)))


def _stacked(place: int, places: int, parts: Sequence[tuple[str, float]]) -> tuple[Piece, ...]:
    laid_out, below = [], 0.0
    for kind, share in parts:
        height = max(share, LEAST / 100) if share else 0.0
        laid_out.append((kind, below, min(height, 1.0 - below)))
        below += height
    return _column(place, places, laid_out)


def _column(place: int, places: int, parts: Sequence[tuple[str, float, float]]) -> tuple[Piece, ...]:
    """Pieces of a column by kind, begin and height, as shares from below."""
    broad = 100.0 / places
    x, width = place * broad + broad * (100 - FILLED) / 200, broad * FILLED / 100
    return tuple(
        Piece(kind, round(x, 3), round(100 * (1 - begin - height), 2), round(width, 3), round(100 * height, 2))
        for kind, begin, height in parts
        if height > 0
    )
