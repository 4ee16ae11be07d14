"""Ecr: Amazon's API of its container registries, private and public. Needs boto3, which the extra `ecr` installs.

Source: Amazon ECR API Reference (CreateRepository, BatchDeleteImage, DescribeRepositories).
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from app.providers.amazon import PUBLIC_REGION, EcrHost
from app.providers.control import (
    ANSWER,
    ControlPlaneDenied,
    ControlPlaneDiffers,
    ControlPlaneError,
    ControlPlaneMissing,
    StillReferenced,
)
from app.providers.permitted import permitted
from app.registry import Digest, Limiter, NoLimit, RegistryError, TooManyRequests
from app.registry.answers import retry_after
from app.registry.connections import Deadline
from app.registry.listing import CatalogPage

#: The most repositories that DescribeRepositories gives at once.
PAGE = 1000

#: Seconds to connect and for the answer, and what is left of those in all to wait for a permit.
_CONNECT, _READ = ANSWER / 3, ANSWER / 2
_WAIT = ANSWER - _CONNECT - _READ

#: What a marker leads to, in the form of a registry's own: the page that begins at a token of Amazon's.
_MARKER = "/v2/_catalog?next="

#: What it says of a repository that is not there.
_NO_REPOSITORY = "RepositoryNotFoundException"

#: How its services say that they are asked too often (botocore's own table of what is tried again).
_THROTTLED = frozenset(
    {
        *("Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled", "RequestThrottledException"),
        *("TooManyRequestsException", "RequestLimitExceeded", "SlowDown"),
    }
)


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
        limiter: Limiter | None = None,
    ) -> None:
        """Connect to nothing yet.

        :param host: of the registry; account and region are read from it where they are in it, else they are boto3's.
        :param region: where it is not in the host.
        :param profile: of AWS's configuration files, where it is not boto3's default.
        :param endpoint: the address of the API, where it is not Amazon's own.
        :param limiter: permits each request.
        """
        found = EcrHost.of(host)
        self._host = replace(found, public=True, region=PUBLIC_REGION) if public else found
        self._region = self._host.region or region
        self._of_account = {"registryId": found.account} if found.account else {}
        self._public = self._host.public
        self._profile = profile
        self._endpoint = endpoint
        self._limiter = limiter or NoLimit()
        self._lock = threading.Lock()
        self._client: Any = None
        self._credentials: Any = None

    def ready(self) -> None:
        """Make the client, and have its credentials renewed where they are about to end.

        Raises:
            ControlPlaneMissing: without boto3, credentials or a region.
            ControlPlaneError: the credentials are not to be had just now.
        """
        with self._lock:
            if self._client is None:
                self._client, self._credentials = self._connect()
            credentials = self._credentials
        _frozen(credentials)

    def require_deletion(self, repository: str) -> None:
        """BatchDeleteImage of a digest that cannot be there."""
        try:
            self._delete(repository, {"imageDigest": Digest.of(secrets.token_bytes(32))})
        except ControlPlaneError as error:
            if _NO_REPOSITORY in error.codes:
                raise ControlPlaneDiffers(f"Amazon's API knows no repository {repository}") from error
            raise

    def create(self, repository: str) -> bool:
        """CreateRepository, with Amazon's defaults or those of a creation template."""
        try:
            self._call("CreateRepository", lambda client: client.create_repository, self._named(repository))
        except ControlPlaneError as error:
            if "RepositoryAlreadyExistsException" in error.codes:
                return False
            raise
        return True

    def delete_tag(self, repository: str, tag: str) -> bool:
        """BatchDeleteImage by the tag alone. With its last tag Amazon deletes the image."""
        return self._deleted(repository, {"imageTag": tag})

    def delete_digest(self, repository: str, digest: str) -> bool:
        """BatchDeleteImage by the digest."""
        return self._deleted(repository, {"imageDigest": digest})

    def catalog(self, page_size: int = PAGE, after: str | None = None) -> Iterator[CatalogPage]:
        """DescribeRepositories, page by page."""
        token = _token(after)
        while True:
            asked: dict[str, Any] = {**self._of_account, "maxResults": min(page_size, PAGE)}
            if token is not None:
                asked["nextToken"] = token
            answer = self._call("DescribeRepositories", lambda client: client.describe_repositories, asked, waits=True)
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
                self._client = self._credentials = None

    def _deleted(self, repository: str, image: Mapping[str, str]) -> bool:
        try:
            return self._delete(repository, image)
        except ControlPlaneError as error:
            if _NO_REPOSITORY in error.codes:
                return False
            raise

    def _delete(self, repository: str, image: Mapping[str, str]) -> bool:
        asked = {**self._named(repository), "imageIds": [dict(image)]}
        answer = self._call("BatchDeleteImage", lambda client: client.batch_delete_image, asked)
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

    def _call(
        self, action: str, method: Callable[[Any], Any], asked: Mapping[str, Any], *, waits: bool = False
    ) -> dict[str, Any]:
        """Ask once it is permitted: soon, unless nobody's lease runs out meanwhile (`waits`)."""
        self.ready()
        deadline = None if waits else Deadline(_WAIT)
        return permitted(self._limiter, lambda: self._ask(action, method, asked), deadline)

    def _ask(self, action: str, method: Callable[[Any], Any], asked: Mapping[str, Any]) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer: dict[str, Any] = method(self._client)(**asked)
        except ClientError as error:
            raise _refusal(action, error.response) from error
        except BotoCoreError as error:
            raise ControlPlaneError(f"{self._host.service}: {error}", method=action) from error
        return answer

    def _connect(self) -> tuple[Any, Any]:
        """The client, and its credentials."""
        try:
            import boto3
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError
        except ImportError:
            raise ControlPlaneMissing(
                "Amazon's API is asked by boto3, which is not installed: pip install 'geo-registry[ecr]'"
            ) from None
        # One try: what is to be tried again is decided by who asks.
        limits = Config(
            connect_timeout=_CONNECT,
            read_timeout=_READ,
            retries={"total_max_attempts": 1},
            **({} if self._endpoint else self._host.endpoint()),
        )
        try:
            session = boto3.session.Session(region_name=self._region, profile_name=self._profile)
            credentials = session.get_credentials()
            if credentials is None:
                raise ControlPlaneMissing(
                    "boto3 finds no credentials of Amazon's: set AWS_ACCESS_KEY_ID, or give it a role"
                )
            return session.client(self._host.service, endpoint_url=self._endpoint, config=limits), credentials
        except (BotoCoreError, ValueError) as error:
            raise ControlPlaneMissing(f"boto3 cannot be used as it is set up: {error}") from error


def _frozen(credentials: Any) -> None:
    """Have a role taken, or a token asked for, now: boto3 does it at the first request else, in the middle of that."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        credentials.get_frozen_credentials()
    except (BotoCoreError, ClientError) as error:
        raise ControlPlaneError(f"boto3 gets no credentials of Amazon's: {error}") from error


def _refusal(action: str, response: Mapping[str, Any]) -> RegistryError:
    said, about = response.get("Error", {}), response.get("ResponseMetadata", {})
    code, status = str(said.get("Code")), about.get("HTTPStatusCode")
    kind: type[RegistryError] = ControlPlaneError
    if code in _THROTTLED or status == 429:
        kind = TooManyRequests
    elif status in (401, 403) or code.startswith(("AccessDenied", "UnrecognizedClient", "ExpiredToken")):
        kind = ControlPlaneDenied
    wait = retry_after(about.get("HTTPHeaders", {}).get("retry-after"))
    return kind(f"{code}: {said.get('Message')}", method=action, status=status, codes=(code,), retry_after=wait)


def _token(after: str | None) -> str | None:
    if after is None:
        return None
    found = parse_qs(urlsplit(after).query).get("next")
    return found[0] if found else None
