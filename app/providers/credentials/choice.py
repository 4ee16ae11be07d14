"""Which issuer a registry's settings ask for, and what makes two accounts the same."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from app.providers.credentials.acr import AcrTokens
from app.providers.credentials.artifact_registry import GoogleTokens
from app.providers.credentials.docker_config import DockerConfig
from app.providers.credentials.ecr import EcrTokens
from app.providers.credentials.issuer import Issuer
from app.settings import AuthKind, RegistrySettings

#: Variables by which the clouds' own libraries choose who we are. Not those that differ between machines of one role.
_IDENTITY = {
    AuthKind.ECR: ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ROLE_ARN", "AWS_REGION"),
    AuthKind.ACR: ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_USERNAME"),
    AuthKind.GAR: ("GOOGLE_APPLICATION_CREDENTIALS",),
}


def issuer(registry: RegistrySettings) -> Issuer | None:
    """Return where its credentials come from; None where they are in the settings themselves, or there are none."""
    cloud = registry.cloud
    if registry.auth is AuthKind.ECR:
        return EcrTokens(registry.url, region=cloud.aws_region, profile=cloud.aws_profile)
    if registry.auth is AuthKind.DOCKER and registry.docker_config_path is not None:
        return DockerConfig(registry.url, registry.docker_config_path)
    if registry.username and registry.password:
        return None
    if registry.auth is AuthKind.ACR:
        return AcrTokens(registry.url, client_id=cloud.azure_client_id)
    if registry.auth is AuthKind.GAR:
        return GoogleTokens(path=cloud.google_credentials_path)
    return None


def account(registry: RegistrySettings, environ: Mapping[str, str] | None = None) -> str:
    """Everything that makes an account another one; a token is never taken for one of another account. Holds secrets.

    What the environment does not tell, such as the role of a machine, is the same for all that share a Redis.
    """
    environ = os.environ if environ is None else environ
    cloud = registry.cloud
    key = cloud.google_credentials_path or environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    return json.dumps(
        [
            registry.auth.value,
            registry.username,
            registry.password.value if registry.password else None,
            cloud.aws_region,
            cloud.aws_profile,
            cloud.azure_client_id,
            _digest(key) if registry.auth is AuthKind.GAR else None,
            _digest(registry.docker_config_path) if registry.auth is AuthKind.DOCKER else None,
            [environ.get(name) for name in _IDENTITY.get(registry.auth, ())],
        ]
    )


def _digest(path: str | Path | None) -> str | None:
    if path is not None:
        with suppress(OSError):
            return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return None
