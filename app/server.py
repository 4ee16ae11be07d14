"""The web server: gunicorn, kept from taking modules out of the working directory, and from waiting for nothing."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

from gunicorn.app.wsgiapp import WSGIApplication
from gunicorn.glogging import Logger
from gunicorn.workers import gthread

from app.logging import configure as configure_logging

#: Seconds that a thread waits for the first byte of a connection, which the loop then does for it, and for the rest of
#: a body that nobody wants. gunicorn's are 5: a few clients that send nothing would hold all threads. More than a
#: thread may stand still for by itself, or a connection is closed whose body was read.
PATIENCE = 0.3


class Server(WSGIApplication):  # type: ignore[misc]  # gunicorn ships no types
    """`python -m app.server -c python:app.gunicorn_conf "app:create_app()"`."""

    def chdir(self) -> None:
        """Stay in the working directory, and leave `sys.path` alone.

        gunicorn puts that directory before everything else, and `geo up` may run in one that has an `app`, `workers`
        or `migrations` of its own.
        """


class Worker(gthread.ThreadWorker):  # type: ignore[misc]
    """gunicorn's own, but for whom it waits."""

    def init_process(self) -> None:
        gthread.DEFAULT_WORKER_DATA_TIMEOUT = PATIENCE
        super().init_process()

    def handle(self, conn: Any) -> Any:
        """Serve a request, and say whether the connection stays open.

        One that does not is closed by the loop, which would wait two seconds for the client to close it, and meanwhile
        take in nobody. What has arrived is still read off, so that the client reads the answer.
        """
        kept = super().handle(conn)
        if kept is False:
            with suppress(OSError):
                conn.sock.shutdown(socket.SHUT_RD)
        return kept


class Log(Logger):  # type: ignore[misc]
    """gunicorn's own lines, in the same form and place as all others."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        configure_logging()
        self.error_log.handlers[:] = []
        self.error_log.propagate = True


if __name__ == "__main__":
    Server().run()
