"""A registry that fails: a proxy which spoils a share of the requests, each drawn anew from a seeded generator."""

from __future__ import annotations

import contextlib
import json
import random
import re
import socket
import threading
from collections import Counter
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler

from tests.support.intermediary import Intermediary, ask, body_of, headers_of
from tests.support.registries import DistributionRegistry

#: What can befall a request. Where it does not fit (there is no list to truncate, no body to cut) another is drawn.
FAULTS = ("server_error", "too_many", "cut", "wrong_digest", "short_list", "broken_list", "slow_loris")

#: Seconds that a 429 asks to wait.
RETRY_AFTER = 1

#: A slow loris: seconds between its bytes, and bytes after which it says nothing more and keeps the connection.
LORIS_PAUSE, LORIS_BYTES = 0.05, 400

_LIST = re.compile(r"/v2/(_catalog|.+/tags/list)(\?.*)?")
_MANIFEST = re.compile(r"/v2/.+/manifests/[^/]+")


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the registry answered, read to its end: what is pushed here is small."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")


class FaultyRegistry(Intermediary):
    """`with FaultyRegistry(registry, share=0.1, seed=7) as faulty:` stands before `registry` at `faulty.url`.

    `share` may be changed at any time. `requests` and `faults` count what came and what was done to it.
    """

    def __init__(self, upstream: DistributionRegistry, *, share: float = 0.0, seed: int = 0) -> None:
        super().__init__(upstream)
        self.share = share
        self.seed = seed
        self.faults: Counter[str] = Counter()
        self._requests = 0
        self._random = random.Random(seed)
        self._lock = threading.Lock()

    @property
    def requests(self) -> int:
        with self._lock:
            return self._requests

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        answer = self._ask(handler, body_of(handler))
        fault = self._draw(handler, answer)
        if fault == "server_error":
            page = b"<html><h1>Internal Server Error</h1></html>"
            _give(handler, _Answer(500, (("Content-Type", "text/html"),), page))
        elif fault == "too_many":
            error = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}'
            headers = (("Content-Type", "application/json"), ("Retry-After", str(RETRY_AFTER)))
            _give(handler, _Answer(429, headers, error))
        elif fault == "cut":
            self._cut(handler, answer)
        elif fault == "wrong_digest":
            _give(handler, _spoiled(handler, answer))
        elif fault in ("short_list", "broken_list"):
            _give(handler, _truncated(answer, whole=fault == "short_list"))
        elif fault == "slow_loris":
            self._trickle(handler, answer)
        else:
            _give(handler, answer)

    def _ask(self, handler: BaseHTTPRequestHandler, body: bytes | None) -> _Answer:
        with contextlib.closing(self._connection()) as connection:
            answer = ask(connection, handler, body)
            return _Answer(answer.status, tuple(headers_of(answer)), answer.read())

    def _draw(self, handler: BaseHTTPRequestHandler, answer: _Answer) -> str | None:
        """The fault of this request, or None."""
        with self._lock:
            self._requests += 1
            if self._random.random() >= self.share:
                return None
            fitting = [fault for fault in FAULTS if _fits(fault, handler, answer)]
            if self._random.random() < 0.5:
                # What seldom fits has come less often, and is to come as well.
                least = min(self.faults[fault] for fault in fitting)
                fitting = [fault for fault in fitting if self.faults[fault] == least]
            fault = self._random.choice(fitting)
            self.faults[fault] += 1
            return fault

    def _cut(self, handler: BaseHTTPRequestHandler, answer: _Answer) -> None:
        """Break off in the middle of the body, or in place of an answer where there is none."""
        if handler.command != "HEAD" and answer.body:
            _head(handler, answer)
            with contextlib.suppress(OSError):
                handler.wfile.write(answer.body[: len(answer.body) // 2])
                handler.wfile.flush()
        handler.close_connection = True
        with contextlib.suppress(OSError):
            # Not reset while the half is on its way: that would drop it.
            handler.connection.shutdown(socket.SHUT_RDWR)

    def _trickle(self, handler: BaseHTTPRequestHandler, answer: _Answer) -> None:
        _head(handler, answer)
        handler.close_connection = True
        with contextlib.suppress(OSError):
            for place in range(min(LORIS_BYTES, len(answer.body))):
                handler.wfile.write(answer.body[place : place + 1])
                if self._over.wait(LORIS_PAUSE):
                    return
            if len(answer.body) <= LORIS_BYTES:
                return
            # Nothing more, until the client has had enough.
            handler.connection.settimeout(0.5)
            while not self._over.is_set():
                with contextlib.suppress(TimeoutError):
                    if not handler.connection.recv(1):
                        return


def _fits(fault: str, handler: BaseHTTPRequestHandler, answer: _Answer) -> bool:
    good, listing = answer.status in (200, 206), _LIST.fullmatch(handler.path) is not None
    if fault == "wrong_digest":
        return good and not listing and (bool(answer.body) or bool(_MANIFEST.fullmatch(handler.path)))
    if fault in ("short_list", "broken_list"):
        return good and listing
    if fault == "slow_loris":
        return good and handler.command == "GET" and bool(answer.body)
    return True


def _spoiled(handler: BaseHTTPRequestHandler, answer: _Answer) -> _Answer:
    """Other bytes of the same length; of a HEAD another digest."""
    if handler.command == "HEAD":
        digest = answer.header("Docker-Content-Digest")
        other = digest[:-1] + ("0" if digest[-1:] != "0" else "1")
        headers = tuple((k, other if k.lower() == "docker-content-digest" else v) for k, v in answer.headers)
        return _Answer(answer.status, headers, b"")
    middle = len(answer.body) // 2
    flipped = bytes([answer.body[middle] ^ 1]) if answer.body else b""
    return _Answer(answer.status, answer.headers, answer.body[:middle] + flipped + answer.body[middle + 1 :])


def _truncated(answer: _Answer, *, whole: bool) -> _Answer:
    """A listing of which the second half is missing: well-formed if `whole`, or else broken off."""
    if not whole:
        return _Answer(answer.status, answer.headers, answer.body[: len(answer.body) // 2])
    document = json.loads(answer.body)
    for key in ("tags", "repositories"):
        if document.get(key):
            document[key] = document[key][: len(document[key]) // 2]
    headers = tuple((name, value) for name, value in answer.headers if name.lower() != "link")
    return _Answer(answer.status, headers, json.dumps(document).encode())


def _give(handler: BaseHTTPRequestHandler, answer: _Answer) -> None:
    _head(handler, answer)
    if handler.command != "HEAD":
        handler.wfile.write(answer.body)


def _head(handler: BaseHTTPRequestHandler, answer: _Answer) -> None:
    handler.send_response_only(answer.status)
    for name, value in answer.headers:
        if name.lower() != "content-length":
            handler.send_header(name, value)
    # A HEAD's tells the length of what a GET would bring.
    length = answer.header("Content-Length") if handler.command == "HEAD" else str(len(answer.body))
    handler.send_header("Content-Length", length or "0")
    handler.end_headers()
