"""The emulated ACR by plain HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import jwt
import pytest

from tests.emulators.acr import BODY_LIMIT, NULL_GUID, Acr
from tests.emulators.asking import ask, begin, challenge, chunk, code, commit, deleting, pulling, pushing
from tests.emulators.emulator import basic
from tests.emulators.telling import read, require_proof
from tests.support import images
from tests.support.deployment import SECRET
from tests.support.receivers import Receiver
from tests.support.wire import WireError, delete_digest, delete_tag, push, tags

pytestmark = pytest.mark.long

NAME = "team/app"


@pytest.fixture
def registry() -> Iterator[Acr]:
    with Acr() as registry:
        yield registry


def refresh_token(registry: Acr) -> str:
    form = {"grant_type": "access_token", "service": registry.host, "tenant": registry.tenant}
    answer = ask(registry, "POST", "/oauth2/exchange", data={**form, "access_token": registry.entra_token})
    assert list(answer.json()) == ["refresh_token"]
    return str(answer.json()["refresh_token"])


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def by_basic(registry: Acr, user: str, password: str, scope: str) -> str:
    path = f"/oauth2/token?service={registry.host}&scope={scope}"
    answer = ask(registry, "GET", path, headers={"Authorization": basic(user, password)})
    assert list(answer.json()) == ["access_token"]
    return str(answer.json()["access_token"])


def test_the_way_from_an_entra_token_to_an_access_token(registry: Acr) -> None:
    # Given the challenge, and a token of Entra
    push(registry, NAME, "v1", images.image())
    said = challenge(ask(registry, "GET", f"/v2/{NAME}/manifests/v1"))
    expected = f'Bearer realm="{registry.url}/oauth2/token",service="{registry.host}",scope="{pulling(NAME)}"'
    assert said == expected

    # When it is exchanged, and that for an access token
    refresh = refresh_token(registry)
    form = {"grant_type": "refresh_token", "service": registry.host, "scope": pulling(NAME), "refresh_token": refresh}
    answer = ask(registry, "POST", "/oauth2/token", data=form)

    # Then the answer is the token alone, which says itself how long it lives, and opens the repository
    assert list(answer.json()) == ["access_token"]
    token = answer.json()["access_token"]
    claims = jwt.decode(token, options={"verify_signature": False})
    assert 74 * 60 < claims["exp"] - claims["nbf"] < 76 * 60
    assert ask(registry, "GET", f"/v2/{NAME}/manifests/v1", headers=bearer(token)).status_code == 200
    assert ask(registry, "DELETE", f"/v2/{NAME}/manifests/v1", headers=bearer(token)).status_code == 401

    # And a refresh token is no access token, nor anything else a refresh token
    assert ask(registry, "GET", "/v2/", headers=bearer(refresh)).status_code == 401
    assert ask(registry, "POST", "/oauth2/token", data={**form, "refresh_token": token}).status_code == 401
    wrong = {"grant_type": "access_token", "service": registry.host, "access_token": "another"}
    assert ask(registry, "POST", "/oauth2/exchange", data=wrong).status_code == 401


def test_user_and_password(registry: Acr) -> None:
    # Given the admin user, a service principal, and a refresh token as the null GUID's password
    push(registry, NAME, "v1", images.image())
    registry.principals["a1b2"] = "principal-secret"
    accounts = [
        (registry.username, registry.password),
        ("a1b2", "principal-secret"),
        (NULL_GUID, refresh_token(registry)),
    ]
    for user, password in accounts:
        token = by_basic(registry, user, password, pulling(NAME))
        assert ask(registry, "GET", f"/v2/{NAME}/tags/list", headers=bearer(token)).json()["tags"] == ["v1"]

    wrong = ask(registry, "GET", "/oauth2/token", headers={"Authorization": basic("a1b2", "wrong")})
    assert wrong.status_code == 401


def test_a_scoped_token_needs_metadata_read_to_list_tags(registry: Acr) -> None:
    # Given a token that may do everything in one repository
    push(registry, NAME, "v1", images.image())
    secret = registry.scoped_token("geo", **{NAME: ("pull", "push", "metadata_read")})

    # When it asks for pull alone, listing is refused, and the challenge says what is missing
    token = by_basic(registry, "geo", secret, pulling(NAME))
    assert ask(registry, "GET", f"/v2/{NAME}/manifests/v1", headers=bearer(token)).status_code == 200
    refused = ask(registry, "GET", f"/v2/{NAME}/tags/list", headers=bearer(token))
    assert f'scope="repository:{NAME}:metadata_read"' in challenge(refused)
    assert 'error="insufficient_scope"' in challenge(refused)

    # Then that opens it, and nothing opens another repository
    token = by_basic(registry, "geo", secret, f"repository:{NAME}:metadata_read")
    assert ask(registry, "GET", f"/v2/{NAME}/tags/list", headers=bearer(token)).status_code == 200
    token = by_basic(registry, "geo", secret, pushing("team/other"))
    assert ask(registry, "POST", "/v2/team/other/blobs/uploads/", headers=bearer(token)).status_code == 401


def test_the_body_of_a_request_has_a_limit(registry: Acr) -> None:
    # Given a blob above it
    data = bytes(BODY_LIMIT + 1)

    # Then it does not go in one request, nor in one chunk
    refused = commit(registry, NAME, begin(registry, NAME), data)
    assert refused.status_code == 413
    assert "errors" not in refused.text
    location = begin(registry, NAME)
    assert chunk(registry, NAME, location, data).status_code == 413

    # But in two
    half = len(data) // 2
    assert chunk(registry, NAME, location, data[:half]).status_code == 202
    assert chunk(registry, NAME, location, data[half:], half).status_code == 202
    assert commit(registry, NAME, location, data, body=b"").status_code == 201
    assert commit(registry, NAME, begin(registry, NAME), data[:-1]).status_code == 201


def test_a_chunk_says_its_length(registry: Acr) -> None:
    location = begin(registry, NAME)
    headers = {"Content-Range": "0-4"}
    refused = ask(registry, "PATCH", location, pushing(NAME), data=iter([b"01234"]), headers=headers)
    assert code(refused) == (400, "CONTENT_LENGTH_INVALID")


def test_listings_are_linked_with_an_order(registry: Acr) -> None:
    for name in ("a", "b"):
        for tag in ("v1", "v2"):
            push(registry, name, tag, images.image())

    for path, scope, key in (
        ("/v2/_catalog?n=1", "registry:catalog:*", "repositories"),
        ("/v2/a/tags/list?n=1", pulling("a"), "tags"),
    ):
        first = ask(registry, "GET", path, scope)
        assert "&orderby=>" in first.headers["Link"]
        following = first.links["next"]["url"]
        assert len(ask(registry, "GET", following, scope).json()[key]) == 1


def test_deleting(registry: Acr) -> None:
    # Given an image with two tags
    image = images.image()
    for tag in ("v1", "v2"):
        push(registry, NAME, tag, image)

    # Then below /v2/ a tag is not deleted alone; by the API of Azure's own it is
    with pytest.raises(WireError, match="UNSUPPORTED"):
        delete_tag(registry, NAME, "v1")
    assert ask(registry, "DELETE", f"/acr/v1/{NAME}/_tags/v1", pulling(NAME)).status_code == 401
    assert ask(registry, "DELETE", f"/acr/v1/{NAME}/_tags/v1", deleting(NAME)).status_code == 202
    assert tags(registry, NAME) == ["v2"]

    # And the manifest with its tags by the digest
    answer = ask(registry, "DELETE", f"/v2/{NAME}/manifests/{image.digest}", deleting(NAME))
    assert answer.status_code == 202
    assert tags(registry, NAME) == []


def test_too_many_requests(registry: Acr) -> None:
    registry.throttled, registry.retry_after = 1, "7"
    refused = ask(registry, "GET", "/v2/", "registry:catalog:*")
    assert code(refused) == (429, "TOOMANYREQUESTS")
    assert refused.headers["Retry-After"] == "7"
    assert ask(registry, "GET", "/v2/", "registry:catalog:*").status_code == 200


def test_events(registry: Acr, receiver: Receiver) -> None:
    # Given a webhook
    registry.notify(receiver.url, SECRET)
    image = images.image()

    # When things are pushed and deleted
    push(registry, NAME, "v1", image)
    push(registry, NAME, None, images.artifact(subject=image))
    ask(registry, "DELETE", f"/acr/v1/{NAME}/_tags/v1", deleting(NAME))
    delete_digest(registry, NAME, image.digest)

    # Then the deletion of the tag is not told, and what is told is a bare event
    pushed, artifact, deleted = read(registry)
    assert pushed == ("push", NAME, "v1", image.digest)
    assert artifact[:3] == ("push", NAME, None)
    assert deleted == ("delete", NAME, None, image.digest)
    assert "events" not in registry.notices[0].document
    assert registry.ping().document["action"] == "ping"
    require_proof(registry, receiver)
