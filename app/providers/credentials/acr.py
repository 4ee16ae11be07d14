"""Azure Container Registry: a refresh token of the registry, in exchange for one of Microsoft Entra (azure-identity).

Source: Azure/acr, docs/AAD-OAuth.md. The registry's own token service then takes the refresh token for each scope. Not
by azure-containerregistry: it exchanges anew while a token is fresh, and keeps it when it is about to expire.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import urlsplit

import jwt

from app.providers.credentials.issuer import Granted
from app.providers.credentials.library import load, words
from app.registry import (
    Credential,
    Denied,
    Fetch,
    InvalidResponse,
    NoCredentials,
    NotFound,
    Rejected,
    Unauthorized,
    Use,
)
from app.registry.token_request import own_lifetime

#: The user name that goes with a refresh token.
USERNAME = "00000000-0000-0000-0000-000000000000"

#: Seconds that a refresh token is taken to be good when it does not say; they live three hours.
LIFETIME = 3600.0

#: What Entra's token is for: the clouds of their own have their registries under other names.
AUDIENCES = {
    ".azurecr.cn": "https://management.chinacloudapi.cn",
    ".azurecr.us": "https://management.usgovcloudapi.net",
}
AUDIENCE = "https://containerregistry.azure.net"

#: Seconds to connect, and for an answer, of what azure-identity asks.
CONNECT_TIMEOUT, READ_TIMEOUT = 5, 10


class AcrTokens:
    """Refresh tokens of the registry at `url`, as whoever azure-identity's chain finds: a service principal or
    workload identity by the environment, a managed identity (`client_id` says which), or who is signed in."""

    shared = True
    ends = True

    def __init__(self, url: str, *, client_id: str | None = None, entra: Callable[[], str] | None = None) -> None:
        """Describe the registry; `entra` gives tokens of Entra in place of azure-identity."""
        parts = urlsplit(url)
        self._root = f"{parts.scheme}://{parts.netloc}"
        self._service = parts.netloc
        host = (parts.hostname or "").lower()
        self._audience = next((each for end, each in AUDIENCES.items() if host.endswith(end)), AUDIENCE)
        self._client_id = client_id
        self._entra = entra or self._identity
        by = f" by the identity {client_id}" if client_id else " by Azure's own credentials"
        self.what = f"a token of Azure Container Registry{by}"

    def issue(self, fetch: Fetch) -> Granted:
        """Ask Entra, then the registry."""
        entra = self._entra()
        form = {"grant_type": "access_token", "service": self._service, "access_token": entra}
        if tenant := _tenant(entra):
            form["tenant"] = tenant
        url = f"{self._root}/oauth2/exchange"
        try:
            body = fetch("POST", url, form=form)
        except NotFound as error:
            raise NoCredentials(
                f"the registry exchanges no tokens of Entra: {words(error)}",
                fix="is it an Azure registry? Then use its own address, NAME.azurecr.io; else another"
                " GEO_…_REGISTRY_AUTH",
            ) from None
        except (Unauthorized, Denied, Rejected) as error:
            raise NoCredentials(
                f"the registry does not take Entra's token in exchange: {words(error)}",
                fix="give this identity the role AcrPull (primary) or AcrPush and AcrDelete (secondary) on the"
                " registry, and let the registry accept Entra's tokens (az acr config authentication-as-arm)",
            ) from None
        try:
            refresh = json.loads(body)["refresh_token"]
        except (ValueError, LookupError, TypeError, RecursionError):
            refresh = None
        if not isinstance(refresh, str) or not refresh:
            raise InvalidResponse("the registry answered without a refresh token", method="POST", url=url)
        return Granted(Credential(USERNAME, refresh, Use.REFRESH), own_lifetime(refresh, LIFETIME))

    def _identity(self) -> str:
        identity, core = load("azure.identity", "acr"), load("azure.core.exceptions", "acr")
        chosen = {}
        if self._client_id:
            chosen = dict.fromkeys(("managed_identity_client_id", "workload_identity_client_id"), self._client_id)
        try:
            with identity.DefaultAzureCredential(
                **chosen,
                connection_timeout=CONNECT_TIMEOUT,
                read_timeout=READ_TIMEOUT,
                process_timeout=READ_TIMEOUT,
                # Of the programs of people, Azure's command line will do; each takes seconds to find nobody.
                exclude_powershell_credential=True,
                exclude_developer_cli_credential=True,
            ) as credential:
                return str(credential.get_token(f"{self._audience}/.default").token)
        except (core.AzureError, ValueError) as error:
            raise NoCredentials(
                f"Azure gives no token: {words(error)}",
                fix="give this machine a managed or workload identity, or set AZURE_TENANT_ID, AZURE_CLIENT_ID and"
                " AZURE_CLIENT_SECRET; or set GEO_…_REGISTRY_USERNAME and …_PASSWORD (admin user, service principal or"
                " a token of the registry)",
            ) from None


def _tenant(token: str) -> str | None:
    try:
        tenant = jwt.decode(token, options={"verify_signature": False}).get("tid")
    except jwt.PyJWTError:
        return None
    return tenant if isinstance(tenant, str) else None
