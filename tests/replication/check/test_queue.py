"""The queue: none, gone, refusing, well."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.replication.check import Examination, Id
from app.replication.check import queue as queue_check
from app.settings import Settings
from tests.replication.check.conftest import only, troubles
from tests.support import parts
from tests.support.deployment import offline_environment
from tests.support.ports import free_port
from tests.support.rabbitmq import RabbitMQ
from tests.support.sentinel import Sentinels
from tests.support.valkey import Valkey

pytestmark = pytest.mark.timeout(60)


def examination(**env: str) -> Examination:
    return Examination(Settings.from_env(offline_environment("sqlite:///nowhere.db", **env)))


def test_it_takes_keys_and_forgets_them(valkey: Valkey) -> None:
    # Given a server for both
    found = queue_check.check(examination(REDIS_URL=valkey.url, BROKER_URL=valkey.broker_url))

    # Then all is well, and nothing is left in either
    assert troubles(found) == []
    for number in (0, 1):
        with valkey.client(number) as client:
            assert client.dbsize() == 0


def test_none_is_set() -> None:
    assert only(queue_check.check(examination())).id is Id.QUEUE_MISSING


def test_nobody_listens() -> None:
    found = only(queue_check.check(examination(REDIS_URL=f"redis://:hush@127.0.0.1:{free_port()}/0")))
    assert (found.id, "REDIS_URL" in found.fix, "hush" in repr(found)) == (Id.REDIS_UNREACHABLE, True, False)


def test_rabbitmq_without_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.amqp.find_spec", lambda _name: None)
    found = only(queue_check.check(examination(BROKER_URL=f"amqp://127.0.0.1:{free_port()}")))
    assert (found.id, "geo-registry[rabbitmq]" in found.fix) == (Id.QUEUE_CLIENT, True)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_rabbitmq(tmp_path: Path) -> None:
    with RabbitMQ(tmp_path / "rabbitmq") as server:
        # Given a server that lets us in
        assert troubles(queue_check.check(examination(BROKER_URL=server.url))) == []

        # When the password is another
        found = only(queue_check.check(examination(BROKER_URL=server.url.replace("p%40ss", "hush"))))

        # Then it is told, and the password is not
        assert (found.id, found.subject, "hush" in repr(found)) == (Id.QUEUE_REFUSES, "queue", False)


@pytest.mark.long
def test_sentinels(tmp_path: Path) -> None:
    with Sentinels(tmp_path / "sentinels") as sentinels:
        # Given a master that they know, then it takes keys
        assert troubles(queue_check.check(examination(REDIS_URL=sentinels.url(), BROKER_URL=sentinels.url(1)))) == []

        # When they know none of that name, then that is told
        found = only(queue_check.check(examination(REDIS_URL=sentinels.url().replace("mymaster", "other"))))
        assert (found.id, "other" in found.title) == (Id.REDIS_UNREACHABLE, True)


def test_another_broker_that_is_not_there() -> None:
    parts.library("pika", "pika")
    found = only(queue_check.check(examination(BROKER_URL=f"amqp://127.0.0.1:{free_port()}")))
    assert (found.id, found.subject) == (Id.REDIS_UNREACHABLE, "queue")


def test_it_is_full(tmp_path: Path) -> None:
    # Given a server without room that throws nothing away
    with Valkey(tmp_path / "full", options=("--maxmemory", "1", "--maxmemory-policy", "noeviction")) as server:
        # When it is asked, Then it answers, and is of no use all the same
        assert only(queue_check.check(examination(REDIS_URL=server.url))).id is Id.REDIS_REFUSES
