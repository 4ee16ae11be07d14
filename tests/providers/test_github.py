"""GitHub's REST API, against a stand-in made from its pages."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from app.providers.control import ControlPlaneError, ControlPlaneMissing
from app.providers.github import GitHubPackages, api_of
from app.registry import (
    Denied,
    NotFound,
    RateLimited,
    RegistryError,
    Rejected,
    TooManyRequests,
    Unauthorized,
    Unsupported,
)
from app.replication.politeness import Gate, Terms
from tests.replication.check.conftest import answering
from tests.support import images
from tests.support.answering import Answer, Request
from tests.support.github import TOKEN, GitHub
from tests.support.oci_registry import OciRegistry
from tests.support.wire import push, retag, tags

REPOSITORY = "octocat/team/app"


def until(seconds: float) -> dict[str, str]:
    """What GitHub says of a quota that is used up, and when there is another one."""
    return {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time() + seconds))}


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


def test_none_is_missed_while_others_are_deleted(registry: OciRegistry) -> None:
    # Given a version that is the first of the second page
    oldest = push(registry, REPOSITORY, "v0", images.image())
    for number in range(1, 101):
        push(registry, REPOSITORY, f"v{number}", images.image(layers=[b"x"], config=b"%d" % number))
    with GitHub(registry) as api, closing(GitHubPackages(TOKEN, api=api.url)) as packages:
        # When the newest is deleted by somebody as soon as the first page was read: all others move up by one
        api.after_page = lambda: api.delete(REPOSITORY, "v100")
        assert packages.delete_digest(REPOSITORY, oldest)

    # Then it was found all the same
    assert "v0" not in tags(registry, REPOSITORY)


def test_what_always_changes_is_not_said_to_be_gone(registry: OciRegistry) -> None:
    # Given a package of which something is deleted whenever a page was read
    for number in range(120):
        push(registry, REPOSITORY, f"v{number}", images.image(layers=[b"x"], config=b"%d" % number))
    names = iter(reversed(range(120)))
    with GitHub(registry) as api, closing(GitHubPackages(TOKEN, api=api.url)) as packages:
        api.always = lambda: api.delete(REPOSITORY, f"v{next(names)}")

        # When a version is looked for that is not there, Then nobody knows
        with pytest.raises(ControlPlaneError, match="change while they are listed") as raised:
            packages.delete_digest(REPOSITORY, "sha256:" + "0" * 64)
        assert raised.value.temporary

        # And once it is quiet, it is not there
        api.always = None
        assert packages.delete_digest(REPOSITORY, "sha256:" + "0" * 64) is False


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
    ("status", "body", "headers", "kind", "wait"),
    [
        (403, b'{"message": "API rate limit exceeded"}', {"X-RateLimit-Remaining": "0"}, TooManyRequests, 60),
        (429, b'{"message": "API rate limit exceeded"}', {"X-RateLimit-Remaining": "0"}, TooManyRequests, 60),
        # Renewed after so many seconds.
        (403, b'{"message": "API rate limit exceeded"}', 1800.0, TooManyRequests, 1800),
        (403, b'{"message": "You have exceeded a secondary rate limit."}', {"Retry-After": "90"}, TooManyRequests, 90),
        (403, b'{"message": "You have exceeded a secondary rate limit."}', {}, TooManyRequests, 60),
        (403, b'{"message": "Must have admin rights"}', {"X-RateLimit-Remaining": "4999"}, Denied, None),
    ],
)
def test_who_has_asked_too_often_is_told_so(
    status: int, body: bytes, headers: dict[str, str] | float, kind: type, wait: float | None
) -> None:
    # Given what GitHub answers to that, which may be 403 as to one without rights
    said = until(headers) if isinstance(headers, float) else headers
    with (
        answering(lambda _: Answer(status, body, said)) as url,
        closing(GitHubPackages(TOKEN, api=url)) as packages,
        pytest.raises(RegistryError) as raised,
    ):
        packages.delete_digest(REPOSITORY, "sha256:" + "0" * 64)

    # Then it is told as what it is, with the time that it takes
    assert type(raised.value) is kind
    assert raised.value.retry_after == (None if wait is None else pytest.approx(wait, abs=5))


def test_what_github_asks_for_is_waited_by_everybody() -> None:
    # Given an API whose quota is used up
    asked: list[Request] = []

    def refusing(request: Request) -> Answer:
        asked.append(request)
        return Answer(403, b'{"message": "API rate limit exceeded"}', until(1800))

    limiter = Gate("control plane of the secondary", Terms(), process="test")
    with answering(refusing) as url, closing(GitHubPackages(TOKEN, api=url, limiter=limiter)) as packages:
        with pytest.raises(TooManyRequests):
            packages.delete_digest("octocat/app", "sha256:" + "0" * 64)

        # When something is deleted of another package, Then nothing is asked
        with pytest.raises(RateLimited):
            packages.delete_digest("octocat/web", "sha256:" + "0" * 64)
    assert len(asked) == 1


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
