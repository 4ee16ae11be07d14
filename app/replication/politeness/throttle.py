"""Throttle: how much a registry that asked for less takes now. It grows while all is well and halves when it is not."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from app.registry.answers import RETRY_AFTER_LIMIT

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

#: Seconds by which the last step down may lie ahead of the clock before that is taken to have been set back.
SLACK = 5.0

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

    def settled(self, now: float) -> Throttle:
        """The same by a clock that has been set back since, by a failover perhaps: it was lowered just now.

        Otherwise a pause of a second would last as long as the clock takes to catch up.
        """
        ahead = self.lowered_at - now
        settled = self.moved(-ahead) if ahead > SLACK else self
        if settled.not_before > now + RETRY_AFTER_LIMIT + SLACK:
            return replace(settled, not_before=now + RETRY_AFTER_LIMIT)
        return settled

    def moved(self, seconds: float) -> Throttle:
        """The same by a clock that is ahead by so much."""
        lowered_at, raised_at, not_before = (at + seconds for at in (self.lowered_at, self.raised_at, self.not_before))
        return replace(self, lowered_at=lowered_at, raised_at=raised_at, not_before=not_before)

    def raised(self, now: float, maximum: int) -> Throttle | None:
        """A step up, when one is due; None when that reaches the maximum, and there is nothing to limit any more."""
        settled = self.settled(now)
        if settled != self:
            return settled
        if now < max(self.raised_at, self.lowered_at, self.not_before) + INTERVAL:
            return self
        limit = self.limit + max(1, maximum // STEPS)
        return None if limit >= maximum else replace(self, limit=limit, raised_at=now, strikes=0)

    def encode(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def decode(cls, text: str | bytes) -> Throttle | None:
        """Read what `encode` wrote; None for anything else, which somebody else has put there."""
        try:
            found = json.loads(text)
            throttle = cls(**{field.name: found[field.name] for field in fields(cls)})
        except (ValueError, TypeError, KeyError, RecursionError):
            return None
        times: list[Any] = [throttle.lowered_at, throttle.raised_at, throttle.not_before]
        sound = (
            all(type(at) in (int, float) and math.isfinite(at) for at in times)
            and all(type(number) is int for number in (throttle.limit, throttle.strikes))
            and throttle.limit > 0
            and throttle.strikes >= 0
            and throttle.kind in get_args(Kind)
        )
        return throttle if sound else None


def large_share(limit: int) -> int:
    """How many of `limit` requests may carry large blobs: half, so that small things always get through."""
    return max(1, limit // 2)


def joined(one: Throttle | None, other: Throttle | None) -> Throttle | None:
    """Both of what two processes have learned of a registry while they could not tell each other."""
    if one is None or other is None:
        return one or other
    return replace(
        one,
        limit=min(one.limit, other.limit),
        lowered_at=max(one.lowered_at, other.lowered_at),
        raised_at=max(one.raised_at, other.raised_at),
        not_before=max(one.not_before, other.not_before),
        strikes=max(one.strikes, other.strikes),
    )


def lowered(before: Throttle | None, signal: Signal, now: float) -> Throttle:
    """The throttle after the registry asked for less.

    The answers to requests that were under way when the limit was halved lengthen the pause, but do not halve it
    again: they say the same thing many times.
    """
    before = before and before.settled(now)
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
