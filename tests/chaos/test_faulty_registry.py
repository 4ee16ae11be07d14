"""A primary that fails one request in ten, in every way: all arrives, nothing is deleted, and it is not stormed."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.chaos.checker import Acknowledged
from tests.chaos.faulty import FAULTS, FaultyRegistry
from tests.chaos.figures import tell
from tests.chaos.length import length
from tests.chaos.pusher import orders
from tests.chaos.stage import ChaosStage
from tests.chaos.writes import deletions
from tests.support.keys import TokenAuth

pytestmark = [pytest.mark.long, pytest.mark.timeout(length(2400, 4000))]

PUSHES = length(60, 300)

#: Of the requests to the primary, so many are failed.
SHARE = 0.1

#: What the failing primary may be asked for at most, in multiples of what it is asked for when it does not fail. One
#: failed request in ten costs an image of five requests two tries at the worst, and the pauses cost nothing.
MOST = 3.0

#: Seconds in which everything has to be in order after the last push, the faults going on. Whoever asks us to slow down
#: is asked two things at a time, and a slow loris keeps one of the two waiting for 40 seconds.
DEADLINE = length(700.0, 1200.0)


def test_a_primary_that_fails_one_request_in_ten(tmp_path: Path, token_auth: TokenAuth) -> None:
    stage = ChaosStage(tmp_path, token_auth)
    with FaultyRegistry(stage.primary, seed=stage.seed) as faulty:
        stage.env["GEO_REGISTRY_REPLICATION_PRIMARY_API_URL"] = faulty.url
        with stage:
            # Given how much a primary is asked for that does not fail
            calm, acknowledged = _round(stage, faulty, "calm", 0.0)
            assert not faulty.faults
            stage.checker.note()

            # When it fails, while as much is pushed once more and everything is looked at
            began = time.monotonic()
            stormy, more = _round(stage, faulty, "stormy", SHARE)
            seconds = time.monotonic() - began
            stage.checker.note()

            # Then all is in order while it still fails, and it was not asked for much more
            tell(
                "faulty primary",
                seed=stage.seed,
                pushes=len(more),
                requests_undisturbed=calm,
                requests_with_faults=stormy,
                multiple=round(stormy / calm, 2),
                faults=dict(faulty.faults),
                seconds=seconds,
            )
            stage.judge([*acknowledged, *more]).raise_for_faults()
            assert not deletions(stage.target.requests)
            assert stormy <= MOST * calm, f"a retry storm: {stormy} requests, undisturbed {calm}"
            assert len(faulty.faults) >= len(FAULTS) - 1, "too few kinds of fault were drawn: the run proves little"


def _round(stage: ChaosStage, faulty: FaultyRegistry, prefix: str, share: float) -> tuple[int, list[Acknowledged]]:
    """Push, have everything listed and looked at, and wait for all of it; requests to the primary, and the pushes."""
    before = faulty.requests
    # The same sizes and tags in both rounds.
    planned = orders(PUSHES, random.Random(stage.seed), prefix=f"{prefix}/app", large=400_000, tags=4)
    faulty.share = share
    with stage.pusher(planned, pause=0.1) as pusher:
        stage.wait(lambda: pusher.done, 300)
    stage.settle(DEADLINE)
    for _ in range(2):
        # The scheduler lists everything, and again when it could not: a command would have to be repeated by hand.
        stage.geo("reconcile")
        stage.wait(lambda: _listed(stage), DEADLINE, stage.tell)
        stage.settle(DEADLINE)
    return faulty.requests - before, pusher.acknowledged


def _listed(stage: ChaosStage) -> bool:
    """Whether the catalog has been walked to its end since it was last asked for."""
    return not stage.rows.ask("SELECT id FROM geo_sites WHERE reconcile_requested_at IS NOT NULL")
