"""Bodies of strangers: what has to be read before it is known who sends it; a few at a time, and not for ever."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from flask import request
from werkzeug.exceptions import RequestTimeout, ServiceUnavailable

from app.web.slots import Slots

#: Of them at once, in each process, of its threads (app.gunicorn_conf). A slot is held while one is read, no longer;
#: but that is a round trip or two where no proxy has taken the body in before, and one push to GHCR is several
#: deliveries, none of which GitHub repeats.
UNPROVEN = 6

#: Seconds to wait for a slot. Whoever waits holds a thread as well.
WAIT = 0.25

#: Seconds for all of one. GitHub waits as long for its answer; whoever sends a byte now and then would never end.
SECONDS = 10.0

#: Seconds after which one may ask again.
ASK_AGAIN = 10

unproven = Slots(UNPROVEN)


@contextmanager
def unproven_body() -> Iterator[None]:
    """Inside, the body of this request may be read though nobody has proven who sends it.

    Raises:
        ServiceUnavailable: others are at it.
        RequestTimeout: it was not there in time; what came of it is not to be used.
    """
    with unproven.one(WAIT) as got:
        if not got:
            raise ServiceUnavailable("Others are sending something very slowly.", retry_after=ASK_AGAIN)
        with _within(SECONDS):
            yield


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """End the reading of this request from outside: a read returns only once it has all that it was to read."""
    connection: socket.socket | None = request.environ.get("gunicorn.socket")
    if connection is None:
        # Not a real server: what there is of the body is there.
        yield
        return
    over = threading.Event()

    def end() -> None:
        over.set()
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RD)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception:
        if not over.is_set():
            raise
    finally:
        timer.cancel()
    if over.is_set():
        # Of gunicorn: the rest of the body, should it still come, is not the next request.
        request.environ["wsgi.input"].failed = True
        raise RequestTimeout(f"The body was not there within {seconds:.0f} seconds.")
