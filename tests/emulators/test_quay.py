"""The emulated Quay by plain HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.emulators.asking import ask, challenge, code, pulling, pushing
from tests.emulators.emulator import basic
from tests.emulators.quay import Quay
from tests.emulators.telling import read, require_proof
from tests.support import images
from tests.support.deployment import SECRET
from tests.support.receivers import Receiver
from tests.support.wire import digest_of, push, push_blob

pytestmark = pytest.mark.long

NAME = "team/app"


@pytest.fixture
def registry() -> Iterator[Quay]:
    with Quay() as registry:
        yield registry


def test_the_scopes_of_tokens(registry: Quay) -> None:
    # Given a robot
    push(registry, NAME, "v1", images.image())
    header = {"Authorization": basic("team+geo", registry.password)}
    assert f'realm="{registry.url}/v2/auth"' in challenge(ask(registry, "GET", "/v2/"))

    # Then it gets tokens to push and pull, and errors for the scopes that others know
    for actions in ("pull", "push,pull", "*"):
        answer = ask(registry, "GET", f"/v2/auth?scope=repository:{NAME}:{actions}", headers=header)
        assert list(answer.json()) == ["token"]
    for scope in (f"repository:{NAME}:delete", f"repository:{NAME}:pull,push,delete", "registry:catalog:*"):
        assert code(ask(registry, "GET", f"/v2/auth?scope={scope}", headers=header)) == (400, "INVALID_REQUEST")

    # And the catalog is for any of them
    assert ask(registry, "GET", "/v2/_catalog", pulling("another/one")).json()["repositories"] == [NAME]
    assert ask(registry, "GET", "/v2/_catalog").status_code == 401


def test_pages_are_capped(registry: Quay) -> None:
    image = images.image()
    push(registry, NAME, "v000", image)
    for number in range(1, 120):
        registry.repositories[NAME].tags[f"v{number:03}"] = image.digest

    first = ask(registry, "GET", f"/v2/{NAME}/tags/list?n=1000", pulling(NAME))
    assert len(first.json()["tags"]) == 100
    assert len(ask(registry, "GET", first.links["next"]["url"], pulling(NAME)).json()["tags"]) == 20


def test_a_digest_is_deleted_by_its_tags(registry: Quay) -> None:
    # Given an image with two tags, and one with none
    tagged, untagged = images.image(), images.image()
    for tag in ("v1", "v2"):
        push(registry, NAME, tag, tagged)
    push(registry, NAME, None, untagged)

    def delete(reference: str) -> int:
        return ask(registry, "DELETE", f"/v2/{NAME}/manifests/{reference}", pushing(NAME)).status_code

    # When they are deleted, whoever may push may
    assert ask(registry, "DELETE", f"/v2/{NAME}/manifests/v1", pulling(NAME)).status_code == 401
    assert delete("v1") == 202
    assert delete(tagged.digest) == 202

    # Then tags that were there are expired, and what has none is not found
    for tag, said in (("v1", "TAG_EXPIRED"), ("v2", "TAG_EXPIRED"), ("v3", "MANIFEST_UNKNOWN")):
        assert code(ask(registry, "GET", f"/v2/{NAME}/manifests/{tag}", pulling(NAME))) == (404, said)
    assert delete(untagged.digest) == 404
    assert digest_of(registry, NAME, untagged.digest) == untagged.digest

    # And a tag that is pushed again is there
    push(registry, NAME, "v1", untagged)
    assert digest_of(registry, NAME, "v1") == untagged.digest


def test_referrers_of_what_is_not_there(registry: Quay) -> None:
    image = images.image()
    push(registry, NAME, None, images.artifact(subject=image))
    path = f"/v2/{NAME}/referrers/{image.digest}"
    assert code(ask(registry, "GET", path, pulling(NAME))) == (400, "MANIFEST_INVALID")
    push(registry, NAME, "v1", image)
    assert len(ask(registry, "GET", path, pulling(NAME)).json()["manifests"]) == 1


def test_a_mount_says_from_where(registry: Quay) -> None:
    digest = push_blob(registry, "team/base", b"content")
    scopes = (pushing(NAME), pulling("team/base"))
    path = f"/v2/{NAME}/blobs/uploads/?mount={digest}"
    assert ask(registry, "POST", path, *scopes).status_code == 400
    assert ask(registry, "POST", f"{path}&from=team/base", *scopes).status_code == 201


def test_events(registry: Quay, receiver: Receiver) -> None:
    # Given a notification
    registry.notify(receiver.url, SECRET)

    # When things are pushed and deleted
    push(registry, NAME, "v1", images.index())
    push(registry, NAME, None, images.image())
    ask(registry, "DELETE", f"/v2/{NAME}/manifests/v1", pushing(NAME))

    # Then the tag is told of, and nothing else
    assert read(registry) == [("push", NAME, "v1", None)]
    assert receiver.received[-1].path.endswith(f"?secret={SECRET}")
    require_proof(registry, receiver)
