"""Transport: one HTTP request to a registry, there and back, without any notion of who asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from typing import NoReturn
from urllib.parse import urljoin, urlsplit

import requests
import requests.adapters
import urllib3.exceptions
from requests.structures import CaseInsensitiveDict

from app import correlation, tracing
from app.registry.bodies import discard as discard
from app.registry.bodies import read as read
from app.registry.connections import Adapter, Answer, Deadline, Exchange, exchanging
from app.registry.errors import InvalidResponse, TimedOut, Unreachable
from app.registry.failures import unreachable
from app.registry.realms import Guard

#: Redirects followed in a row.
REDIRECTS_LIMIT = 5

#: What one write hands to the socket. The idle limit covers a write as a whole, so a small one lets a slow link live.
_PIECE = 64 * 1024

_REDIRECTS = frozenset({301, 302, 303, 307, 308})

Origin = tuple[str, str, int]


class Redirects(Enum):
    """Which redirects a request follows; credentials never leave the origin of the request."""

    #: None: the answer is an error.
    REFUSE = "refuse"
    #: To anywhere, but never from https to http.
    SAFE = "safe"
    #: To anywhere: the content is verified by its digest.
    ANY = "any"


class Body:
    """A request body that is streamed once: its length if known, and what went wrong while it was read."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self.failure: BaseException | None = None
        #: Bytes handed to the connection so far.
        self.sent = 0

    def __iter__(self) -> Iterator[bytes]:
        # An error of the source must not be taken for one of the connection that carries it.
        try:
            for chunk in self._chunks:
                view = memoryview(chunk)
                for start in range(0, len(view), _PIECE):
                    piece = view[start : start + _PIECE]
                    self.sent += len(piece)
                    yield piece  # type: ignore[misc]  # a buffer is what a socket wants
            self._ended()
        except BaseException as error:
            self.failure = error
            raise

    def _ended(self) -> None:
        """Check the end of the body."""


class SizedBody(Body):
    """A body whose length is promised beforehand and kept: it fails rather than end early or run over."""

    def __init__(self, chunks: Iterable[bytes], size: int) -> None:
        super().__init__(self._checked(chunks))
        self._size = size
        self._taken = 0

    def __len__(self) -> int:
        return self._size

    def _checked(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._taken += len(chunk)
            if self._taken > self._size:
                self._fail()
            yield chunk

    def _ended(self) -> None:
        if self._taken != self._size:
            self._fail()

    def _fail(self) -> NoReturn:
        raise InvalidResponse(
            f"the source gave {self._taken} bytes and not the {self._size} that were promised",
            reason="size_mismatch",
        )


class Transport:
    """A session with one registry and the hosts it redirects to. Shared by threads.

    Nothing of the environment is used: a `.netrc` would replace our credentials, a proxy variable our route. Cookies
    are not kept.
    """

    def __init__(
        self,
        *,
        ca_path: str | None = None,
        connect_timeout: float = 10.0,
        read_timeout: float = 60.0,
        pool_size: int = 32,
        user_agent: str = "geo-registry",
    ) -> None:
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._session = requests.Session()
        self._session.trust_env = False
        # Bodies are hashed as they are stored; a proxy that compresses them for us would spoil that.
        self._headers = {"User-Agent": user_agent, "Accept-Encoding": "identity"}
        adapter = Adapter(ca_path=ca_path, pool_size=pool_size)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        authorization: str | None,
        body: bytes | Body | None = None,
        redirects: Redirects = Redirects.REFUSE,
        resend: bool = False,
        deadline: Deadline | None = None,
        patience: float = 0.0,
        guard: Guard | None = None,
        elsewhere: Callable[[str], Guard] | None = None,
    ) -> Answer:
        """Send the request, follow redirects and return the response with its body unread.

        The registry is told the id of the occasion (app.correlation), so that its log and ours can be joined; and the
        span of the request where spans are collected (app.tracing), so that its spans and ours can.

        `resend` says that the request may be sent once more at once, over a new connection, when a kept-alive one
        turns out to be closed. `patience` adds seconds to the idle limit. `guard` is told the peer's address before
        anything is sent; where a redirect leads to another host, that is what `elsewhere` gives for its URL.
        Raises `Unreachable` (or a kind of it), `InvalidResponse` for redirects that must not be
        followed, what the guard raises, and whatever reading the body raised.
        """
        start = origin(url)
        ours = {"Authorization": authorization} if authorization else {}
        if (request_id := correlation.current()) is not None:
            ours[correlation.HEADER] = request_id
        own = True
        for _ in range(REDIRECTS_LIMIT + 1):
            exchange = Exchange(self._read_timeout + patience, deadline, guard=guard)
            with tracing.request(method, url, hand_on=own) as span:
                response = self._send(method, url, {**headers, **ours, **span.headers}, body, exchange, resend=resend)
                span.answered(response.status_code)
            location = response.headers.get("Location")
            if redirects is Redirects.REFUSE or response.status_code not in _REDIRECTS or not location:
                return response
            discard(response)
            url = _target(response.url, location, redirects)
            if origin(url) != start:
                # For good: another host must not choose what our credentials are used for. Storages are asked for
                # nothing that is not in their signed address.
                ours, own = {}, False
                guard = elsewhere(url) if elsewhere is not None else guard
        raise InvalidResponse("redirected again and again", reason="redirect", method=method, url=url)

    def _send(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        body: bytes | Body | None,
        exchange: Exchange,
        *,
        resend: bool,
    ) -> Answer:
        try:
            return self._once(method, url, headers, body, exchange)
        except Unreachable as error:
            if not (resend and exchange.reused) or isinstance(error, TimedOut):
                raise
            fresh = Exchange(exchange.idle, exchange.deadline, fresh=True, guard=exchange.guard)
            return self._once(method, url, headers, body, fresh)

    def _once(
        self, method: str, url: str, headers: dict[str, str], body: bytes | Body | None, exchange: Exchange
    ) -> Answer:
        deadline = exchange.deadline
        if deadline is not None and deadline.expired:
            raise TimedOut(f"not sent: the limit of {deadline.seconds:g} s is past", method=method, url=url)
        try:
            request = self._prepared(method, url, headers, body)
            # The adapter and not the session sends: a session reads the whole body of a redirect even when told not
            # to follow it, and keeps cookies.
            adapter = self._session.get_adapter(url)
            with exchanging(exchange):
                response = adapter.send(request, stream=True, timeout=(self._connect_timeout, exchange.idle))
            assert isinstance(response, Answer)
            return response
        except Exception as error:
            if isinstance(body, Body) and body.failure is not None:
                raise body.failure from None
            if isinstance(error, requests.RequestException | urllib3.exceptions.HTTPError | OSError):
                raise unreachable(error, method, url, deadline) from error
            raise

    def _prepared(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | Body | None
    ) -> requests.PreparedRequest:
        """Make the request as it goes out.

        Not by `Session.prepare_request`: it rewrites escapes, and an upload or storage URL is signed as it stands;
        and a fifth of the time that a small request takes here goes into merging settings that we do not have.
        """
        request = requests.PreparedRequest()
        request.method = method
        if url.isascii():
            request.url = url.partition("#")[0]
        else:
            request.prepare_url(url, None)
        request.headers = CaseInsensitiveDict({**self._headers, **headers})
        request.body = body  # type: ignore[assignment]  # what is iterated is a body too
        if isinstance(body, bytes | SizedBody):
            request.headers["Content-Length"] = str(len(body))
        elif body is not None:
            request.headers["Transfer-Encoding"] = "chunked"
        elif method not in ("GET", "HEAD"):
            request.headers["Content-Length"] = "0"
        return request


def origin(url: str) -> Origin:
    """Return scheme, host and port of a URL; raises `InvalidResponse` if it has none."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (ValueError, KeyError):
        raise InvalidResponse(f"{url[:100]!r} is not a URL of the web") from None
    # Before a backslash the host ends for some who read it, and for others it does not.
    if not parts.hostname or "\\" in parts.netloc:
        raise InvalidResponse(f"{url[:100]!r} is not a URL of the web")
    return parts.scheme, parts.hostname.lower(), port


def join(base: str, location: str) -> str:
    """Return the absolute URL of a `Location` or link; raises `InvalidResponse` if it is none."""
    try:
        return urljoin(base, location)
    except ValueError:
        raise InvalidResponse(f"{location[:100]!r} is not a URL") from None


def _target(url: str, location: str, redirects: Redirects) -> str:
    target = join(url, location)
    if origin(url)[0] == "https" and origin(target)[0] == "http" and redirects is not Redirects.ANY:
        raise InvalidResponse("redirected from https to plain http", reason="redirect", method="GET", url=target)
    return target
