"""A client of Redis or Valkey, wherever its address says that the server is found."""

from __future__ import annotations

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from app.redis_address import SentinelAddress, is_sentinel

#: Options of a connection that hold for those to the Sentinels as well.
_SHARED = ("socket_", "ssl_")

#: A script that deletes a key only while it holds what we put there: after a long stop it may be somebody else's.
DELETE_OURS = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"


def connect(url: str, **options: Any) -> redis.Redis:
    """A client of the server at this address; of whichever the Sentinels name at the time, where it names those.

    `options` are redis-py's own, and go before those in the address. Connects to nothing yet.
    """
    if not is_sentinel(url):
        return redis.Redis.from_url(url, **options)
    address = SentinelAddress.parse(url)
    given: dict[str, Any] = redis.connection.parse_url(address.server())  # type: ignore[no-untyped-call]
    for name in ("host", "port", "connection_class"):
        given.pop(name, None)
    given |= options
    shared = {name: value for name, value in given.items() if name.startswith(_SHARED)}
    asked: dict[str, Any] = {**shared, **address.own(), "retry": Retry(NoBackoff(), 0), "ssl": address.tls}
    # One that does not answer is passed over for the next.
    sentinels = Sentinel(address.hosts, sentinel_kwargs=asked)  # type: ignore[no-untyped-call]
    pool = SentinelConnectionPool(address.service, sentinels, ssl=address.tls, **given)  # type: ignore[no-untyped-call]
    # A pool of its own: closed with the client.
    return redis.Redis.from_pool(pool)
