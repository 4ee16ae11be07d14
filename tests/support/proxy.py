"""A proxy before a registry that a test can make slow, broken or deceitful."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.support.intermediary import Intermediary, ask, body_of, headers_of
from tests.support.registries import DistributionRegistry

_PIECE = 16 * 1024


@dataclass
class Rule:
    """What happens to the requests whose `METHOD path` matches `pattern`; later rules go first."""

    pattern: str
    #: Seconds before the request is passed on.
    delay: float = 0.0
    #: Bytes a second of the answer's body.
    rate: float | None = None
    #: Break the connection after so many bytes of the answer's body.
    cut: int | None = None
    #: Break the connection in place of an answer.
    drop: bool = False
    #: Answer this status by itself, with `body`.
    status: int | None = None
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    #: So many requests, then the rule is spent.
    times: int | None = None
    #: Hold the request back until this is set.
    gate: threading.Event | None = None
    #: Set when a request has come that far.
    arrived: threading.Event = field(default_factory=threading.Event)

    def open(self) -> None:
        """Let through what the gate holds back."""
        assert self.gate is not None, self.pattern
        self.gate.set()


class Proxy(Intermediary):
    """`with Proxy(registry) as proxy: ...`: stands before `registry` at `proxy.url`.

    It passes the Host header on, so that upload locations lead through it. `requests` are the `METHOD path` so far.
    """

    def __init__(self, upstream: DistributionRegistry) -> None:
        super().__init__(upstream)
        self.requests: list[str] = []
        self._rules: list[Rule] = []
        self._lock = threading.Lock()

    def rule(self, pattern: str, **options: Any) -> Rule:
        """Add a rule for requests matching the regular expression, and return it."""
        rule = Rule(pattern, **options)
        with self._lock:
            self._rules.insert(0, rule)
        return rule

    def clear(self) -> None:
        """Forget all rules and requests."""
        with self._lock:
            self._rules.clear()
            self.requests.clear()

    def count(self, pattern: str) -> int:
        """How many requests so far match the regular expression."""
        with self._lock:
            return sum(re.search(pattern, request) is not None for request in self.requests)

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        rule = self._take(f"{handler.command} {handler.path}")
        rule.arrived.set()
        body = body_of(handler)
        self._over.wait(rule.delay)
        while rule.gate is not None and not rule.gate.wait(0.05) and not self._over.is_set():
            pass
        if rule.drop:
            _reset(handler)
            return
        if rule.status is not None:
            _answer(handler, rule.status, rule.headers, rule.body)
            return
        with contextlib.closing(self._connection()) as connection:
            try:
                answer = ask(connection, handler, body)
            except OSError:
                _answer(handler, 502, {"Content-Type": "text/html"}, b"<h1>Bad Gateway</h1>")
                return
            self._pass_on(handler, answer, rule)

    def _take(self, request: str) -> Rule:
        with self._lock:
            self.requests.append(request)
            for rule in self._rules:
                if re.search(rule.pattern, request) and rule.times != 0:
                    if rule.times is not None:
                        rule.times -= 1
                    return rule
        return Rule("")

    def _pass_on(self, handler: BaseHTTPRequestHandler, answer: http.client.HTTPResponse, rule: Rule) -> None:
        handler.send_response_only(answer.status)
        for name, value in headers_of(answer):
            handler.send_header(name, value)
        sized = answer.getheader("Content-Length") is not None or handler.command == "HEAD"
        if not sized and answer.status != 204:
            handler.send_header("Connection", "close")
            handler.close_connection = True
        handler.end_headers()
        sent = 0
        for piece in self._pieces(answer, rule):
            if rule.cut is not None and sent + len(piece) > rule.cut:
                handler.wfile.write(piece[: rule.cut - sent])
                handler.wfile.flush()
                _reset(handler)
                return
            handler.wfile.write(piece)
            sent += len(piece)

    def _pieces(self, answer: http.client.HTTPResponse, rule: Rule) -> Iterator[bytes]:
        size = _PIECE if rule.rate is None else max(1, min(_PIECE, int(rule.rate / 20)))
        started, given = time.monotonic(), 0
        while piece := answer.read(size):
            yield piece
            given += len(piece)
            if rule.rate is not None:
                self._over.wait(max(0.0, given / rule.rate - (time.monotonic() - started)))


def _answer(handler: BaseHTTPRequestHandler, status: int, headers: Mapping[str, str], body: bytes) -> None:
    handler.send_response_only(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)


def _reset(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True
    with contextlib.suppress(OSError):
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.shutdown(socket.SHUT_RDWR)
