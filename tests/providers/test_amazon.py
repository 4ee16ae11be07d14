"""Hosts of Amazon's registries, and the API that boto3 asks for each."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest

from app.providers.amazon import EcrHost
from app.providers.credentials.ecr import EcrTokens
from tests.support.aws import no_aws

ACCOUNT = "123456789012"


@pytest.mark.parametrize(
    ("name", "host"),
    [
        (f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com", EcrHost(ACCOUNT, "eu-west-1")),
        (f"{ACCOUNT}.dkr.ECR.eu-west-1.amazonaws.com", EcrHost(ACCOUNT, "eu-west-1")),
        (f"{ACCOUNT}.dkr.ecr-fips.us-gov-west-1.amazonaws.com", EcrHost(ACCOUNT, "us-gov-west-1", fips=True)),
        (f"{ACCOUNT}.dkr.ecr.cn-north-1.amazonaws.com.cn", EcrHost(ACCOUNT, "cn-north-1")),
        (f"{ACCOUNT}.dkr.ecr.eusc-de-east-1.amazonaws.eu", EcrHost(ACCOUNT, "eusc-de-east-1")),
        (f"{ACCOUNT}.dkr.ecr.us-iso-east-1.c2s.ic.gov", EcrHost(ACCOUNT, "us-iso-east-1")),
        (f"{ACCOUNT}.dkr-ecr.eu-west-1.on.aws", EcrHost(ACCOUNT, "eu-west-1", dual_stack=True)),
        (f"{ACCOUNT}.dkr-ecr-fips.us-east-1.on.aws", EcrHost(ACCOUNT, "us-east-1", fips=True, dual_stack=True)),
        (f"{ACCOUNT}.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn", EcrHost(ACCOUNT, "cn-north-1", dual_stack=True)),
        ("public.ecr.aws", EcrHost(None, "us-east-1", public=True)),
        ("ecr-public.aws.com", EcrHost(None, "us-east-1", dual_stack=True, public=True)),
        ("registry.example.com", EcrHost()),
        (f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com.evil.test", EcrHost()),
        ("public.ecr.aws.evil.test", EcrHost()),
        ("127.0.0.1", EcrHost()),
    ],
)
def test_the_host_says_account_region_and_kind(name: str, host: EcrHost) -> None:
    assert EcrHost.of(name) == host


@pytest.mark.parametrize(
    ("name", "api"),
    [
        (f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com", "https://api.ecr.eu-west-1.amazonaws.com"),
        (f"{ACCOUNT}.dkr.ecr-fips.us-east-1.amazonaws.com", "https://ecr-fips.us-east-1.amazonaws.com"),
        (f"{ACCOUNT}.dkr-ecr.eu-west-1.on.aws", "https://ecr.eu-west-1.api.aws"),
        (f"{ACCOUNT}.dkr-ecr-fips.us-east-1.on.aws", "https://ecr-fips.us-east-1.api.aws"),
        ("public.ecr.aws", "https://api.ecr-public.us-east-1.amazonaws.com"),
        ("ecr-public.aws.com", "https://ecr-public.us-east-1.api.aws"),
    ],
)
def test_the_api_is_of_the_same_kind(name: str, api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given Amazon's own client, and nothing that says where the API is
    no_aws(monkeypatch, tmp_path)

    # When it is made for a registry, Then it asks where FIPS, or IPv6, is as at the registry
    client = EcrTokens(f"https://{name}")._client(boto3)
    assert client.meta.endpoint_url == api
    client.close()


def test_an_address_that_is_set_goes_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given an endpoint in a network of one's own
    no_aws(monkeypatch, tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", "https://vpce.example.com")

    # Then it is asked, whatever the registry's host is
    client = EcrTokens(f"https://{ACCOUNT}.dkr-ecr-fips.us-east-1.on.aws")._client(boto3)
    assert client.meta.endpoint_url == "https://vpce.example.com"
    client.close()
