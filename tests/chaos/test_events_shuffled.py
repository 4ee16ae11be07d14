"""Events that come three times and in any order, bursts, and pushes in mid-copy: the last digest wins."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.chaos.checker import Acknowledged
from tests.chaos.figures import tell
from tests.chaos.length import length
from tests.chaos.pusher import orders
from tests.chaos.repeater import Repeater
from tests.chaos.stage import ChaosStage
from tests.chaos.writes import tags
from tests.support import images
from tests.support.deployment import SECRET
from tests.support.keys import TokenAuth
from tests.support.registries import Endpoint
from tests.support.wait import wait_until
from tests.support.wire import push, push_blob, push_manifest

pytestmark = [pytest.mark.long, pytest.mark.timeout(length(600, 1800))]

PUSHES = length(80, 300)

#: Times that each event is delivered, and seconds by which one is late at most: a dozen others overtake it.
COPIES, LATEST = 3, 2.0

#: Pushes of one tag in a burst, which is what takes less time than a copy, and how often it may be copied.
BURST, MOST_COPIES = 20, 3

DEADLINE = length(200.0, 400.0)


@contextmanager
def repeating(tmp_path: Path, token_auth: TokenAuth) -> Iterator[tuple[ChaosStage, Repeater]]:
    """A deployment to which each event comes `COPIES` times, shuffled."""
    stage = ChaosStage(tmp_path, token_auth)
    with Repeater(stage.post, copies=COPIES, latest=LATEST, rng=stage.rng) as repeater:
        stage.primary.notify = (Endpoint(repeater.url, SECRET, ignore=True),)
        with stage:
            yield stage, repeater


def settle(stage: ChaosStage, repeater: Repeater) -> float:
    """Wait until all events have come, and all is in order."""
    began = time.monotonic()
    stage.wait(lambda: not stage.primary.pending_notifications() and not repeater.waiting, DEADLINE, stage.tell)
    stage.settle(DEADLINE)
    return time.monotonic() - began


def test_events_that_come_three_times_and_in_any_order(tmp_path: Path, token_auth: TokenAuth) -> None:
    with repeating(tmp_path, token_auth) as (stage, repeater):
        # When tags are moved again and again
        planned = orders(PUSHES, stage.rng, repositories=6, tags=3, large=300_000)
        with stage.pusher(planned) as pusher:
            stage.wait(lambda: pusher.done, 300)
        seconds = settle(stage, repeater)

        # Then each stands on what was pushed last, each event is in the log once, and no tag was written more often
        # than it was pushed
        written = tags(stage.target.requests)
        tell(
            "events three times, shuffled",
            seed=stage.seed,
            pushes=len(pusher.acknowledged),
            events=repeater.events,
            delivered=repeater.delivered,
            overtaken=repeater.overtaken,
            in_the_log=stage.rows.events(),
            tags_written=written.total(),
            settled_after=seconds,
        )
        stage.judge(pusher.acknowledged).raise_for_faults()
        assert repeater.delivered == COPIES * repeater.events
        assert repeater.overtaken > repeater.events / 2, "the events came in order: the run proves little"
        assert stage.rows.events() == repeater.events
        pushed = tags(f"PUT /v2/{each.repository}/manifests/{each.tag}" for each in pusher.acknowledged)
        assert written <= pushed, f"written more often than pushed: {written - pushed}"


def test_twenty_pushes_of_one_tag_in_a_burst(tmp_path: Path, token_auth: TokenAuth) -> None:
    with repeating(tmp_path, token_auth) as (stage, repeater):
        # Given images of which only the manifests are still to be pushed, and a copy that takes longer than that
        repeater.latest = 0.0
        pushed = [images.image(count=2) for _ in range(BURST)]
        for image in pushed:
            for blob in image.blobs:
                push_blob(stage.primary, "team/burst", blob.data)
        gate = threading.Event()
        stage.source.rule("^GET /v2/team/burst/blobs/", gate=gate)

        # When one tag is moved to all of them, one after the other
        began = time.monotonic()
        for image in pushed:
            push_manifest(stage.primary, "team/burst", "v1", image)
        seconds = time.monotonic() - began
        gate.set()
        settled = settle(stage, repeater)

        # Then it stands on the last, after a few copies
        copies = tags(stage.target.requests)["team/burst", "v1"]
        tell(
            "burst",
            pushes=BURST,
            burst_seconds=seconds,
            events=repeater.delivered,
            copies=copies,
            settled_after=settled,
        )
        stage.judge([Acknowledged("team/burst", "v1", pushed[-1].digest)]).raise_for_faults()
        assert 1 <= copies <= MOST_COPIES


def test_a_push_in_mid_copy(tmp_path: Path, token_auth: TokenAuth) -> None:
    with repeating(tmp_path, token_auth) as (stage, repeater):
        # Given a copy that is held up in the middle of a blob
        gate = threading.Event()
        held = stage.source.rule("^GET /v2/team/mid/blobs/", gate=gate, times=1)
        push(stage.primary, "team/mid", "v1", images.image(count=3, size=200_000))
        wait_until(held.arrived.is_set, 60, stage.tell)

        # When the tag is moved meanwhile, and only then the copy goes on
        last = push(stage.primary, "team/mid", "v1", images.image(count=3, size=200_000))
        wait_until(lambda: stage.rows.events() == 2, 60, stage.tell)
        gate.set()
        seconds = settle(stage, repeater)

        # Then it stands on what was pushed last
        copies = tags(stage.target.requests)["team/mid", "v1"]
        tell("push in mid-copy", copies=copies, settled_after=seconds)
        stage.judge([Acknowledged("team/mid", "v1", last)]).raise_for_faults()
        assert 1 <= copies <= 2
