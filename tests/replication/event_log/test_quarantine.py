"""What cannot be read is kept beside the log."""

from __future__ import annotations

import pytest

from app.database import connection
from app.models import QuarantinedEvent
from app.notifications import Quarantined
from app.replication import event_log
from app.replication.event_log import Origin, Stored
from tests.replication.event_log.stage import ORIGIN, ids
from tests.support.deployment import Deployment, event
from tests.support.sessions import at_once

#: A thread that waits for another transaction waits for ever; a test that hangs fails soon.
pytestmark = pytest.mark.timeout(40)


def test_what_cannot_be_read_is_kept_and_counted(state: Deployment) -> None:
    # Given an envelope with one good event and two of rubbish
    rubbish = [Quarantined("bad_event", '{"id": 1}'), Quarantined("bad_event", '{"id": 2}')]

    # When it is stored, and repeated by the registry
    first = event_log.store([event(tag="v1", key="a")], rubbish, ORIGIN)
    event_log.store([event(tag="v1", key="a")], rubbish, ORIGIN)

    # Then the rubbish is there once each, counted, and the good one too
    assert first == Stored(accepted=1, quarantined=2)
    with connection():
        kept = list(QuarantinedEvent.select().order_by(QuarantinedEvent.id))
    assert [row.occurrences for row in kept] == [2, 2]
    assert {row.excerpt for row in kept} == {'{"id": 1}', '{"id": 2}'}
    assert len(ids()) == 1


def test_the_same_rubbish_from_many_senders_is_counted_by_all(state: Deployment) -> None:
    rubbish = [Quarantined("bad_event", f'{{"id": {number}}}') for number in range(10)]

    def send(place: int) -> None:
        event_log.store([], [*rubbish[place:], *rubbish[:place]], ORIGIN)

    at_once(8, send)
    with connection():
        assert [row.occurrences for row in QuarantinedEvent.select()] == [8] * 10


def test_headers_of_any_length_do_not_keep_an_envelope_out(state: Deployment) -> None:
    origin = Origin("x" * 300, 5, content_type="y" * 3000, remote_address="z" * 3000)
    assert event_log.store([], [Quarantined("bad_event", "?")], origin) == Stored(quarantined=1)
