"""Google Artifact Registry.

Quirks, and where they are known from:

- Basic with `oauth2accesstoken` and an OAuth token, or `_json_key` and a service account's key, at `/v2/token`; the
  OAuth token is a bearer token itself (Artifact Registry, "Set up authentication for Docker").
- Uploads are whole: no chunks (Artifact Registry, "Docker API overview"). Their Location is outside of /v2/
  (containers/skopeo 1101). Mounts are not honoured (kubernetes-sigs/promo-tools).
- The repository, the second part of the path, must exist; images below it come by pushing.
- A manifest that a tag stands on is not deleted, GOOGLE_MANIFEST_DANGLING_TAG (enix/kube-image-keeper 636), nor one
  that an index lists, GOOGLE_MANIFEST_DANGLING_PARENT_IMAGE (GoogleCloudPlatform/gcr-cleaner 130). Tags are deleted by
  name.
- A listing of tags also has `manifest` and `child` (google/go-containerregistry, pkg/v1/google). There is no catalog.
- In a repository of immutable tags these are neither moved nor deleted (Artifact Registry, "Immutable image tags"). The
  status and words of that refusal are ours.
- Pub/Sub tells of pushes and deletions, of tags too, with an identity token of Google's (Artifact Registry, "Configure
  Pub/Sub notifications").
"""

from __future__ import annotations

import base64
import json
import re
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tests.emulators.emulator import Change, Notice, moment, parents_of, tags_of
from tests.emulators.tokens import Access, BearerEmulator
from tests.support.answering import Answer, Request
from tests.support.identity import identity_token
from tests.support.oci_content import Refused, Repository, digest_of, is_digest

#: What the names in events begin with.
HOST = "us-docker.pkg.dev"

#: Whom Pub/Sub's identity tokens are for, and which service account they are of.
AUDIENCE = "https://geo.example.com/gar"
EMAIL = "push@my-project.iam.gserviceaccount.com"

_UPLOAD = re.compile(r"/artifacts-uploads/namespaces/([^/]+)/repositories/([^/]+)/uploads/([0-9a-f]+)")


class Gar(BearerEmulator):
    """`password` is an OAuth token that is good for as long as the test wants; `oauth_token` makes others."""

    dialect = "gar"
    realm = "/v2/token"
    lifetime = 3600
    username = "oauth2accesstoken"
    password = "ya29.token-of-the-tests"

    #: The key of a service account.
    json_key = json.dumps({"type": "service_account", "client_email": EMAIL})

    def __init__(self, *created: str, immutable: Iterable[str] = ()) -> None:
        """:param created: `project/repository` of those that exist."""
        super().__init__(mount=False, catalog=False)
        self.created = {*created, *immutable}
        self.immutable = set(immutable)
        self._oauth = {self.password: float("inf")}
        self._uploading: dict[str, str] = {}

    def oauth_token(self, lifetime: float = 3600) -> str:
        token = f"ya29.{uuid.uuid4().hex}"
        self._oauth[token] = time.time() + lifetime
        return token

    def respond(self, request: Request) -> Answer:
        upload = _UPLOAD.fullmatch(request.path)
        if upload is None:
            return super().respond(request)
        self.admit(request)
        endpoint = {"PATCH": self._append, "GET": self._status, "PUT": self._commit, "DELETE": self._cancel}
        return endpoint[request.method](request, self._uploading[upload[3]], upload[3])

    # --- tokens -------------------------------------------------------------------------------------------------------

    def knows(self, username: str, password: str) -> bool:
        if username == "_json_key":
            return password == self.json_key
        if username == "_json_key_base64":
            return password == base64.b64encode(self.json_key.encode()).decode()
        return username == self.username and self._is_oauth(password)

    def claims(self, token: str) -> Mapping[str, Any] | None:
        return {"sub": "oauth", "access": [], "all": True} if self._is_oauth(token) else super().claims(token)

    def covers(self, claims: Mapping[str, Any], wanted: Access) -> bool:
        return "all" in claims or super().covers(claims, wanted)

    def needs(self, request: Request) -> Sequence[Access]:
        upload = _UPLOAD.fullmatch(request.path)
        if upload is None:
            return super().needs(request)
        return [Access("repository", self._uploading.get(upload[3], ""), ("pull", "push"))]

    def _is_oauth(self, token: str) -> bool:
        return self._oauth.get(token, 0.0) > time.time()

    # --- content ------------------------------------------------------------------------------------------------------

    def _made(self, name: str) -> Repository:
        parts = name.split("/")
        if len(parts) < 3:
            raise Refused(400, "NAME_INVALID", f"{name} is not project/repository/image")
        if "/".join(parts[:2]) not in self.created:
            raise Refused(404, "NAME_UNKNOWN", f'Repository "{parts[1]}" not found')
        return super()._made(name)

    def _append(self, request: Request, name: str, session: str) -> Answer:
        if "Content-Range" in request.headers or self._upload(session):
            raise Refused(400, "UNSUPPORTED", "chunked uploads are not supported")
        return super()._append(request, name, session)

    def _session(self, status: int, name: str, session: str) -> Answer:
        project, repository = name.split("/")[:2]
        self._uploading[session] = name
        location = f"{self.url}/artifacts-uploads/namespaces/{project}/repositories/{repository}/uploads/{session}"
        answer = super()._session(status, name, session)
        return replace(answer, headers={**answer.headers, "Location": location})

    def _put_manifest(self, request: Request, name: str, reference: str) -> Answer:
        standing = self._made(name).tags.get(reference)
        if self._is_immutable(name) and standing not in (None, digest_of(request.body)):
            raise Refused(400, "DENIED", f"cannot update tag {reference}: the repository has immutable tags")
        return super()._put_manifest(request, name, reference)

    def _delete_manifest(self, request: Request, name: str, reference: str) -> Answer:
        repository = self._known(name)
        if is_digest(reference):
            for tag in tags_of(repository.tags, reference):
                raise Refused(400, "GOOGLE_MANIFEST_DANGLING_TAG", f"Manifest is still referenced by tag: {tag}")
            for parent in parents_of(repository.manifests, reference):
                message = f"Manifest {reference} is referenced by image {parent}"
                raise Refused(400, "GOOGLE_MANIFEST_DANGLING_PARENT_IMAGE", message)
        elif reference in repository.tags and self._is_immutable(name):
            raise Refused(400, "DENIED", f"cannot delete tag {reference}: the repository has immutable tags")
        return super()._delete_manifest(request, name, reference)

    def _is_immutable(self, name: str) -> bool:
        return "/".join(name.split("/")[:2]) in self.immutable

    def _list_tags(self, request: Request, name: str, _: str) -> Answer:
        answer = super()._list_tags(request, name, _)
        repository = self._known(name)
        manifests = {
            digest: {
                "tag": tags_of(repository.tags, digest),
                "mediaType": stored.media_type,
                "imageSizeBytes": str(len(stored.data)),
                "timeUploadedMs": str(int(time.time() * 1000)),
            }
            for digest, stored in repository.manifests.items()
        }
        children = [other[len(name) + 1 :] for other in self.repositories if other.startswith(f"{name}/")]
        document = {"child": children, "manifest": manifests, **json.loads(answer.body)}
        return replace(answer, body=json.dumps(document).encode())

    # --- events -------------------------------------------------------------------------------------------------------

    def tell(self, change: Change) -> Iterable[Notice]:
        image = f"{HOST}/{change.repository}"
        said = {"action": "INSERT" if change.action == "push" else "DELETE"}
        if change.tag is not None:
            said["tag"] = f"{image}:{change.tag}"
        if change.action == "push" or change.tag is None:
            said["digest"] = f"{image}@{change.digest}"
        identity, published = str(uuid.uuid4().int % 10**15), moment()
        message = {
            "data": base64.b64encode(json.dumps(said).encode()).decode(),
            "messageId": identity,
            "message_id": identity,
            "publishTime": published,
            "publish_time": published,
            "attributes": {},
        }
        yield Notice.of({"message": message, "subscription": "projects/my-project/subscriptions/geo"})

    def proof(self, notice: Notice, secret: str) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {identity_token(AUDIENCE, EMAIL)}"}
