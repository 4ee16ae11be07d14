from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import pytest

from app import correlation


@pytest.mark.parametrize("text", ["a", "0f8fad5b-d9cb-469f-a165-70867728950e", "req_1.2:3/4+5=@6", "f" * 128])
def test_usual_ids_are_accepted(text: str) -> None:
    assert correlation.accepted(text) == text


def test_our_own_ids_are_accepted() -> None:
    made = correlation.new()
    assert correlation.accepted(made) == made
    assert made != correlation.new()


@pytest.mark.parametrize(
    "text", [None, "", " ", "a b", "a\r\nX-Evil: 1", 'a"b', "a,b", "é", "-a", "f" * 129, "a\n", 7, {"a": 1}]
)
def test_what_could_be_more_than_an_id_is_not(text: object) -> None:
    assert correlation.accepted(text) is None


@pytest.mark.parametrize(
    ("text", "id_"),
    [
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "0af7651916cd43dd8448eb211c80319c"),
        ("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00-more", "0af7651916cd43dd8448eb211c80319c"),
        ("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", None),
        (f"00-{'0' * 32}-b7ad6b7169203331-01", None),
        ("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", None),
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n", None),
        ("0af7651916cd43dd8448eb211c80319c", None),
        (None, None),
    ],
)
def test_the_trace_of_a_caller_is_an_id_too(text: str | None, id_: str | None) -> None:
    assert correlation.traced(text) == id_


def test_ids_are_new_each_time() -> None:
    made = {correlation.new() for _ in range(1000)}
    assert len(made) == 1000
    assert all(correlation.accepted(id_) == id_ for id_ in made)


def test_code_runs_for_one_occasion_at_a_time() -> None:
    assert correlation.current() is None
    with correlation.bound("outer"):
        with correlation.bound("inner"):
            assert correlation.current() == "inner"
        with correlation.bound(None):
            assert correlation.current() == "outer"
    assert correlation.current() is None


def test_a_message_brings_its_own_job() -> None:
    bound = correlation.bind("an-id", "a-job")
    assert (correlation.current(), correlation.job()) == ("an-id", "a-job")
    correlation.release(bound)
    assert (correlation.current(), correlation.job()) == (None, None)


def test_threads_run_for_nobody_unless_the_context_is_handed_to_them() -> None:
    with ThreadPoolExecutor(1) as threads, correlation.bound("an-id"):
        assert threads.submit(correlation.current).result() is None
        assert threads.submit(copy_context().run, correlation.current).result() == "an-id"
