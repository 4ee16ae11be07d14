"""Line: who waits for a slot in this process, and whose turn it is."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass, field

#: Seconds by which a request counts as younger than it is: small ones go before large blobs, and what somebody waits
#: for before bulk. Added to the time and not put above it, so that nobody waits for ever.
LARGE_PENALTY, BULK_PENALTY = 5.0, 10.0


@dataclass(frozen=True, order=True, slots=True)
class Place:
    """One who waits. `rank` is when it came, by the local clock, plus the penalty for what it is; lowest first."""

    rank: float
    number: int
    large: bool = field(compare=False)

    @classmethod
    def of(cls, now: float, number: int, *, large: bool, bulk: bool) -> Place:
        return cls(now + large * LARGE_PENALTY + bulk * BULK_PENALTY, number, large)


class Line:
    """Places in order. Not locked: the owner's lock does."""

    def __init__(self) -> None:
        self._places: list[Place] = []

    def __bool__(self) -> bool:
        return bool(self._places)

    def join(self, place: Place) -> None:
        insort(self._places, place)

    def leave(self, place: Place) -> None:
        self._places.remove(place)

    def first(self, place: Place) -> bool:
        """Tell whether nobody of the same kind is before this one."""
        return next(other for other in self._places if other.large == place.large) is place

    def ahead(self, place: Place) -> Iterator[Place]:
        """Who is before this one."""
        for other in self._places:
            if other is place:
                return
            yield other
