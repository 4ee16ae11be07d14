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


@pytest.mark.parametrize(
    ("threads", "names", "held"),
    [
        (8, "abc", {"a": 6, "b": 1, "c": 1}),
        (8, "abcd", {"a": 5, "b": 1, "c": 1, "d": 1}),
        (4, "ab", {"a": 3, "b": 1}),
        (3, "abc", {"a": 1, "b": 1, "c": 1}),
    ],
)
def test_sites_that_take_all_they_can_leave_one_for_each_that_has_none(
    threads: int, names: str, held: dict[str, int]
) -> None:
    # Given several sites
    shares = Shares(threads, list(names))

    # When one after the other takes all that it gets and gives nothing back
    taken = {name: [shares.take(name) for _ in range(threads + 1)].count(True) for name in names}

    # Then the last has one as well
    assert taken == held


def test_with_fewer_threads_than_sites_each_has_one_and_the_next_is_for_who_waited_longest() -> None:
    # Given two threads and three sites, of which two answer nobody
    shares = Shares(2, ["a", "b", "c"])
    assert [shares.take(name) for name in shares.order()[:2]] == [True, True]

    # When one of them lets go
    shares.give_back("a")

    # Then it is the third one's turn, and the first may not go before it with a second thread
    assert shares.order() == ["c", "a", "b"]
    assert not shares.take("b")
    assert shares.take("c")


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
