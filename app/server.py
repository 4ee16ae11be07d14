"""The web server: gunicorn, kept from taking modules out of the working directory."""

from __future__ import annotations

from gunicorn.app.wsgiapp import WSGIApplication


class Server(WSGIApplication):  # type: ignore[misc]  # gunicorn ships no types
    """`python -m app.server -c python:app.gunicorn_conf "app:create_app()"`."""

    def chdir(self) -> None:
        """Stay in the working directory, and leave `sys.path` alone.

        gunicorn puts that directory before everything else, and `geo up` may run in one that has an `app`, `workers`
        or `migrations` of its own.
        """


if __name__ == "__main__":
    Server().run()
