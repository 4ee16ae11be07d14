"""Amazon ECR, private.

Quirks, and where they are known from:

- Basic, with the user `AWS` and a password that GetAuthorizationToken gives for twelve hours; once it has expired, 403
  and not 401 (Amazon ECR user guide, "Private registry authentication"; containerd's reports of expired tokens).
- A repository must exist: CreateRepository, or a template applied for CREATE_ON_PUSH (user guide, "Repository creation
  templates"). A push to one that does not is answered 404, or the connection ends without an answer (dotnet/sdk).
- Further PATCHes are answered 201 and `Range` stands still; parts but the last have 5 MiB (aws/containers-roadmap
  2831). Its reporter first saw what followed the first dropped and later saw it kept: both can be had here.
- DELETE below /v2/ is not allowed: BatchDeleteImage is for it. By the tag it takes the tag, and the image with its last
  one (API Reference, BatchDeleteImage); an image that a tag has left stays, untagged (user guide, "Deleting an image").
- A manifest of schema 2 without `mediaType` is invalid JSON to it (containers/image).
- In a repository of immutable tags a tag that exists is refused, also on the digest that it stands on (user guide,
  "Image tag mutability"; aws/containers-roadmap 2179).
- `n` up to 1000, and listings of tags are plain text by their type (google/go-containerregistry 681).
- Blobs are read from S3, which refuses whoever also brings our `Authorization`.
- Mounts are an account's setting, off by default. There is no catalog.
- EventBridge tells of pushes and of what BatchDeleteImage removed (user guide, "Amazon ECR events").
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from tests.emulators.ecr_control import ControlPlane
from tests.emulators.emulator import Change, Emulator, Notice, basic, credentials, moment
from tests.support.answering import Answer, Dropped, Request, Server
from tests.support.oci_content import Refused, Repository
from tests.support.oci_registry import OciRegistry

ACCOUNT = "123456789012"
REGION = "us-east-1"

#: Seconds that a password is good.
LIFETIME = 12 * 3600.0

#: The least bytes of a part that others follow.
PART = 5 * 1024 * 1024

_LARGEST_PAGE = 1000


class Ecr(Emulator):
    """`with Moto(path) as aws, Ecr(aws.url) as registry: ...`; boto3 talks to `registry.url` too.

    What is no image's business of the control plane is moto's: repositories are made there.
    """

    dialect = "ecr"
    username = "AWS"

    def __init__(
        self,
        moto_url: str,
        *,
        create_on_push: bool = False,
        drops_chunks: bool = True,
        abrupt: bool = False,
        mount: bool = False,
    ) -> None:
        super().__init__(mount=mount, delete=False, catalog=False)
        self.create_on_push = create_on_push
        self.drops_chunks = drops_chunks
        #: Whether a push to a missing repository ends the connection.
        self.abrupt = abrupt
        #: Seconds that the passwords to come are good.
        self.lifetime = LIFETIME
        #: The repositories that there are, and whether their tags are MUTABLE or IMMUTABLE.
        self.mutability: dict[str, str] = {}
        self.control = ControlPlane(self, moto_url)
        self._passwords: dict[str, float] = {}
        self._rest: dict[str, bytearray] = {}
        self._storage = Server(self._serve_storage)
        #: Downloads from the storage.
        self.downloads: list[str] = []

    def __enter__(self) -> Self:
        self._storage.start()
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._storage.stop()

    def authorization(self, *scopes: str) -> Mapping[str, str]:
        return {"Authorization": basic(self.username, self.new_password()[0])}

    def new_password(self) -> tuple[str, float]:
        """A password, and when it expires, in seconds since 1970."""
        password, expires = uuid.uuid4().hex, time.time() + self.lifetime
        self._passwords[password] = expires
        return password, expires

    @property
    def oldest_password(self) -> float:
        """When the first of the passwords expires, in seconds since 1970."""
        return min(self._passwords.values())

    def expire_passwords(self) -> None:
        """All passwords given so far are good no more."""
        self._passwords = dict.fromkeys(self._passwords, 0.0)

    def respond(self, request: Request) -> Answer:
        if request.path == "/" and request.method == "POST":
            return self.control.respond(request)
        return super().respond(request)

    def admit(self, request: Request) -> None:
        username, password = credentials(request) or ("", "")
        if username != self.username or password not in self._passwords:
            challenge = f'Basic realm="{self.url}/",service="ecr.amazonaws.com"'
            raise Refused(401, "DENIED", "Not Authorized", {"WWW-Authenticate": challenge})
        if self._passwords[password] < time.time():
            raise Refused(403, "DENIED", "Your authorization token has expired. Reauthenticate and try again.")

    # --- repositories -------------------------------------------------------------------------------------------------

    def _known(self, name: str) -> Repository:
        return self._made(name)

    def _made(self, name: str) -> Repository:
        if name not in self.mutability:
            raise Refused(
                404,
                "NAME_UNKNOWN",
                f"The repository with name '{name}' does not exist in the registry with id '{ACCOUNT}'",
            )
        return super()._made(name)

    def _begin(self, request: Request, name: str, _: str) -> Answer:
        if name not in self.mutability:
            if self.create_on_push:
                self.control.create(name)
            elif self.abrupt:
                raise Dropped
        return super()._begin(request, name, _)

    def _list_tags(self, request: Request, name: str, _: str) -> Answer:
        if int(request.query.get("n", "1")) > _LARGEST_PAGE:
            constraint = f"Member must have value less than or equal to {_LARGEST_PAGE}"
            message = f"Invalid parameter at 'maxResults' failed to satisfy constraint: '{constraint}'"
            raise Refused(405, "UNSUPPORTED", message)
        answer = super()._list_tags(request, name, _)
        return replace(answer, headers={**answer.headers, "Content-Type": "text/plain; charset=utf-8"})

    # --- manifests ----------------------------------------------------------------------------------------------------

    def _put_manifest(self, request: Request, name: str, reference: str) -> Answer:
        repository = self._made(name)
        if not _has_media_type(request.body):
            message = "Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'Invalid JSON syntax'"
            raise Refused(405, "UNSUPPORTED", message)
        if self.mutability[name] != "MUTABLE" and reference in repository.tags:
            raise Refused(
                400,
                "TAG_INVALID",
                f"The image tag '{reference}' already exists in the '{name}' repository and cannot be overwritten"
                " because the repository is immutable.",
            )
        return super()._put_manifest(request, name, reference)

    def _delete_manifest(self, request: Request, name: str, reference: str) -> Answer:
        raise Refused(405, "UNSUPPORTED", "The operation is unsupported.")

    # --- blobs --------------------------------------------------------------------------------------------------------

    def _append(self, request: Request, name: str, session: str) -> Answer:
        received = self._upload(session)
        if not received:
            return replace(super()._append(request, name, session), status=201)
        self._require_part(received)
        self._rest.setdefault(session, bytearray()).extend(request.body)
        return self._session(201, name, session)

    def _commit(self, request: Request, name: str, session: str) -> Answer:
        received = self._upload(session)
        if received and (request.body or session in self._rest):
            self._require_part(received)
        rest = self._rest.pop(session, b"")
        if not self.drops_chunks:
            received += rest
        return super()._commit(request, name, session)

    def _require_part(self, received: bytearray) -> None:
        if len(received) < PART:
            message = f"LayerPartTooSmallException: a part of {len(received)} bytes, they have {PART} at least"
            raise Refused(400, "BLOB_UPLOAD_INVALID", message)

    def _get_blob(self, request: Request, name: str, digest: str) -> Answer:
        answer = super()._get_blob(request, name, digest)
        if request.method == "HEAD":
            return answer
        signed = f"http://127.0.0.1:{self._storage.port}/{name}/{digest}?X-Amz-Signature={uuid.uuid4().hex}"
        return Answer(307, b"", {"Location": signed})

    def _serve_storage(self, request: Request) -> Answer:
        with self._lock:
            self.downloads.append(str(request))
            if "Authorization" in request.headers or "X-Amz-Signature" not in request.query:
                said = b"<Error><Code>InvalidArgument</Code><Message>Only one auth mechanism allowed</Message></Error>"
                return Answer(400, said, {"Content-Type": "application/xml"})
            name, _, digest = request.path.lstrip("/").rpartition("/")
            return OciRegistry._get_blob(self, request, name, digest)

    # --- events -------------------------------------------------------------------------------------------------------

    def tell(self, change: Change) -> Iterable[Notice]:
        # Of a deletion that took tags with it, each is told of.
        tags = change.tags if change.action == "delete" else (change.tag,)
        for tag in tags or (None,):
            detail = {
                "result": "SUCCESS",
                "repository-name": change.repository,
                "image-digest": change.digest,
                "action-type": change.action.upper(),
                "manifest-media-type": change.stored.media_type,
            }
            yield Notice.of(_event(detail | ({} if tag is None else {"image-tag": tag})))

    def proof(self, notice: Notice, secret: str) -> Mapping[str, str]:
        # The connection of an API destination that authorizes by API key.
        return {"X-Api-Key": secret}


def _event(detail: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "ECR Image Action",
        "source": "aws.ecr",
        "account": ACCOUNT,
        "time": moment(),
        "region": REGION,
        "resources": [],
        "detail": detail,
    }


def _has_media_type(body: bytes) -> bool:
    try:
        document = json.loads(body)
    except ValueError:
        return False
    return isinstance(document, dict) and (document.get("schemaVersion") != 2 or "mediaType" in document)
