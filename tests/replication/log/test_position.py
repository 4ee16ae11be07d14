"""Positions as text: what comes back is what was handed out, and anything else is refused."""

from __future__ import annotations

import base64
import json
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.registry.documents import PARTS_LIMIT
from app.replication.log.position import MAX_GAP, UNFENCED, InvalidPosition, Position, missing_between, stretches_of

positions = st.builds(
    lambda last, gaps, log, mark: Position(last, {id_: fence for id_, fence in gaps.items() if id_ < last}, log, mark),
    st.integers(0, 2**63 - 1),
    st.dictionaries(st.integers(1, 500), st.sampled_from([5, 7, 2**40, UNFENCED])),
    st.sampled_from(["", "0f" * 16]),
    st.sampled_from(["", "a1b2c3d4e5f6"]),
)


@given(positions)
def test_a_position_survives_being_handed_out(position: Position) -> None:
    assert Position.decode(position.encode()) == position


def test_the_text_fits_into_a_url_however_long_one_gap_is() -> None:
    position = Position(10**12, dict.fromkeys(range(10**6, 10**6 + MAX_GAP), 12345), "0f" * 16, "a1b2c3d4e5f6")
    assert len(position.encode()) < 200
    assert position.encode().replace("-", "").replace("_", "").isalnum()


def packed(document: object) -> str:
    return base64.urlsafe_b64encode(zlib.compress(json.dumps(document).encode())).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "17",
        "ümlaut",
        "%00",
        packed(17),
        packed([1, "", 5, ""]),
        packed([2, "", 5, "", []]),
        packed([1, "", -5, "", []]),
        packed([1, "", True, "", []]),
        packed([1, "", 2**63, "", []]),
        packed([1, "'; --", 5, "", []]),
        packed([1, "", 5, "", {}]),
        packed([1, "", 5, "", [[1]]]),
        packed([1, "", 5, "", [[5, 1, 3]]]),
        packed([1, "", 5, "", [["1", 1, 3]]]),
        packed([1, "", 10**12, "", [[1, 10**11, 3]]]),
        base64.urlsafe_b64encode(zlib.compress(b" " * 50_000_000)).decode(),
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidPosition):
        Position.decode(text)


def test_a_position_of_things_by_the_million_takes_no_memory() -> None:
    # Given a text that is small until it is unpacked and read
    document = b'[1,"",5,"",[' + b"[]," * PARTS_LIMIT + b"[]]]"
    text = base64.urlsafe_b64encode(zlib.compress(document)).decode()

    # When it is read, Then little more than its characters is made of it
    tracemalloc.start()
    try:
        with pytest.raises(InvalidPosition):
            Position.decode(text)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 8 * 1024 * 1024


def test_stretches_and_what_is_missing() -> None:
    assert stretches_of([5, 1, 2, 3, 9]) == [(1, 3), (5, 5), (9, 9)]
    assert missing_between(2, [3, 5, 8]) == [4, 6, 7]
    assert len(missing_between(0, [10 * MAX_GAP])) == MAX_GAP
