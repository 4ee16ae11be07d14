"""The emulated Bundle Bar by plain HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.emulators.asking import ask, begin, challenge, chunk, code, commit, pulling, pushing, put
from tests.emulators.bundle_bar import LIMIT, LIMIT_PRO, BundleBar
from tests.emulators.emulator import basic
from tests.support import images
from tests.support.images import Blob
from tests.support.wire import WireError, delete_digest, digest_of, push, push_blob

pytestmark = pytest.mark.long

NAME = "geo/charts/app"


@pytest.fixture
def registry() -> Iterator[BundleBar]:
    with BundleBar() as registry:
        yield registry


def test_artifacts_are_small(registry: BundleBar) -> None:
    # Given a blob above the limit, and two that are above it together
    assert code(commit(registry, NAME, begin(registry, NAME), bytes(LIMIT + 1))) == (413, "SIZE_INVALID")
    halves = images.artifact(layers=[Blob(bytes(LIMIT // 2)), Blob(bytes(LIMIT // 2 + 1))])
    for blob in halves.blobs:
        push_blob(registry, NAME, blob.data)

    # Then neither becomes an artifact, and what is below it does
    assert code(put(registry, NAME, "v1", halves)) == (413, "SIZE_INVALID")
    assert digest_of(registry, NAME, "v1") is None
    small = images.artifact(layers=[Blob(bytes(LIMIT // 2))])
    assert push(registry, NAME, "v1", small) == digest_of(registry, NAME, "v1")

    # And who pays has more
    with BundleBar(limit=LIMIT_PRO) as pro:
        assert push(pro, NAME, "v1", halves) == halves.digest


def test_uploads_are_whole(registry: BundleBar) -> None:
    assert chunk(registry, NAME, begin(registry, NAME), b"0123").status_code == 400
    # Streamed by one PATCH it is whole too.
    location = begin(registry, NAME)
    assert ask(registry, "PATCH", location, pushing(NAME), data=iter([b"01", b"23"])).status_code == 202
    assert ask(registry, "PATCH", location, pushing(NAME), data=b"45").status_code == 400
    assert commit(registry, NAME, location, b"0123", body=b"").status_code == 201


def test_everybody_has_his_own(registry: BundleBar) -> None:
    assert 'service="bundle.bar"' in challenge(ask(registry, "GET", "/v2/"))
    for name, status in ((NAME, 404), ("other/app", 401)):
        header = {"Authorization": basic(registry.username, registry.password)}
        token = ask(registry, "GET", f"/token?scope={pulling(name)}", headers=header).json()["token"]
        answer = ask(registry, "GET", f"/v2/{name}/tags/list", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == status


def test_what_the_registry_does_not_do(registry: BundleBar) -> None:
    image = images.artifact()
    push(registry, NAME, "v1", image)
    assert ask(registry, "GET", "/v2/_catalog", "registry:catalog:*").status_code == 404
    assert ask(registry, "GET", f"/v2/{NAME}/referrers/{image.digest}", pulling(NAME)).status_code == 404
    with pytest.raises(WireError, match="UNSUPPORTED"):
        delete_digest(registry, NAME, image.digest)
    assert registry.notices == []
