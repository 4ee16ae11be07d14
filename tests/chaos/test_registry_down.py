"""A registry that is away while images are pushed: everything arrives once it is back, by itself."""

from __future__ import annotations

import time

import pytest

from tests.chaos.conftest import ChaosFactory
from tests.chaos.figures import tell
from tests.chaos.length import length
from tests.chaos.pusher import orders
from tests.chaos.stage import ChaosStage

pytestmark = [pytest.mark.long, pytest.mark.timeout(length(600, 2400))]

PUSHES = length(50, 300)

#: Seconds for which the registry is away.
AWAY = length(15.0, 120.0)

#: Seconds in which all is pushed.
PUSHED = length(300.0, 900.0)

#: Seconds in which all is in order after its return: the longest wait of a row while a registry is away is two minutes.
DEADLINE = length(240.0, 600.0)

DATABASES = length(["sqlite"], ["sqlite", "postgresql"])


def wait(stage: ChaosStage, seconds: float) -> None:
    """Let time pass; whoever dies meanwhile is started again."""
    until = time.monotonic() + seconds
    stage.wait(lambda: time.monotonic() > until, seconds + 30)


@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.parametrize("side", ["secondary is killed", "primary is out of reach"])
def test_all_converges_after_its_return(chaos: ChaosFactory, side: str, database: str) -> None:
    # Given pushes that go on
    stage = chaos(database=database, rate=3_000_000.0)
    planned = orders(PUSHES, stage.rng, repositories=20)
    with stage.pusher(planned, pause=0.5 * AWAY / (PUSHES / 3)) as pusher:
        stage.wait(lambda: pusher.pushed > PUSHES // 5, 120)

        # When a registry goes away for the deployment, and nothing is pushed any more before it is back
        before = pusher.pushed
        if side == "secondary is killed":
            stage.secondary.kill()
        else:
            stage.source.pass_on = False
            stage.source.cut()
        wait(stage, AWAY)
        stage.wait(lambda: pusher.done, PUSHED, stage.tell)
    waiting = stage.rows.waiting()
    if side == "secondary is killed":
        stage.secondary.start()
    else:
        stage.source.pass_on = True

    # Then everything arrives without a further push
    seconds = stage.settle(DEADLINE)
    tell(
        side,
        database=database,
        away=AWAY,
        pushes=len(pusher.acknowledged),
        pushed_before=before,
        waiting_at_its_return=waiting,
        settled_after=seconds,
    )
    assert waiting > 0, "it was not missed"
    stage.judge(pusher.acknowledged).raise_for_faults()


@pytest.mark.parametrize("database", DATABASES)
def test_a_primary_that_is_killed_in_the_middle_of_pushes(chaos: ChaosFactory, database: str) -> None:
    # Given pushes that go on
    stage = chaos(database=database, rate=3_000_000.0)
    planned = orders(PUSHES, stage.rng, repositories=20)
    with stage.pusher(planned, pause=0.1) as pusher:
        stage.wait(lambda: pusher.pushed > PUSHES // 3, 120)

        # When the primary dies with events that it could not deliver, and comes back
        stage.absent.add(stage.web)
        stage.web.kill()
        stage.wait(lambda: stage.primary.pending_notifications() > 1, 60)
        before, lost_events = pusher.pushed, stage.primary.pending_notifications()
        stage.primary.kill()
        stage.absent.discard(stage.web)
        wait(stage, AWAY)
        stage.primary.start()
        stage.wait(lambda: pusher.done, PUSHED, stage.tell)
    assert pusher.failures > 0, "nobody missed it"

    # Then everything arrives: the events of the new process tell that those of the old one may be lost
    seconds = stage.settle(DEADLINE)
    tell(
        "primary killed",
        database=database,
        away=AWAY,
        pushes=len(pusher.acknowledged),
        pushed_before=before,
        lost_events=lost_events,
        failed_pushes=pusher.failures,
        settled_after=seconds,
    )
    stage.judge(pusher.acknowledged).raise_for_faults()
