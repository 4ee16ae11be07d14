from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from dramatiq.brokers.stub import StubBroker

from tests.support.wait import wait_until


@pytest.fixture
def heard(stub_broker: StubBroker) -> Iterator[list[int]]:
    """What reached the handler that Dramatiq would have installed."""
    before = signal.getsignal(signal.SIGTERM)
    heard: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    yield heard
    signal.signal(signal.SIGTERM, before)


def test_signals_that_come_together_count_once(
    heard: list[int], stub_broker: StubBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given
    from workers.middleware import FirstSignalOnly

    FirstSignalOnly().after_process_boot(stub_broker)

    # When a group and a parent both say it
    for _ in range(3):
        signal.raise_signal(signal.SIGTERM)

    # Then it was said once
    assert heard == [signal.SIGTERM]

    # And much later it means "at once"
    monkeypatch.setattr(FirstSignalOnly, "TOGETHER", 0.0)
    signal.raise_signal(signal.SIGTERM)
    wait_until(lambda: len(heard) == 2)
