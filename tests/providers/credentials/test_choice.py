from __future__ import annotations

from pathlib import Path

import pytest

from app.providers.credentials import account, issuer
from app.providers.credentials.acr import AcrTokens
from app.providers.credentials.artifact_registry import GoogleTokens
from app.providers.credentials.docker_config import DockerConfig
from app.providers.credentials.ecr import EcrTokens
from app.settings import RegistrySettings, Settings
from tests.support.deployment import offline_environment


def registry(**env: str) -> RegistrySettings:
    """The primary with these of its settings."""
    named = {f"GEO_PRIMARY_REGISTRY_{name}": value for name, value in env.items()}
    return Settings.from_env(offline_environment("sqlite:///unused.db", **named)).primary


def test_each_way_has_its_issuer(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert isinstance(issuer(registry(AUTH="ecr")), EcrTokens)
    assert isinstance(issuer(registry(AUTH="acr")), AcrTokens)
    assert isinstance(issuer(registry(AUTH="gar")), GoogleTokens)
    assert isinstance(issuer(registry(DOCKER_CONFIG=str(tmp_path / "config.json"))), DockerConfig)


@pytest.mark.parametrize("auth", ["acr", "gar", "ghcr", "basic"])
def test_a_user_with_a_password_needs_none(auth: str) -> None:
    assert issuer(registry(AUTH=auth, USERNAME="geo", PASSWORD="pass")) is None


def test_nobody_and_a_fixed_token_need_none() -> None:
    assert issuer(registry(AUTH="anonymous")) is None
    assert issuer(registry(AUTH="bearer", PASSWORD="token")) is None


def test_what_is_used_says_by_what(tmp_path: Path) -> None:
    (tmp_path / "key.json").write_text("{}")
    for settings, words in (
        (registry(AUTH="ecr", AWS_REGION="eu-west-1", AWS_PROFILE="other"), "ECR in eu-west-1 by AWS's profile other"),
        (registry(AUTH="acr", AZURE_CLIENT_ID="0-1"), "by the identity 0-1"),
        (registry(AUTH="gar", GOOGLE_CREDENTIALS=str(tmp_path / "key.json")), f"by {tmp_path}/key.json"),
    ):
        found = issuer(settings)
        assert found is not None
        assert words in found.what


def test_another_account_is_another(tmp_path: Path) -> None:
    # Given an account of each kind, and its own with one thing changed
    key, other = tmp_path / "key.json", tmp_path / "other.json"
    key.write_text("{}")
    other.write_text('{"another": 1}')
    ecr, gar = registry(AUTH="ecr"), registry(AUTH="gar", GOOGLE_CREDENTIALS=str(key))
    basic = registry(AUTH="basic", USERNAME="geo", PASSWORD="one")
    accounts = [
        account(ecr, {}),
        account(ecr, {"AWS_ACCESS_KEY_ID": "AKIA1"}),
        account(ecr, {"AWS_PROFILE": "other"}),
        account(registry(AUTH="ecr", AWS_PROFILE="other"), {}),
        account(basic, {}),
        account(registry(AUTH="basic", USERNAME="geo", PASSWORD="two"), {}),
        account(registry(AUTH="acr"), {}),
        account(registry(AUTH="acr"), {"AZURE_CLIENT_ID": "1"}),
        account(gar, {}),
        account(registry(AUTH="gar"), {"GOOGLE_APPLICATION_CREDENTIALS": str(other)}),
    ]

    # Then all differ, and each is itself; what is none of its business changes nothing
    assert len(set(accounts)) == len(accounts)
    assert account(basic, {"AWS_PROFILE": "other"}) == account(basic, {})
    assert account(ecr, {"AWS_SESSION_TOKEN": "new"}) == account(ecr, {})
    assert account(gar, {}) == account(registry(AUTH="gar"), {"GOOGLE_APPLICATION_CREDENTIALS": str(key)}).replace(
        f'"{key}"', "null"
    )


def test_a_new_key_in_the_same_file_is_another_account(tmp_path: Path) -> None:
    key = tmp_path / "key.json"
    key.write_text("{}")
    gar = registry(AUTH="gar", GOOGLE_CREDENTIALS=str(key))
    before = account(gar, {})
    key.write_text('{"private_key_id": "2"}')
    assert account(gar, {}) != before
    key.unlink()
    assert account(gar, {}) != before
