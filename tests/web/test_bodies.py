"""The body of a stranger, over a real connection."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from flask import Flask
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser
from werkzeug.exceptions import RequestTimeout, ServiceUnavailable

from app.web import bodies
from app.web.bodies import unproven_body
from app.web.slots import Slots


@pytest.fixture
def wire() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The server's end and the client's."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), timeout=20) as theirs,
        server.accept()[0] as ours,
    ):
        yield ours, theirs


@pytest.mark.parametrize("framing", ["Content-Length: 100", "Transfer-Encoding: chunked"])
def test_one_that_does_not_come_ends_in_time(
    wire: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch, framing: str
) -> None:
    # Given a client that announces more than it sends
    monkeypatch.setattr(bodies, "SECONDS", 0.2)
    ours, theirs = wire
    theirs.sendall(f"POST / HTTP/1.1\r\nHost: geo\r\n{framing}\r\n\r\n4\r\nhalf".encode())
    parser = RequestParser(Config(), ours, ("127.0.0.1", 1))
    environ = {"wsgi.input": next(parser).body, "wsgi.input_terminated": True, "gunicorn.socket": ours}

    # When it is read, Then that ends
    with (
        Flask(__name__).test_request_context("/", method="POST", environ_overrides=environ) as context,
        pytest.raises(RequestTimeout, match="was not there"),
        unproven_body(),
    ):
        context.request.stream.read(1000)

    # And what comes after all is not taken for a request
    theirs.sendall(b"GET /admin HTTP/1.1\r\nHost: geo\r\n\r\n")
    assert not parser.finish_body()
    # And the answer can still be sent
    ours.sendall(b"answer")
    assert theirs.recv(10) == b"answer"


def test_a_mistake_in_reading_one_stays_what_it_is(wire: tuple[socket.socket, socket.socket]) -> None:
    environ = {"gunicorn.socket": wire[0]}
    with (
        Flask(__name__).test_request_context("/", method="POST", environ_overrides=environ),
        pytest.raises(ZeroDivisionError),
        unproven_body(),
    ):
        _ = 1 / 0


def test_only_so_many_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "unproven", Slots(1))
    with Flask(__name__).test_request_context("/", method="POST"):
        with unproven_body(), pytest.raises(ServiceUnavailable) as busy, unproven_body():
            pass
        assert dict(busy.value.get_headers())["Retry-After"] == str(bodies.ASK_AGAIN)
        # And there is room again
        with unproven_body():
            pass
