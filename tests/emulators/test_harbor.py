"""The emulated Harbor by plain HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.emulators.asking import ask, challenge, code, pulling, pushing, put
from tests.emulators.emulator import basic
from tests.emulators.harbor import Format, Harbor
from tests.emulators.telling import read, require_proof
from tests.support import images
from tests.support.deployment import SECRET
from tests.support.receivers import Receiver
from tests.support.wire import WireError, delete_digest, delete_tag, push, tags

pytestmark = pytest.mark.long

NAME = "library/app"


@pytest.fixture
def registry() -> Iterator[Harbor]:
    with Harbor("library", immutable=r"v\d+") as registry:
        yield registry


def token(registry: Harbor, account: tuple[str, str], scope: str) -> dict[str, str]:
    header = {"Authorization": basic(*account)}
    answer = ask(registry, "GET", f"/service/token?service=harbor-registry&scope={scope}", headers=header)
    return {"Authorization": f"Bearer {answer.json()['token']}"}


def test_robots(registry: Harbor) -> None:
    # Given robots of a project, of another, and of the system
    push(registry, NAME, "latest", images.image())
    registry.projects.add("other")
    accounts = [registry.robot("geo", "library"), registry.robot("geo", "other"), registry.robot("geo")]
    assert [name for name, _ in accounts] == ["robot$library+geo", "robot$other+geo", "robot$geo"]

    # Then each may what it is for
    path = f"/v2/{NAME}/tags/list"
    assert 'service="harbor-registry"' in challenge(ask(registry, "GET", path))
    answers = [ask(registry, "GET", path, headers=token(registry, each, pulling(NAME))) for each in accounts]
    assert [each.status_code for each in answers] == [200, 401, 200]

    # And the catalog is the administrator's
    for account, status in ((accounts[2], 401), ((registry.username, registry.password), 200)):
        catalog = ask(registry, "GET", "/v2/_catalog", headers=token(registry, account, "registry:catalog:*"))
        assert catalog.status_code == status


def test_a_project_must_exist(registry: Harbor) -> None:
    for name in ("none/app", "library"):
        refused = ask(registry, "POST", f"/v2/{name}/blobs/uploads/", pushing(name))
        assert code(refused) == (404, "NOT_FOUND")
        assert "project" in refused.text


def test_what_is_not_there_is_not_found(registry: Harbor) -> None:
    push(registry, NAME, "latest", images.image())
    for path in (f"/v2/{NAME}/manifests/none", "/v2/library/none/tags/list"):
        answer = ask(registry, "GET", path, pulling(path.split("/v2/")[1].rsplit("/", 2)[0]))
        assert code(answer) == (404, "NOT_FOUND")


def test_immutable_tags(registry: Harbor) -> None:
    # Given a tag that a rule is about
    image = images.image()
    push(registry, NAME, "v1", image)
    push(registry, NAME, "latest", image)

    # Then it is not pushed again, be it the same, nor its artifact deleted
    for each in (image, images.image([images.layer()])):
        push(registry, NAME, None, each)
        assert code(put(registry, NAME, "v1", each)) == (412, "PRECONDITION")
    with pytest.raises(WireError, match=r"412.*PRECONDITION"):
        delete_digest(registry, NAME, image.digest)

    # And others move
    assert put(registry, NAME, "latest", each).status_code == 201


def test_deleting(registry: Harbor) -> None:
    # Given an image with two tags
    image = images.image()
    for tag in ("a", "b"):
        push(registry, "library/deep/app", tag, image)

    # Then a tag is not deleted below /v2/, but by the API
    with pytest.raises(WireError, match=r"400.*UNSUPPORTED"):
        delete_tag(registry, "library/deep/app", "a")
    path = "/api/v2.0/projects/library/repositories/deep%252Fapp/artifacts/a/tags/a"
    assert ask(registry, "DELETE", path).status_code == 401
    header = {"Authorization": basic(registry.username, registry.password)}
    assert ask(registry, "DELETE", path, headers=header).status_code == 200
    assert tags(registry, "library/deep/app") == ["b"]
    assert code(ask(registry, "DELETE", path, headers=header)) == (404, "NOT_FOUND")

    # And the artifact by its digest
    delete_digest(registry, "library/deep/app", image.digest)
    assert tags(registry, "library/deep/app") == []


@pytest.mark.parametrize("payload", ["Default", "CloudEvents"])
def test_events(payload: Format, receiver: Receiver) -> None:
    with Harbor("library", payload=payload) as registry:
        # Given a webhook
        registry.notify(receiver.url, SECRET)
        image, artifact = images.image(), images.artifact()

        # When things are pushed and deleted, one of them with two tags
        for tag in ("a", "b"):
            push(registry, NAME, tag, image)
        push(registry, NAME, None, artifact)
        delete_digest(registry, NAME, image.digest)
        delete_digest(registry, NAME, artifact.digest)

        # Then of the tags the first is named, and in place of none the digest
        assert read(registry) == [
            ("push", NAME, "a", image.digest),
            ("push", NAME, "b", image.digest),
            ("push", NAME, None, artifact.digest),
            ("delete", NAME, None, image.digest),
            ("delete", NAME, None, artifact.digest),
        ]
        said = [each.document["data" if payload == "CloudEvents" else "event_data"] for each in registry.notices]
        named = [each["resources"][0]["tag"] for each in said]
        assert named == ["a", "b", artifact.digest, "a", artifact.digest]
        assert receiver.received[0].headers["authorization"] == SECRET
        require_proof(registry, receiver)
