"""An OCI 1.1 registry in memory: a real HTTP server, honest to the distribution specification, with switches."""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode

from tests.support.answering import Answer, Request, Server
from tests.support.images import OCI_INDEX
from tests.support.oci_content import Features, Refused, Repository, page

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = rf"(?P<name>{_COMPONENT}(?:/{_COMPONENT})*)"
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_CONTENT_RANGE = re.compile(r"(\d+)-(\d+)")


Endpoint = Callable[[Request, str, str], Answer]


class OciRegistry:
    """`with OciRegistry(sparse=True) as registry: ...`: on a free port, open to everyone, empty.

    The options are those of `Features`; `registry.features` may be changed at any time. `requests` are the
    `METHOD path?query` so far. A registry with peculiarities is a subclass that wraps `respond`.
    """

    def __init__(self, **features: Any) -> None:
        self.features = Features(**features)
        self.repositories: dict[str, Repository] = {}
        self.requests: list[str] = []
        self._uploads: dict[str, bytearray] = {}
        self._lock = threading.RLock()
        self._server = Server(self._serve)
        endpoints: dict[str, dict[str, Endpoint]] = {
            r"tags/list()": {"GET": self._list_tags},
            r"referrers/([^/]+)": {"GET": self._list_referrers},
            r"manifests/([^/]+)": {
                "GET": self._get_manifest,
                "PUT": self._put_manifest,
                "DELETE": self._delete_manifest,
            },
            r"blobs/uploads/?()": {"POST": self._begin},
            r"blobs/uploads/([^/]+)": {
                "PATCH": self._append,
                "GET": self._status,
                "PUT": self._commit,
                "DELETE": self._cancel,
            },
            r"blobs/([^/]+)": {"GET": self._get_blob, "DELETE": self._delete_blob},
        }
        self._routes = [(re.compile(rf"/v2/{_NAME}/{path}"), methods) for path, methods in endpoints.items()]

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def verify(self) -> bool | str:
        return True

    def authorization(self, *scopes: str) -> Mapping[str, str]:
        return {}

    def count(self, pattern: str) -> int:
        """How many requests so far match the regular expression."""
        with self._lock:
            return sum(re.search(pattern, request) is not None for request in self.requests)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop()

    def respond(self, request: Request) -> Answer:
        """Answer one request; one at a time comes in here."""
        if request.path in ("/v2", "/v2/"):
            return Answer(200, b"{}", {"Content-Type": "application/json"})
        if request.path == "/v2/_catalog" and self.features.catalog and request.method == "GET":
            return self._listing(request, "repositories", iter(self.repositories), {})
        for pattern, methods in self._routes:
            match = pattern.fullmatch(request.path)
            if match is not None:
                endpoint = methods.get("GET" if request.method == "HEAD" else request.method)
                if endpoint is None:
                    raise Refused(405, "UNSUPPORTED", f"{request.method} is not for {request.path}")
                return endpoint(request, match["name"], match.groups()[-1])
        return Answer(404, b"404 page not found\n", {"Content-Type": "text/plain; charset=utf-8"})

    # --- manifests and listings ---------------------------------------------------------------------------------------

    def _get_manifest(self, request: Request, name: str, reference: str) -> Answer:
        stored = self._known(name).manifest(reference)
        return Answer(200, stored.data, {"Content-Type": stored.media_type, "Docker-Content-Digest": stored.digest})

    def _put_manifest(self, request: Request, name: str, reference: str) -> Answer:
        media_type = request.headers.get("Content-Type", "")
        stored = self._made(name).put_manifest(reference, request.body, media_type)
        headers = {"Location": f"/v2/{name}/manifests/{stored.digest}", "Docker-Content-Digest": stored.digest}
        if stored.subject is not None and self.features.referrers:
            headers["OCI-Subject"] = stored.subject
        return Answer(201, b"", headers)

    def _delete_manifest(self, request: Request, name: str, reference: str) -> Answer:
        self._known(name).delete_manifest(reference)
        return Answer(202)

    def _list_tags(self, request: Request, name: str, _: str) -> Answer:
        return self._listing(request, "tags", iter(self._known(name).tags), {"name": name})

    def _list_referrers(self, request: Request, name: str, digest: str) -> Answer:
        if not self.features.referrers:
            return Answer(404, b"404 page not found\n", {"Content-Type": "text/plain; charset=utf-8"})
        artifact_type = request.query.get("artifactType")
        repository = self.repositories.get(name) or Repository(self.features)
        entries = {entry["digest"]: entry for entry in repository.referrers(digest, artifact_type)}
        headers = {"Content-Type": OCI_INDEX}
        if artifact_type is not None:
            headers["OCI-Filters-Applied"] = "artifactType"
        digests, more = page(iter(entries), request.query.get("last"), self.features.page_size)
        if more:
            headers["Link"] = self._next(request, last=digests[-1])
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entries[each] for each in digests]}
        return Answer(200, json.dumps(index).encode(), headers)

    def _listing(self, request: Request, key: str, names: Iterator[str], document: dict[str, Any]) -> Answer:
        size = min(int(request.query.get("n", self.features.page_size)), self.features.page_size)
        found, more = page(names, request.query.get("last"), size)
        headers = {"Content-Type": "application/json"}
        if more and found:
            headers["Link"] = self._next(request, n=str(size), last=found[-1])
        return Answer(200, json.dumps({**document, key: found}).encode(), headers)

    def _next(self, request: Request, **changed: str) -> str:
        return f'<{quote(request.path)}?{urlencode({**request.query, **changed})}>; rel="next"'

    # --- blobs --------------------------------------------------------------------------------------------------------

    def _get_blob(self, request: Request, name: str, digest: str) -> Answer:
        data = self._known(name).blob(digest)
        headers = {
            "Content-Type": "application/octet-stream",
            "Docker-Content-Digest": digest,
            "Accept-Ranges": "bytes",
        }
        asked = _RANGE.fullmatch(request.headers.get("Range", ""))
        if asked is None:
            return Answer(200, data, headers)
        first, last = int(asked[1]), min(int(asked[2] or len(data)), len(data) - 1)
        if first > last:
            return Answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
        return Answer(206, data[first : last + 1], {**headers, "Content-Range": f"bytes {first}-{last}/{len(data)}"})

    def _delete_blob(self, request: Request, name: str, digest: str) -> Answer:
        self._known(name).delete_blob(digest)
        return Answer(202)

    def _begin(self, request: Request, name: str, _: str) -> Answer:
        repository, query = self._made(name), request.query
        source = self.repositories.get(query.get("from", ""))
        if self.features.mount and source is not None and query.get("mount") in source.blobs:
            repository.blobs[query["mount"]] = source.blobs[query["mount"]]
            return self._stored(name, query["mount"])
        if "digest" in query:
            repository.put_blob(query["digest"], request.body)
            return self._stored(name, query["digest"])
        session = uuid.uuid4().hex
        self._uploads[session] = bytearray()
        return self._session(202, name, session)

    def _append(self, request: Request, name: str, session: str) -> Answer:
        received = self._upload(session)
        stated = _CONTENT_RANGE.fullmatch(request.headers.get("Content-Range", ""))
        if stated is not None and (
            int(stated[1]) != len(received) or int(stated[2]) + 1 != int(stated[1]) + len(request.body)
        ):
            return Answer(416, b"", dict(self._session(416, name, session).headers))
        received += request.body
        return self._session(202, name, session)

    def _status(self, request: Request, name: str, session: str) -> Answer:
        self._upload(session)
        return self._session(204, name, session)

    def _commit(self, request: Request, name: str, session: str) -> Answer:
        data = bytes(self._upload(session) + request.body)
        del self._uploads[session]
        digest = request.query.get("digest", "")
        self._made(name).put_blob(digest, data)
        return self._stored(name, digest)

    def _cancel(self, request: Request, name: str, session: str) -> Answer:
        self._upload(session)
        del self._uploads[session]
        return Answer(204)

    def _upload(self, session: str) -> bytearray:
        if session not in self._uploads:
            raise Refused(404, "BLOB_UPLOAD_UNKNOWN", f"no upload {session}")
        return self._uploads[session]

    def _session(self, status: int, name: str, session: str) -> Answer:
        received = len(self._uploads[session])
        headers = {"Location": f"/v2/{name}/blobs/uploads/{session}", "Range": f"0-{max(0, received - 1)}"}
        return Answer(status, b"", headers)

    def _stored(self, name: str, digest: str) -> Answer:
        return Answer(201, b"", {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest})

    # --- plumbing -----------------------------------------------------------------------------------------------------

    def _known(self, name: str) -> Repository:
        if name not in self.repositories:
            raise Refused(404, "NAME_UNKNOWN", f"no repository {name}")
        return self.repositories[name]

    def _made(self, name: str) -> Repository:
        return self.repositories.setdefault(name, Repository(self.features))

    def _serve(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(str(request))
            try:
                return self.respond(request)
            except Refused as refused:
                return Answer(refused.status, refused.body, {"Content-Type": "application/json", **refused.headers})
