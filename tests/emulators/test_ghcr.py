"""The emulated GHCR and the API of packages by plain HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.emulators.asking import ask, begin, challenge, chunk, code, commit, pushing
from tests.emulators.emulator import basic
from tests.emulators.ghcr import CHUNK_LIMIT, Ghcr
from tests.emulators.telling import read, require_proof
from tests.support import images
from tests.support.deployment import SECRET
from tests.support.receivers import Receiver
from tests.support.wire import WireError, delete_digest, digest_of, push, tags

pytestmark = pytest.mark.long

NAME = "codertocat/app"
PACKAGE = "/orgs/Codertocat/packages/container/app"


@pytest.fixture
def registry() -> Iterator[Ghcr]:
    with Ghcr() as registry:
        yield registry


def api(registry: Ghcr, method: str, path: str) -> requests.Response:
    return ask(registry, method, path, headers={"Authorization": f"Bearer {registry.password}"})


def test_a_personal_access_token_gets_tokens(registry: Ghcr) -> None:
    push(registry, NAME, "v1", images.image())
    said = challenge(ask(registry, "GET", f"/v2/{NAME}/tags/list"))
    assert said == f'Bearer realm="{registry.url}/token",service="ghcr.io",scope="repository:{NAME}:pull"'

    header = {"Authorization": basic(registry.username, registry.password)}
    token = ask(registry, "GET", f"/token?service=ghcr.io&scope=repository:{NAME}:pull", headers=header).json()["token"]
    pulling = {"Authorization": f"Bearer {token}"}
    assert ask(registry, "GET", f"/v2/{NAME}/tags/list", headers=pulling).status_code == 200
    nobody = ask(registry, "GET", f"/token?scope=repository:{NAME}:pull").json()["token"]
    refused = ask(registry, "GET", f"/v2/{NAME}/tags/list", headers={"Authorization": f"Bearer {nobody}"})
    assert refused.status_code == 401


def test_what_the_registry_does_not_do(registry: Ghcr) -> None:
    image = images.image()
    push(registry, NAME, "v1", image)
    assert ask(registry, "GET", "/v2/_catalog", "registry:catalog:*").status_code == 404
    referrers = f"/v2/{NAME}/referrers/{image.digest}"
    assert ask(registry, "GET", referrers, f"repository:{NAME}:pull").status_code == 404
    with pytest.raises(WireError, match=r"405.*UNSUPPORTED"):
        delete_digest(registry, NAME, image.digest)


def test_a_chunk_has_four_mebibytes(registry: Ghcr) -> None:
    # Given a blob above it
    data = bytes(CHUNK_LIMIT + 1)

    # Then it is no chunk, neither first nor last
    location = begin(registry, NAME)
    refused = chunk(registry, NAME, location, data)
    assert code(refused) == (416, "REQUESTED_RANGE_NOT_SATISFIABLE")
    assert "4.00MiB" in refused.text
    assert chunk(registry, NAME, location, data[:-1]).status_code == 202
    headers = {"Content-Range": f"{CHUNK_LIMIT}-{CHUNK_LIMIT}"}
    assert commit(registry, NAME, location, data, body=data[-1:], headers=headers).status_code == 201

    # And whole it goes, without a range
    assert commit(registry, NAME, begin(registry, NAME), data).status_code == 201
    headers = {"Content-Range": "0-3"}
    assert commit(registry, NAME, begin(registry, NAME), b"0123", headers=headers).status_code == 416


def test_versions_are_listed_and_deleted(registry: Ghcr) -> None:
    # Given a package of two versions, one of them with two tags
    kept, gone = images.image(), images.image()
    push(registry, NAME, "v1", kept)
    for tag in ("v2", "v3"):
        push(registry, NAME, tag, gone)

    # Then they are listed, the newest first, page by page
    first = api(registry, "GET", f"{PACKAGE}/versions?per_page=1")
    (version,) = first.json()
    assert version["name"] == gone.digest
    assert version["metadata"]["container"]["tags"] == ["v2", "v3"]
    (other,) = api(registry, "GET", first.links["next"]["url"]).json()
    assert other["name"] == kept.digest
    assert api(registry, "GET", PACKAGE).json()["version_count"] == 2

    # When one is deleted, its tags are gone too
    assert api(registry, "DELETE", f"{PACKAGE}/versions/{version['id']}").status_code == 204
    assert tags(registry, NAME) == ["v1"]
    assert digest_of(registry, NAME, gone.digest) is None
    assert api(registry, "DELETE", f"{PACKAGE}/versions/{version['id']}").status_code == 404

    # And the last tagged one is not deleted: the package is
    last = api(registry, "DELETE", f"{PACKAGE}/versions/{other['id']}")
    assert last.status_code == 400
    assert "last tagged version" in last.json()["message"]
    assert api(registry, "DELETE", PACKAGE).status_code == 204
    assert tags(registry, NAME) == []


def test_who_may_delete(registry: Ghcr) -> None:
    # Given a package of an organization
    push(registry, NAME, "v1", images.image())
    push(registry, "codertocat/deep/app", "v1", images.image())
    assert api(registry, "GET", "/users/Codertocat").json()["type"] == "Organization"

    # Then it is not found as a user's, and one with a slash in its name is encoded
    assert api(registry, "GET", "/users/codertocat/packages/container/app/versions").status_code == 404
    assert len(api(registry, "GET", "/orgs/codertocat/packages/container/deep%2Fapp/versions").json()) == 1

    # And deleting wants a scope of its own, and everything a token
    version = api(registry, "GET", f"{PACKAGE}/versions").json()[0]["id"]
    registry.lets_delete = False
    assert api(registry, "DELETE", f"{PACKAGE}/versions/{version}").status_code == 403
    assert ask(registry, "GET", f"{PACKAGE}/versions").status_code == 401
    registry.throttled = 1
    assert api(registry, "GET", f"{PACKAGE}/versions").headers["Retry-After"] == "1"


@pytest.mark.parametrize("event", ["package", "registry_package"])
def test_events(event: str, receiver: Receiver) -> None:
    with Ghcr(event=event) as registry:
        # Given a webhook
        registry.notify(receiver.url, SECRET)
        index = images.index()

        # When an index is pushed, and deleted
        push(registry, NAME, "v1", index)
        version = registry._id(NAME, index.digest)
        push(registry, NAME, "v2", images.image())
        assert api(registry, "DELETE", f"{PACKAGE}/versions/{version}").status_code == 204

        # Then each manifest of it is told of, the children without a tag, and no deletion
        told: list[Any] = read(registry)
        children = [("push", NAME, None, child.digest) for child in index.children]
        assert told[:3] == [*children, ("push", NAME, "v1", index.digest)]
        assert len(told) == 4
        assert registry.notices[0].document[event]["namespace"] == "Codertocat"
        assert registry.notices[0].headers["X-GitHub-Event"] == event
        require_proof(registry, receiver)


def test_chunks_are_for_those_who_may_push(registry: Ghcr) -> None:
    location = begin(registry, NAME)
    assert ask(registry, "PATCH", location, f"repository:{NAME}:pull", data=b"0").status_code == 401
    assert ask(registry, "PATCH", location, pushing(NAME), data=b"0").status_code == 202
