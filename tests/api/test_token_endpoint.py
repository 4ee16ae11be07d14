"""The token endpoint: pull of what the site replicates, never more, and a real registry takes the tokens."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests
from werkzeug.test import TestResponse

from app import metrics
from app.database import connection
from app.models import MetricValue
from tests.api.sites import add
from tests.support import images
from tests.support.face import Face, face
from tests.support.keys import TokenAuth
from tests.support.registries import DistributionRegistry, RegistryFactory
from tests.support.wire import push

PATH = "/jwt/auth"


@pytest.fixture
def api(tmp_path: Path, token_auth: TokenAuth) -> Iterator[Face]:
    with face(
        f"sqlite:///{tmp_path}/geo.db",
        tmp_path / "state",
        GEO_REGISTRY_KEY_PATH=str(token_auth.keys.key_path),
        GEO_REGISTRY_CERTIFICATE_PATH=str(token_auth.keys.certificate_path),
    ) as started:
        yield started


def ask(api: Face, name: str, token: str, *scopes: str) -> TestResponse:
    credentials = base64.b64encode(f"{name}:{token}".encode()).decode()
    query = [("service", "container_registry"), *(("scope", scope) for scope in scopes)]
    return api.client.get(PATH, query_string=query, headers={"Authorization": f"Basic {credentials}"})


def access(api: Face, token: str, *scopes: str) -> Any:
    response = ask(api, "berlin", token, *scopes)
    assert response.status_code == 200, response.text
    answer = response.get_json()
    assert (answer["token"], answer["expires_in"]) == (answer["access_token"], 300)
    claims = jwt.decode(answer["token"], options={"verify_signature": False})
    assert claims["sub"] == "berlin"
    return claims["access"]


def pull(name: str) -> dict[str, Any]:
    return {"type": "repository", "name": name, "actions": ["pull"]}


def test_a_site_may_pull_what_it_replicates(api: Face) -> None:
    token = add("team/**", "!team/secret")
    assert access(api, token, "repository:team/app:pull") == [pull("team/app")]
    assert access(api, token, "repository:team/a:pull repository:team/b:pull") == [pull("team/a"), pull("team/b")]


@pytest.mark.parametrize(
    "scope",
    [
        "repository:team/app:push",
        "repository:team/app:*",
        "repository:team/app:delete",
        "repository:team/secret:pull",
        "repository:other/app:pull",
        "repository:team/../other/app:pull",
        "repository:TEAM/app:pull",
        "registry:catalog:*",
        "repository(plugin):other/app:pull",
        "nonsense",
    ],
)
def test_it_is_given_nothing_else(api: Face, scope: str) -> None:
    # Given a site with a scope
    token = add("team/**", "!team/secret")

    # When it asks for more, alone
    response = ask(api, "berlin", token, scope)

    # Then it is denied in words that a registry's client reads
    assert response.status_code == 403
    assert response.get_json()["errors"][0]["code"] == "DENIED"

    # And beside what it may have, it gets only that
    assert access(api, token, scope, "repository:team/app:pull") == [pull("team/app")]


def test_push_is_left_out_of_what_else_is_granted(api: Face) -> None:
    assert access(api, add(), "repository:team/app:pull,push") == [pull("team/app")]


def test_without_a_scope_it_only_tells_who_it_is(api: Face) -> None:
    assert access(api, add()) == []


@pytest.mark.parametrize(("name", "right"), [("other", True), ("", True), ("berlin", False)])
def test_a_wrong_name_or_token_is_refused(api: Face, name: str, right: bool) -> None:
    token = add()
    response = ask(api, name, token if right else token[:-1] + "_", "repository:team/app:pull")
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Basic")
    assert response.get_json()["errors"][0]["code"] == "UNAUTHORIZED"


@pytest.mark.parametrize(
    "header", ["", "Basic", "Basic !", "Basic " + base64.b64encode(b"berlin").decode(), "Bearer x"]
)
def test_what_is_no_user_and_password_is_refused(api: Face, header: str) -> None:
    assert api.client.get(PATH, headers={"Authorization": header}).status_code == 401


def counted() -> dict[str, float]:
    metrics.buffer.flush()
    with connection():
        rows = MetricValue.select().where(MetricValue.name == "geo_pull_tokens_total")
        return {row.labels: row.value for row in rows}


def test_every_request_is_counted(api: Face) -> None:
    # Given what other tests of this process have left
    before = counted()
    token = add("team/*")

    # When tokens are asked for, with and without a right to them
    ask(api, "berlin", token, "repository:team/app:pull")
    ask(api, "berlin", token, "repository:other/app:pull")
    ask(api, "berlin", "wrong", "repository:team/app:pull")

    # Then each counts as what it was
    assert {labels: value - before.get(labels, 0) for labels, value in counted().items()} == {
        '{"outcome":"granted","site":"berlin"}': 1,
        '{"outcome":"denied","site":"berlin"}': 1,
        '{"outcome":"refused","site":""}': 1,
    }


def test_a_deployment_without_a_key_says_so(tmp_path: Path) -> None:
    with face(f"sqlite:///{tmp_path}/geo.db", tmp_path / "state") as api:
        assert ask(api, "berlin", add(), "repository:team/app:pull").status_code == 501


@pytest.mark.parametrize("version", ["2.8", "3"])
@pytest.mark.parametrize("certificate", [True, False])
def test_registries_take_the_tokens_for_pull_alone(
    registry_factory: RegistryFactory, token_auth: TokenAuth, tmp_path: Path, version: str, certificate: bool
) -> None:
    # Given a real registry, and a deployment with its key, with and without the certificate
    registry: DistributionRegistry = registry_factory("primary", token=token_auth, version=version)
    image = images.image()
    push(registry, "team/app", "v1", image)
    with face(
        f"sqlite:///{tmp_path}/geo.db",
        tmp_path / "state",
        GEO_REGISTRY_REPLICATION_PRIMARY_API_URL=registry.url,
        GEO_REGISTRY_KEY_PATH=str(token_auth.keys.key_path),
        GEO_REGISTRY_CERTIFICATE_PATH=str(token_auth.keys.certificate_path) if certificate else "",
        GEO_REGISTRY_ISSUER=token_auth.issuer,
        GEO_REGISTRY_SERVICE=token_auth.service,
    ) as api:
        # When a site gets a token
        token = ask(api, "berlin", add(), "repository:team/app:pull,push,delete").get_json()["token"]

        # Then it can pull by it, and neither push nor delete
        manifests = f"{registry.url}/v2/team/app/manifests"
        headers = {"Authorization": f"Bearer {token}", "Accept": image.media_type}
        with requests.Session() as session:
            session.trust_env = False
            assert session.get(f"{manifests}/v1", headers=headers, timeout=10).status_code == 200
            assert session.put(f"{manifests}/v2", headers=headers, data=b"{}", timeout=10).status_code == 401
            assert session.delete(f"{manifests}/{image.digest}", headers=headers, timeout=10).status_code == 401
