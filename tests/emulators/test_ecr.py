"""The emulated ECR: its quirks by plain HTTP, and its control plane by Amazon's own client."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
import requests
from botocore.exceptions import ClientError

from tests.emulators.asking import ask, begin, chunk, code, commit, put
from tests.emulators.ecr import PART, Ecr
from tests.emulators.emulator import basic
from tests.emulators.telling import read, require_proof
from tests.support import images
from tests.support.deployment import SECRET
from tests.support.moto import Moto
from tests.support.oci_registry import OciRegistry
from tests.support.receivers import Receiver
from tests.support.wire import digest_of, fetch_blob, push, push_blob, tags

pytestmark = pytest.mark.long

NAME = "team/app"


@pytest.fixture
def registry(moto: Moto) -> Iterator[Ecr]:
    with Ecr(moto.url) as registry:
        yield registry


@pytest.fixture
def aws(registry: Ecr) -> Iterator[Any]:
    session = boto3.session.Session(
        aws_access_key_id="testing", aws_secret_access_key="testing", region_name="us-east-1"
    )
    client = session.client("ecr", endpoint_url=registry.url)
    yield client
    client.close()


def failed(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def test_a_password_comes_from_the_control_plane_and_expires(registry: Ecr, aws: Any) -> None:
    # Given nobody's request, and one with a password that is none
    challenge = ask(registry, "GET", "/v2/")
    assert challenge.status_code == 401
    assert challenge.headers["WWW-Authenticate"].startswith("Basic ")
    wrong = ask(registry, "GET", "/v2/", headers={"Authorization": basic("AWS", "wrong")})
    assert wrong.status_code == 401

    # When a token is asked for, as Amazon's client does
    given = aws.get_authorization_token()["authorizationData"][0]

    # Then it opens the registry, for twelve hours
    header = {"Authorization": f"Basic {given['authorizationToken']}"}
    assert base64.b64decode(given["authorizationToken"]).startswith(b"AWS:")
    assert given["proxyEndpoint"] == registry.url
    assert given["expiresAt"] - datetime.now(UTC) > timedelta(hours=11, minutes=59)
    assert ask(registry, "GET", "/v2/", headers=header).status_code == 200

    # And once it has expired the answer is 403, not a challenge
    registry.expire_passwords()
    expired = ask(registry, "GET", "/v2/", headers=header)
    assert code(expired) == (403, "DENIED")
    assert "WWW-Authenticate" not in expired.headers


def test_nothing_is_pushed_before_the_repository_is_made(registry: Ecr, aws: Any) -> None:
    # Given a repository that nobody made: neither blobs nor manifests
    image = images.image()
    refused = ask(registry, "POST", f"/v2/{NAME}/blobs/uploads/", "push")
    assert code(refused) == code(put(registry, NAME, "v1", image)) == (404, "NAME_UNKNOWN")

    # When a push may also end without an answer
    registry.abrupt = True
    with pytest.raises(requests.ConnectionError):
        ask(registry, "POST", f"/v2/{NAME}/blobs/uploads/", "push")

    # Then it helps to make it
    made = aws.create_repository(repositoryName=NAME)["repository"]
    assert made["repositoryName"] == NAME
    assert push(registry, NAME, "v1", image) == image.digest
    with pytest.raises(ClientError) as again:
        aws.create_repository(repositoryName=NAME)
    assert failed(again) == "RepositoryAlreadyExistsException"


def test_a_template_makes_repositories_by_pushing(moto: Moto) -> None:
    with Ecr(moto.url, create_on_push=True) as registry:
        push(registry, NAME, "v1", images.image())
        assert tags(registry, NAME) == ["v1"]


def test_of_several_chunks_the_first_alone_is_kept(registry: Ecr, aws: Any) -> None:
    aws.create_repository(repositoryName=NAME)
    data = bytes(PART) + b"the second chunk"

    # Given an upload in chunks, each of which is answered 201; where it stands is not told
    location = begin(registry, NAME)
    first = chunk(registry, NAME, location, data[:PART])
    second = chunk(registry, NAME, location, data[PART:], PART)
    assert first.status_code == second.status_code == 201
    assert first.headers["Range"] == second.headers["Range"] == f"0-{PART - 1}"

    # Then only the end shows what was lost
    assert code(commit(registry, NAME, location, data, body=b"")) == (400, "DIGEST_INVALID")

    # And where the chunks are kept, `Range` says the same
    registry.drops_chunks = False
    location = begin(registry, NAME)
    chunk(registry, NAME, location, data[:PART])
    assert chunk(registry, NAME, location, data[PART:], PART).headers["Range"] == f"0-{PART - 1}"
    assert commit(registry, NAME, location, data, body=b"").status_code == 201


def test_parts_have_a_least_size(registry: Ecr, aws: Any) -> None:
    aws.create_repository(repositoryName=NAME)
    location = begin(registry, NAME)
    chunk(registry, NAME, location, b"small")

    refused = chunk(registry, NAME, location, b"and more", 5)

    assert refused.status_code == 400
    assert "LayerPartTooSmallException" in refused.text
    # One alone has any size, and so has a whole upload.
    location = begin(registry, NAME)
    chunk(registry, NAME, location, b"small")
    assert commit(registry, NAME, location, b"small", body=b"").status_code == 201
    assert commit(registry, NAME, begin(registry, NAME), b"tiny").status_code == 201


def test_what_the_registry_itself_does_not_do(registry: Ecr, aws: Any) -> None:
    aws.create_repository(repositoryName=NAME)
    digest = push(registry, NAME, "v1", images.image())
    for reference in ("v1", digest):
        assert code(ask(registry, "DELETE", f"/v2/{NAME}/manifests/{reference}", "x")) == (405, "UNSUPPORTED")
    assert ask(registry, "GET", "/v2/_catalog", "x").status_code == 404


def test_manifests_name_their_media_type(registry: Ecr, aws: Any) -> None:
    aws.create_repository(repositoryName=NAME)
    for nameless in (images.image(media_type_in_body=False), images.index([], media_type_in_body=False)):
        refused = put(registry, NAME, "v1", nameless)
        assert refused.status_code == 405
        assert "Invalid JSON syntax" in refused.text


def test_immutable_tags_are_not_even_pushed_again(registry: Ecr, aws: Any) -> None:
    # Given a repository of immutable tags
    aws.create_repository(repositoryName=NAME, imageTagMutability="IMMUTABLE")
    image, other = images.image(), images.image()
    push(registry, NAME, "v1", image)
    push(registry, NAME, None, other)

    # Then neither another image nor the same is taken under the tag
    for each in (other, image):
        refused = put(registry, NAME, "v1", each)
        assert code(refused) == (400, "TAG_INVALID")
        assert "already exists" in refused.text
        assert "immutable" in refused.text
    assert digest_of(registry, NAME, "v1") == image.digest

    # And it is a setting of the control plane
    aws.put_image_tag_mutability(repositoryName=NAME, imageTagMutability="MUTABLE")
    assert put(registry, NAME, "v1", other).status_code == 201


def test_listings(registry: Ecr, aws: Any) -> None:
    aws.create_repository(repositoryName=NAME)
    push(registry, NAME, "v1", images.image())

    taken = ask(registry, "GET", f"/v2/{NAME}/tags/list?n=1000", "pull")
    assert taken.json()["tags"] == ["v1"]
    assert taken.headers["Content-Type"] == "text/plain; charset=utf-8"
    refused = ask(registry, "GET", f"/v2/{NAME}/tags/list?n=1001", "pull")
    assert code(refused) == (405, "UNSUPPORTED")
    assert "maxResults" in refused.text
    assert [each["repositoryName"] for each in aws.describe_repositories()["repositories"]] == [NAME]


def test_blobs_are_read_from_a_storage_that_wants_no_credentials(registry: Ecr, aws: Any) -> None:
    aws.create_repository(repositoryName=NAME)
    digest = push_blob(registry, NAME, b"0123456789")
    blob = f"/v2/{NAME}/blobs/{digest}"

    answer = ask(registry, "GET", blob, "pull")
    assert answer.status_code == 307
    storage = answer.headers["Location"]
    assert ask(registry, "GET", storage).content == b"0123456789"
    assert ask(registry, "GET", storage, headers={"Range": "bytes=3-5"}).content == b"345"
    assert ask(registry, "GET", storage, "pull").status_code == 400
    assert ask(registry, "HEAD", blob, "pull").headers["Content-Length"] == "10"
    # A client that follows it without its credentials reads it.
    assert fetch_blob(registry, NAME, digest) == b"0123456789"


@pytest.mark.parametrize("mount", [True, False])
def test_mounts_are_a_setting_of_the_account(moto: Moto, mount: bool) -> None:
    with Ecr(moto.url, create_on_push=True, mount=mount) as registry:
        digest = push_blob(registry, "a", b"content")
        answer = ask(registry, "POST", f"/v2/b/blobs/uploads/?mount={digest}&from=a", "push")
        assert answer.status_code == (201 if mount else 202)


def test_images_are_listed_by_the_control_plane(registry: Ecr, aws: Any) -> None:
    # Given two images, one with two tags, one with none
    aws.create_repository(repositoryName=NAME)
    tagged, untagged = images.image(), images.image()
    for tag in ("v1", "v2"):
        push(registry, NAME, tag, tagged)
    push(registry, NAME, None, untagged)

    # Then they are listed as Amazon does, page by page
    one = {"imageDigest": tagged.digest}
    pages = aws.get_paginator("list_images").paginate(repositoryName=NAME, PaginationConfig={"PageSize": 2})
    found = [each for page in pages for each in page["imageIds"]]
    assert found == [{**one, "imageTag": "v1"}, {**one, "imageTag": "v2"}, {"imageDigest": untagged.digest}]
    listed = aws.list_images(repositoryName=NAME, filter={"tagStatus": "UNTAGGED"})["imageIds"]
    assert listed == [{"imageDigest": untagged.digest}]

    # And described, with the digests that the registry has them under
    (described,) = aws.describe_images(repositoryName=NAME, imageIds=[{"imageTag": "v2"}])["imageDetails"]
    assert described["imageDigest"] == tagged.digest
    assert described["imageTags"] == ["v1", "v2"]
    manifest = aws.batch_get_image(repositoryName=NAME, imageIds=[{"imageTag": "v1"}])["images"][0]["imageManifest"]
    assert manifest.encode() == tagged.manifest
    with pytest.raises(ClientError) as missing:
        aws.describe_images(repositoryName=NAME, imageIds=[{"imageTag": "v9"}])
    assert failed(missing) == "ImageNotFoundException"
    with pytest.raises(ClientError) as unknown:
        aws.list_images(repositoryName="team/none")
    assert failed(unknown) == "RepositoryNotFoundException"


def test_images_are_deleted_by_the_control_plane(registry: Ecr, aws: Any) -> None:
    # Given an index, and an image with two tags
    aws.create_repository(repositoryName=NAME)
    index, image = images.index(), images.image()
    push(registry, NAME, "all", index)
    for tag in ("v1", "v2"):
        push(registry, NAME, tag, image)

    def delete(**image: str) -> Any:
        return aws.batch_delete_image(repositoryName=NAME, imageIds=[image])

    # When a tag is deleted, the image stays under the other
    assert delete(imageTag="v1")["imageIds"] == [{"imageDigest": image.digest, "imageTag": "v1"}]
    assert digest_of(registry, NAME, image.digest) == image.digest
    assert tags(registry, NAME) == ["all", "v2"]

    # And goes with its last
    delete(imageTag="v2")
    assert digest_of(registry, NAME, image.digest) is None

    # And what an index names goes after it
    child = index.children[0].digest
    (failure,) = delete(imageDigest=child)["failures"]
    assert failure["failureCode"] == "ImageReferencedByManifestList"
    assert delete(imageDigest=index.digest)["failures"] == []
    assert delete(imageDigest=child)["failures"] == []
    (failure,) = delete(imageDigest=child)["failures"]
    assert failure["failureCode"] == "ImageNotFound"


def test_an_image_that_its_tag_has_left_stays(registry: Ecr, aws: Any) -> None:
    # Given an image whose only tag is moved to another
    aws.create_repository(repositoryName=NAME)
    image, other = images.image(), images.artifact()
    push(registry, NAME, "v1", image)
    push(registry, NAME, "v1", other)

    # When that one is deleted by its digest, Then the tag goes with it, and the first image does not
    deleted = aws.batch_delete_image(repositoryName=NAME, imageIds=[{"imageDigest": other.digest}])
    assert deleted["imageIds"] == [{"imageDigest": other.digest, "imageTag": "v1"}]
    assert tags(registry, NAME) == []
    assert aws.list_images(repositoryName=NAME)["imageIds"] == [{"imageDigest": image.digest}]
    assert digest_of(registry, NAME, image.digest) == image.digest


def test_limits_of_the_control_plane(registry: Ecr, aws: Any) -> None:
    aws.create_repository(repositoryName=NAME)
    push(registry, NAME, "v1", images.image())

    # A hundred images at once
    many = [{"imageTag": f"v{number}"} for number in range(101)]
    with pytest.raises(ClientError) as too_many:
        aws.batch_delete_image(repositoryName=NAME, imageIds=many)
    assert failed(too_many) == "InvalidParameterException"

    # A repository that holds something, unless by force
    with pytest.raises(ClientError) as full:
        aws.delete_repository(repositoryName=NAME)
    assert failed(full) == "RepositoryNotEmptyException"
    aws.delete_repository(repositoryName=NAME, force=True)
    assert code(ask(registry, "GET", f"/v2/{NAME}/tags/list", "pull")) == (404, "NAME_UNKNOWN")

    # What a policy does not allow, and who does not sign
    registry.control.denied.add("CreateRepository")
    with pytest.raises(ClientError) as denied:
        aws.create_repository(repositoryName=NAME)
    assert failed(denied) == "AccessDeniedException"
    target = {"X-Amz-Target": "AmazonEC2ContainerRegistry_V20150921.ListImages"}
    assert ask(registry, "POST", "/", data="{}", headers=target).status_code == 400


def test_what_is_none_of_its_own_is_motos(registry: Ecr, aws: Any) -> None:
    arn = aws.create_repository(repositoryName=NAME)["repository"]["repositoryArn"]
    aws.tag_resource(resourceArn=arn, tags=[{"Key": "team", "Value": "geo"}])
    assert aws.list_tags_for_resource(resourceArn=arn)["tags"] == [{"Key": "team", "Value": "geo"}]


def test_events(registry: Ecr, aws: Any, receiver: Receiver) -> None:
    # Given a receiver of EventBridge's
    registry.notify(receiver.url, SECRET)
    aws.create_repository(repositoryName=NAME)

    # When something is pushed and deleted
    image = images.image()
    push(registry, NAME, "v1", image)
    push(registry, NAME, None, images.artifact(subject=image))
    aws.batch_delete_image(repositoryName=NAME, imageIds=[{"imageTag": "v1"}])

    # Then each is told of, and the API's key proves who tells
    pushed, artifact, *deleted = read(registry)
    assert pushed == ("push", NAME, "v1", image.digest)
    assert artifact[:3] == ("push", NAME, None)
    assert deleted == [("delete", NAME, "v1", None), ("delete", NAME, None, image.digest)]
    assert registry.delivered == [200, 200, 200]
    require_proof(registry, receiver)


def test_nothing_else_is_different(registry: Ecr, aws: Any) -> None:
    aws.create_repository(repositoryName=NAME)
    with OciRegistry() as plain:
        for image in (images.image(), images.index(), images.artifact(), images.image(media="docker")):
            assert push(registry, NAME, "v1", image) == push(plain, NAME, "v1", image)
