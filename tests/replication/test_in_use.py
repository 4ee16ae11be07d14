from __future__ import annotations

import pytest

from app.replication import in_use as module
from app.replication.in_use import in_use
from tests.replication.conftest import Deploy
from tests.support import images
from tests.support.oci_registry import OciRegistry
from tests.support.wire import push

REPOSITORY = "team/app"


def test_what_a_tag_reaches_is_in_use_and_nothing_else(deploy: Deploy, monkeypatch: pytest.MonkeyPatch) -> None:
    with OciRegistry() as primary, OciRegistry() as secondary:
        registry = deploy(primary, secondary).context.destination()
        loose = images.image()
        push(secondary, "team/other", "v1", loose)

        # Given a repository that nobody knows, then nothing is in use in it
        assert not in_use(loose.digest, REPOSITORY, registry)

        # Given a tag on an index in an index, one on a signature, and a manifest under none
        inner = images.index()
        outer = images.index([inner, images.image()])
        signed = images.index()
        push(secondary, REPOSITORY, None, loose)
        push(secondary, REPOSITORY, None, signed)
        push(secondary, REPOSITORY, "latest", outer)
        push(secondary, REPOSITORY, "signature", images.image(subject=signed))

        # Then all that the tags reach is in use, however deep
        reached = [*outer.walk(), *signed.walk()]
        assert [each.digest for each in reached if not in_use(each.digest, REPOSITORY, registry)] == []
        assert not in_use(loose.digest, REPOSITORY, registry)

        # And where there is more than can be read, everything may be
        monkeypatch.setattr(module, "MAX_READ", 2)
        assert in_use(loose.digest, REPOSITORY, registry)
