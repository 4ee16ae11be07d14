"""Extents: which bytes of a blob are there."""

from __future__ import annotations

from bisect import bisect_left


class Extents:
    """A set of positions, kept as sorted ranges `[start, end)` that neither touch nor overlap."""

    def __init__(self) -> None:
        self._ranges: list[tuple[int, int]] = []

    def add(self, start: int, end: int) -> None:
        """Take in a range; ranges that meet become one."""
        if start >= end:
            return
        first = bisect_left(self._ranges, start, key=lambda kept: kept[1])
        last = first
        while last < len(self._ranges) and self._ranges[last][0] <= end:
            start, end = min(start, self._ranges[last][0]), max(end, self._ranges[last][1])
            last += 1
        self._ranges[first:last] = [(start, end)]

    def reach(self, position: int) -> int:
        """Return the end of what is there without a gap from `position` on; `position` itself if nothing is."""
        place = bisect_left(self._ranges, position + 1, key=lambda kept: kept[1])
        if place < len(self._ranges) and self._ranges[place][0] <= position:
            return self._ranges[place][1]
        return position

    def missing(self, size: int) -> list[tuple[int, int]]:
        """Return the ranges below `size` that are not there, in order."""
        gaps, position = [], 0
        for start, end in self._ranges:
            if position < min(start, size):
                gaps.append((position, min(start, size)))
            position = end
        if position < size:
            gaps.append((position, size))
        return gaps

    @property
    def total(self) -> int:
        """How many positions are there."""
        return sum(end - start for start, end in self._ranges)
