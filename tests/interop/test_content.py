from __future__ import annotations

from tests.interop.content import MAKERS, ODD_REPOSITORY, ODD_TAGS, REPOSITORY, push_all
from tests.support.oci_registry import OciRegistry
from tests.support.wire import fetch, tags


def test_a_registry_by_the_specification_takes_all_of_it() -> None:
    with OciRegistry(sparse=True) as registry:
        # When
        items, refused = push_all(registry)

        # Then each kind stands there
        assert refused == {}
        assert {item.name for item in items} == MAKERS.keys()
        for item in items:
            assert fetch(registry, item.repository, item.reference).body
        assert set(ODD_TAGS) <= set(tags(registry, REPOSITORY))

        # And each way of a blob was gone
        for way in (
            rf"^PATCH /v2/{REPOSITORY}/",
            rf"^POST /v2/{REPOSITORY}/blobs/uploads/\?digest=sha256:",
            rf"^POST /v2/{REPOSITORY}/blobs/uploads/\?mount=sha256:\w+&from={ODD_REPOSITORY}$",
            rf"^POST /v2/{REPOSITORY}/blobs/uploads/\?mount=sha256:\w+$",
        ):
            assert registry.count(way), way


def test_what_a_registry_refuses_is_named_with_its_answer() -> None:
    with OciRegistry(sha512_manifests=False) as registry:
        # When
        items, refused = push_all(registry)

        # Then
        assert refused == {"sha512-manifest": "400 DIGEST_INVALID", "sparse-index": "400 MANIFEST_BLOB_UNKNOWN"}
        assert {item.name for item in items} == MAKERS.keys() - refused.keys()
