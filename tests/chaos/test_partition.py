"""The network between two deployments is cut: the site catches up after it is healed, and does nothing twice."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.apart import Apart
from tests.chaos.checker import Acknowledged, Unreadable
from tests.chaos.figures import tell
from tests.chaos.length import length
from tests.chaos.pusher import Order, Pusher
from tests.chaos.writes import blobs, tags
from tests.support.wait import wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(length(600, 1800))]

#: Pushes before the cut, and pushes during it; each of a tag of its own.
BEFORE, DURING = length((10, 30), (50, 200))

#: Cuts, and seconds that each lasts at least: longer than a look at the feed, so that some of them hang.
CUTS, SECONDS = length(2, 5), length(40.0, 90.0)

#: Seconds in which everything has to be in order after the network is back: transfers that hang time out first.
DEADLINE = length(240.0, 400.0)

#: Seconds between two looks at it, each of which costs the deployments something.
LOOK = 0.5


def test_a_site_that_is_cut_off_catches_up_and_does_nothing_twice(tmp_path: Path) -> None:
    with Apart(tmp_path) as apart:
        # Given a site that follows
        acknowledged = push(apart, "before", BEFORE)
        settle(apart)

        # When it is cut off, again and again, each time with copies under way, and images are pushed meanwhile
        told, caught_up = [], []
        for number in range(CUTS):
            with Pusher(apart.primary, orders(f"cut{number}", DURING), pause=0.1) as pusher:
                wait_until(lambda: pusher.pushed > 5, 60, apart.tell)
                apart.place.cut()
                cut_at = time.monotonic()
                wait_until(lambda: pusher.done, 120)
            # Then nothing comes, and the site says why
            wait_until(lambda: follower(apart).get("failure"), 120, apart.tell)
            told.append(str(follower(apart)["failure"]))
            wait_until(lambda at=cut_at: time.monotonic() - at > SECONDS, SECONDS + 5)  # type: ignore[misc]
            behind = apart.log.events() - apart.rows.events()
            assert behind > 0, "nothing was pushed while it was cut off: the run proves little"
            acknowledged += pusher.acknowledged

            # And when the network is back, it catches up by itself
            apart.place.heal()
            caught_up.append(settle(apart))
        apart.checker.note()

        # Then all is there, each event once, and each tag and blob written once
        written, uploaded = tags(apart.secondary.requests), blobs(apart.secondary.requests)
        pushed = Counter((each.repository, each.tag) for each in acknowledged)
        tell(
            "network partition",
            cuts=CUTS,
            pushes=pushed.total(),
            events_there=apart.rows.events(),
            events_here=apart.log.events(),
            tags_written=written.total(),
            blobs_uploaded=uploaded.total(),
            caught_up_after=[round(seconds, 1) for seconds in caught_up],
            said_when_cut=told[0][:120],
        )
        verdict = apart.checker.judge(acknowledged)
        tell("verdict", of=verdict.figures)
        verdict.raise_for_faults()
        assert apart.rows.events() == apart.log.events()
        assert written == pushed, f"twice: {written - pushed}, not at all: {pushed - written}"
        assert max(uploaded.values()) == 1, f"uploaded twice: {[each for each in uploaded if uploaded[each] > 1]}"
        assert follower(apart)["reset_reason"] is None


def orders(prefix: str, count: int) -> list[Order]:
    return [Order(f"{prefix}/app-{number % 5}", f"v{number}", (20_000, 400_000)) for number in range(count)]


def push(apart: Apart, prefix: str, count: int) -> list[Acknowledged]:
    with Pusher(apart.primary, orders(prefix, count)) as pusher:
        wait_until(lambda: pusher.done, 120, apart.tell)
        return pusher.acknowledged


def settle(apart: Apart) -> float:
    """Wait until the site has read and copied everything; the seconds that it took."""
    began = looked = time.monotonic()

    def settled() -> bool:
        nonlocal looked
        if time.monotonic() - looked < LOOK:
            return False
        looked = time.monotonic()
        return not unsettled(apart)

    wait_until(settled, DEADLINE, lambda: f"{unsettled(apart)}\n{apart.tell()}")
    return time.monotonic() - began


def unsettled(apart: Apart) -> str:
    """Say why not everything is in order yet; empty when it is."""
    try:
        if waiting := apart.primary.pending_notifications():
            return f"{waiting} notifications wait in the primary"
        if behind := apart.log.events() - apart.rows.events():
            return f"{behind} events were not heard of"
        if unread := apart.rows.unread():
            return f"{unread} events are unread"
        if waiting := apart.rows.waiting():
            return f"{waiting} rows wait: {apart.rows.states()}"
        return f"held: {held}" if (held := apart.rows.leases()) else ""
    except Unreadable as error:
        return str(error)


def follower(apart: Apart) -> dict[str, Any]:
    """How the site follows, as it says itself."""
    document, _ = json.JSONDecoder().raw_decode(apart.two.geo("status", "--json"))
    return dict(document["sites"][0]["follower"] or {})
