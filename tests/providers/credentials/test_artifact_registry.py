"""Google's access tokens, by google-auth itself: the metadata server, a service account's key, and federation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qs

import jwt
import pytest

from app.providers.credentials.artifact_registry import LIFETIME, SCOPE, USERNAME, GoogleTokens
from app.providers.credentials.library import load
from app.providers.credentials.renewal import Renewal
from app.registry import Account, Basic, Fetch, NoCredentials, RegistryClient, Use
from tests.providers.credentials.conftest import Noting, Serve
from tests.support import parts
from tests.support.answering import Answer, Request
from tests.support.keys import make_rsa

EMAIL = "geo@project.iam.gserviceaccount.com"


def reply(body: object, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(200, json.dumps(body).encode(), {"Content-Type": "application/json", **named})


def registry(serve: Serve, *taken: str) -> Noting:
    """Artifact Registry: takes these headers, and gives the last of them for a user with the password `ya29.cloud`."""
    url: list[str] = []
    password = Basic(USERNAME, "ya29.cloud").authorization(None, None)  # type: ignore[arg-type]

    def answer(request: Request) -> Answer:
        if request.path == "/v2/token":
            known = request.headers["Authorization"] == password
            return reply({"token": taken[-1].removeprefix("Bearer "), "expires_in": 3600}) if known else Answer(401)
        if request.headers["Authorization"] in taken:
            return reply({"name": "project/repo/image", "tags": ["v1"]})
        challenge = f'Bearer realm="{url[0]}/v2/token",service="europe-docker.pkg.dev"'
        return Answer(401, headers={"WWW-Authenticate": challenge})

    server = serve(answer)
    url.append(server.url)
    return server


@pytest.fixture
def _nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine on which google-auth finds nobody."""
    parts.library("google.auth", "google-auth")
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_CONFIG", "GOOGLE_CLOUD_PROJECT", "GCE_METADATA_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")


@pytest.mark.usefixtures("_nobody")
def test_the_machines_service_account(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a metadata server, and a registry that takes its token directly
    def metadata(request: Request) -> Answer:
        assert request.headers["Metadata-Flavor"] == "Google"
        if request.path.endswith("/token"):
            return reply(
                {"access_token": "ya29.cloud", "expires_in": 3000, "token_type": "Bearer"}, Metadata_Flavor="Google"
            )
        if request.path.endswith("project-id"):
            return Answer(200, b"project", {"Metadata-Flavor": "Google", "Content-Type": "text/plain"})
        if "service-accounts" in request.path:
            return reply({"email": EMAIL, "scopes": [SCOPE], "aliases": ["default"]}, Metadata_Flavor="Google")
        return Answer(200, b"", {"Metadata-Flavor": "Google"})

    host = serve(metadata).url.removeprefix("http://")
    monkeypatch.delenv("NO_GCE_CHECK")
    for name in ("GCE_METADATA_HOST", "GCE_METADATA_ROOT", "GCE_METADATA_IP"):
        monkeypatch.setenv(name, host)
    _reload_metadata(monkeypatch, host)
    server = registry(serve, "Bearer ya29.cloud")
    renewal = Renewal(GoogleTokens())

    # When the registry is asked, Then that is who we are
    with RegistryClient(server.url, Account(renewal)) as client:
        assert client.list_tags("project/repo/image") == ["v1"]
    standing = renewal.standing()
    assert standing is not None
    assert standing.lifetime == pytest.approx(3000, abs=60)


def _reload_metadata(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """The library reads these variables when it is loaded."""
    _metadata = load("google.auth.compute_engine._metadata", "gar")
    monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", host, raising=False)
    monkeypatch.setattr(_metadata, "_METADATA_ROOT", f"http://{host}/computeMetadata/v1/", raising=False)
    monkeypatch.setattr(_metadata, "_METADATA_IP_ROOT", f"http://{host}", raising=False)


def service_account(tmp_path: Path, token_uri: str) -> Path:
    key = make_rsa(tmp_path, "account")
    path = tmp_path / "account.json"
    info = {
        "type": "service_account",
        "project_id": "project",
        "private_key_id": "1",
        "private_key": Path(key.key_path).read_text(),
        "client_email": EMAIL,
        "client_id": "1",
        "token_uri": token_uri,
    }
    path.write_text(json.dumps(info))
    return path


@pytest.mark.usefixtures("_nobody")
@pytest.mark.parametrize("own", [True, False])
def test_a_service_accounts_key(serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, own: bool) -> None:
    # Given a key in a file, for this registry or by Google's variable, and a registry that takes its own tokens only
    google = serve(lambda _: reply({"access_token": "ya29.cloud", "expires_in": 3600, "token_type": "Bearer"}))
    path = service_account(tmp_path, f"{google.url}/token")
    if not own:
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    server = registry(serve, "Bearer own-1")

    # When it is asked
    with RegistryClient(server.url, Account(Renewal(GoogleTokens(path=path if own else None)))) as client:
        assert client.list_tags("project/repo/image") == ["v1"]

    # Then Google got an assertion signed by that key for the scope of its cloud, and the registry's service the token
    (asked,) = google.seen
    assertion = parse_qs(asked.body.decode())["assertion"][0]
    claims = jwt.decode(assertion, options={"verify_signature": False})
    assert (claims["iss"], claims["scope"]) == (EMAIL, SCOPE)
    assert [request.path for request in server.seen] == [
        "/v2/project/repo/image/tags/list",
        "/v2/token",
        "/v2/project/repo/image/tags/list",
    ]


@pytest.mark.usefixtures("_nobody")
def test_federation_of_a_workloads_identity(serve: Serve, fetch: Fetch, tmp_path: Path) -> None:
    # Given a configuration that exchanges another provider's token, kept in a file
    sts = serve(
        lambda _: reply(
            {
                "access_token": "ya29.federated",
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
                "expires_in": 1800,
                "token_type": "Bearer",
            }
        )
    )
    (tmp_path / "subject").write_text("subject-token")
    configuration: Mapping[str, object] = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/p",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{sts.url}/v1/token",
        "credential_source": {"file": str(tmp_path / "subject")},
    }
    path = tmp_path / "federation.json"
    path.write_text(json.dumps(configuration))

    # When a token is asked for, Then that is what is exchanged
    granted = GoogleTokens(path=path).issue(fetch)
    assert (granted.credential.secret, granted.credential.use) == ("ya29.federated", Use.ACCESS)
    assert granted.lifetime == pytest.approx(1800, abs=60)
    assert parse_qs(sts.seen[0].body.decode())["subject_token"] == ["subject-token"]


@pytest.mark.usefixtures("_nobody")
def test_where_google_knows_nobody_it_is_said_what_to_set(fetch: Fetch) -> None:
    with pytest.raises(NoCredentials, match="Google gives no access token") as raised:
        GoogleTokens().issue(fetch)
    assert "GOOGLE_APPLICATION_CREDENTIALS" in raised.value.fix


@pytest.mark.usefixtures("_nobody")
def test_a_refusal_of_google_is_told_without_secrets(serve: Serve, fetch: Fetch, tmp_path: Path) -> None:
    google = serve(lambda _: Answer(400, b'{"error": "invalid_grant", "error_description": "no such account"}'))
    with pytest.raises(NoCredentials, match="invalid_grant") as raised:
        GoogleTokens(path=service_account(tmp_path, google.url)).issue(fetch)
    assert "PRIVATE KEY" not in str(raised.value)
    assert "eyJ" not in str(raised.value)


@pytest.mark.usefixtures("_nobody")
@pytest.mark.parametrize(
    "content",
    [
        '{"type": "service_account", "private_key": "hidden"}',
        '{"type": "external_account", "credential_source": {"file": "/nowhere/token"}}',
        '{"type": "external_account", "credential_source": "hidden"}',
        '{"type": "hidden"}',
        '["hidden"]',
        "hidden",
    ],
)
def test_a_file_that_is_none_is_told(fetch: Fetch, tmp_path: Path, content: str) -> None:
    (tmp_path / "account.json").write_text(content)
    with pytest.raises(NoCredentials, match="gives no access token") as raised:
        GoogleTokens(path=tmp_path / "account.json").issue(fetch)
    assert "hidden" not in str(raised.value)


def test_an_end_that_is_past_is_not_believed() -> None:
    tokens = GoogleTokens(clock=lambda: 1_800_000_000.0)
    assert tokens._lifetime(datetime(2020, 1, 1)) == LIFETIME  # noqa: DTZ001 - as the library gives them
    assert tokens._lifetime(None) == LIFETIME


@pytest.mark.parametrize(("username", "password"), [("_json_key", '{"a": 1}'), ("_json_key_base64", "eyJhIjogMX0=")])
def test_a_key_as_a_password(serve: Serve, username: str, password: str) -> None:
    # Given a registry that gives tokens for the key itself
    url: list[str] = []

    def answer(request: Request) -> Answer:
        if request.path == "/v2/token":
            known = request.headers["Authorization"] == Basic(username, password).authorization(None, None)  # type: ignore[arg-type]
            return reply({"token": "t"}) if known else Answer(401)
        if request.headers["Authorization"] == "Bearer t":
            return reply({"name": "p/r/i", "tags": ["v1"]})
        return Answer(401, headers={"WWW-Authenticate": f'Bearer realm="{url[0]}/v2/token",service="pkg.dev"'})

    server = serve(answer)
    url.append(server.url)
    with RegistryClient(server.url, Basic(username, password)) as client:
        assert client.list_tags("p/r/i") == ["v1"]
