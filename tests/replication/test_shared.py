from __future__ import annotations

import logging

import pytest

from app.replication.shared import Shared
from tests.support.valkey import Valkey


def test_a_refusal_is_told_once_and_silences_nothing(valkey: Valkey, caplog: pytest.LogCaptureFixture) -> None:
    # Given a key of another kind than is expected
    shared = Shared(valkey.url)
    shared.client.set("key", "text")

    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert shared.ask(lambda client: client.zscore("key", "member") is None, False) is False

    # Then other questions are answered, and one line tells of it
    assert shared.ask(lambda client: client.get("key"), None) == b"text"
    assert len(caplog.records) == 1
    shared.close()


def test_a_dead_server_is_left_alone_for_a_while(valkey: Valkey) -> None:
    now = 0.0
    shared = Shared(valkey.url, clock=lambda: now)
    valkey.kill()
    assert shared.ask(lambda client: bool(client.ping()), False) is False

    valkey.start()
    assert shared.ask(lambda client: bool(client.ping()), False) is False
    now = 60.0
    assert shared.ask(lambda client: bool(client.ping()), False) is True
    shared.close()
