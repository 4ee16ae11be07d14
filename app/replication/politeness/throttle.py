"""Throttle: how much a registry that asked for less takes now. It grows while all is well and halves when it is not."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Literal

#: A limit never falls below: large blobs may have one slot, and small requests need another.
LEAST = 2

#: Seconds between two steps up, and steps from nothing to the maximum at least.
INTERVAL = 1.0
STEPS = 32

#: Seconds to pause after a 429 that names none, doubled for each that follows without a step up between, and the most.
PAUSE = 1.0
LONGEST = 30.0

#: Seconds without any news after which a limit is forgotten.
FORGOTTEN = 600.0

Kind = Literal["429", "503", "floor"]


@dataclass(frozen=True, slots=True)
class Signal:
    """A registry asked us to slow down."""

    kind: Kind
    #: Seconds that it wants to be left alone, None if it did not say.
    wait: float | None
    #: Seconds since the request was sent that it answered so.
    age: float
    #: Requests of this process under way at the time.
    in_flight: int


@dataclass(frozen=True, slots=True)
class Throttle:
    """The limit of requests at once, for all processes. Times are seconds by the clock of who keeps it."""

    limit: int
    lowered_at: float
    raised_at: float
    #: Nothing is sent before.
    not_before: float = 0.0
    #: Steps down since the last step up.
    strikes: int = 0
    kind: Kind = "429"

    @property
    def large(self) -> int:
        """How many of them may carry large blobs."""
        return large_share(self.limit)

    def pause(self, now: float) -> float:
        """Seconds for which nothing may be sent."""
        return max(self.not_before - now, 0.0)

    def raised(self, now: float, maximum: int) -> Throttle | None:
        """A step up, when one is due; None when that reaches the maximum, and there is nothing to limit any more."""
        if now < max(self.raised_at, self.lowered_at, self.not_before) + INTERVAL:
            return self
        limit = self.limit + max(1, maximum // STEPS)
        return None if limit >= maximum else replace(self, limit=limit, raised_at=now, strikes=0)

    def encode(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def decode(cls, text: str | bytes) -> Throttle:
        return cls(**json.loads(text))


def large_share(limit: int) -> int:
    """How many of `limit` requests may carry large blobs: half, so that small things always get through."""
    return max(1, limit // 2)


def lowered(before: Throttle | None, signal: Signal, now: float) -> Throttle:
    """The throttle after the registry asked for less.

    The answers to requests that were under way when the limit was halved lengthen the pause, but do not halve it
    again: they say the same thing many times.
    """
    if before is None:
        throttle = Throttle(max(LEAST, signal.in_flight // 2), now, now, strikes=1, kind=signal.kind)
    elif now - signal.age >= before.lowered_at:
        limit = max(LEAST, before.limit // 2)
        throttle = replace(before, limit=limit, lowered_at=now, strikes=before.strikes + 1, kind=signal.kind)
    else:
        throttle = before
    wait = signal.wait
    if wait is None:
        # Of a 503 without a wish it is not known that waiting helps; fewer requests at once might.
        wait = min(PAUSE * 2.0 ** min(throttle.strikes - 1, 16), LONGEST) if signal.kind == "429" else 0.0
    return replace(throttle, not_before=max(throttle.not_before, now + wait))
