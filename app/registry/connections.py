"""Connections: pooled and kept alive, with limits that hold: idle while sending too, and total where asked."""

from __future__ import annotations

import contextlib
import functools
import http.client
import os
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import requests.adapters
import urllib3
import urllib3.connection
from requests.structures import CaseInsensitiveDict
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from app.registry.overdue import watchman

#: Seconds beyond the idle limit in which the head of an answer has to be there: that limit begins anew with each byte.
HEAD_LIMIT = 60.0

#: Digits of the largest length that is one.
LENGTH_DIGITS = 19

#: On close: send nothing more and reset (SO_LINGER on, zero seconds).
_RESET = struct.pack("ii", 1, 0)


class Deadline:
    """A limit on whole requests, which holds against a server that trickles: at the deadline their connections are cut.

    A socket's own timeout is idle time, starting anew with every byte, so it is no such limit. The connection is
    reset, not closed: what still waits to be sent is dropped, so that a late request does not arrive after all.
    Name resolution cannot be cut; when it takes too long nothing is sent.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.expired = False
        self._ends = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._watched: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> Deadline:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            for sock in self._watched:
                sock.close()
            self._watched.clear()

    @property
    def remaining(self) -> float:
        """Seconds until the cut, never below zero."""
        return max(self._ends - time.monotonic(), 0.0)

    def watch(self, sock: socket.socket) -> None:
        """Cut this connection at the deadline, and at once if that is past."""
        with self._lock:
            # A duplicate of the descriptor: TLS takes the original from its object, and closing may reuse its number.
            duplicate = socket.socket(fileno=os.dup(sock.fileno()))
            self._watched.append(duplicate)
            if self.expired:
                self._reset(duplicate)

    def _cut(self) -> None:
        with self._lock:
            self.expired = True
            for sock in self._watched:
                self._reset(sock)

    @staticmethod
    def _reset(sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            sock.shutdown(socket.SHUT_RDWR)


@dataclass(slots=True)
class Exchange:
    """One request and its answer, as the connection that carries it sees it."""

    #: Seconds without a byte moving in either direction.
    idle: float
    deadline: Deadline | None = None
    #: Whether to leave pooled connections alone.
    fresh: bool = False
    #: Told the peer's address before anything is sent; raises where nothing may be.
    guard: Callable[[str], None] | None = None
    #: Whether the connection had carried a request before: it may have been closed by the server meanwhile.
    reused: bool = False
    connected: bool = False


_current: ContextVar[Exchange | None] = ContextVar("exchange", default=None)


@contextlib.contextmanager
def exchanging(exchange: Exchange) -> Iterator[None]:
    """Let the connections that this thread uses meanwhile obey this exchange."""
    token = _current.set(exchange)
    try:
        yield
    finally:
        _current.reset(token)


class _Strict(http.client.HTTPResponse):
    """An answer whose lengths are lengths: the standard library takes a chunk of -1 bytes for all that ever comes."""

    def begin(self) -> None:
        super().begin()
        length = self.headers.get("Content-Length", "")
        if length.isdecimal() and len(length) > LENGTH_DIGITS:
            raise http.client.HTTPException("a Content-Length that is no length")

    def _read_next_chunk_size(self) -> int:
        size: int = super()._read_next_chunk_size()  # type: ignore[misc]  # not of the public interface
        if size < 0:
            raise ValueError(size)
        return size


class _Limited(urllib3.connection.HTTPConnection):
    """Both kinds of connection, obeying the current exchange: urllib3 itself limits sending by the connect timeout."""

    response_class = _Strict

    def _new_conn(self) -> socket.socket:
        exchange = _current.get()
        if exchange is None:
            return super()._new_conn()
        if exchange.deadline is not None and self.timeout is not None:
            self.timeout = max(min(self.timeout, exchange.deadline.remaining), 0.001)
        sock = super()._new_conn()
        try:
            _judge(sock, exchange)
        except BaseException:
            sock.close()
            raise
        if exchange.deadline is not None:
            exchange.deadline.watch(sock)
        return sock

    def connect(self) -> None:
        super().connect()
        exchange = _current.get()
        if exchange is not None:
            exchange.connected = True
            self.timeout = exchange.idle
            if self.sock is not None:
                self.sock.settimeout(exchange.idle)

    def request(self, *args: Any, **kwargs: Any) -> None:
        exchange = _current.get()
        if exchange is not None:
            if self.sock is not None and not exchange.connected:
                self._reuse(self.sock, exchange)
            if exchange.deadline is not None and exchange.deadline.expired:
                raise TimeoutError("the limit of the request is past")
        super().request(*args, **kwargs)

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # as of its own base class
        exchange, sock = _current.get(), self.sock
        if exchange is None or sock is None:
            return super().getresponse()
        with watchman.limit(exchange.idle + HEAD_LIMIT, functools.partial(sock.shutdown, socket.SHUT_RDWR)) as limit:
            try:
                response = super().getresponse()
            except Exception:
                if not limit.expired:
                    raise
            if not limit.expired:
                return response
        # Cut short, what there is of a head would pass for a whole one.
        self.close()
        raise TimeoutError("the head of the answer does not come to its end")

    def _reuse(self, sock: socket.socket, exchange: Exchange) -> None:
        if exchange.fresh:
            self.close()
            return
        exchange.reused = True
        _judge(sock, exchange)
        self.timeout = exchange.idle
        if exchange.deadline is not None:
            exchange.deadline.watch(sock)


def _judge(sock: socket.socket, exchange: Exchange) -> None:
    # Here and not by a look at the name service before: it may answer differently the next time.
    if exchange.guard is not None:
        exchange.guard(sock.getpeername()[0])


class _HTTPConnection(_Limited):
    pass


class _HTTPSConnection(_Limited, urllib3.connection.HTTPSConnection):
    pass


class _HTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


class Answer(requests.Response):
    """A response that tells when nobody wants anything of it any more."""

    _told: Callable[[], None] | None = None

    def on_close(self, told: Callable[[], None]) -> None:
        """Call `told` when the response is closed, once."""
        self._told = told

    def close(self) -> None:
        """Give the connection back, or end it when there is more to read."""
        try:
            super().close()
        finally:
            told, self._told = self._told, None
            if told is not None:
                told()


class Adapter(requests.adapters.HTTPAdapter):
    """Gives a session those connections, one TLS context for all, answers that tell of their end, and no retries.

    The context is made once: requests would read the whole trust store again for every connection. Without a CA
    path the system's trust applies, and what certifi ships where the system has none.
    """

    def __init__(self, *, ca_path: str | None, pool_size: int) -> None:
        self._context = _tls_context(ca_path)
        super().__init__(pool_connections=16, pool_maxsize=pool_size, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools with our connections and our TLS context."""
        super().init_poolmanager(*args, **kwargs, ssl_context=self._context)
        self.poolmanager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> Answer:
        """Make the response one that tells when it is closed."""
        # By hand: the base class looks for cookies and guesses encodings.
        answer = Answer()
        answer.status_code = resp.status
        answer.headers = CaseInsensitiveDict(resp.headers)
        answer.raw = resp
        answer.url = req.url or ""
        answer.request = req
        answer.reason = resp.reason
        return answer

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        """Leave trust to the context, verification always on."""
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {"cert_reqs": "CERT_REQUIRED"}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Do nothing: requests would put its own trust store beside ours here."""


def _tls_context(ca_path: str | None) -> ssl.SSLContext:
    if ca_path is None:
        return _system_trust()
    try:
        if Path(ca_path).is_dir():
            return ssl.create_default_context(capath=ca_path)
        return ssl.create_default_context(cafile=ca_path)
    except OSError as error:
        raise ValueError(f"the CA path {ca_path} cannot be used: {error.strerror or error}") from None


@functools.cache
def _system_trust() -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not context.cert_store_stats()["x509_ca"]:
        context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
    return context
