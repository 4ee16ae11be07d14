from __future__ import annotations

import pytest

from app.replication.moving import Moved, Moving


def test_a_blob_counts_as_it_comes_and_at_its_end_with_its_size() -> None:
    # Given a blob that is expected, and another
    moving = Moving()
    moving.expect(100)
    moving.expect(50)
    assert moving.now == Moved(0, 150)

    # When one comes, in part twice
    with moving.blob(100) as received:
        received(60)
        assert moving.now == Moved(60, 150)
        received(60)
        assert moving.now == Moved(100, 150)

    # And the other was there already
    with moving.blob(50):
        pass

    # Then both are done
    assert moving.now == Moved(150, 150)


def test_a_blob_that_fails_counts_no_more() -> None:
    # Given
    moving = Moving()
    moving.expect(100)

    # When it breaks off, and comes at the second try
    def broken() -> None:
        with moving.blob(100) as received:
            received(30)
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        broken()
    assert moving.now == Moved(0, 0)
    moving.expect(100)
    with moving.blob(100) as received:
        received(100)

    # Then it counts once
    assert moving.now == Moved(100, 100)
