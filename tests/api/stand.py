"""The whole application behind a real server, with rows in it: what clients and their tools are tried against."""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Response, request
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.api.sites import add
from tests.support.face import Face, face
from tests.support.keys import TokenAuth
from tests.support.seed import Seeded, seed

#: A site with a deployment of its own.
REMOTE = "berlin"


@dataclass(frozen=True, slots=True)
class Stand:
    face: Face
    seeded: Seeded
    url: str
    site_token: str
    #: Methods and paths, as OpenAPI writes them, of all that was answered, and with which statuses.
    answered: dict[tuple[str, str], set[int]]


class Quiet(WSGIRequestHandler):
    """Thousands of requests need no line each."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


@contextmanager
def stand(path: Path, token_auth: TokenAuth, **extra: str) -> Iterator[Stand]:
    """Serve a seeded deployment on a free port; `extra` changes its environment."""
    environment: dict[str, Any] = {
        "GEO_REGISTRY_KEY_PATH": str(token_auth.keys.key_path),
        "GEO_REGISTRY_CERTIFICATE_PATH": str(token_auth.keys.certificate_path),
        # Nothing is asked of a registry: the repositories are named.
        "GEO_REPOSITORIES": "team/app library/nginx",
        **extra,
    }
    with face(f"sqlite:///{path}/geo.db", path / "state", **environment) as started:
        seeded = seed(started.site, synced=5)
        token = add(name=REMOTE)
        # What goes wrong is answered as it would be to anybody.
        started.app.testing = False
        answered: dict[tuple[str, str], set[int]] = defaultdict(set)

        @started.app.after_request
        def note(response: Response) -> Response:
            if request.url_rule is not None:
                path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", request.url_rule.rule)
                answered[request.method, path].add(response.status_code)
            return response

        server = make_server("127.0.0.1", 0, started.app, threaded=True, request_handler=Quiet)
        serving = threading.Thread(target=server.serve_forever, name="stand")
        serving.start()
        try:
            yield Stand(started, seeded, f"http://127.0.0.1:{server.server_port}", token, answered)
        finally:
            server.shutdown()
            serving.join(30)
            server.server_close()
