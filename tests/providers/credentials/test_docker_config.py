"""Docker's config.json, with everything that `docker login` and people write there."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from app.providers.credentials.docker_config import HUB, DockerConfig
from app.registry import Credential, Fetch, NoCredentials, Use
from tests.providers.credentials.test_docker_helper import helper, saying

URL = "https://registry.example.com"


def auth(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Write the file, and read what is in it for a registry."""

    def written(content: Any, url: str = URL, **options: Any) -> DockerConfig:
        path = tmp_path / "config.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return DockerConfig(url, path, environ={"PATH": f"{tmp_path}:/bin:/usr/bin"}, **options)

    return written


@pytest.mark.parametrize(
    ("entry", "credential"),
    [
        ({"auth": auth("geo:pa:ss")}, Credential("geo", "pa:ss")),
        ({"auth": auth("geo:pass\0\0")}, Credential("geo", "pass")),
        ({"username": "geo", "password": "pass"}, Credential("geo", "pass")),
        ({"auth": auth("geo:pass"), "username": "other", "password": "other"}, Credential("geo", "pass")),
        ({"auth": auth("0000:"), "identitytoken": "refresh"}, Credential("", "refresh", Use.REFRESH)),
        ({"registrytoken": "access"}, Credential("", "access", Use.ACCESS)),
    ],
)
def test_what_is_kept_in_the_file(write: Any, fetch: Fetch, entry: dict[str, str], credential: Credential) -> None:
    granted = write({"auths": {"registry.example.com": entry, "other.example.com": {"auth": auth("x:y")}}}).issue(fetch)
    assert granted.credential == credential
    assert granted.lifetime > 0


@pytest.mark.parametrize(
    ("key", "url"),
    [
        ("registry.example.com", "https://registry.example.com:443"),
        ("registry.example.com:443", "https://registry.example.com"),
        ("https://registry.example.com/v2/", URL),
        ("https://registry.example.com", "https://REGISTRY.example.com/"),
        ("http://registry.example.com:5000/v1/", "http://registry.example.com:5000"),
        ("localhost:5000", "http://localhost:5000"),
        (HUB, "https://registry-1.docker.io"),
        ("docker.io", "https://index.docker.io"),
        ("registry-1.docker.io", "https://docker.io"),
    ],
)
def test_hosts_are_found_however_they_are_written(write: Any, fetch: Fetch, key: str, url: str) -> None:
    config = write({"auths": {key: {"auth": auth("geo:pass")}}}, url)
    assert config.issue(fetch).credential == Credential("geo", "pass")


@pytest.mark.parametrize(
    "key",
    ["example.com", "registry.example.com:5000", "registry.example.com.evil.test", "evil.test/registry.example.com"],
)
def test_another_hosts_credentials_are_not_taken(write: Any, fetch: Fetch, key: str) -> None:
    with pytest.raises(NoCredentials, match=r"has no credentials for registry\.example\.com") as raised:
        write({"auths": {key: {"auth": auth("geo:pass")}}}).issue(fetch)
    assert "docker login registry.example.com" in raised.value.fix


def test_a_helper_of_the_host_comes_before_the_store_and_the_file(write: Any, fetch: Fetch, tmp_path: Path) -> None:
    # Given a helper for the host, one for all, and an entry in the file
    helper(tmp_path, saying("own", "1"), "own")
    helper(tmp_path, saying("store", "2"), "store")
    content: dict[str, Any] = {
        "credHelpers": {"registry.example.com": "own"},
        "credsStore": "store",
        "auths": {"registry.example.com": {"auth": auth("file:3")}},
    }

    # Then they come in that order
    assert write(content).issue(fetch).credential.username == "own"
    del content["credHelpers"]
    assert write(content).issue(fetch).credential.username == "store"
    del content["credsStore"]
    assert write(content).issue(fetch).credential.username == "file"


def test_what_the_store_has_not_may_be_in_the_file(write: Any, fetch: Fetch, tmp_path: Path) -> None:
    helper(tmp_path, "echo credentials not found in native keychain; exit 1", "store")
    content = {"credsStore": "store", "auths": {"registry.example.com": {"auth": auth("file:3")}}}
    assert write(content).issue(fetch).credential.username == "file"


def test_a_helper_is_asked_for_docker_hub_by_its_first_address(write: Any, fetch: Fetch, tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    helper(tmp_path, f"tee {asked} > /dev/null; {saying('hub', '1')}", "own")
    config = write({"credHelpers": {"docker.io": "own"}}, "https://registry-1.docker.io")
    assert config.issue(fetch).credential.username == "hub"
    assert asked.read_text() == HUB


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{ hidden", "is no JSON object"),
        ("[]", "is no JSON object"),
        ({}, "has no credentials for"),
        ({"auths": []}, "has no credentials for"),
        ({"auths": {"registry.example.com": "hidden"}}, "has no credentials for"),
        ({"auths": {"registry.example.com": {}}}, "has no credentials for"),
        ({"auths": {"registry.example.com": {"auth": "%hidden%"}}}, "is not base64 of user:password"),
        ({"auths": {"registry.example.com": {"auth": auth("hidden")}}}, "is not base64 of user:password"),
        ({"auths": {"registry.example.com": {"auth": auth("hidden:")}}}, "has no credentials for"),
    ],
)
def test_what_cannot_be_used_is_told_with_what_to_do(write: Any, fetch: Fetch, content: Any, words: str) -> None:
    with pytest.raises(NoCredentials, match=words) as raised:
        write(content).issue(fetch)
    assert raised.value.fix
    assert "hidden" not in str(raised.value)


def test_a_file_that_is_gone_is_told(fetch: Fetch, tmp_path: Path) -> None:
    with pytest.raises(NoCredentials, match="cannot be read: No such file"):
        DockerConfig(URL, tmp_path / "config.json").issue(fetch)


def test_a_new_login_is_seen(write: Any, fetch: Fetch) -> None:
    config = write({"auths": {"registry.example.com": {"auth": auth("geo:old")}}})
    assert config.issue(fetch).credential.secret == "old"
    write({"auths": {"registry.example.com": {"auth": auth("geo:new")}}})
    assert config.issue(fetch).credential.secret == "new"
