"""GitHub's REST API, against a stand-in made from its pages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from app.providers.control import ControlPlaneError, ControlPlaneMissing
from app.providers.github import GitHubPackages, api_of
from app.registry import Denied, NotFound, RegistryError, Rejected, TooManyRequests, Unauthorized, Unsupported
from tests.replication.check.conftest import answering
from tests.support import images
from tests.support.answering import Answer
from tests.support.github import TOKEN, GitHub
from tests.support.oci_registry import OciRegistry
from tests.support.wire import push, retag, tags

REPOSITORY = "octocat/team/app"


@pytest.fixture
def registry() -> Iterator[OciRegistry]:
    with OciRegistry() as made:
        yield made


@pytest.mark.parametrize("organizations", [(), ("octocat",)])
def test_a_version_goes_with_its_tags(registry: OciRegistry, organizations: tuple[str, ...]) -> None:
    # Given two images of a user, or of an organization
    gone = push(registry, REPOSITORY, "v1", images.image())
    retag(registry, REPOSITORY, "v1", "latest")
    push(registry, REPOSITORY, "v2", images.image())

    with GitHub(registry, *organizations) as api, closing(GitHubPackages(TOKEN, api=api.url)) as packages:
        # When one is deleted, twice
        packages.delete_digest(REPOSITORY, gone)
        packages.delete_digest(REPOSITORY, gone)

        # Then the other one is there, and the slash in the package's name was no part of the path
        assert tags(registry, REPOSITORY) == ["v2"]
        kind = "orgs" if organizations else "users"
        assert any(each.startswith(f"DELETE /{kind}/octocat/packages/container/") for each in api.requests)
        assert sum(each == "GET /users/octocat" for each in api.requests) == 1


def test_it_is_looked_for_on_every_page(registry: OciRegistry) -> None:
    # Given a version that is older than a hundred others
    oldest = push(registry, REPOSITORY, "v0", images.image())
    for number in range(1, 105):
        push(registry, REPOSITORY, f"v{number}", images.image(layers=[b"x"], config=b"%d" % number))

    with GitHub(registry) as api, closing(GitHubPackages(TOKEN, api=api.url)) as packages:
        packages.delete_digest(REPOSITORY, oldest)

    assert "v0" not in tags(registry, REPOSITORY)


def test_a_package_that_may_not_be_seen_is_not_one_that_is_gone(registry: OciRegistry) -> None:
    # Given what GitHub says of a package to who may not see it
    with GitHub(registry) as api, closing(GitHubPackages(TOKEN, api=api.url)) as packages:
        # When a version of it is deleted, Then that is no success
        with pytest.raises(NotFound) as raised:
            packages.delete_digest(REPOSITORY, "sha256:" + "0" * 64)
        assert not raised.value.witnessed
        assert raised.value.temporary


def test_the_last_version_stays(registry: OciRegistry) -> None:
    last = push(registry, REPOSITORY, "v1", images.image())
    with (
        GitHub(registry) as api,
        closing(GitHubPackages(TOKEN, api=api.url)) as packages,
        pytest.raises(Rejected, match="the last version of a package"),
    ):
        packages.delete_digest(REPOSITORY, last)
    assert tags(registry, REPOSITORY) == ["v1"]


def test_a_wrong_token_is_told(registry: OciRegistry) -> None:
    with GitHub(registry) as api, closing(GitHubPackages("ghp_other", api=api.url)) as packages:
        with pytest.raises(Unauthorized) as raised:
            packages.delete_digest(REPOSITORY, "sha256:" + "0" * 64)
        assert "ghp_other" not in str(raised.value)


def test_without_a_token_nothing_is_asked(registry: OciRegistry) -> None:
    with GitHub(registry) as api, closing(GitHubPackages(None, api=api.url)) as packages:
        with pytest.raises(ControlPlaneMissing, match="delete:packages"):
            packages.delete_digest(REPOSITORY, "sha256:" + "0" * 64)
        assert api.requests == []


@pytest.mark.parametrize(
    ("host", "api"),
    [
        ("ghcr.io", "https://api.github.com"),
        ("containers.octo-corp.ghe.com", "https://api.octo-corp.ghe.com"),
        ("containers.github.example.com", None),
        ("containers.octo-corp.ghe.com.example.com", None),
    ],
)
def test_the_token_goes_to_the_api_of_its_registry_alone(host: str, api: str | None) -> None:
    assert api_of(host) == api


@pytest.mark.parametrize(
    ("body", "headers", "kind"),
    [
        (b'{"message": "API rate limit exceeded for user"}', {"X-RateLimit-Remaining": "0"}, TooManyRequests),
        (b'{"message": "You have exceeded a secondary rate limit."}', {"Retry-After": "60"}, TooManyRequests),
        (b'{"message": "Must have admin rights"}', {"X-RateLimit-Remaining": "4999"}, Denied),
    ],
)
def test_who_has_asked_too_often_is_told_so(body: bytes, headers: dict[str, str], kind: type) -> None:
    # Given what GitHub answers to that, which is 403 as to one without rights
    with (
        answering(lambda _: Answer(403, body, headers)) as url,
        closing(GitHubPackages(TOKEN, api=url)) as packages,
        pytest.raises(RegistryError) as raised,
    ):
        packages.delete_digest(REPOSITORY, "sha256:" + "0" * 64)
    assert type(raised.value) is kind
    assert raised.value.retry_after == (60 if "Retry-After" in headers else None)


@pytest.mark.parametrize("body", [b"<html>", b'{"message": "no list"}', b"[1]"])
def test_what_is_no_listing_proves_nothing(body: bytes) -> None:
    with (
        answering(lambda _: Answer(200, body)) as url,
        closing(GitHubPackages(TOKEN, api=url)) as packages,
        pytest.raises(ControlPlaneError),
    ):
        packages.delete_digest(REPOSITORY, "sha256:" + "0" * 64)


def test_what_github_does_not_do() -> None:
    with closing(GitHubPackages(TOKEN, api=None)) as packages:
        for ask in (
            lambda: packages.create(REPOSITORY),
            lambda: packages.delete_tag(REPOSITORY, "v1"),
            packages.catalog,
        ):
            with pytest.raises(Unsupported) as raised:
                ask()
            assert isinstance(raised.value, RegistryError)
