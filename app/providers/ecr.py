"""Ecr: Amazon's API of its container registries, private and public. Needs boto3, which the extra `ecr` installs.

Source: Amazon ECR API Reference (CreateRepository, BatchDeleteImage, DescribeRepositories).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from app.providers.control import ANSWER, ControlPlaneDenied, ControlPlaneError, ControlPlaneMissing, StillReferenced
from app.registry import TooManyRequests
from app.registry.listing import CatalogPage

#: The most repositories that DescribeRepositories gives at once.
PAGE = 1000

#: Account and region of a private registry, in its host.
_HOST = re.compile(r"(?P<account>[0-9]{12})\.dkr[.-]ecr(?:-fips)?\.(?P<region>[\w-]+)\.", re.IGNORECASE)

#: Where all public registries are.
_PUBLIC_REGION = "us-east-1"

#: What a marker leads to, in the form of a registry's own: the page that begins at a token of Amazon's.
_MARKER = "/v2/_catalog?next="

_THROTTLED = frozenset({"ThrottlingException", "Throttling", "TooManyRequestsException"})


class Ecr:
    """The repositories of one account in one region, by boto3's own credentials (its environment, files, role)."""

    def __init__(
        self,
        host: str,
        *,
        public: bool = False,
        endpoint: str | None = None,
        region: str | None = None,
        profile: str | None = None,
    ) -> None:
        """Connect to nothing yet.

        :param host: of the registry; account and region are read from it where they are in it, else they are boto3's.
        :param region: where it is not in the host.
        :param profile: of AWS's configuration files, where it is not boto3's default.
        :param endpoint: the address of the API, where it is not Amazon's own.
        """
        found = None if public else _HOST.match(host)
        self._service = "ecr-public" if public else "ecr"
        self._region = _PUBLIC_REGION if public else found["region"] if found else region
        self._of_account = {"registryId": found["account"]} if found else {}
        self._public = public
        self._profile = profile
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self._client: Any = None

    def ready(self) -> None:
        """Make the client, its credentials included.

        Raises:
            ControlPlaneMissing: without boto3, credentials or a region.
        """
        with self._lock:
            if self._client is None:
                self._client = _connect(self._service, self._region, self._endpoint, self._profile)

    def create(self, repository: str) -> bool:
        """CreateRepository, with Amazon's defaults or those of a creation template."""
        try:
            self._call("CreateRepository", lambda client: client.create_repository, self._named(repository))
        except _Said as said:
            if said.code == "RepositoryAlreadyExistsException":
                return False
            raise said.error from said
        return True

    def delete_tag(self, repository: str, tag: str) -> bool:
        """BatchDeleteImage by the tag alone. With its last tag Amazon deletes the image."""
        return self._delete(repository, {"imageTag": tag})

    def delete_digest(self, repository: str, digest: str) -> bool:
        """BatchDeleteImage by the digest."""
        return self._delete(repository, {"imageDigest": digest})

    def catalog(self, page_size: int = PAGE, after: str | None = None) -> Iterator[CatalogPage]:
        """DescribeRepositories, page by page."""
        token = _token(after)
        while True:
            asked: dict[str, Any] = {**self._of_account, "maxResults": min(page_size, PAGE)}
            if token is not None:
                asked["nextToken"] = token
            try:
                answer = self._call("DescribeRepositories", lambda client: client.describe_repositories, asked)
            except _Said as said:
                raise said.error from said
            names = tuple(self._path(each) for each in answer.get("repositories", ()))
            token = answer.get("nextToken")
            yield CatalogPage(names, None if token is None else f"{_MARKER}{quote(token, safe='')}")
            if token is None:
                return

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _delete(self, repository: str, image: Mapping[str, str]) -> bool:
        asked = {**self._named(repository), "imageIds": [dict(image)]}
        try:
            answer = self._call("BatchDeleteImage", lambda client: client.batch_delete_image, asked)
        except _Said as said:
            if said.code == "RepositoryNotFoundException":
                return False
            raise said.error from said
        known = True
        for failure in answer.get("failures", ()):
            code, words = str(failure.get("failureCode")), str(failure.get("failureReason"))
            if code == "ImageNotFound":
                known = False
                continue
            kind = StillReferenced if code == "ImageReferencedByManifestList" else ControlPlaneError
            raise kind(f"{repository}: {code}: {words}", method="BatchDeleteImage")
        return known

    def _path(self, repository: Mapping[str, Any]) -> str:
        """The path in the registry. That of a public one begins with the alias, which its URI alone says."""
        if not self._public:
            return str(repository["repositoryName"])
        return str(repository["repositoryUri"]).partition("/")[2]

    def _named(self, repository: str) -> dict[str, Any]:
        # The path of a public one begins with the alias of the account that owns it.
        name = repository.partition("/")[2] if self._public else repository
        return {**self._of_account, "repositoryName": name or repository}

    def _call(self, action: str, method: Callable[[Any], Any], asked: Mapping[str, Any]) -> dict[str, Any]:
        self.ready()
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer: dict[str, Any] = method(self._client)(**asked)
        except ClientError as error:
            raise _Said(action, error.response) from error
        except BotoCoreError as error:
            raise ControlPlaneError(f"{self._service}: {error}", method=action) from error
        return answer


class _Said(Exception):
    """An answer that is an error of Amazon's."""

    def __init__(self, action: str, response: Mapping[str, Any]) -> None:
        said = response.get("Error", {})
        self.code = str(said.get("Code"))
        super().__init__(self.code)
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        message = f"{self.code}: {said.get('Message')}"
        self.error: ControlPlaneError | TooManyRequests = ControlPlaneError(message, method=action, status=status)
        if self.code in _THROTTLED:
            self.error = TooManyRequests(message, method=action, status=status)
        elif status in (401, 403) or self.code.startswith(("AccessDenied", "UnrecognizedClient", "ExpiredToken")):
            self.error = ControlPlaneDenied(message, method=action, status=status)


def _connect(service: str, region: str | None, endpoint: str | None, profile: str | None) -> Any:
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError:
        raise ControlPlaneMissing(
            "Amazon's API is asked by boto3, which is not installed: pip install 'geo-registry[ecr]'"
        ) from None
    # One try: what is to be tried again is decided by who asks.
    limits = Config(connect_timeout=ANSWER / 3, read_timeout=ANSWER / 2, retries={"total_max_attempts": 1})
    try:
        session = boto3.session.Session(region_name=region, profile_name=profile)
        if session.get_credentials() is None:
            raise ControlPlaneMissing(
                "boto3 finds no credentials of Amazon's: set AWS_ACCESS_KEY_ID, or give it a role"
            )
        return session.client(service, endpoint_url=endpoint, config=limits)
    except (BotoCoreError, ValueError) as error:
        raise ControlPlaneMissing(f"boto3 cannot be used as it is set up: {error}") from error


def _token(after: str | None) -> str | None:
    if after is None:
        return None
    found = parse_qs(urlsplit(after).query).get("next")
    return found[0] if found else None
