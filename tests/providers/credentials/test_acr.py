"""Azure Container Registry: Entra's token, the exchange, and the access token for what the challenge says."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest

from app.providers.credentials.acr import AUDIENCE, USERNAME, AcrTokens
from app.providers.credentials.renewal import Renewal
from app.registry import Account, Basic, Fetch, InvalidResponse, NoCredentials, RegistryClient, Use
from tests.providers.credentials.conftest import Noting, Serve
from tests.support import parts
from tests.support.answering import Answer, Request

TENANT = "11111111-2222-3333-4444-555555555555"


def token(lifetime: float, **claims: Any) -> str:
    now = int(time.time())
    return jwt.encode({"nbf": now, "iat": now, "exp": now + int(lifetime), **claims}, "k" * 32)


ENTRA = token(3600, tid=TENANT)


class Registry:
    """ACR's own endpoints, for one identity and one user with a password."""

    def __init__(self, serve: Serve) -> None:
        self.refresh = token(3 * 3600)
        self.access = token(75 * 60)
        self.entra = ENTRA
        self.server: Noting = serve(self._answer)

    @property
    def url(self) -> str:
        return self.server.url

    def asked(self, path: str) -> list[dict[str, list[str]]]:
        return [parse_qs(request.body.decode()) for request in self.server.seen if request.path == path]

    def _answer(self, request: Request) -> Answer:
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        if request.path == "/oauth2/exchange":
            if form.get("access_token") != self.entra:
                return self._refusal()
            return Answer(200, json.dumps({"refresh_token": self.refresh}).encode())
        if request.path == "/oauth2/token":
            basic = Basic("scoped", "pass").authorization  # the header of the user with a password
            known = (
                form.get("refresh_token") == self.refresh
                if request.method == "POST"
                else (
                    request.headers["Authorization"] == basic(None, None)  # type: ignore[arg-type]
                )
            )
            return Answer(200, json.dumps({"access_token": self.access}).encode()) if known else self._refusal()
        if request.headers["Authorization"] == f"Bearer {self.access}":
            return Answer(200, json.dumps({"name": "a/x", "tags": ["v1"]}).encode())
        challenge = f'Bearer realm="{self.url}/oauth2/token",service="team.azurecr.io"'
        scope = ',scope="repository:a/x:metadata_read"' if "tags" in request.path else ""
        return Answer(401, headers={"WWW-Authenticate": challenge + scope})

    def _refusal(self) -> Answer:
        return Answer(401, json.dumps({"errors": [{"code": "UNAUTHORIZED", "message": "no"}]}).encode())


@pytest.fixture
def registry(serve: Serve) -> Registry:
    return Registry(serve)


def test_the_identity_is_exchanged_and_the_scope_is_the_challenges(registry: Registry) -> None:
    # Given an identity of Entra
    renewal = Renewal(AcrTokens(registry.url, entra=lambda: ENTRA))

    # When tags are listed, twice
    with RegistryClient(registry.url, Account(renewal)) as client:
        assert client.list_tags("a/x") == client.list_tags("a/x") == ["v1"]

    # Then it was exchanged once, and the scope that the registry misses came first
    service = urlsplit(registry.url).netloc
    (exchange,) = registry.asked("/oauth2/exchange")
    assert exchange == {
        "grant_type": ["access_token"],
        "service": [service],
        "access_token": [ENTRA],
        "tenant": [TENANT],
    }
    (asked,) = registry.asked("/oauth2/token")
    assert asked["scope"] == ["repository:a/x:metadata_read repository:a/x:pull"]
    assert asked["grant_type"] == ["refresh_token"]
    assert asked["service"] == ["team.azurecr.io"]
    assert asked["refresh_token"] == [registry.refresh]

    # And the refresh token is good as long as it says itself
    standing = renewal.standing()
    assert standing is not None
    assert standing.lifetime == pytest.approx(3 * 3600, abs=60)


def test_the_access_token_is_good_as_long_as_it_says(registry: Registry, fetch: Fetch) -> None:
    # Given a token for 75 minutes without `expires_in`
    now = [0.0]
    account = Account(Renewal(AcrTokens(registry.url, entra=lambda: ENTRA)), clock=lambda: now[0])
    with RegistryClient(registry.url, account) as client:
        client.list_tags("a/x")

        # When there is more to ask shortly before its end, and after it
        now[0] = 74 * 60
        client.list_tags("a/x")
        assert len(registry.asked("/oauth2/token")) == 1
        now[0] = 75 * 60
        client.list_tags("a/x")

    # Then it is renewed in time
    assert len(registry.asked("/oauth2/token")) == 2


def test_a_refresh_token_that_was_revoked_is_exchanged_anew(registry: Registry) -> None:
    # Given one that the registry no longer takes, of an hour ago
    now = [0.0]
    renewal = Renewal(AcrTokens(registry.url, entra=lambda: ENTRA), clock=lambda: now[0])
    with RegistryClient(registry.url, Account(renewal)) as client:
        client.list_tags("a/x")
        registry.refresh, registry.access = token(3 * 3600, jti="2"), token(75 * 60, jti="2")
        now[0] = 3600.0

        # When the registry is asked, Then that is noticed and mended within the request
        assert client.list_tags("a/x") == ["v1"]
    assert len(registry.asked("/oauth2/exchange")) == 2


def test_a_user_with_a_password_is_shown_to_the_token_service(registry: Registry) -> None:
    # Given an admin user, a service principal or a token with a scope map
    with RegistryClient(registry.url, Basic("scoped", "pass")) as client:
        assert client.list_tags("a/x") == ["v1"]

    # Then it is asked by GET, with the scope of the challenge
    (asked,) = [request for request in registry.server.seen if request.path == "/oauth2/token"]
    assert (asked.method, asked.query["service"]) == ("GET", "team.azurecr.io")


def test_an_identity_without_rights_is_told_what_it_lacks(registry: Registry, fetch: Fetch) -> None:
    registry.entra = "another"
    with pytest.raises(NoCredentials, match="does not take Entra's token") as raised:
        AcrTokens(registry.url, entra=lambda: ENTRA).issue(fetch)
    assert "AcrPull" in raised.value.fix
    assert ENTRA not in f"{raised.value!r} {raised.value}"


def test_a_registry_that_exchanges_nothing_is_told(serve: Serve, fetch: Fetch) -> None:
    server = serve(lambda _: Answer(404, b"404 page not found"))
    with pytest.raises(NoCredentials, match="exchanges no tokens of Entra") as raised:
        AcrTokens(server.url, entra=lambda: ENTRA).issue(fetch)
    assert "GEO_…_REGISTRY_AUTH" in raised.value.fix


@pytest.mark.parametrize("body", [b"", b"[]", b'{"refresh_token": 5}', b'{"refresh_token": ""}', b"{}"])
def test_an_answer_without_a_refresh_token_is_an_error(serve: Serve, fetch: Fetch, body: bytes) -> None:
    server = serve(lambda _: Answer(200, body))
    with pytest.raises(InvalidResponse, match="without a refresh token"):
        AcrTokens(server.url, entra=lambda: "opaque").issue(fetch)


def test_an_opaque_refresh_token_is_taken_for_an_hour(serve: Serve, fetch: Fetch) -> None:
    server = serve(lambda _: Answer(200, b'{"refresh_token": "opaque"}'))
    granted = AcrTokens(server.url, entra=lambda: "opaque").issue(fetch)
    assert (granted.credential.username, granted.credential.use, granted.lifetime) == (USERNAME, Use.REFRESH, 3600.0)
    assert "tenant" not in parse_qs(server.seen[0].body.decode())


@pytest.fixture
def _nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine on which azure-identity finds nobody."""
    parts.library("azure.identity", "azure-identity")
    for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT", "MSI_SECRET", "AZURE_AUTHORITY_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    # Neither a metadata service nor a person who has signed in.
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9")
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("_nobody")
def test_azures_own_library_finds_a_managed_identity(
    registry: Registry, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given the identity of an app service, as azure-identity asks for it
    now = int(time.time())
    reply = {"access_token": ENTRA, "expires_on": str(now + 3600), "resource": AUDIENCE, "token_type": "Bearer"}
    identity = serve(lambda _: Answer(200, json.dumps(reply).encode(), {"Content-Type": "application/json"}))
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{identity.url}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "hidden-header")

    # When the registry is asked, Then that is who we are
    with RegistryClient(registry.url, Account(Renewal(AcrTokens(registry.url, client_id="some-identity")))) as client:
        assert client.list_tags("a/x") == ["v1"]
    (asked,) = identity.seen
    assert asked.headers["X-IDENTITY-HEADER"] == "hidden-header"
    assert asked.query["resource"] == AUDIENCE
    assert asked.query["client_id"] == "some-identity"


@pytest.mark.usefixtures("_nobody")
def test_where_azure_knows_nobody_it_is_said_what_to_set(registry: Registry, fetch: Fetch) -> None:
    with pytest.raises(NoCredentials, match="Azure gives no token") as raised:
        AcrTokens(registry.url).issue(fetch)
    assert "AZURE_CLIENT_ID" in raised.value.fix
    assert len(str(raised.value)) < 1000
