from __future__ import annotations

import pytest

from app.replication.copying.moving import Moved, Moving

ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64


def test_a_blob_counts_as_it_comes_and_at_its_end_with_its_size() -> None:
    # Given a blob that is expected, and another
    moving = Moving()
    moving.expect(100)
    moving.expect(50)
    assert moving.now == Moved(0, 150)

    # When one comes, in part twice
    with moving.blob(ONE, 100) as sent:
        sent(60)
        assert moving.now == Moved(60, 150)
        sent(60)
        assert moving.now == Moved(100, 150)

    # And the other was there already
    with moving.blob(ONE, 50):
        pass

    # Then both are done
    assert moving.now == Moved(150, 150)


def test_a_blob_that_fails_counts_no_more() -> None:
    # Given
    moving = Moving()
    moving.expect(100)

    # When it breaks off, and comes at the second try
    def broken() -> None:
        with moving.blob(ONE, 100) as sent:
            sent(30)
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        broken()
    assert moving.now == Moved(0, 0)
    moving.expect(100)
    with moving.blob(ONE, 100) as sent:
        sent(100)

    # Then it counts once
    assert moving.now == Moved(100, 100)


def test_the_largest_under_way_is_known_until_it_ends() -> None:
    moving = Moving()
    with moving.blob(ONE, 50), moving.blob(TWO, 100) as sent:
        sent(30)
        largest = moving.largest
        assert largest is not None
        assert (largest.digest, largest.size, largest.came) == (TWO, 100, 30)
    assert moving.largest is None


def test_what_was_there_is_done_and_was_not_sent() -> None:
    moving = Moving()
    moving.expect(150)
    with moving.blob(ONE, 50):
        pass
    with moving.blob(TWO, 100) as sent:
        sent(100)
    assert (moving.now, moving.sent) == (Moved(150, 150), 100)


def test_a_sync_counts_in_its_process() -> None:
    # Given two syncs of one process
    whole = Moving()
    one, two = Moving(whole), Moving(whole)
    one.expect(100)
    two.expect(50)

    # When one blob comes, and another is given up
    with one.blob(ONE, 100) as sent:
        sent(40)
        assert whole.now == Moved(40, 150)
    two.expect(-50)

    # Then both are seen in the whole, each by itself
    assert (one.now, two.now, whole.now) == (Moved(100, 100), Moved(0, 0), Moved(100, 100))
