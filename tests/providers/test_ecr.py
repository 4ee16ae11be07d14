"""Amazon's control plane, by boto3 against moto's server."""

from __future__ import annotations

import builtins
import json
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import boto3
import pytest

from app.providers.control import (
    ControlPlaneDenied,
    ControlPlaneDiffers,
    ControlPlaneError,
    ControlPlaneMissing,
    StillReferenced,
)
from app.providers.ecr import Ecr
from app.registry import RateLimited, RegistryError, TooManyRequests
from app.replication.politeness import Gate, Terms
from tests.replication.check.conftest import answering
from tests.support.answering import Answer, Request
from tests.support.images import OCI_MANIFEST, image

HOST = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"


@pytest.fixture
def ecr(amazon: str) -> Iterator[Ecr]:
    with closing(Ecr(HOST)) as plane:
        yield plane


@pytest.fixture
def theirs(amazon: str) -> Iterator[Any]:
    """Amazon's own client."""
    client = boto3.session.Session().client("ecr")
    yield client
    client.close()


@pytest.fixture
def repository(ecr: Ecr) -> str:
    name = f"team/app-{uuid.uuid4().hex[:8]}"
    assert ecr.create(name)
    return name


def pushed(theirs: Any, repository: str, *tags: str) -> str:
    """An image under these tags; its digest as Amazon's stand-in has it."""
    manifest = image().manifest.decode()
    for tag in tags:
        answer = theirs.put_image(
            repositoryName=repository, imageManifest=manifest, imageManifestMediaType=OCI_MANIFEST, imageTag=tag
        )
    return str(answer["image"]["imageId"]["imageDigest"])


def standing(theirs: Any, repository: str) -> dict[str, str]:
    listed = theirs.list_images(repositoryName=repository)["imageIds"]
    return {each["imageTag"]: each["imageDigest"] for each in listed}


def test_a_repository_is_made_once(ecr: Ecr, theirs: Any) -> None:
    # Given a name that nobody has
    name = f"team/app-{uuid.uuid4().hex[:8]}"

    # When it is made twice, Then it is there, and the second time it was
    assert ecr.create(name)
    assert not ecr.create(name)
    assert theirs.describe_repositories(repositoryNames=[name])["repositories"][0]["repositoryName"] == name


def test_a_tag_goes_and_its_siblings_stay(ecr: Ecr, theirs: Any, repository: str) -> None:
    # Given two tags on one digest
    digest = pushed(theirs, repository, "v1", "latest")

    # When one of them is deleted, twice
    ecr.delete_tag(repository, "v1")
    ecr.delete_tag(repository, "v1")

    # Then the other one is there
    assert standing(theirs, repository) == {"latest": digest}


def test_a_digest_goes_with_its_tags(ecr: Ecr, theirs: Any, repository: str) -> None:
    digest, other = pushed(theirs, repository, "v1", "latest"), pushed(theirs, repository, "other")
    ecr.delete_digest(repository, digest)
    ecr.delete_digest(repository, digest)
    assert standing(theirs, repository) == {"other": other}


def test_in_a_repository_that_is_not_there_nothing_is_left_to_delete(ecr: Ecr) -> None:
    ecr.delete_tag("team/nobody", "v1")


def test_all_repositories_are_listed(ecr: Ecr, repository: str) -> None:
    (page,) = ecr.catalog()
    assert repository in page.repositories
    assert page.following is None


def test_repositories_are_listed_page_by_page(amazon: str) -> None:
    # Given an API that gives two at a time (moto's gives all)
    names = [f"list/{number}" for number in range(5)]

    def paging(request: Request) -> Answer:
        asked = json.loads(request.body)
        start = int(asked.get("nextToken", "token=0").partition("=")[2])
        found: dict[str, Any] = {"repositories": [{"repositoryName": name} for name in names[start : start + 2]]}
        if start + asked["maxResults"] < len(names):
            found["nextToken"] = f"token={start + 2}"
        return Answer(200, json.dumps(found).encode(), {"Content-Type": "application/x-amz-json-1.1"})

    with answering(paging) as url, closing(Ecr(HOST, endpoint=url)) as ecr:
        # When they are listed by pages of two, and on from the second page
        pages = list(ecr.catalog(2))
        on = [name for page in ecr.catalog(2, pages[0].following) for name in page.repositories]

    # Then each comes once, and a page leads to the next in the form of a registry's own
    assert [name for page in pages for name in page.repositories] == names
    assert on == names[2:]
    assert [page.following for page in pages] == [
        "/v2/_catalog?next=token%3D2",
        "/v2/_catalog?next=token%3D4",
        None,
    ]


def test_that_it_may_delete_is_found_out_without_deleting(ecr: Ecr, theirs: Any, repository: str) -> None:
    digest = pushed(theirs, repository, "v1")
    ecr.require_deletion(repository)
    assert standing(theirs, repository) == {"v1": digest}

    # And a repository of which it knows nothing is another account's
    with pytest.raises(ControlPlaneDiffers, match="knows no repository team/nobody"):
        ecr.require_deletion("team/nobody")


def test_a_role_is_taken_before_anything_is_asked(amazon: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Given an account that is had by taking a role, and a service that gives it, or does not
    role = "arn:aws:iam::123456789012:role/geo"
    (tmp_path / "config").write_text(f"[profile geo]\nrole_arn = {role}\nsource_profile = me\n")
    (tmp_path / "credentials").write_text("[me]\naws_access_key_id = AKIAME\naws_secret_access_key = x\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    asked: list[str] = []
    answers = [
        Answer(403, b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>")
    ]

    def tokens(request: Request) -> Answer:
        asked.append(parse_qs(request.body.decode())["Action"][0])
        return answers.pop() if answers else taken()

    with answering(tokens) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", url)
        with closing(Ecr(HOST, profile="geo")) as ecr:
            # When it gets ready, Then the role is asked for, and a refusal is told as one that may end
            with pytest.raises(ControlPlaneError, match="gets no credentials") as raised:
                ecr.ready()
            assert raised.value.temporary
            ecr.ready()
            assert asked == ["AssumeRole", "AssumeRole"]

            # And not again, as long as it is good
            ecr.ready()
            assert ecr.create(f"team/app-{uuid.uuid4().hex[:8]}")
    assert asked == ["AssumeRole", "AssumeRole"]


def taken() -> Answer:
    """A role that is good for an hour."""
    until = f"{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    made = {"AccessKeyId": "ASIAROLE", "SecretAccessKey": "y", "SessionToken": "z", "Expiration": until}
    fields = "".join(f"<{name}>{value}</{name}>" for name, value in made.items())
    space = "https://sts.amazonaws.com/doc/2011-06-15/"
    body = f'<AssumeRoleResponse xmlns="{space}"><AssumeRoleResult><Credentials>{fields}</Credentials>'
    return Answer(200, f"{body}</AssumeRoleResult></AssumeRoleResponse>".encode(), {"Content-Type": "text/xml"})


# --- what goes wrong --------------------------------------------------------------------------------------------------


def saying(status: int, code: str) -> Any:
    """An answer of Amazon's that is an error."""
    body = json.dumps({"__type": code, "message": "words"}).encode()
    return lambda _: Answer(status, body, {"Content-Type": "application/x-amz-json-1.1", "x-amzn-errortype": code})


@pytest.mark.parametrize(
    ("status", "code", "kind", "reason"),
    [
        (400, "AccessDeniedException", ControlPlaneDenied, "control_plane_denied"),
        (403, "UnrecognizedClientException", ControlPlaneDenied, "control_plane_denied"),
        (400, "ThrottlingException", TooManyRequests, "too_many_requests"),
        (429, "SomethingElse", TooManyRequests, "too_many_requests"),
        (400, "InvalidParameterException", ControlPlaneError, "control_plane_failed"),
        # No pause mends that an account has as many repositories as it may.
        (400, "LimitExceededException", ControlPlaneError, "control_plane_failed"),
        (500, "ServerException", ControlPlaneError, "control_plane_failed"),
    ],
)
def test_what_amazon_says_has_its_reason(
    status: int, code: str, kind: type, reason: str, amazon: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an API that refuses
    with answering(saying(status, code)) as url, closing(Ecr(HOST, endpoint=url)) as ecr:
        for ask in (
            lambda: ecr.create("a/x"),
            lambda: ecr.delete_tag("a/x", "v1"),
            lambda: ecr.require_deletion("a/x"),
            lambda: next(ecr.catalog()),
        ):
            # When it is asked, Then that is told, with its words
            with pytest.raises(RegistryError, match=f"{code}: words") as raised:
                ask()
            assert (type(raised.value), raised.value.reason, raised.value.temporary) == (kind, reason, True)


def test_what_amazon_asks_for_is_waited_by_everybody(amazon: str) -> None:
    # Given an API that has enough, and says for how long
    asked: list[Request] = []

    def refusing(request: Request) -> Answer:
        asked.append(request)
        answer: Answer = saying(400, "ThrottlingException")(request)
        return replace(answer, headers={**answer.headers, "Retry-After": "600"})

    limiter = Gate("control plane of the secondary", Terms(), process="test")
    with answering(refusing) as url, closing(Ecr(HOST, endpoint=url, limiter=limiter)) as ecr:
        with pytest.raises(TooManyRequests) as raised:
            ecr.delete_tag("a/x", "v1")
        assert raised.value.retry_after == 600

        # When something else is asked, Then it is not sent
        for ask in (lambda: ecr.create("a/y"), lambda: ecr.require_deletion("a/y"), lambda: next(ecr.catalog())):
            with pytest.raises(RateLimited):
                ask()
    assert len(asked) == 1


def test_what_an_index_names_is_deleted_later(amazon: str) -> None:
    # Given an image that an index is made of
    def refusing(request: Request) -> Answer:
        failure = {"failureCode": "ImageReferencedByManifestList", "failureReason": "first the list"}
        body = json.dumps({"imageIds": [], "failures": [failure]}).encode()
        return Answer(200, body, {"Content-Type": "application/x-amz-json-1.1"})

    with answering(refusing) as url, closing(Ecr(HOST, endpoint=url)) as ecr:
        # When it is deleted, Then it is said why not, and may be tried again
        with pytest.raises(StillReferenced, match="first the list") as raised:
            ecr.delete_digest("a/x", "sha256:" + "0" * 64)
        assert raised.value.temporary


def test_nobody_answers(amazon: str) -> None:
    with closing(Ecr(HOST, endpoint="http://127.0.0.1:9")) as ecr, pytest.raises(ControlPlaneError) as raised:
        ecr.create("a/x")
    assert (raised.value.reason, raised.value.temporary) == ("control_plane_failed", True)


def test_account_and_region_are_those_of_the_host(amazon: str) -> None:
    # Given a host that names both, and one that names neither
    seen: list[tuple[str, dict[str, Any]]] = []

    def noting(request: Request) -> Answer:
        seen.append((request.headers["Authorization"], json.loads(request.body)))
        return Answer(200, b'{"repositories": []}', {"Content-Type": "application/x-amz-json-1.1"})

    with answering(noting) as url:
        for host, public in (
            ("123456789012.dkr.ecr.us-west-2.amazonaws.com", False),
            ("registry.example.com", False),
            ("public.ecr.aws", True),
        ):
            with closing(Ecr(host, endpoint=url, public=public)) as ecr:
                # When it is asked
                list(ecr.catalog())

    # Then by the host where that says it, else as boto3 is set up
    assert ["/us-west-2/ecr/" in seen[0][0], seen[0][1].get("registryId")] == [True, "123456789012"]
    assert ["/eu-central-1/ecr/" in seen[1][0], "registryId" in seen[1][1]] == [True, False]
    assert ["/us-east-1/ecr-public/" in seen[2][0], "registryId" in seen[2][1]] == [True, False]


def test_the_alias_of_a_public_registry_is_no_part_of_the_name(amazon: str) -> None:
    seen: list[dict[str, Any]] = []

    def noting(request: Request) -> Answer:
        seen.append(json.loads(request.body))
        return Answer(200, b"{}", {"Content-Type": "application/x-amz-json-1.1"})

    with answering(noting) as url, closing(Ecr("public.ecr.aws", endpoint=url, public=True)) as ecr:
        assert ecr.create("alias/team/app")
    assert seen == [{"repositoryName": "team/app"}]


def test_the_paths_of_a_public_registry_begin_with_its_alias(amazon: str) -> None:
    said = {"repositories": [{"repositoryName": "team/app", "repositoryUri": "public.ecr.aws/alias/team/app"}]}

    def listing(request: Request) -> Answer:
        return Answer(200, json.dumps(said).encode(), {"Content-Type": "application/x-amz-json-1.1"})

    with answering(listing) as url, closing(Ecr("public.ecr.aws", endpoint=url, public=True)) as ecr:
        assert [name for page in ecr.catalog() for name in page.repositories] == ["alias/team/app"]


def test_without_credentials_it_is_said_what_is_missing(amazon: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with closing(Ecr(HOST)) as ecr, pytest.raises(ControlPlaneMissing, match="no credentials") as raised:
        ecr.create("a/x")
    assert not raised.value.temporary


def test_without_a_region_it_is_said_what_is_missing(amazon: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.delenv("AWS_REGION", raising=False)
    with closing(Ecr("registry.example.com")) as ecr, pytest.raises(ControlPlaneMissing, match="region"):
        ecr.ready()


def test_without_boto3_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given an installation without the extra
    found = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name.partition(".")[0] in ("boto3", "botocore"):
            raise ImportError(name)
        return found(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)

    # When it is asked, Then that is told, and the module could be imported
    with closing(Ecr(HOST)) as ecr, pytest.raises(ControlPlaneMissing, match=r"pip install 'geo-registry\[ecr\]'"):
        ecr.create("a/x")
