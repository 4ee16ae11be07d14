"""Bodies of answers that are held in memory: read whole within limits of size and time, or thrown away.

Whoever sends them may mean ill: packs a gigabyte into a megabyte, or sends a byte a minute.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import time
import zlib
from collections.abc import Callable, Iterator

import requests
import urllib3.exceptions

from app.registry.connections import Deadline
from app.registry.errors import InvalidResponse, RegistryError, TimedOut, TooLarge
from app.registry.failures import unreachable
from app.registry.overdue import watchman

#: Bytes a second, after so many seconds, below which an answer is given up. Blobs, which are streamed, have no such
#: limit.
SLOWEST = 8 * 1024
GRACE = 120.0

#: Bytes at a time; what is left of a body that nobody wants is read if it is no more than this.
_PIECE = 64 * 1024

#: Encodings that proxies choose although we ask for none, and how zlib is told that it may be any of them.
_PACKED = frozenset({"gzip", "x-gzip", "deflate"})
_EITHER = 32 + zlib.MAX_WBITS


def read(
    response: requests.Response,
    limit: int,
    *,
    deadline: Deadline | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> bytes:
    """Read the whole body, at most `limit` bytes packed and unpacked, and give the connection back.

    Raises `TooLarge`, `InvalidResponse` for an encoding that is none of ours, or `Unreachable` when it breaks off or
    comes too slowly.
    """
    method, url = response.request.method or "", response.url
    try:
        data = b"".join(_pieces(response, limit, clock))
        if deadline is not None and deadline.expired:
            # A body without a length ends where the connection does, also where we cut it ourselves.
            raise TimedOut(f"no whole answer within {deadline.seconds:g} s", method=method, url=url)
        return _unpacked(data, response, limit)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise unreachable(error, method, url, deadline) from error
    finally:
        response.close()


def read_some(response: requests.Response, limit: int) -> bytes:
    """Return the beginning of the body, for a person: what comes of it, at most `limit` bytes."""
    data = bytearray()
    with contextlib.suppress(urllib3.exceptions.HTTPError, OSError, RegistryError):
        for piece in _pieces(response, limit, time.monotonic):
            data += piece
    if _encoding(response) in _PACKED:
        with contextlib.suppress(zlib.error):
            return zlib.decompressobj(_EITHER).decompress(data, limit)
    return bytes(data[:limit])


def discard(response: requests.Response) -> None:
    """Give the connection of a response back whose body nobody wants; close it when there is much left."""
    try:
        # Not of 416: Distribution announces a body there that never comes.
        if response.status_code != 416:
            for _ in _pieces(response, _PIECE, time.monotonic):
                pass
    except (urllib3.exceptions.HTTPError, OSError, RegistryError):
        response.raw.close()
    finally:
        response.close()


def _pieces(response: requests.Response, limit: int, clock: Callable[[], float]) -> Iterator[bytes]:
    """The body as it comes, still packed: unpacked on its way, one that unpacks to nothing would never end.

    The last piece may go beyond the limit. Then, and when it comes too slowly, it raises.
    """
    method, url = response.request.method or "", response.url
    began, size = clock(), 0
    with watchman.limit(GRACE + limit / SLOWEST, _cut(response)) as overall:
        # `read1`: a server that sends a byte now and then would never let a whole piece come together.
        while piece := response.raw.read1(_PIECE, decode_content=False):
            size += len(piece)
            yield piece
            if size > limit:
                raise TooLarge(f"an answer of more than {limit} bytes", method=method, url=url)
            if clock() - began > GRACE + size / SLOWEST:
                raise _too_slow(method, url)
    if overall.expired:
        raise _too_slow(method, url)


def _cut(response: requests.Response) -> Callable[[], object]:
    """What ends the connection from another thread, its other direction too: it must not be used again."""
    connection = response.raw.connection
    sock = connection.sock if connection is not None else None
    if sock is None:
        # It ends with this answer in any case.
        return functools.partial(response.raw.shutdown)
    return functools.partial(sock.shutdown, socket.SHUT_RDWR)


def _too_slow(method: str, url: str) -> TimedOut:
    return TimedOut(f"an answer that comes at less than {SLOWEST} bytes a second", method=method, url=url)


def _unpacked(data: bytes, response: requests.Response, limit: int) -> bytes:
    encoding, method, url = _encoding(response), response.request.method, response.url
    if encoding in ("", "identity"):
        return data
    if encoding not in _PACKED:
        raise InvalidResponse(
            f"an answer in the encoding {encoding[:40]!r}, which nobody asked for", method=method, url=url
        )
    try:
        unpacker = zlib.decompressobj(_EITHER)
        unpacked = unpacker.decompress(data, limit + 1)
    except zlib.error:
        raise InvalidResponse(f"an answer that is not {encoding}, as it says", method=method, url=url) from None
    if len(unpacked) > limit:
        raise TooLarge(f"an answer of more than {limit} bytes", method=method, url=url)
    if not unpacker.eof or unpacker.unused_data:
        raise InvalidResponse(f"an answer that is not one whole {encoding}", method=method, url=url)
    return unpacked


def _encoding(response: requests.Response) -> str:
    return response.headers.get("Content-Encoding", "").strip().lower()
