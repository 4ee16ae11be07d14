"""GitLab's emulated registry by plain HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.emulators.asking import ask, challenge, pulling, pushing
from tests.emulators.emulator import basic
from tests.emulators.gitlab import GitLab
from tests.emulators.telling import read, require_proof
from tests.support import images
from tests.support.deployment import SECRET
from tests.support.receivers import Receiver
from tests.support.wire import delete_digest, delete_tag, push

pytestmark = pytest.mark.long

NAME = "group/project/app"


@pytest.fixture
def registry() -> Iterator[GitLab]:
    with GitLab() as registry:
        yield registry


def token(registry: GitLab, account: tuple[str, str], scope: str) -> dict[str, str]:
    header = {"Authorization": basic(*account)}
    answer = ask(registry, "GET", f"/jwt/auth?service=container_registry&scope={scope}", headers=header)
    return {"Authorization": f"Bearer {answer.json()['token']}"}


def test_deploy_tokens(registry: GitLab) -> None:
    # Given two deploy tokens
    push(registry, NAME, "v1", images.image())
    reader, writer = registry.deploy_token("read_registry"), registry.deploy_token("read_registry", "write_registry")
    said = challenge(ask(registry, "GET", f"/v2/{NAME}/tags/list"))
    expected = f'Bearer realm="{registry.url}/jwt/auth",service="container_registry",scope="{pulling(NAME)}"'
    assert said == expected

    # Then each may what it is for
    for account, status in ((reader, 401), (writer, 202)):
        header = token(registry, account, pushing(NAME))
        assert ask(registry, "GET", f"/v2/{NAME}/tags/list", headers=header).status_code == 200
        assert ask(registry, "POST", f"/v2/{NAME}/blobs/uploads/", headers=header).status_code == status


@pytest.mark.parametrize("administrator", [True, False])
def test_the_catalog_is_for_administrators(administrator: bool) -> None:
    with GitLab(administrator=administrator) as registry:
        header = token(registry, (registry.username, registry.password), "registry:catalog:*")
        assert ask(registry, "GET", "/v2/_catalog", headers=header).status_code == (200 if administrator else 401)


def test_events(registry: GitLab, receiver: Receiver) -> None:
    # Given an endpoint for notifications
    registry.notify(receiver.url, SECRET)
    image = images.image()

    # When things are pushed and deleted
    for tag in ("v1", "v2", "v3"):
        push(registry, NAME, tag, image)
    delete_tag(registry, NAME, "v1")
    delete_digest(registry, NAME, image.digest)

    # Then a manifest is told of with its tags, in envelopes
    assert read(registry)[2:] == [
        ("push", NAME, "v3", image.digest),
        ("delete", NAME, "v1", None),
        ("delete", NAME, None, image.digest),
        ("delete", NAME, "v2", None),
        ("delete", NAME, "v3", None),
    ]
    assert receiver.received[-1].headers["authorization"] == SECRET
    assert receiver.received[-1].headers["content-type"] == "application/vnd.docker.distribution.events.v1+json"
    require_proof(registry, receiver)
