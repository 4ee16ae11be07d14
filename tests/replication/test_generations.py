from __future__ import annotations

from app.replication.generations import FRESH_FOR, Generations
from tests.support.clock import Clock
from tests.support.deployment import Deployment, event


def test_the_rows_that_are_held_are_read_together_and_not_too_often(state: Deployment) -> None:
    # Given two rows that are held
    for name in ("team/one", "team/two"):
        state.store(event(tag="v1", repository=name, digest="sha256:" + "1" * 64))
    state.mark()
    one, two = state.row("team/one"), state.row("team/two")
    clock = Clock(0.0)
    generations = Generations(clock)
    with generations.holding(one.id), generations.holding(two.id):
        assert generations.of(one.id) == one.generation

        # When both are asked for again, Then it is seen in a moment and not at once
        for name in ("team/one", "team/two"):
            state.store(event(tag="v2", repository=name, digest="sha256:" + "2" * 64))
        state.mark()
        assert generations.of(two.id) == two.generation
        clock.now += FRESH_FOR
        assert generations.of(two.id) == state.row("team/two").generation > two.generation
        assert generations.of(one.id) == state.row("team/one").generation > one.generation


def test_a_row_that_is_taken_anew_is_read_anew(state: Deployment) -> None:
    state.store(event(tag="v1", digest="sha256:" + "1" * 64))
    state.mark()
    row = state.row("team/app")
    generations = Generations(Clock(0.0))
    with generations.holding(row.id):
        generations.of(row.id)
    state.store(event(tag="v1", digest="sha256:" + "2" * 64))
    state.mark()
    with generations.holding(row.id):
        assert generations.of(row.id) == state.row("team/app").generation > row.generation
