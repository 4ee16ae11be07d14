"""Amazon ECR: a user and password for twelve hours, from AWS's own credentials (boto3's chain).

Source: ECR API reference, GetAuthorizationToken (private and public).
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from app.providers.amazon import EcrHost
from app.providers.credentials.issuer import Granted
from app.providers.credentials.library import load, words
from app.registry import Credential, Fetch, NoCredentials

#: Seconds that AWS says a token is good.
LIFETIME = 12 * 3600.0

#: Seconds to connect to AWS and for its answer, and how often a request is sent.
CONNECT_TIMEOUT, READ_TIMEOUT, ATTEMPTS = 5, 10, 2


class EcrTokens:
    """Tokens for the registry at `url`. `region` stands in for a host name that has none; `profile` is one of AWS's
    configuration files. `AWS_ENDPOINT_URL_ECR` and the like are boto3's own and work by themselves."""

    shared = True
    ends = True

    def __init__(
        self,
        url: str,
        *,
        region: str | None = None,
        profile: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._host = EcrHost.of(urlsplit(url).hostname or "")
        self._region = self._host.region or region
        self._profile = profile
        self._clock = clock
        by = f" by AWS's profile {profile}" if profile else ""
        if self._host.public:
            self.what = f"a token of Amazon ECR Public{by}"
        else:
            account = f" for account {self._host.account}" if self._host.account else ""
            self.what = f"a token of Amazon ECR{account} in {self._region or 'the region of AWS_REGION'}{by}"

    def issue(self, fetch: Fetch) -> Granted:  # noqa: ARG002
        """Ask AWS."""
        boto3, exceptions = load("boto3", "ecr"), load("botocore.exceptions", "ecr")
        try:
            client = self._client(boto3)
            try:
                answer = client.get_authorization_token()
            finally:
                client.close()
        except exceptions.NoRegionError:
            raise NoCredentials(
                "AWS's region is not known: the registry's host name has none",
                fix="set GEO_…_REGISTRY_AWS_REGION (or AWS_REGION), or use the registry's own host name,"
                " ACCOUNT.dkr.ecr.REGION.amazonaws.com",
            ) from None
        except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.ProfileNotFound) as error:
            raise NoCredentials(
                f"AWS's credentials are not there: {words(error)}",
                fix="give this machine a role (instance, task or pod), or set AWS_ACCESS_KEY_ID and"
                " AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
            ) from None
        except (exceptions.BotoCoreError, exceptions.ClientError) as error:
            raise NoCredentials(
                f"AWS gives no token for ECR: {words(error)}",
                fix=f"allow the action {self._host.service}:GetAuthorizationToken (and, for"
                " the public registry, sts:GetServiceBearerToken), and let us reach AWS's API",
            ) from None
        return self._granted(answer)

    def _client(self, boto3: Any) -> Any:
        config = load("botocore.config", "ecr").Config(
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUT,
            retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
            **self._host.endpoint(),
        )
        session = boto3.session.Session(profile_name=self._profile, region_name=self._region)
        return session.client(self._host.service, config=config)

    def _granted(self, answer: Mapping[str, Any]) -> Granted:
        data = answer.get("authorizationData") or {}
        entry = data[0] if isinstance(data, list) else data
        try:
            username, _, password = base64.b64decode(entry["authorizationToken"]).decode().partition(":")
        except (KeyError, ValueError):
            username, password = "", ""
        if not username or not password:
            raise NoCredentials(
                "what AWS gave as a token for ECR is none",
                fix="look at AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_ECR and AWS_ENDPOINT_URL_ECR_PUBLIC",
            )
        return Granted(Credential(username, password), self._lifetime(entry.get("expiresAt"), answer))

    def _lifetime(self, expires: object, answer: Mapping[str, Any]) -> float:
        """Seconds by AWS's own clock. An end in the past would be one of asking again and again: it is not believed."""
        if not isinstance(expires, datetime):
            return LIFETIME
        headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        try:
            now = parsedate_to_datetime(headers.get("date", "")).timestamp()
        except ValueError:
            now = self._clock()
        lifetime = expires.timestamp() - now
        return min(lifetime, LIFETIME) if lifetime > 0 else LIFETIME
