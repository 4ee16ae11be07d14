"""Parts of the emulators' tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.receivers import Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Where notifications go."""
    with Receiver() as receiver:
        yield receiver
