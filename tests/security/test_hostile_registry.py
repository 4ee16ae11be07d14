"""What a registry can try, of which nothing else is a test of its own."""

from __future__ import annotations

import time

import pytest

from app.registry import Basic, Unauthorized
from tests.registry.conftest import Connect, Serve
from tests.registry.conftest import connect as connect
from tests.registry.conftest import serve as serve
from tests.registry.scripted import Handler, Request


@pytest.mark.parametrize("piece", ["a", "Bearer realm=x,", 'a="', "a ", 'Bearer realm="\\', ","])
def test_a_challenge_without_end_is_not_looked_through(serve: Serve, connect: Connect, piece: str) -> None:
    # Given a challenge that a pattern would take minutes for
    challenge = piece * (60_000 // len(piece))

    def script(handler: Handler, request: Request) -> None:
        handler.error(401, "UNAUTHORIZED", WWW_Authenticate=challenge)

    # When somebody comes with a password, Then it is refused at once
    began = time.monotonic()
    with pytest.raises(Unauthorized):
        connect(serve(script).url, Basic("geo", "a-password")).ping()
    assert time.monotonic() - began < 2
