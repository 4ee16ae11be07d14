"""The workers: none, none of some queues, all there."""

from __future__ import annotations

from pathlib import Path

import pytest

from app import attendance
from app.replication.check import Examination, Id
from app.replication.check import workers as workers_check
from app.replication.check.examination import Skipped
from app.settings import Settings
from tests.replication.check.conftest import only, troubles
from tests.support.deployment import offline_environment
from tests.support.ports import free_port
from tests.support.rabbitmq import RabbitMQ
from tests.support.valkey import Valkey

pytestmark = pytest.mark.timeout(60)


def examination(**env: str) -> Examination:
    return Examination(Settings.from_env(offline_environment("sqlite:///nowhere.db", **env)))


def test_who_serves_is_told_queue_by_queue(valkey: Valkey) -> None:
    # Given a queue that nobody serves
    asked = examination(REDIS_URL=valkey.url)

    # When it is looked at, then no worker is there
    found = only(workers_check.check(asked))
    assert (found.id, found.title, found.fix.startswith("geo worker ")) == (
        Id.WORKERS_MISSING,
        "none runs, or none reaches the queue",
        True,
    )

    # When there are some for what is pushed, then it is told what waits, and how it is served
    with valkey.client(1) as queue:
        for name in ("events", "sync"):
            attendance.tell(queue, name, "first", 4)
        found = only(workers_check.check(asked))
        assert (found.title, found.fix) == (
            "none serves the queues backfill, verification",
            "geo worker --queues backfill,verification",
        )
        assert found.why.endswith("Nothing is verified.")

        # When there are others for the rest, then all is well
        for name in ("backfill", "verification"):
            attendance.tell(queue, name, "second", 4)
        assert troubles(workers_check.check(asked)) == []


def test_where_nothing_is_copied_there_need_be_none(valkey: Valkey) -> None:
    assert workers_check.check(examination(REDIS_URL=valkey.url, GEO_ROLE="primary")) == []


@pytest.mark.parametrize("env", [{}, {"REDIS_URL": "redis://127.0.0.1:{port}/0"}], ids=["none", "gone"])
def test_a_queue_that_cannot_be_asked_is_told_of_elsewhere(env: dict[str, str]) -> None:
    port = free_port()
    with pytest.raises(Skipped):
        workers_check.check(examination(**{name: value.format(port=port) for name, value in env.items()}))


@pytest.mark.long
@pytest.mark.timeout(300)
def test_rabbitmq(tmp_path: Path) -> None:
    with RabbitMQ(tmp_path / "rabbitmq") as server:
        # Given a server on which no queue was ever declared
        asked = examination(BROKER_URL=server.url)
        assert only(workers_check.check(asked)).id is Id.WORKERS_MISSING

        # When a worker serves one of them, then the others are told
        with server.serving("sync"):
            found = only(workers_check.check(asked))
            assert found.fix == "geo worker --queues events,backfill,verification"

            # And all is well once each has somebody
            with server.serving("events", "backfill", "verification"):
                assert troubles(workers_check.check(asked)) == []
