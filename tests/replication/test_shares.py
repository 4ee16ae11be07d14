"""Threads are shared out among the sites."""

from __future__ import annotations

import pytest

from app.replication.shares import Shares


def test_a_single_site_has_all_threads() -> None:
    # Given one site, and more takers than a process has threads
    shares = Shares(2, ["berlin"])

    # When they take
    taken = [shares.take("berlin") for _ in range(5)]

    # Then nobody is refused
    assert taken == [True] * 5


@pytest.mark.parametrize(
    ("threads", "names", "most"),
    [(8, ["a", "b"], 7), (8, ["a", "b", "c"], 6), (3, ["a", "b", "c"], 1), (2, ["a", "b", "c", "d"], 1)],
)
def test_one_thread_is_left_for_each_other_site(threads: int, names: list[str], most: int) -> None:
    # Given several sites
    shares = Shares(threads, names)

    # When one takes all that it gets
    taken = [shares.take("a") for _ in range(threads + 1)]

    # Then the others have a thread each, as far as there are so many
    assert taken.count(True) == most


def test_what_is_given_back_can_be_taken_again() -> None:
    # Given a site with all it may have
    shares = Shares(2, ["a", "b"])
    assert shares.take("a")
    assert not shares.take("a")

    # When it gives one back
    shares.give_back("a")

    # Then it may have one again
    assert shares.take("a")


def test_the_site_with_the_fewest_threads_comes_first_and_among_equals_the_one_that_waited_longest() -> None:
    # Given three sites, one of which is at work
    shares = Shares(8, ["a", "b", "c"])
    assert shares.take("a")
    assert shares.order() == ["b", "c", "a"]

    # When one is turned to and had nothing to do
    assert shares.take("b")
    shares.give_back("b")

    # Then the other is next
    assert shares.order() == ["c", "b", "a"]
