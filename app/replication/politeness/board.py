"""Board: what the processes of a deployment know of one registry's limit, and who has its slots; kept in Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import redis

from app.replication.politeness.throttle import FORGOTTEN, Throttle
from app.replication.shared import Shared

#: Where changes are told at once.
CHANNEL = "geo:politeness"

#: Of what is kept there: processes of an older version, which run on during an update, must not read it.
VERSION = 1

#: Seconds after which a slot comes back whose process no longer says that it uses it.
SLOT_TTL = 10.0

#: Seconds for which a place in the line is kept for a process that does not ask again.
PLACE_TTL = 1.0

#: Tries to change the throttle while others do.
_TRIES = 8

_CHANGE = """
local found = redis.call('GET', KEYS[1]) or ''
if found ~= ARGV[1] then return 0 end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
redis.call('PUBLISH', ARGV[4], KEYS[1])
return 1
"""

# KEYS: throttle, small slots, large slots, small line, large line, places seen. ARGV: slot, large?, seconds since the
# rank, process, slot TTL, place TTL. A slot is taken when one is free that nobody of a better rank could take.
_TAKE = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local found = redis.call('GET', KEYS[1])
if not found then return 'free' end
local readable, throttle = pcall(cjson.decode, found)
if not readable or type(throttle) ~= 'table' then return 'free' end
if type(throttle.limit) ~= 'number' or type(throttle.not_before) ~= 'number' then return 'free' end
if throttle.not_before > now then return 'paused' end
-- Farther ahead than any can be: the clock has been set back.
local slots_until, places_until = '(' .. now + 2 * ARGV[5], '(' .. now + 2 * ARGV[6]
for _, key in ipairs({KEYS[2], KEYS[3]}) do
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  redis.call('ZREMRANGEBYSCORE', key, slots_until, '+inf')
end
for _, range in ipairs({{'-inf', now}, {places_until, '+inf'}}) do
  for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[6], range[1], range[2])) do
    redis.call('ZREM', KEYS[4], gone)
    redis.call('ZREM', KEYS[5], gone)
    redis.call('ZREM', KEYS[6], gone)
  end
end
local large = ARGV[2] == '1'
local line = large and KEYS[5] or KEYS[4]
local rank = now - ARGV[3]
local known = redis.call('ZSCORE', line, ARGV[4])
if not known or tonumber(known) > rank then redis.call('ZADD', line, rank, ARGV[4]) else rank = tonumber(known) end
redis.call('ZADD', KEYS[6], now + ARGV[6], ARGV[4])
local held = redis.call('ZCARD', KEYS[3])
local free = throttle.limit - redis.call('ZCARD', KEYS[2]) - held
local share = math.max(1, math.floor(throttle.limit / 2)) - held
local small_ahead = redis.call('ZCOUNT', KEYS[4], '-inf', '(' .. string.format('%.17g', rank))
local large_ahead = redis.call('ZCOUNT', KEYS[5], '-inf', '(' .. string.format('%.17g', rank))
local taken = free > small_ahead + math.max(0, math.min(large_ahead, share))
if large then taken = taken and share > large_ahead end
if taken then
  redis.call('ZADD', large and KEYS[3] or KEYS[2], now + ARGV[5], ARGV[1])
  redis.call('ZREM', line, ARGV[4])
end
for _, key in ipairs(KEYS) do
  if key ~= KEYS[1] then redis.call('PEXPIRE', key, math.floor(ARGV[5] * 2000)) end
end
return taken and 'taken' or 'full'
"""

_KEEP = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
for place = 2, #ARGV do redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[place]) end
redis.call('PEXPIRE', KEYS[1], math.floor(ARGV[1] * 2000))
"""


class Taken(Enum):
    """What came of asking for a slot."""

    YES = "taken"
    #: None is free for this one now.
    FULL = "full"
    #: The registry is left alone for a while.
    PAUSED = "paused"
    #: There is no limit any more.
    FREE = "free"


@dataclass(frozen=True, slots=True)
class Seen:
    """The throttle as it was at `now`, both by Redis's clock; None: there is no limit."""

    throttle: Throttle | None
    now: float


class Board:
    """One registry's. Every method returns None while Redis does not answer."""

    def __init__(self, shared: Shared, registry: str, process: str) -> None:
        # One hash slot, should it be a cluster.
        self.key = f"geo:politeness:{VERSION}:{{{registry}}}"
        self._small, self._large = f"{self.key}:small", f"{self.key}:large"
        self._keys = [self.key, self._small, self._large, *(f"{self.key}:{name}" for name in ("line", "queue", "seen"))]
        self._shared = shared
        self._process = process
        # A client is needed to make them and not to run them.
        self._change_script = shared.client.register_script(_CHANGE)
        self._take_script = shared.client.register_script(_TAKE)
        self._keep_script = shared.client.register_script(_KEEP)

    def look(self) -> Seen | None:
        """Read the throttle."""
        return self._shared.ask(self._look, None)

    def change(self, change: Callable[[Throttle | None, float], Throttle | None]) -> Seen | None:
        """Put in place what `change` makes of the throttle and the time, and tell all processes; it may run often."""

        def question(client: redis.Redis) -> Seen | None:
            for _ in range(_TRIES):
                seen, raw = self._read(client)
                made = change(seen.throttle, seen.now)
                if made == seen.throttle:
                    return seen
                lasts = FORGOTTEN + (made.pause(seen.now) if made else 0.0)
                arguments: list[Any] = [raw, made.encode() if made else "", int(lasts * 1000), CHANNEL]
                if self._change_script(keys=[self.key], args=arguments, client=client):
                    return Seen(made, seen.now)
            return self._look(client)

        return self._shared.ask(question, None)

    def take(self, slot: str, *, large: bool, since: float) -> Taken | None:
        """Ask for a slot. `since` is for how many seconds the asker's rank has been due; it may be negative."""
        arguments: list[Any] = [slot, int(large), f"{since:.6f}", self._process, SLOT_TTL, PLACE_TTL]

        def question(client: redis.Redis) -> Taken | None:
            answer: Any = self._take_script(keys=self._keys, args=arguments, client=client)
            return Taken(answer.decode() if isinstance(answer, bytes) else answer)

        return self._shared.ask(question, None)

    def keep(self, small: Iterable[str], large: Iterable[str]) -> None:
        """Say that these slots are in use, however they were come by."""

        def tell(client: redis.Redis) -> None:
            for key, slots in ((self._small, list(small)), (self._large, list(large))):
                if slots:
                    self._keep_script(keys=[key], args=[SLOT_TTL, *slots], client=client)

        self._shared.ask(tell, None)

    def drop(self, *slots: str) -> None:
        """Give slots back."""

        def tell(client: redis.Redis) -> None:
            with client.pipeline(transaction=False) as pipeline:
                pipeline.zrem(self._small, *slots)
                pipeline.zrem(self._large, *slots)
                pipeline.execute()

        if slots:
            self._shared.ask(tell, None)

    def _look(self, client: redis.Redis) -> Seen | None:
        return self._read(client)[0]

    def _read(self, client: redis.Redis) -> tuple[Seen, bytes]:
        with client.pipeline(transaction=True) as pipeline:
            pipeline.get(self.key)
            pipeline.time()
            raw, (seconds, micros) = pipeline.execute()
        now = seconds + micros / 1_000_000
        return Seen(Throttle.decode(raw) if raw else None, now), raw or b""
