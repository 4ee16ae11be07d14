"""Whoever sends slowly, or not at all, keeps no registry from being heard: in a real web process."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from app import gunicorn_conf
from app.api import webhook
from app.web import bodies
from tests.support.deployment import offline_environment
from tests.support.envelopes import envelope, push_event
from tests.support.ports import free_port
from tests.support.running import WEBHOOK
from tests.support.web import Web

#: More than the process has threads for, twice.
MANY = gunicorn_conf.threads * 2

SIGNED = f"X-Hub-Signature-256: sha256={'0' * 64}"


def announced(path: str, *lines: str, length: int = 1000) -> bytes:
    """A request of whose body one byte comes."""
    return "\r\n".join((f"POST {path} HTTP/1.1", "Host: geo", *lines, f"Content-Length: {length}", "", "a")).encode()


#: What anybody can send who has no secret.
SLOW = {
    "no-request": b"",
    "wrong-secret": announced(WEBHOOK, "Authorization: wrong"),
    "made-up-signature": announced(f"{WEBHOOK}/ghcr", SIGNED),
    "sign-in": announced("/admin/sign-in", "Content-Type: application/x-www-form-urlencoded"),
    "api": announced("/api/v4/geo/container_repositories/resync"),
    "stays": b"GET /-/liveness HTTP/1.1\r\nHost: geo\r\nConnection: close\r\n\r\n",
}


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    path = tmp_path_factory.mktemp("web")
    env = offline_environment(f"sqlite:///{path / 'geo.db'}", REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    with Web(path, env) as web:
        yield web


def answer(wire: socket.socket) -> bytes:
    """All that is said on a connection until its end, or until a whole answer is there."""
    said = b""
    while b"\r\n\r\n" not in said and (more := wire.recv(65536)):
        said += more
    return said


@pytest.mark.parametrize("kind", SLOW)
def test_slow_senders_keep_no_registry_waiting(web: Web, kind: str) -> None:
    with ExitStack() as stack:
        # Given more of them than there are threads
        for _ in range(MANY):
            stack.enter_context(web.connect()).sendall(SLOW[kind])

        # Then registries are answered, each time
        for _ in range(3):
            started = time.monotonic()
            assert web.post(envelope(push_event())).status_code == 200
            assert time.monotonic() - started < 2


@pytest.mark.parametrize("kind", ["made-up-signature", "sign-in"])
def test_bodies_without_proof_are_read_a_few_at_a_time(web: Web, kind: str) -> None:
    with ExitStack() as stack:
        # Given one more than are read at once
        wires = [stack.enter_context(web.connect()) for _ in range(bodies.UNPROVEN + 1)]
        for wire in wires:
            wire.sendall(SLOW[kind])

        # Then one is asked to come again, well before the others are given up
        (answered, *_), _, _ = select.select(wires, [], [], bodies.SECONDS / 2)
        said = answer(answered)
        assert said.startswith(b"HTTP/1.1 503")
        assert f"Retry-After: {bodies.ASK_AGAIN}".encode() in said


def test_what_is_announced_as_too_large_is_not_waited_for(web: Web) -> None:
    with web.connect() as wire:
        started = time.monotonic()
        wire.sendall(announced(f"{WEBHOOK}/ghcr", SIGNED, length=webhook.MAX_UNPROVEN + 1))
        assert answer(wire).startswith(b"HTTP/1.1 413")
        assert time.monotonic() - started < bodies.SECONDS / 2


@pytest.mark.long
@pytest.mark.parametrize("kind", ["made-up-signature", "sign-in"])
def test_who_sends_a_byte_now_and_then_is_left(web: Web, kind: str) -> None:
    with web.connect() as wire:
        # Given a body that is never silent for long
        wire.sendall(SLOW[kind])
        wire.settimeout(0.2)
        said, started = b"", time.monotonic()
        while not said:
            wire.sendall(b"a")
            try:
                said = wire.recv(65536)
            except TimeoutError:
                assert time.monotonic() - started < bodies.SECONDS + 5

        # Then it ends all the same, and so does the connection
        assert said.startswith(b"HTTP/1.1 408")
        assert time.monotonic() - started > bodies.SECONDS - 1
        wire.settimeout(10)
        while wire.recv(65536):
            pass
