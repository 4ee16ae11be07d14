"""Amazon ECR's tokens, by boto3 itself against moto's server and one of our own."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.providers.credentials.ecr import LIFETIME, EcrTokens
from app.providers.credentials.renewal import Renewal
from app.registry import Account, Fetch, NoCredentials, RegistryClient
from tests.providers.credentials.conftest import Serve
from tests.support import parts
from tests.support.answering import Answer, Request
from tests.support.aws import no_aws
from tests.support.moto import Moto

pytestmark = pytest.mark.timeout(60)

ACCOUNT = "123456789012"
HOST = f"https://{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com"


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    parts.library("boto3", "boto3")
    with Moto(tmp_path_factory.mktemp("aws")) as server:
        yield server


@pytest.fixture(autouse=True)
def _somebody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    no_aws(monkeypatch, tmp_path)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATESTS")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden-secret-key")


def test_a_token_of_moto_lets_us_in(aws: Moto, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a registry that takes what moto gives (the account is moto's own), and the endpoint by AWS's own variable
    monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", aws.url)
    expected = f"Basic {base64.b64encode(f'AWS:{ACCOUNT}-auth-token'.encode()).decode()}"

    def answer(request: Request) -> Answer:
        if request.headers["Authorization"] != expected:
            return Answer(401, headers={"WWW-Authenticate": 'Basic realm="https://ecr.example/",service="ecr"'})
        return Answer(200, json.dumps({"name": "a/x", "tags": ["v1"]}).encode())

    registry = serve(answer)
    renewal = Renewal(EcrTokens(registry.url, region="eu-west-1"))

    # When it is asked again and again, Then one token does: moto says that it ended in 2015, which is not believed
    with RegistryClient(registry.url, Account(renewal)) as client:
        for _ in range(3):
            assert client.list_tags("a/x") == ["v1"]
    assert [request.headers["Authorization"] for request in registry.seen] == [expected] * 3
    standing = renewal.standing()
    assert standing is not None
    assert LIFETIME - 60 < standing.lifetime <= LIFETIME
    assert LIFETIME / 2 - 60 < standing.renewed_in <= LIFETIME / 2


def amz(body: object) -> Answer:
    return Answer(200, json.dumps(body).encode(), {"Content-Type": "application/x-amz-json-1.1"})


@pytest.mark.parametrize(("seconds", "lifetime"), [(7200, 7200.0), (-5, LIFETIME), (10**7, LIFETIME)])
def test_it_is_good_until_aws_says(
    serve: Serve, fetch: Fetch, monkeypatch: pytest.MonkeyPatch, seconds: int, lifetime: float
) -> None:
    # Given an AWS that gives tokens for so long by its own clock, which is an hour behind ours
    theirs = time.time() - 3600
    date = datetime.fromtimestamp(theirs, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    token = base64.b64encode(b"AWS:pa:ss").decode()
    body = {"authorizationData": [{"authorizationToken": token, "expiresAt": theirs + seconds}]}
    server = serve(lambda _: Answer(200, json.dumps(body).encode(), {"Date": date}))
    monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", server.url)

    # When a token is asked for
    granted = EcrTokens(HOST).issue(fetch)

    # Then it is what was given, the password with its colons, for as long as that clock says
    assert (granted.credential.username, granted.credential.secret) == ("AWS", "pa:ss")
    assert granted.lifetime == pytest.approx(lifetime, abs=2)
    assert server.seen[0].headers["X-Amz-Target"].endswith("GetAuthorizationToken")
    assert "/eu-west-1/ecr/aws4_request" in server.seen[0].headers["Authorization"]


def test_the_public_registry_has_tokens_of_its_own(serve: Serve, fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given the API of ECR Public, which answers with one and not a list
    token = base64.b64encode(b"AWS:public").decode()
    body = {"authorizationData": {"authorizationToken": token, "expiresAt": time.time() + 12 * 3600}}
    server = serve(lambda _: amz(body))
    monkeypatch.setenv("AWS_ENDPOINT_URL_ECR_PUBLIC", server.url)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")

    # When a token is asked for, Then it is asked in us-east-1, wherever we are
    assert EcrTokens("https://public.ecr.aws", region="eu-west-1").issue(fetch).credential.secret == "public"
    assert "/us-east-1/ecr-public/aws4_request" in server.seen[0].headers["Authorization"]


def test_a_profile_is_one_of_awss_files(
    serve: Serve, fetch: Fetch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Given credentials in a profile, and none elsewhere
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    (tmp_path / "credentials").write_text("[other]\naws_access_key_id = AKIAOTHER\naws_secret_access_key = x\n")
    token = base64.b64encode(b"AWS:p").decode()
    server = serve(lambda _: amz({"authorizationData": [{"authorizationToken": token}]}))
    monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", server.url)

    # Then they are used, and the others are told as missing
    assert EcrTokens(HOST, profile="other").issue(fetch).lifetime == LIFETIME
    assert "AKIAOTHER" in server.seen[0].headers["Authorization"]
    for profile in (None, "nobodys"):
        with pytest.raises(NoCredentials, match="credentials are not there") as raised:
            EcrTokens(HOST, profile=profile).issue(fetch)
        assert "AWS_PROFILE" in raised.value.fix


def test_without_a_region_it_is_said_where_to_set_it(fetch: Fetch) -> None:
    with pytest.raises(NoCredentials, match="region is not known") as raised:
        EcrTokens("http://127.0.0.1:5000").issue(fetch)
    assert "AWS_REGION" in str(raised.value)


def test_a_refusal_of_aws_is_told_without_secrets(serve: Serve, fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given an AWS that does not know us
    refusal = {"__type": "UnrecognizedClientException", "message": "The security token is invalid."}
    server = serve(lambda _: Answer(400, json.dumps(refusal).encode()))
    monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", server.url)

    # When a token is asked for, Then its words are told, and what to allow
    with pytest.raises(NoCredentials, match="UnrecognizedClientException") as raised:
        EcrTokens(HOST).issue(fetch)
    assert "ecr:GetAuthorizationToken" in raised.value.fix
    assert "hidden" not in f"{raised.value!r} {raised.value}"


@pytest.mark.parametrize("data", [None, [], {}, [{"authorizationToken": "%%"}], [{"authorizationToken": "QVdT"}]])
def test_an_answer_without_a_token_is_none(
    serve: Serve, fetch: Fetch, monkeypatch: pytest.MonkeyPatch, data: object
) -> None:
    server = serve(lambda _: amz({"authorizationData": data}))
    monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", server.url)
    with pytest.raises(NoCredentials, match="is none"):
        EcrTokens(HOST).issue(fetch)
