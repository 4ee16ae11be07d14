from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from app.admin.plots import Plot, lag_plot, throughput_plot
from app.replication.throughput import Day, Hour

MIDNIGHT = datetime(2026, 7, 1, tzinfo=UTC)


def day(*hours: Hour) -> Day:
    empty = [Hour(MIDNIGHT + timedelta(hours=number)) for number in range(24 - len(hours))]
    return Day((*empty, *hours))


def within(plot: Plot) -> bool:
    pieces = [piece for column in plot.columns for piece in column.pieces]
    return all(
        piece.x >= 0 and piece.x + piece.width <= 100 and piece.y >= -0.01 and piece.y + piece.height <= 100.01
        for piece in pieces
    )


def test_failures_stand_upon_what_was_done_and_one_among_many_is_seen() -> None:
    # Given an hour in which one try of ten thousand failed
    plot = throughput_plot(day(Hour(MIDNIGHT, synced=9999, failed=1, bytes_copied=1024)))
    # Then it has a height that can be seen, and nothing stands out of the frame
    synced, failed = plot.columns[-1].pieces
    assert (synced.kind, failed.kind) == ("synced", "failed")
    assert failed.height > 0
    assert failed.y < synced.y
    assert within(plot)
    assert plot.columns[-1].title == "00:00: 9,999 in order, 1 failed, 1.0 KiB"
    assert "9,999 tags and digests" in plot.summary
    assert all(column.pieces == () for column in plot.columns[:-1])


@pytest.mark.parametrize("longest", [0.0, 0.05, 0.4, 2.4, 61.0, 5000.0, 400_000.0])
def test_lags_of_all_lengths_stay_within_the_frame_and_are_told_truly(longest: float) -> None:
    plot = lag_plot(day(Hour(MIDNIGHT, synced=3, typical_lag=longest / 2, longest_lag=longest)))
    assert within(plot)
    high, typical = plot.columns[-1].pieces
    assert high.height >= typical.height > 0
    # Lines are as far apart as their names are high
    heights = [height for height, _ in plot.lines]
    assert all(later - earlier >= 20 for earlier, later in itertools.pairwise(heights))


def test_a_short_lag_is_not_told_as_the_scale_above_it() -> None:
    plot = lag_plot(day(Hour(MIDNIGHT, synced=1, typical_lag=0.2, longest_lag=0.3)))
    assert "300 ms at most" in plot.summary
    assert plot.top == "1.0 s"


def test_a_day_without_any_lag_has_no_columns() -> None:
    plot = lag_plot(day())
    assert all(column.pieces == () for column in plot.columns)
    assert len(plot.columns) == 24
