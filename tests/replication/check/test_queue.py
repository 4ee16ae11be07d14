"""The queue: none, gone, refusing, well."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.replication.check import Examination, Id
from app.replication.check import queue as queue_check
from app.settings import Settings
from tests.replication.check.conftest import only, troubles
from tests.support.deployment import offline_environment
from tests.support.ports import free_port
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


def test_another_broker_that_is_not_there() -> None:
    found = only(queue_check.check(examination(BROKER_URL=f"amqp://127.0.0.1:{free_port()}")))
    assert (found.id, found.subject) == (Id.REDIS_UNREACHABLE, "queue")


def test_it_is_full(tmp_path: Path) -> None:
    # Given a server without room that throws nothing away
    with Valkey(tmp_path / "full", options=("--maxmemory", "1", "--maxmemory-policy", "noeviction")) as server:
        # When it is asked, Then it answers, and is of no use all the same
        assert only(queue_check.check(examination(REDIS_URL=server.url))).id is Id.REDIS_REFUSES
