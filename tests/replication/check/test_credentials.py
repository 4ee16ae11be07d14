"""What `geo check` says of who we are to each registry."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.replication.check import Finding, Id, Severity
from app.replication.check import registry as registry_check
from app.replication.check import secondary as secondary_check
from app.replication.check.report import examine
from tests.replication.check.conftest import Examine, answering, only
from tests.support.answering import Answer, Request
from tests.support.aws import no_aws
from tests.support.keys import TokenAuth
from tests.support.registries import BASIC_PASSWORD, BASIC_USERNAME, DistributionRegistry, RegistryFactory

pytestmark = pytest.mark.timeout(60)

SECONDARY = "GEO_SECONDARY_REGISTRY_URL"
JSON = {"Content-Type": "application/json"}


def said(findings: list[Finding]) -> str:
    """What is told of what is in order."""
    return "\n".join(each.title for each in findings if each.severity is Severity.OK)


def taking(header: str) -> object:
    """A registry that takes this header alone, as Basic."""

    def serve(request: Request) -> Answer:
        if request.headers["Authorization"] == header:
            return Answer(200, b"{}", JSON)
        return Answer(401, b"{}", {"WWW-Authenticate": 'Basic realm="registry"', **JSON})

    return serve


def test_until_when_a_cloud_s_token_is_good(
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    examine: Examine,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    # Given an ECR whose token is good for twelve hours
    no_aws(monkeypatch, tmp_path)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATESTS")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden-key")
    token = base64.b64encode(b"AWS:hidden-token").decode()
    ends = time.time() + 12 * 3600
    body = {"authorizationData": [{"authorizationToken": token, "expiresAt": ends}]}
    with (
        answering(lambda _: Answer(200, json.dumps(body).encode())) as aws,
        answering(taking(f"Basic {token}")) as url,  # type: ignore[arg-type]
    ):
        monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", aws)
        env = {"GEO_SECONDARY_REGISTRY_AUTH": "ecr", "GEO_SECONDARY_REGISTRY_AWS_REGION": "eu-west-1", SECONDARY: url}

        # When it is looked at
        findings = list(registry_check.secondary(examine(primary, secondary, **env)))

    # Then that is told, and when there will be another
    words = said(findings)
    assert "a token of Amazon ECR in eu-west-1" in words
    assert f"good until {datetime.fromtimestamp(ends, UTC):%Y-%m-%d %H}" in words
    assert f"renewed from {datetime.fromtimestamp(ends - 6 * 3600, UTC):%Y-%m-%d %H}" in words
    assert "hidden" not in words


def test_where_there_are_none_it_is_said_what_to_change(
    primary: DistributionRegistry, secondary: DistributionRegistry, examine: Examine, tmp_path: Path
) -> None:
    # Given Docker's configuration without this registry
    config = tmp_path / "config.json"
    config.write_text('{"auths": {}}')
    env = {"GEO_SECONDARY_REGISTRY_DOCKER_CONFIG": str(config)}

    # When it is looked at
    found = only(registry_check.secondary(examine(primary, secondary, **env)))

    # Then the command is told, and the variable of this side
    assert found.id is Id.REGISTRY_CREDENTIALS_MISSING
    assert "docker login 127.0.0.1" in found.fix
    assert "GEO_SECONDARY_REGISTRY_DOCKER_CONFIG" in found.fix

    # And what needs them is skipped, with the reason in words
    (skipped,) = examine_uploads(examine(primary, secondary, **env))
    assert skipped.id is Id.CHECK_SKIPPED
    assert "None" not in skipped.title
    assert "has no credentials" in skipped.title


def examine_uploads(examination: object) -> list[Finding]:
    return list(examine(examination, {"uploads": secondary_check.check}).findings)  # type: ignore[arg-type]


def test_docker_s_credentials_are_taken(
    primary: DistributionRegistry, registry_factory: RegistryFactory, examine: Examine, tmp_path: Path
) -> None:
    # Given a real registry with a user, whom Docker knows
    guarded = registry_factory("guarded", basic=True)
    auth = base64.b64encode(f"{BASIC_USERNAME}:{BASIC_PASSWORD}".encode()).decode()
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"auths": {guarded.url.removeprefix("http://"): {"auth": auth}}}))

    # When it is looked at, Then it takes them
    env = {"GEO_SECONDARY_REGISTRY_DOCKER_CONFIG": str(config)}
    words = said(list(registry_check.secondary(examine(primary, guarded, **env))))
    assert f"takes what Docker has for 127.0.0.1:{guarded.port} ({config}), good until they are changed there" in words


@pytest.mark.parametrize(
    ("auth", "fix"),
    [("ghcr", "personal access token (classic)"), ("acr", "AcrPull"), ("gar", "Artifact Registry Reader")],
)
def test_credentials_that_are_refused_have_their_vendors_cure(
    primary: DistributionRegistry, secondary: DistributionRegistry, examine: Examine, auth: str, fix: str
) -> None:
    # Given a registry that does not know this user
    prefix = "GEO_SECONDARY_REGISTRY_"
    env = {f"{prefix}AUTH": auth, f"{prefix}USERNAME": "geo", f"{prefix}PASSWORD": "hidden-password"}
    with answering(taking("Basic other")) as url:  # type: ignore[arg-type]
        found = only(registry_check.secondary(examine(primary, secondary, **env, **{SECONDARY: url})))

    # Then it is told what that vendor wants
    assert found.id is Id.REGISTRY_CREDENTIALS
    assert fix in found.fix
    assert "{prefix}" not in found.fix
    assert "hidden" not in f"{found}"


def test_a_user_and_a_certificate_are_told(
    primary: DistributionRegistry,
    registry_factory: RegistryFactory,
    examine: Examine,
    token_auth: TokenAuth,
) -> None:
    guarded = registry_factory("guarded", basic=True)
    env = {
        "GEO_SECONDARY_REGISTRY_AUTH": "basic",
        "GEO_SECONDARY_REGISTRY_USERNAME": BASIC_USERNAME,
        "GEO_SECONDARY_REGISTRY_PASSWORD": BASIC_PASSWORD,
    }
    words = said(list(registry_check.secondary(examine(primary, guarded, **env))))
    assert f"our user and password ({BASIC_USERNAME})" in words
    assert BASIC_PASSWORD not in words

    trusting = registry_factory("trusting", token=token_auth)
    words = said(list(registry_check.secondary(examine(primary, trusting, **of_key(token_auth)))))
    assert "the token that our key signs, by a certificate good until 20" in words


def of_key(token_auth: TokenAuth) -> dict[str, str]:
    return {
        "GEO_SECONDARY_REGISTRY_KEY_PATH": str(token_auth.keys.key_path),
        "GEO_SECONDARY_REGISTRY_CERTIFICATE_PATH": str(token_auth.keys.certificate_path),
        "GEO_SECONDARY_REGISTRY_ISSUER": token_auth.issuer,
        "GEO_SECONDARY_REGISTRY_SERVICE": token_auth.service,
    }


def test_a_token_service_elsewhere_is_told(
    primary: DistributionRegistry, secondary: DistributionRegistry, examine: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a public registry, as far as can be told, that names another domain's host as its token service
    monkeypatch.setattr("app.registry.realms._addresses", lambda _: ["93.184.216.34"])
    challenge = 'Bearer realm="https://auth.example.org:8443/token",service="svc"'
    prefix = "GEO_SECONDARY_REGISTRY_"
    env = {f"{prefix}AUTH": "basic", f"{prefix}USERNAME": "geo", f"{prefix}PASSWORD": "hidden-password"}
    with answering(lambda _: Answer(401, b"{}", {"WWW-Authenticate": challenge, **JSON})) as url:
        found = only(registry_check.secondary(examine(primary, secondary, **env, **{SECONDARY: url})))

    # Then the line is told that allows it
    assert found.id is Id.REGISTRY_REALM
    assert f"export {prefix}TOKEN_HOSTS=auth.example.org:8443" in found.fix
