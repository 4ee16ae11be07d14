"""The emulated zot by plain HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.emulators.asking import ask, put
from tests.emulators.telling import read, require_proof
from tests.emulators.zot import Zot
from tests.support import images
from tests.support.deployment import SECRET
from tests.support.receivers import Receiver
from tests.support.wire import delete_digest, delete_tag, push, tags

pytestmark = pytest.mark.long

NAME = "team/app"


@pytest.fixture
def registry() -> Iterator[Zot]:
    with Zot() as registry:
        yield registry


def test_basic(registry: Zot) -> None:
    refused = ask(registry, "GET", "/v2/")
    assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, 'Basic realm="tests"')
    assert ask(registry, "GET", "/v2/", "x").status_code == 200


def test_a_push_by_digest_brings_tags(registry: Zot) -> None:
    image = images.image()
    push(registry, NAME, None, image)

    answer = put(registry, NAME, image.digest, image, "?tag=v1&tag=v2")

    assert answer.headers["OCI-Tag"] == "v1, v2"
    assert tags(registry, NAME) == ["v1", "v2"]
    assert "OCI-Tag" not in put(registry, NAME, "v3", image).headers


def test_events(registry: Zot, receiver: Receiver) -> None:
    # Given a sink
    registry.notify(receiver.url, SECRET)
    image, artifact = images.image(), images.artifact()

    # When a tag is pushed, twice, and an artifact by its digest, and all of it is deleted
    for _ in range(2):
        push(registry, NAME, "v1", image)
    push(registry, NAME, None, artifact)
    delete_tag(registry, NAME, "v1")
    delete_digest(registry, NAME, artifact.digest)

    # Then each is told of once
    assert read(registry) == [
        ("push", NAME, "v1", image.digest),
        ("push", NAME, None, artifact.digest),
        ("delete", NAME, "v1", image.digest),
        ("delete", NAME, None, artifact.digest),
    ]
    types = [each.headers["ce-type"] for each in receiver.received]
    assert types[:2] == ["zotregistry.repository.created", "zotregistry.image.updated"]
    assert set(registry.notices[1].document) >= {"name", "reference", "digest", "mediaType", "manifest"}
    require_proof(registry, receiver)

    # And a tag that moves is told of again
    push(registry, NAME, "v1", images.image())
    push(registry, NAME, "v1", image)
    assert read(registry)[-1] == ("push", NAME, "v1", image.digest)
