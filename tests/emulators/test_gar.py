"""The emulated Artifact Registry by plain HTTP."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import pytest

from tests.emulators.asking import ask, begin, challenge, chunk, code, commit, put
from tests.emulators.emulator import basic
from tests.emulators.gar import AUDIENCE, EMAIL, Gar
from tests.emulators.telling import read, require_proof
from tests.support import images
from tests.support.deployment import SECRET
from tests.support.identity import key_set, serving
from tests.support.receivers import Receiver
from tests.support.wire import WireError, delete_digest, delete_tag, digest_of, push, push_blob, tags

pytestmark = pytest.mark.long

NAME = "my-project/my-repo/app"


@pytest.fixture
def registry() -> Iterator[Gar]:
    with Gar("my-project/my-repo", immutable=["my-project/fixed"]) as registry:
        yield registry


def test_who_may(registry: Gar) -> None:
    # Given the challenge
    push(registry, NAME, "v1", images.image())
    path = f"/v2/{NAME}/tags/list"
    scope = f"repository:{NAME}:pull"
    expected = f'Bearer realm="{registry.url}/v2/token",service="{registry.host}",scope="{scope}"'
    assert challenge(ask(registry, "GET", path)) == expected

    # Then a token is given to an OAuth token, and to a key of a service account
    accounts = [
        ("oauth2accesstoken", registry.oauth_token()),
        ("_json_key", registry.json_key),
        ("_json_key_base64", base64.b64encode(registry.json_key.encode()).decode()),
    ]
    for user, password in accounts:
        header = {"Authorization": basic(user, password)}
        token = ask(registry, "GET", f"/v2/token?scope={scope}", headers=header).json()["token"]
        assert ask(registry, "GET", path, headers={"Authorization": f"Bearer {token}"}).status_code == 200

    # And the OAuth token is one itself, until it expires
    direct = {"Authorization": f"Bearer {registry.oauth_token()}"}
    assert ask(registry, "GET", path, headers=direct).status_code == 200
    expired = {"Authorization": f"Bearer {registry.oauth_token(-1)}"}
    assert ask(registry, "GET", path, headers=expired).status_code == 401
    wrong = {"Authorization": basic("oauth2accesstoken", "ya29.wrong")}
    assert ask(registry, "GET", f"/v2/token?scope={scope}", headers=wrong).status_code == 401


def test_the_repository_must_exist(registry: Gar) -> None:
    # Given a repository that nobody made, and a name without one
    for name, refused in (("my-project/other/app", (404, "NAME_UNKNOWN")), ("my-project/app", (400, "NAME_INVALID"))):
        answer = ask(registry, "POST", f"/v2/{name}/blobs/uploads/", f"repository:{name}:pull,push")
        assert code(answer) == refused

    # Then images below one that is there come by pushing
    registry.created.add("my-project/other")
    push(registry, "my-project/other/deep/app", "v1", images.image())
    assert ask(registry, "GET", "/v2/_catalog", "registry:catalog:*").status_code == 404


def test_uploads_are_whole_and_elsewhere(registry: Gar) -> None:
    # Given an upload, which is not below /v2/
    location = begin(registry, NAME)
    assert "/v2/" not in location

    # Then it is not taken in chunks, but whole, streamed or not
    assert code(chunk(registry, NAME, location, b"0123")) == (400, "UNSUPPORTED")
    scope = f"repository:{NAME}:pull,push"
    assert ask(registry, "PATCH", location, scope, data=iter([b"0123", b"456789"])).status_code == 202
    assert ask(registry, "PATCH", location, scope, data=b"more").status_code == 400
    assert commit(registry, NAME, location, b"0123456789", body=b"").status_code == 201
    assert commit(registry, NAME, begin(registry, NAME), b"whole").status_code == 201
    assert ask(registry, "PUT", location).status_code == 401


def test_mounts_are_uploads(registry: Gar) -> None:
    digest = push_blob(registry, NAME, b"content")
    other = "my-project/my-repo/other"
    scopes = (f"repository:{other}:pull,push", f"repository:{NAME}:pull")
    answer = ask(registry, "POST", f"/v2/{other}/blobs/uploads/?mount={digest}&from={NAME}", *scopes)
    assert answer.status_code == 202


def test_tags_are_deleted_before_their_manifest(registry: Gar) -> None:
    # Given an index with a tag
    index = images.index()
    push(registry, NAME, "v1", index)

    # Then it is not deleted below its tag, nor a child below it
    with pytest.raises(WireError, match="GOOGLE_MANIFEST_DANGLING_TAG"):
        delete_digest(registry, NAME, index.digest)
    with pytest.raises(WireError, match="GOOGLE_MANIFEST_DANGLING_PARENT_IMAGE"):
        delete_digest(registry, NAME, index.children[0].digest)

    # But in that order
    delete_tag(registry, NAME, "v1")
    delete_digest(registry, NAME, index.digest)
    delete_digest(registry, NAME, index.children[0].digest)
    assert digest_of(registry, NAME, index.digest) is None


def test_listings_tell_more(registry: Gar) -> None:
    image = images.image()
    push(registry, NAME, "v1", image)
    push(registry, f"{NAME}/debug", "v1", image)

    listed = ask(registry, "GET", f"/v2/{NAME}/tags/list", f"repository:{NAME}:pull").json()

    assert listed["tags"] == ["v1"]
    assert listed["child"] == ["debug"]
    assert listed["manifest"][image.digest]["tag"] == ["v1"]
    assert listed["manifest"][image.digest]["mediaType"] == image.media_type


def test_immutable_tags(registry: Gar) -> None:
    # Given a tag in a repository of immutable tags
    name = "my-project/fixed/app"
    image = images.image()
    push(registry, name, "v1", image)
    other = images.image()
    push(registry, name, None, other)

    # Then it neither moves nor goes; pushed again it stays
    assert put(registry, name, "v1", other).status_code == 400
    with pytest.raises(WireError, match="immutable"):
        delete_tag(registry, name, "v1")
    assert put(registry, name, "v1", image).status_code == 201
    assert tags(registry, name) == ["v1"]


def test_events(registry: Gar, receiver: Receiver) -> None:
    # Given a push subscription
    registry.notify(receiver.url, SECRET)
    image = images.image()

    # When things are pushed and deleted
    push(registry, NAME, "v1", image)
    push(registry, NAME, None, images.artifact(subject=image))
    delete_tag(registry, NAME, "v1")
    delete_digest(registry, NAME, image.digest)

    # Then all of it is told, of the tag too
    pushed, artifact, untagged, deleted = read(registry)
    assert pushed == ("push", NAME, "v1", image.digest)
    assert artifact[:3] == ("push", NAME, None)
    assert untagged == ("delete", NAME, "v1", None)
    assert deleted == ("delete", NAME, None, image.digest)
    data = json.loads(base64.b64decode(registry.notices[2].document["message"]["data"]))
    assert data == {"action": "DELETE", "tag": f"us-docker.pkg.dev/{NAME}:v1"}

    # And Google's token proves who tells
    with serving(200, key_set("a")) as keys:
        identity = {"GEO_NOTIFICATION_AUDIENCE": AUDIENCE, "GEO_NOTIFICATION_EMAIL": EMAIL}
        require_proof(registry, receiver, **identity, GEO_NOTIFICATION_KEYS_URL=keys)
