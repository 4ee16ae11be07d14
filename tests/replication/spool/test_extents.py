from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from app.replication.spool.extents import Extents

SIZE = 60

ranges = st.lists(st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)))


@given(ranges)
def test_extents_are_a_set_of_positions(added: list[tuple[int, int]]) -> None:
    # Given ranges in any order, overlapping, touching, empty or backwards
    extents, there = Extents(), set[int]()
    for start, end in added:
        extents.add(start, end)
        there |= set(range(start, end))

    # Then they say what a plain set of positions says
    assert extents.total == len(there)
    gaps = extents.missing(SIZE)
    assert {position for start, end in gaps for position in range(start, end)} == set(range(SIZE)) - there
    assert gaps == sorted(gaps)
    assert all(before[1] < after[0] for before, after in pairwise(gaps))
    for position in range(SIZE):
        reach = extents.reach(position)
        assert set(range(position, reach)) <= there
        assert reach not in there


def test_what_lies_beyond_the_size_is_not_missed() -> None:
    extents = Extents()
    extents.add(10, 20)
    assert extents.missing(5) == [(0, 5)]
    assert extents.missing(15) == [(0, 10)]
