"""Who we are, from the settings to the request."""

from __future__ import annotations

import base64
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from app.confidential import secret_values
from app.registry import Account, Anonymous, Authenticator, Basic, KeyToken, StaticBearer
from app.replication.assembly import assemble
from app.replication.credentials import authenticator
from app.settings import RegistrySettings, Settings
from tests.replication.check.conftest import answering
from tests.support import parts
from tests.support.answering import Answer, Request
from tests.support.aws import no_aws
from tests.support.deployment import offline_environment
from tests.support.keys import make_rsa
from tests.support.valkey import Valkey


def registry(**env: str) -> RegistrySettings:
    named = {f"GEO_PRIMARY_REGISTRY_{name}": value for name, value in env.items()}
    return Settings.from_env(offline_environment("sqlite:///unused.db", **named)).primary


@pytest.mark.parametrize(
    ("env", "kind"),
    [
        ({}, Anonymous),
        ({"AUTH": "anonymous", "USERNAME": "geo", "PASSWORD": "pass"}, Anonymous),
        ({"AUTH": "basic", "USERNAME": "geo", "PASSWORD": "pass"}, Basic),
        ({"AUTH": "ghcr", "USERNAME": "geo", "PASSWORD": "ghp_token"}, Basic),
        ({"AUTH": "acr", "USERNAME": "geo", "PASSWORD": "pass"}, Basic),
        ({"AUTH": "gar", "USERNAME": "_json_key", "PASSWORD": "{}"}, Basic),
        ({"AUTH": "bearer", "PASSWORD": "token"}, StaticBearer),
        ({"AUTH": "ecr"}, Account),
        ({"AUTH": "acr"}, Account),
        ({"AUTH": "gar"}, Account),
    ],
)
def test_each_way_has_its_authenticator(env: dict[str, str], kind: type[Authenticator]) -> None:
    assert type(authenticator(registry(**env))) is kind


def test_a_key_signs_tokens(tmp_path: Path) -> None:
    key = make_rsa(tmp_path, "key")
    assert isinstance(authenticator(registry(KEY_PATH=str(key.key_path))), KeyToken)


def test_processes_of_a_deployment_have_their_tokens_in_common(valkey: Valkey, tmp_path: Path) -> None:
    # Given a registry with a token service, as GHCR has one, and two processes of a deployment
    asked: list[str] = []
    known = f"Basic {base64.b64encode(b'geo:ghp_hidden-token').decode()}"

    def serve(request: Request) -> Answer:
        if request.path == "/token":
            asked.append(request.headers["Authorization"])
            return Answer(200, json.dumps({"token": f"t{len(asked)}", "expires_in": 300}).encode())
        if request.headers["Authorization"] in {"Bearer t1", "Bearer t2"}:
            return Answer(200, json.dumps({"name": "a/x", "tags": ["v1"]}).encode())
        challenge = f'Bearer realm="{url}/token",service="ghcr.io",scope="repository:a/x:pull"'
        return Answer(401, headers={"WWW-Authenticate": challenge})

    with answering(serve) as url:
        env = {
            "GEO_REGISTRY_REPLICATION_PRIMARY_API_URL": url,
            "GEO_PRIMARY_REGISTRY_AUTH": "ghcr",
            "GEO_PRIMARY_REGISTRY_USERNAME": "geo",
            "GEO_PRIMARY_REGISTRY_PASSWORD": "ghp_hidden-token",
            "REDIS_URL": valkey.url,
        }
        settings = Settings.from_env(offline_environment("sqlite:///unused.db", **env))
        settings = replace(settings, state_directory=tmp_path, spool_limit=0)
        first, second = assemble(settings), assemble(settings)
        try:
            # When both ask the registry
            assert first.primary.list_tags("a/x") == second.primary.list_tags("a/x") == ["v1"]
        finally:
            first.close()
            second.close()

    # Then the token was asked for once, by the user and password
    assert asked == [known]
    # And Redis holds neither of them
    with valkey.client() as client:
        values = [client.get(key) or b"" for key in client.scan_iter("geo:token:*")]
    assert values
    assert all(value != b"t1" and b"hidden" not in value for value in values)
    # And no line will
    assert {"ghp_hidden-token", known.removeprefix("Basic ")} <= secret_values(settings)


def test_a_clouds_token_is_asked_for_once(valkey: Valkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given an ECR, and two processes of a deployment with several threads each
    parts.library("boto3", "boto3")
    no_aws(monkeypatch, tmp_path)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATESTS")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden-key")
    token, asked = base64.b64encode(b"AWS:hidden-token").decode(), []

    def amazon(request: Request) -> Answer:
        asked.append(request)
        body = {"authorizationData": [{"authorizationToken": token, "expiresAt": time.time() + 43200}]}
        return Answer(200, json.dumps(body).encode())

    def registry(request: Request) -> Answer:
        if request.headers["Authorization"] == f"Basic {token}":
            return Answer(200, json.dumps({"name": "a/x", "tags": ["v1"]}).encode())
        return Answer(401, headers={"WWW-Authenticate": 'Basic realm="ecr"'})

    with answering(amazon) as aws, answering(registry) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", aws)
        env = {
            "GEO_REGISTRY_REPLICATION_PRIMARY_API_URL": url,
            "GEO_PRIMARY_REGISTRY_AUTH": "ecr",
            "GEO_PRIMARY_REGISTRY_AWS_REGION": "eu-west-1",
            "REDIS_URL": valkey.url,
        }
        settings = Settings.from_env(offline_environment("sqlite:///unused.db", **env))
        settings = replace(settings, state_directory=tmp_path / "var", spool_limit=0)
        contexts = [assemble(settings) for _ in range(2)]
        try:
            # When all of them ask the registry at once
            with ThreadPoolExecutor(8) as threads:
                found = list(threads.map(lambda n: contexts[n % 2].primary.list_tags("a/x"), range(8)))
        finally:
            for context in contexts:
                context.close()

    # Then AWS was asked once
    assert (found, len(asked)) == ([["v1"]] * 8, 1)


def test_a_host_that_the_operator_names_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a registry that stands at a public address, as far as can be told, and names a service inside
    monkeypatch.setattr("app.registry.realms._addresses", lambda _: ["93.184.216.34"])

    def serve(request: Request) -> Answer:
        if request.path == "/token":
            return Answer(200, b'{"token": "t1"}')
        if request.headers["Authorization"] == "Bearer t1":
            return Answer(200, b'{"name": "a/x", "tags": ["v1"]}')
        return Answer(
            401, headers={"WWW-Authenticate": f'Bearer realm="{url}/token?"'.replace("127.0.0.1", "localhost")}
        )

    with answering(serve) as url:
        for allowed, tags in ((False, None), (True, ["v1"])):
            env = {"GEO_REGISTRY_REPLICATION_PRIMARY_API_URL": url}
            if allowed:
                env["GEO_PRIMARY_REGISTRY_TOKEN_HOSTS"] = f"other.example, localhost:{urlsplit(url).port}"
            settings = Settings.from_env(offline_environment("sqlite:///unused.db", **env))
            context = assemble(replace(settings, state_directory=tmp_path, spool_limit=0))
            try:
                if tags is None:
                    with pytest.raises(Exception, match="on this machine"):
                        context.primary.list_tags("a/x")
                else:
                    assert context.primary.list_tags("a/x") == tags
            finally:
                context.close()
