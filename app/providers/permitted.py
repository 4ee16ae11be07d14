"""Permitted: a control plane is asked when its limiter permits, so that a pause that one is told is heeded by all."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from app.registry import RateLimited, RegistryError, TooManyRequests
from app.registry.connections import Deadline
from app.registry.limits import Limiter

T = TypeVar("T")


def permitted(limiter: Limiter, ask: Callable[[], T], deadline: Deadline | None = None) -> T:
    """Return what `ask` does, with a permit; once more where it was too much and the limiter lets that be waited out.

    `deadline` is for the waiting; what is under way it does not end.

    Raises:
        RateLimited: no permit in time; nothing was asked.
        RegistryError: from `ask`. `TooManyRequests` says by its `retry_after` how long nobody should ask.
    """
    resends, waited = limiter.resends, 0.0
    refusal: TooManyRequests | None = None
    while True:
        try:
            permit = limiter.enter(0, deadline, waited)
        except RateLimited as error:
            raise refusal or error from None
        waited = permit.waited
        try:
            answer = ask()
            permit.answered(200, {})
            return answer
        except TooManyRequests as error:
            # Some say it with another status, and the time in a header of their own.
            permit.answered(429, _wish(error))
            if resends <= 0:
                raise
            refusal = error
            resends -= 1
        except RegistryError as error:
            if error.status is not None:
                permit.answered(error.status, _wish(error))
            raise
        finally:
            permit.release()


def _wish(error: RegistryError) -> dict[str, str]:
    return {} if error.retry_after is None else {"Retry-After": f"{error.retry_after:.3f}"}
