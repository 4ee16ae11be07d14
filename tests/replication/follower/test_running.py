"""One follows, another takes over, and it ends with its process or its site."""

from __future__ import annotations

import threading

import pytest

from app.database import connection, now
from app.models import Follower as Row
from app.models import Lease
from app.replication import follower as following
from app.replication import sites
from app.replication.log import LogUnavailable
from tests.replication.follower.stage import SITE, follower, reading, row, running, tags, told
from tests.support.deployment import Deployment
from tests.support.wait import wait_until

pytestmark = pytest.mark.timeout(60)


def _linger() -> None:
    threading.Event().wait(0.01)


def test_one_follows_and_another_takes_over_when_it_ends(state: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "STANDBY", 0.02)
    # Given two that run, with logs that wait a little
    (one, first), (other, second) = follower(state), follower(state)
    for log in (first, second):
        log.before = _linger
    with running(one):
        wait_until(lambda: len(first.asked) > 3)
        with running(other):
            wait_until(lambda: len(first.asked) > 20)
            assert second.asked == []

            # When the first ends
            one.stop.set()

            # Then the other follows
            wait_until(lambda: len(second.asked) > 3)


@pytest.mark.parametrize("while_it_reads", [True, False])
def test_it_ends_when_its_site_is_promoted_and_leaves_nothing_behind(
    state: Deployment, while_it_reads: bool, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a follower that has begun
    one, log = follower(state, reading("1"))
    one.step()

    # When its site becomes the primary, while it reads, or before
    def promote() -> None:
        sites.promote(SITE, state.context.settings, give_up=True)

    if while_it_reads:
        log.said = [reading("2", [told(2, "v2")])]
        log.before = promote
    else:
        promote()
    with running(one) as thread:
        thread.join(30)

        # Then it has ended by itself, and said why
        assert not thread.is_alive()
    assert "followed no more" in caplog.text

    # And has written nothing of the former primary's, nor a row that a later promotion would wait for
    assert tags() == []
    with connection():
        assert Row.select().count() == 0


def test_a_process_that_ends_while_it_waits_gives_the_lease_up(state: Deployment) -> None:
    # Given a follower that waits for the primary
    one, log = follower(state)
    waiting, end = threading.Event(), threading.Event()

    def wait() -> None:
        waiting.set()
        end.wait(30)

    log.before = wait
    with running(one):
        try:
            waiting.wait(20)

            # When its process cannot wait for it
            one.let_go()

            # Then the lease is free
            with connection():
                lease = Lease.get(Lease.name == f"follower:{state.site.id}")
                assert lease.owner is None
                assert lease.expires_at <= now()
        finally:
            one.stop.set()
            end.set()


def test_a_log_that_cannot_be_read_is_tried_again_and_said(state: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a primary that is away, twice
    monkeypatch.setattr(following, "BACKOFF", (0.01, 0.02))
    gone = LogUnavailable("GET primary: connection refused", "unreachable")
    one, log = follower(state, gone, gone, reading("p0"))
    one._delay = 0.01
    failures: list[str | None] = []

    def note() -> None:
        with connection():
            failures.append(Row.get().failure)
        _linger()

    log.before = note
    with running(one):
        wait_until(lambda: row().position == "p0")

    # Then it was said while it was so, and no longer
    assert failures[:3] == [None, str(gone), str(gone)]
    assert (row().failure, row().failing_since) == (None, None)
