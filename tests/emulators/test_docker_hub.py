"""The emulated Docker Hub by plain HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.emulators.asking import ask, challenge, code, pulling
from tests.emulators.docker_hub import DockerHub
from tests.emulators.telling import read, require_proof
from tests.support import images
from tests.support.deployment import SECRET
from tests.support.receivers import Receiver
from tests.support.wire import WireError, delete_digest, delete_tag, digest_of, push

pytestmark = pytest.mark.long

NAME = "team/app"


@pytest.fixture
def registry() -> Iterator[DockerHub]:
    with DockerHub(limit=2) as registry:
        yield registry


def test_pulls_of_manifests_are_counted(registry: DockerHub) -> None:
    # Given an index, whose manifests may be pulled twice
    index = images.index()
    push(registry, NAME, "v1", index)

    def pull(method: str, reference: str) -> tuple[int, str]:
        answer = ask(registry, method, f"/v2/{NAME}/manifests/{reference}", pulling(NAME))
        return answer.status_code, answer.headers["ratelimit-remaining"]

    # When it is asked for in several ways, then each GET counts, that of a child too, and HEAD does not
    assert pull("HEAD", "v1") == (200, "2;w=21600")
    assert pull("GET", "v1") == (200, "1;w=21600")
    assert pull("GET", index.children[0].digest) == (200, "0;w=21600")
    assert pull("HEAD", "v1") == (200, "0;w=21600")

    # And one more is too many, of which the registry says what can be done
    refused = ask(registry, "GET", f"/v2/{NAME}/manifests/v1", pulling(NAME))
    assert code(refused) == (429, "TOOMANYREQUESTS")
    assert "https://www.docker.com/" in refused.text
    assert refused.headers["ratelimit-limit"] == "2;w=21600"

    # Blobs are free, and the limit against abuse says nothing
    blob = index.children[0].blobs[0].digest
    assert ask(registry, "GET", f"/v2/{NAME}/blobs/{blob}", pulling(NAME)).status_code == 200
    registry.throttled = 1
    bare = ask(registry, "GET", f"/v2/{NAME}/blobs/{blob}", pulling(NAME))
    assert (bare.status_code, bare.text) == (429, "Too Many Requests\n")


def test_what_the_registry_does_not_do(registry: DockerHub) -> None:
    image = images.image()
    push(registry, NAME, "v1", image)
    assert 'service="registry.docker.io"' in challenge(ask(registry, "GET", "/v2/"))
    assert ask(registry, "GET", "/v2/_catalog", "registry:catalog:*").status_code == 404
    assert ask(registry, "GET", f"/v2/{NAME}/referrers/{image.digest}", pulling(NAME)).status_code == 404


def test_only_what_nothing_names_is_deleted(registry: DockerHub) -> None:
    # Given an index with a tag, and an image without
    index, image = images.index(), images.image()
    push(registry, NAME, "v1", index)
    push(registry, NAME, None, image)

    # Then neither the tag nor what it or an index names is deleted
    with pytest.raises(WireError, match="UNSUPPORTED"):
        delete_tag(registry, NAME, "v1")
    for digest in (index.digest, index.children[0].digest):
        with pytest.raises(WireError, match=r"403.*DENIED"):
            delete_digest(registry, NAME, digest)

    # But what nothing names
    delete_digest(registry, NAME, image.digest)
    assert ask(registry, "HEAD", f"/v2/{NAME}/manifests/{image.digest}", pulling(NAME)).status_code == 404
    assert digest_of(registry, NAME, "v1") == index.digest


def test_events(registry: DockerHub, receiver: Receiver) -> None:
    # Given a webhook
    registry.notify(receiver.url, SECRET)

    # When something is pushed, with a tag and without, and deleted
    push(registry, NAME, "v1", images.index())
    image = images.image()
    push(registry, NAME, None, image)
    delete_digest(registry, NAME, image.digest)

    # Then the tag is told of, without its digest
    assert read(registry) == [("push", NAME, "v1", None)]
    assert "Authorization" not in receiver.received[-1].headers
    require_proof(registry, receiver)
