"""GitHub's REST API of container packages, as far as versions go, over what a registry in memory holds.

By "REST API endpoints for packages": a version is a manifest with all its tags.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

from tests.support.answering import Answer, Request, Server
from tests.support.oci_registry import OciRegistry

TOKEN = "ghp_tests"

_VERSIONS = re.compile(r"/(orgs|users)/([^/]+)/packages/container/(.+)/versions(?:/(\d+))?")


class GitHub:
    """`with GitHub(registry) as api: ...`; `organizations` are the owners that are no users."""

    def __init__(self, registry: OciRegistry, *organizations: str, page: int = 100) -> None:
        self.registry = registry
        self.organizations = organizations
        self.requests: list[str] = []
        #: Whether it does not list the newest version yet.
        self.late = False
        #: Done when a page of versions was told, once and each time.
        self.after_page: Callable[[], None] | None = None
        self.always: Callable[[], None] | None = None
        self._page = page
        self._ids: dict[str, int] = {}
        self._server = Server(self._serve)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.port}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop()

    def delete(self, path: str, tag: str) -> None:
        """Delete the version under this tag, as somebody else does."""
        repository = self.registry.repositories[path]
        del repository.manifests[repository.tags.pop(tag)]

    def _serve(self, request: Request) -> Answer:
        self.requests.append(str(request))
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return _json(401, {"message": "Bad credentials"})
        if request.path.startswith("/users/") and request.path.count("/") == 2:
            owner = request.path.rpartition("/")[2]
            return _json(200, {"login": owner, "type": "Organization" if owner in self.organizations else "User"})
        match = _VERSIONS.fullmatch(request.path)
        if match is None:
            return _json(404, {"message": "Not Found"})
        kind, owner, package, version = match.groups()
        repository = self.registry.repositories.get(f"{owner}/{unquote(package)}")
        if repository is None or kind != ("orgs" if owner in self.organizations else "users"):
            return _json(404, {"message": "Package not found."})
        versions = {self._ids.setdefault(digest, len(self._ids) + 1): digest for digest in repository.manifests}
        if request.method == "GET":
            size = int(request.query["per_page"])
            start = size * (int(request.query["page"]) - 1)
            # The newest first.
            listed = [{"id": each, "name": versions[each]} for each in sorted(versions, reverse=True)]
            listed = listed[1:] if self.late else listed
            told = _json(200, listed[start : start + size])
            once, self.after_page = self.after_page, None
            for happens in (once, self.always):
                if happens is not None:
                    happens()
            return told
        if int(version) not in versions:
            return _json(404, {"message": "Package version not found."})
        if len(versions) == 1:
            return _json(400, {"message": "You cannot delete the last version of a package."})
        deleted = versions[int(version)]
        del repository.manifests[deleted]
        repository.tags = {tag: digest for tag, digest in repository.tags.items() if digest != deleted}
        return Answer(204)


def _json(status: int, document: Any) -> Answer:
    return Answer(status, json.dumps(document).encode(), {"Content-Type": "application/json"})
