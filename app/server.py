"""The web server: gunicorn, kept from taking modules out of the working directory."""

from __future__ import annotations

from typing import Any

from gunicorn.app.wsgiapp import WSGIApplication
from gunicorn.glogging import Logger

from app.logging import configure as configure_logging


class Server(WSGIApplication):  # type: ignore[misc]  # gunicorn ships no types
    """`python -m app.server -c python:app.gunicorn_conf "app:create_app()"`."""

    def chdir(self) -> None:
        """Stay in the working directory, and leave `sys.path` alone.

        gunicorn puts that directory before everything else, and `geo up` may run in one that has an `app`, `workers`
        or `migrations` of its own.
        """


class Log(Logger):  # type: ignore[misc]
    """gunicorn's own lines, in the same form and place as all others."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        configure_logging()
        self.error_log.handlers[:] = []
        self.error_log.propagate = True


if __name__ == "__main__":
    Server().run()
