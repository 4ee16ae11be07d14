"""Slow: what holds a thread for seconds, in pages and API: one at a time of each kind in every process.

Who finds another at it is told so and does not wait: registries must always find a thread for their events.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from werkzeug.exceptions import ServiceUnavailable

from app.web.slots import Slots

#: Requests at once that talk to registries while somebody waits, and that mark very many repositories.
LOOKING = 1
MARKING = 1

#: Seconds after which one may ask again.
ASK_AGAIN = 2

looking = Slots(LOOKING)
marking = Slots(MARKING)


@contextmanager
def alone(slots: Slots, busy: str) -> Iterator[None]:
    """With a slot of these inside.

    Raises:
        ServiceUnavailable: when there is none; `busy` says what is under way.
    """
    with slots.one() as got:
        if not got:
            raise ServiceUnavailable(f"{busy} Try again in a moment.", retry_after=ASK_AGAIN)
        yield


@contextmanager
def marked() -> Iterator[None]:
    """The same for who marks many repositories."""
    with alone(marking, "Many repositories are being marked already."):
        yield
