"""GitHub's container registry, and the API by which versions of packages are deleted.

Quirks, and where they are known from:

- A classic personal access token, as password of its user at `/token`, for the service `ghcr.io` (GitHub Docs, "Working
  with the Container registry").
- No catalog, and no referrers API: 404. DELETE of a manifest: 405 (fluxcd, goharbor/harbor).
- A chunk, which is a request with Content-Range, has 4 MiB at most, else 416; a whole upload has no such limit and must
  not carry the header (oras-project/rust-oci-client 35, ocx-sh/ocx 237).
- Owners and packages are in lower case in the registry, in any case in the API and in events.
- A version is a manifest: listed and deleted by the REST API, of organizations or users as the owner is one; the last
  tagged version cannot be deleted, only the package (GitHub Docs, "REST API endpoints for packages").
- Webhooks of pushes alone, one for each manifest; that of a child of an index has an empty tag (github/docs 22091).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from tests.emulators.emulator import Change, Notice, moment, tags_of
from tests.emulators.tokens import BearerEmulator
from tests.support.answering import Answer, Request
from tests.support.oci_content import Refused, Stored

#: Bytes of a chunk.
CHUNK_LIMIT = 4 * 1024 * 1024

_PAGE = 30

_OWNER = re.compile(r"/users/([^/]+)")
_API = re.compile(r"/(orgs|users)/([^/]+)/packages/container/(.+?)(?:/versions(?:/(\d+))?)?")

Owner = Literal["Organization", "User"]


class Ghcr(BearerEmulator):
    """`password` is the personal access token; the API is at the same address."""

    dialect = "ghcr"
    service = "ghcr.io"
    username = "octocat"
    password = "ghp_tokenofthetests"

    def __init__(self, *, owner: Owner = "Organization", event: str = "package", lets_delete: bool = True) -> None:
        super().__init__(catalog=False, delete=False, referrers=False)
        self.owner = owner
        #: The event that webhooks are of: `package` or `registry_package`.
        self.event = event
        #: Whether the token has the scope `delete:packages`.
        self.lets_delete = lets_delete
        self._versions: dict[tuple[str, str], int] = {}

    def respond(self, request: Request) -> Answer:
        called, owner = _API.fullmatch(request.path), _OWNER.fullmatch(request.path)
        if owner is not None:
            return _said(200, {"login": owner[1], "type": self.owner})
        if called is None:
            return super().respond(request)
        if self.throttled > 0:
            self.throttled -= 1
            limits = {"Retry-After": self.retry_after, "x-ratelimit-remaining": "0"}
            return _said(403, {"message": "You have exceeded a secondary rate limit"}, limits)
        return self._call(request, *called.groups())

    # --- the registry -------------------------------------------------------------------------------------------------

    def _append(self, request: Request, name: str, session: str) -> Answer:
        self._require_small(request)
        return super()._append(request, name, session)

    def _commit(self, request: Request, name: str, session: str) -> Answer:
        self._require_small(request)
        if "Content-Range" in request.headers and not self._upload(session):
            raise Refused(416, "REQUESTED_RANGE_NOT_SATISFIABLE", "a whole upload has no range")
        return super()._commit(request, name, session)

    @staticmethod
    def _require_small(request: Request) -> None:
        if "Content-Range" in request.headers and len(request.body) > CHUNK_LIMIT:
            message = "the request body is too large and exceeds the maximum permissible limit of 4.00MiB"
            raise Refused(416, "REQUESTED_RANGE_NOT_SATISFIABLE", message)

    def _delete_manifest(self, request: Request, name: str, reference: str) -> Answer:
        raise Refused(405, "UNSUPPORTED", "The operation is unsupported.")

    # --- the API ------------------------------------------------------------------------------------------------------

    def _call(self, request: Request, kind: str, owner: str, package: str, version: str | None) -> Answer:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() not in ("bearer", "token") or token != self.password:
            return _said(401, {"message": "Bad credentials"})
        name = f"{owner}/{package}".lower()
        right = "orgs" if self.owner == "Organization" else "users"
        if kind != right or name not in self.repositories:
            return _said(404, {"message": "Package not found."})
        versions = request.path.rpartition("/versions")[1]
        if request.method == "GET":
            return self._list(request, name) if versions and version is None else self._show(name, version)
        if request.method != "DELETE" or (versions and version is None):
            return _said(404, {"message": "Not Found"})
        if not self.lets_delete:
            return _said(403, {"message": "You need at least delete:packages scope to delete a package version."})
        return self._delete_version(name, version) if version is not None else self._delete_package(name)

    def _list(self, request: Request, name: str) -> Answer:
        size, number = int(request.query.get("per_page", _PAGE)), int(request.query.get("page", "1"))
        # The newest first.
        stored = list(reversed(self.repositories[name].manifests.values()))
        shown = [self._version(name, each) for each in stored[(number - 1) * size : number * size]]
        headers = {}
        if len(stored) > number * size:
            following = f"{self.url}{request.path}?per_page={size}&page={number + 1}"
            headers["Link"] = f'<{following}>; rel="next"'
        return _said(200, shown, headers)

    def _show(self, name: str, version: str | None) -> Answer:
        if version is None:
            owner, _, package = name.partition("/")
            shown = {"name": package, "package_type": "container", "owner": {"login": owner, "type": self.owner}}
            return _said(200, {**shown, "version_count": len(self.repositories[name].manifests)})
        found = self._find(name, version)
        return _said(404, {"message": "Not Found"}) if found is None else _said(200, self._version(name, found))

    def _delete_version(self, name: str, version: str) -> Answer:
        repository, found = self.repositories[name], self._find(name, version)
        if found is None:
            return _said(404, {"message": "Not Found"})
        tags = tags_of(repository.tags, found.digest)
        if tags and set(repository.tags.values()) == {found.digest}:
            message = "You cannot delete the last tagged version of a package. You must delete the package instead."
            return _said(400, {"message": message})
        del repository.manifests[found.digest]
        repository.tags = {tag: digest for tag, digest in repository.tags.items() if digest != found.digest}
        return Answer(204)

    def _delete_package(self, name: str) -> Answer:
        del self.repositories[name]
        return Answer(204)

    def _find(self, name: str, version: str) -> Stored | None:
        manifests = self.repositories[name].manifests.values()
        return next((each for each in manifests if self._id(name, each.digest) == int(version)), None)

    def _id(self, name: str, digest: str) -> int:
        return self._versions.setdefault((name, digest), 57755790 + len(self._versions))

    def _version(self, name: str, stored: Stored) -> Mapping[str, Any]:
        tags = tags_of(self.repositories[name].tags, stored.digest)
        metadata = {"package_type": "container", "container": {"tags": tags}}
        return {"id": self._id(name, stored.digest), "name": stored.digest, "metadata": metadata}

    # --- events -------------------------------------------------------------------------------------------------------

    def tell(self, change: Change) -> Iterable[Notice]:
        if change.action != "push":
            return
        owner, _, package = change.repository.partition("/")
        stored, digest, tag = change.stored, change.digest, change.tag or ""
        manifest = {"digest": digest, "media_type": stored.media_type, "size": len(stored.data)}
        version = {
            "id": self._id(change.repository, digest),
            "version": digest,
            "name": digest,
            "created_at": moment(),
            "updated_at": moment(),
            "container_metadata": {
                "tag": {"name": tag, "digest": digest},
                "labels": {},
                "manifest": {**manifest, "config": {}, "layers": []},
            },
            "package_url": f"ghcr.io/{change.repository}:{tag}",
        }
        told = {
            "name": package,
            # As the owner writes himself.
            "namespace": owner.capitalize(),
            "ecosystem": "CONTAINER",
            "package_type": "CONTAINER",
            "owner": {"login": owner.capitalize(), "type": self.owner},
            "package_version": version,
            "registry": {"type": "CONTAINER", "vendor": "GitHub Inc"},
        }
        body = {"action": "published", self.event: told, "sender": {"login": self.username}}
        yield Notice.of(body, X_GitHub_Event=self.event, X_GitHub_Delivery=str(uuid.uuid4()))

    def proof(self, notice: Notice, secret: str) -> Mapping[str, str]:
        return {"X-Hub-Signature-256": "sha256=" + hmac.new(secret.encode(), notice.body, hashlib.sha256).hexdigest()}


def _said(status: int, document: Any, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, json.dumps(document).encode(), {"Content-Type": "application/json", **(headers or {})})
