"""An intermediary: an HTTP server that stands before a registry, for tests that do something to single requests."""

from __future__ import annotations

import http.client
import threading
from abc import ABC, abstractmethod
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from tests.support.registries import DistributionRegistry

#: Of one connection alone, and so not passed on (RFC 9110, 7.6.1).
_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade"})


class Intermediary(ABC):
    """`with ... as before: ...`: stands before `upstream` at `before.url`. What becomes of a request is said by
    `_handle`, which each is given to in the thread of its connection."""

    def __init__(self, upstream: DistributionRegistry) -> None:
        self.upstream = upstream
        #: Set when the test is over: nothing waits any more.
        self._over = threading.Event()
        intermediary = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def _any(self) -> None:
                intermediary._handle(self)

            do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _any  # noqa: N815

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except OSError:
                    self.close_connection = True

            def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @abstractmethod
    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer the request, or do not."""

    def _connection(self) -> http.client.HTTPConnection:
        """A connection to the registry, to be closed by who asked for it."""
        return http.client.HTTPConnection("127.0.0.1", self.upstream.port, timeout=60)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep quiet: clients that break off are what the tests are about."""


def ask(
    connection: http.client.HTTPConnection, handler: BaseHTTPRequestHandler, body: bytes | None
) -> http.client.HTTPResponse:
    """Pass a request on with all its headers, the Host too, so that upload locations lead through us."""
    connection.request(handler.command, handler.path, body, dict(handler.headers.items()))
    return connection.getresponse()


def body_of(handler: BaseHTTPRequestHandler) -> bytes | None:
    """The request's body, None where it has no length."""
    length = handler.headers.get("Content-Length")
    return handler.rfile.read(int(length)) if length else None


def headers_of(answer: http.client.HTTPResponse) -> list[tuple[str, str]]:
    """The answer's headers as far as they are passed on."""
    return [(name, value) for name, value in answer.getheaders() if name.lower() not in _HOP]
