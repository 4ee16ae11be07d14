"""Harbor.

Quirks, and where they are known from (goharbor/harbor, src/server):

- Tokens from `/service/token` for `harbor-registry`; robots are `robot$name`, a project's `robot$project+name`.
- The project, the first part of the path, must exist. The catalog is the administrator's.
- What is not there is NOT_FOUND, be it a project, a repository or an artifact; never MANIFEST_UNKNOWN.
- An immutable tag is not pushed again, be it the same digest, and its artifact not deleted: 412 PRECONDITION.
- DELETE below /v2/ is by digest; tags alone by the API (v2.0).
- Webhooks of pushes and deletions of artifacts, in a format of its own or as CloudEvents; none for a removed tag. Of
  several tags the first is named, and of none the digest in its place.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Literal
from urllib.parse import unquote

from tests.emulators.emulator import Change, Notice, credentials, moment, tags_of
from tests.emulators.tokens import Access, BearerEmulator
from tests.support.answering import Answer, Request
from tests.support.oci_content import Refused, Repository, is_digest

_UNTAG = re.compile(r"/api/v2\.0/projects/([^/]+)/repositories/(.+)/artifacts/([^/]+)/tags/([^/]+)")
_NAMED = re.compile(r"/v2/(.+)/[a-z]+/([^/]+)")
_LOST = {"MANIFEST_UNKNOWN": "artifact", "NAME_UNKNOWN": "repository"}

Format = Literal["Default", "CloudEvents"]


class Harbor(BearerEmulator):
    """`username` is the administrator's."""

    dialect = "harbor"
    realm = "/service/token"
    service = "harbor-registry"
    lifetime = 1800
    username = "admin"

    def __init__(self, *projects: str, immutable: str = "", payload: Format = "Default") -> None:
        """:param immutable: a regular expression of tags."""
        super().__init__(tag_delete=False)
        self.projects = set(projects)
        self.immutable = immutable
        self.payload = payload
        self._robots: dict[str, tuple[str, str | None]] = {}

    def robot(self, name: str, project: str | None = None) -> tuple[str, str]:
        """Make a robot, of the system or of a project, and return its name and secret."""
        full = f"robot${project}+{name}" if project else f"robot${name}"
        self._robots[full] = (uuid.uuid4().hex, project)
        return full, self._robots[full][0]

    def respond(self, request: Request) -> Answer:
        try:
            untag = _UNTAG.fullmatch(request.path)
            if untag is not None and request.method == "DELETE":
                # A slash within a name is encoded twice.
                return self._untag(request, f"{untag[1]}/{unquote(untag[2])}", untag[4])
            return super().respond(request)
        except Refused as refused:
            lost = _LOST.get(refused.code)
            named = _NAMED.fullmatch(request.path)
            if lost is None or named is None:
                raise
            reference = f"{'@' if is_digest(named[2]) else ':'}{named[2]}" if lost == "artifact" else ""
            raise Refused(404, "NOT_FOUND", f"{lost} {named[1]}{reference} not found") from None

    # --- accounts -----------------------------------------------------------------------------------------------------

    def knows(self, username: str, password: str) -> bool:
        if username in self._robots:
            return self._robots[username][0] == password
        return super().knows(username, password)

    def grant(self, account: str | None, asked: Access) -> tuple[str, ...]:
        if account not in self._robots:
            return super().grant(account, asked)
        project = self._robots[account][1]
        mine = asked.type == "repository" and project in (None, asked.name.partition("/")[0])
        return asked.actions if mine else ()

    # --- content ------------------------------------------------------------------------------------------------------

    def _made(self, name: str) -> Repository:
        project, _, rest = name.partition("/")
        if project not in self.projects or not rest:
            raise Refused(404, "NOT_FOUND", f"project {project} not found")
        return super()._made(name)

    def _put_manifest(self, request: Request, name: str, reference: str) -> Answer:
        if reference in self._made(name).tags:
            self._require_mutable(name, reference)
        return super()._put_manifest(request, name, reference)

    def _delete_manifest(self, request: Request, name: str, reference: str) -> Answer:
        if not is_digest(reference):
            raise Refused(400, "UNSUPPORTED", f"unsupported digest {reference}")
        for tag in tags_of(self._known(name).tags, reference):
            self._require_mutable(name, tag)
        return super()._delete_manifest(request, name, reference)

    def _require_mutable(self, name: str, tag: str) -> None:
        if self.immutable and re.fullmatch(self.immutable, tag):
            message = f"Failed to process request due to '{name}:{tag}' configured as immutable."
            raise Refused(412, "PRECONDITION", message)

    def _untag(self, request: Request, name: str, tag: str) -> Answer:
        if not self.knows(*(credentials(request) or ("", ""))):
            raise Refused(401, "UNAUTHORIZED", "unauthorized")
        repository = self._known(name)
        if tag not in repository.tags:
            raise Refused(404, "NOT_FOUND", f"tag {tag} not found")
        self._require_mutable(name, tag)
        del repository.tags[tag]
        return Answer(200)

    # --- events -------------------------------------------------------------------------------------------------------

    def tell(self, change: Change) -> Iterable[Notice]:
        project, _, name = change.repository.partition("/")
        first = change.tag or next(iter(change.tags), change.digest)
        url = f"{self.host}/{change.repository}{'@' if is_digest(first) else ':'}{first}"
        data: Mapping[str, Any] = {
            "resources": [{"digest": change.digest, "tag": first, "resource_url": url}],
            "repository": {
                "date_created": int(time.time()),
                "name": name,
                "namespace": project,
                "repo_full_name": change.repository,
                "repo_type": "private",
            },
        }
        push = change.action == "push"
        if self.payload == "Default":
            said = {"type": "PUSH_ARTIFACT" if push else "DELETE_ARTIFACT", "occur_at": int(time.time())}
            yield Notice.of({**said, "operator": self.username, "event_data": data})
            return
        event = {
            "specversion": "1.0",
            "id": str(uuid.uuid4()),
            "source": "/projects/1/webhook/policies/3",
            "type": f"harbor.artifact.{'pushed' if push else 'deleted'}",
            "datacontenttype": "application/json",
            "time": moment(),
            "requestid": uuid.uuid4().hex,
            "operator": self.username,
            "data": data,
        }
        yield Notice.of(event, Content_Type="application/cloudevents+json")

    def proof(self, notice: Notice, secret: str) -> Mapping[str, str]:
        return {"Authorization": secret}
