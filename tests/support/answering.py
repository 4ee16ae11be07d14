"""A threaded HTTP server on a free port that turns requests into answers, for registries and clouds made for tests."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `path` is decoded and without the query."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Message = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    #: The query with names that come more than once.
    pairs: Sequence[tuple[str, str]] = field(default=(), repr=False)

    def __str__(self) -> str:
        return f"{self.method} {self.path}" + (f"?{urlencode(self.query, safe=':/')}" if self.query else "")


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said to it. The length is added; HEAD gets no body."""

    status: int
    body: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)


class Dropped(Exception):
    """Raised in place of an answer: the connection is closed without a word."""


class Server:
    """Calls `serve` for each request, in a thread for each connection. What it raises is the body of a 500."""

    def __init__(self, serve: Callable[[Request], Answer]) -> None:
        handler = type("Handler", (_Handler,), {"serve": staticmethod(serve)})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    serve: Callable[[Request], Answer]

    def _any(self) -> None:
        parts = urlsplit(self.path)
        pairs = parse_qsl(parts.query, keep_blank_values=True)
        request = Request(self.command, unquote(parts.path), dict(pairs), self.headers, self._body(), pairs)
        try:
            answer = type(self).serve(request)
        except Dropped:
            self.close_connection = True
            return
        except Exception:  # noqa: BLE001
            answer = Answer(500, traceback.format_exc().encode(), {"Content-Type": "text/plain"})
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _any  # noqa: N815

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """Keep quiet."""

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return self._chunked()
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            # Half a request is none.
            raise ConnectionAbortedError
        return body

    def _chunked(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep quiet: clients that break off are none of the tests' business."""
