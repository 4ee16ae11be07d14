"""The control plane of the emulated ECR: images are the emulator's own, everything else is moto's."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import requests

from tests.emulators.emulator import Change, parents_of, tags_of
from tests.support.answering import Answer, Request
from tests.support.oci_content import Repository, Stored

if TYPE_CHECKING:
    from tests.emulators.ecr import Ecr

TARGET = "AmazonEC2ContainerRegistry_V20150921"

#: Images of one BatchDeleteImage.
_BATCH = 100

_PAGE = 100

_PASSED_BACK = ("Content-Type", "x-amzn-errortype")

Operation = Callable[[Mapping[str, Any], Request], Mapping[str, Any]]


class ApiError(Exception):
    """An error as the API has it, by its exception's name."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class ControlPlane:
    """Speaks the JSON 1.1 protocol of AWS.

    Moto does not know what was pushed (its PutImage computes other digests), so ListImages, DescribeImages,
    BatchGetImage and BatchDeleteImage are answered here; GetAuthorizationToken too, for moto's expired in 2015. Each
    request must be signed; by whom is not looked at.
    """

    def __init__(self, registry: Ecr, moto_url: str) -> None:
        self._registry = registry
        self._moto_url = moto_url
        #: Names of the operations so far.
        self.operations: list[str] = []
        #: Operations that the caller's policy does not allow.
        self.denied: set[str] = set()
        self._own: dict[str, Operation] = {
            "GetAuthorizationToken": self._get_authorization_token,
            "ListImages": self._list_images,
            "DescribeImages": self._describe_images,
            "BatchGetImage": self._batch_get_image,
            "BatchDeleteImage": self._batch_delete_image,
        }

    def respond(self, request: Request) -> Answer:
        _, _, operation = request.headers.get("X-Amz-Target", "").partition(".")
        self.operations.append(operation)
        try:
            if not request.headers.get("Authorization", "").startswith("AWS4-HMAC-SHA256 "):
                raise ApiError("MissingAuthenticationTokenException", "Missing Authentication Token")
            if operation in self.denied:
                raise ApiError("AccessDeniedException", f"not authorized to perform: ecr:{operation}")
            document = json.loads(request.body or b"{}")
            if operation in self._own:
                return _answer(self._own[operation](document, request))
            if operation == "DeleteRepository":
                self._require_empty(document)
        except ApiError as error:
            return _answer({"__type": error.kind, "message": str(error)}, 400)
        answer = self._forward(request)
        if answer.status == 200:
            self._note(operation, document)
        return answer

    def create(self, name: str) -> None:
        """Create a repository, as a template that is applied for CREATE_ON_PUSH does."""
        headers = {
            "X-Amz-Target": f"{TARGET}.CreateRepository",
            "Content-Type": "application/x-amz-json-1.1",
            # Moto finds the service in it.
            "Authorization": "AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/ecr/aws4_request",
        }
        document = {"repositoryName": name}
        answer = self._post(headers, json.dumps(document).encode())
        assert answer.status == 200, answer.body
        self._note("CreateRepository", document)

    # --- moto's -------------------------------------------------------------------------------------------------------

    def _forward(self, request: Request) -> Answer:
        passed = ("X-Amz-Target", "X-Amz-Date", "Content-Type", "Authorization")
        return self._post({name: request.headers[name] for name in passed if name in request.headers}, request.body)

    def _post(self, headers: Mapping[str, str], body: bytes) -> Answer:
        with requests.Session() as session:
            session.trust_env = False
            found = session.post(self._moto_url, data=body, headers=headers, timeout=30)
            passed = {name: found.headers[name] for name in _PASSED_BACK if name in found.headers}
            return Answer(found.status_code, found.content, passed)

    def _note(self, operation: str, document: Mapping[str, Any]) -> None:
        mutability = self._registry.mutability
        if operation == "CreateRepository":
            mutability[document["repositoryName"]] = document.get("imageTagMutability", "MUTABLE")
        elif operation == "PutImageTagMutability":
            mutability[document["repositoryName"]] = document["imageTagMutability"]
        elif operation == "DeleteRepository":
            del mutability[document["repositoryName"]]
            self._registry.repositories.pop(document["repositoryName"], None)

    def _require_empty(self, document: Mapping[str, Any]) -> None:
        name = document["repositoryName"]
        if name in self._registry.mutability and self._repository(document).manifests and not document.get("force"):
            message = f"The repository with name '{name}' cannot be deleted because it still contains images"
            raise ApiError("RepositoryNotEmptyException", message)

    # --- ours ---------------------------------------------------------------------------------------------------------

    def _get_authorization_token(self, document: Mapping[str, Any], request: Request) -> Mapping[str, Any]:
        password, expires = self._registry.new_password()
        token = base64.b64encode(f"{self._registry.username}:{password}".encode()).decode()
        entry = {"authorizationToken": token, "expiresAt": expires, "proxyEndpoint": self._registry.url}
        return {"authorizationData": [entry]}

    def _list_images(self, document: Mapping[str, Any], request: Request) -> Mapping[str, Any]:
        status = document.get("filter", {}).get("tagStatus", "ANY")
        repository = self._repository(document)
        entries: list[dict[str, str]] = []
        for digest in repository.manifests:
            tags = tags_of(repository.tags, digest)
            if tags and status in ("ANY", "TAGGED"):
                entries += [{"imageDigest": digest, "imageTag": tag} for tag in tags]
            if not tags and status in ("ANY", "UNTAGGED"):
                entries.append({"imageDigest": digest})
        return _page(document, "imageIds", entries)

    def _describe_images(self, document: Mapping[str, Any], request: Request) -> Mapping[str, Any]:
        repository = self._repository(document)
        found = list(repository.manifests.values())
        if document.get("imageIds"):
            named = [self._find(repository, each) for each in document["imageIds"]]
            found = [stored for stored in named if stored is not None]
            if len(found) < len(named):
                raise ApiError("ImageNotFoundException", "The image does not exist within the repository")
        details = [self._detail(document["repositoryName"], repository, stored) for stored in found]
        return _page(document, "imageDetails", details)

    def _detail(self, name: str, repository: Repository, stored: Stored) -> dict[str, Any]:
        sizes = [entry["size"] for entry in (stored.document.get("layers") or ())]
        detail: dict[str, Any] = {
            "registryId": "123456789012",
            "repositoryName": name,
            "imageDigest": stored.digest,
            "imageSizeInBytes": sum(sizes),
            "imageManifestMediaType": stored.media_type,
        }
        tags = tags_of(repository.tags, stored.digest)
        return detail | ({"imageTags": tags} if tags else {})

    def _batch_get_image(self, document: Mapping[str, Any], request: Request) -> Mapping[str, Any]:
        repository = self._repository(document)
        images, failures = [], []
        for wanted in document["imageIds"]:
            stored = self._find(repository, wanted)
            if stored is None:
                failures.append(_failure(wanted, "ImageNotFound", "Requested image not found"))
                continue
            found = {"imageDigest": stored.digest, **wanted}
            manifest = {"imageManifest": stored.data.decode(), "imageManifestMediaType": stored.media_type}
            images.append({"repositoryName": document["repositoryName"], "imageId": found, **manifest})
        return {"images": images, "failures": failures}

    def _batch_delete_image(self, document: Mapping[str, Any], request: Request) -> Mapping[str, Any]:
        wanted = document["imageIds"]
        if len(wanted) > _BATCH:
            constraint = f"Member must have length less than or equal to {_BATCH}"
            message = f"Invalid parameter at 'imageIds' failed to satisfy constraint: '{constraint}'"
            raise ApiError("InvalidParameterException", message)
        name, repository = document["repositoryName"], self._repository(document)
        deleted: list[Mapping[str, str]] = []
        failures: list[Mapping[str, Any]] = []
        for each in wanted:
            stored = self._find(repository, each)
            if stored is None:
                failures.append(_failure(each, "ImageNotFound", "Requested image not found"))
                continue
            parents = parents_of(repository.manifests, stored.digest)
            tags = tags_of(repository.tags, stored.digest)
            tag = each.get("imageTag") if "imageDigest" not in each else None
            # The last tag takes the image with it.
            alone = tag is not None and len(tags) > 1
            if parents and not alone:
                reason = f"Requested image referenced by manifest list: [{', '.join(parents)}]"
                failures.append(_failure({"imageDigest": stored.digest}, "ImageReferencedByManifestList", reason))
                continue
            gone = (tag,) if tag is not None and alone else tuple(tags)
            repository.tags = {kept: digest for kept, digest in repository.tags.items() if kept not in gone}
            if not alone:
                del repository.manifests[stored.digest]
            digest = {"imageDigest": stored.digest}
            deleted += [{**digest, "imageTag": each} for each in gone] or [digest]
            self._registry.changed(Change("delete", name, tag, stored, request, tags=gone))
        return {"imageIds": deleted, "failures": failures}

    def _repository(self, document: Mapping[str, Any]) -> Repository:
        name = document["repositoryName"]
        if name not in self._registry.mutability:
            message = f"The repository with name '{name}' does not exist in the registry with id '123456789012'"
            raise ApiError("RepositoryNotFoundException", message)
        return self._registry._made(name)

    @staticmethod
    def _find(repository: Repository, wanted: Mapping[str, str]) -> Stored | None:
        digest = wanted.get("imageDigest")
        if "imageTag" in wanted:
            stands = repository.tags.get(wanted["imageTag"])
            if digest not in (None, stands):
                return None
            digest = stands
        return repository.manifests.get(digest or "")


def _page(document: Mapping[str, Any], key: str, entries: list[Any]) -> Mapping[str, Any]:
    first, size = int(document.get("nextToken", "0")), int(document.get("maxResults", _PAGE))
    following = {"nextToken": str(first + size)} if len(entries) > first + size else {}
    return {key: entries[first : first + size], **following}


def _failure(image: Mapping[str, str], code: str, reason: str) -> Mapping[str, Any]:
    return {"imageId": dict(image), "failureCode": code, "failureReason": reason}


def _answer(document: Mapping[str, Any], status: int = 200) -> Answer:
    return Answer(status, json.dumps(document).encode(), {"Content-Type": "application/x-amz-json-1.1"})
