"""Servers that note what they are asked, and a fetch that asks them for real."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any, Protocol
from urllib.parse import urlencode

import pytest

from app.registry import Fetch, from_response
from app.registry.transport import Transport, read
from tests.support.answering import Answer, Request, Server


class Noting:
    """A server that answers so; `seen` are the requests in order."""

    def __init__(self, answer: Callable[[Request], Answer]) -> None:
        self.seen: list[Request] = []

        def serve(request: Request) -> Answer:
            self.seen.append(request)
            return answer(request)

        self._server = Server(serve)
        self._server.start()
        self.url = f"http://127.0.0.1:{self._server.port}"

    def stop(self) -> None:
        self._server.stop()


class Serve(Protocol):
    def __call__(self, answer: Callable[[Request], Answer]) -> Noting: ...


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start servers that end with the test."""
    with ExitStack() as stack:

        def start(answer: Callable[[Request], Answer]) -> Noting:
            server = Noting(answer)
            stack.callback(server.stop)
            return server

        yield start


@pytest.fixture
def fetch() -> Iterator[Fetch]:
    """Asks as the registry's client does."""
    transport = Transport(connect_timeout=5.0, read_timeout=5.0)

    def ask(
        method: str, url: str, *, headers: Mapping[str, str] | None = None, form: Mapping[str, str] | None = None
    ) -> bytes:
        sent: dict[str, Any] = dict(headers or {})
        authorization = sent.pop("Authorization", None)
        if form is not None:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        body = urlencode(form).encode() if form is not None else None
        response = transport.send(method, url, headers=sent, authorization=authorization, body=body)
        if response.status_code != 200:
            raise from_response(response)
        return read(response, 65536)

    yield ask
    transport.close()
