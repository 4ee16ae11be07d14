"""What a manifest can try: to be deep, wide, heavy, to have us ask somebody else, or for what is another's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.database import connection
from app.models import SyncState
from app.replication.copying import copy
from app.replication.explain import explain
from app.replication.spool import LARGE
from tests.registry.scripted import Scripted
from tests.security.conftest import Between
from tests.support import images
from tests.support.deployment import event
from tests.support.images import OCI_INDEX, Blob, Image
from tests.support.oci_content import Repository, Stored
from tests.support.oci_registry import OciRegistry
from tests.support.wire import digest_of, fetch_blob, push, push_manifest

#: More than a function that calls itself for each may go.
DEEP = 700

FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"


def chain(length: int) -> list[Image]:
    """Indexes of which each names the one before it."""
    links = [images.index([])]
    for _ in range(length - 1):
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [links[-1].descriptor]}
        links.append(images.raw(document, OCI_INDEX))
    return links


def plant(registry: OciRegistry, tag: str, image: Image) -> None:
    """Put a manifest where it is served from, which no registry would take."""
    repository = registry.repositories.setdefault("team/app", Repository(registry.features))
    repository.manifests[image.digest] = Stored(image.manifest, image.media_type, image.digest)
    repository.tags[tag] = image.digest


def settled(between: Between, *pushed: tuple[str, str]) -> dict[str, str | None]:
    """Replicate these tags of one repository; the reason why each is not there."""
    geo = between()
    geo.store(*(event(repository="team/app", tag=tag, digest=digest) for tag, digest in pushed))
    geo.settle()
    found = geo.references("team/app")
    return {tag: None if found[tag].state == SyncState.SYNCED else found[tag].failure_reason for tag, _ in pushed}


def test_a_chain_of_indexes_that_is_hidden_in_one_level_fails_alone(
    between: Between, source: OciRegistry, target: OciRegistry
) -> None:
    # Given an index that names all of a chain at once, so that nothing looks deep, and an honest image
    links = chain(DEEP)
    for link in links:
        push_manifest(source, "team/app", link.digest, link)
    top = images.index(links)
    push_manifest(source, "team/app", "bad", top)
    good = push(source, "team/app", "good", images.image())

    # When both are replicated
    told = settled(between, ("bad", top.digest), ("good", good))

    # Then the first fails for what it is, nothing of it was written, and the second is there
    assert told == {"bad": "graph_too_large", "good": None}
    assert target.count(r"PUT /v2/team/app/manifests/sha256") == 0
    assert digest_of(target, "team/app", "good") == good


def test_indexes_within_the_depth_arrive_however_they_are_named(
    between: Between, source: OciRegistry, target: OciRegistry
) -> None:
    links = chain(copy.MAX_DEPTH - 1)
    top = images.index(list(reversed(links)))
    for link in links:
        push_manifest(source, "team/app", link.digest, link)
    push_manifest(source, "team/app", "v1", top)

    assert settled(between, ("v1", top.digest)) == {"v1": None}
    assert digest_of(target, "team/app", "v1") == top.digest


def test_a_heavy_level_is_not_fetched_whole(
    between: Between, source: OciRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an index of many manifests that are large for nothing
    monkeypatch.setattr(copy, "MAX_BYTES", 256 * 1024)
    heavy = [images.image(layers=[], annotations={"x": f"{number}" + "x" * 64 * 1024}) for number in range(200)]
    for each in heavy:
        push(source, "team/app", None, each)
    top = images.index(heavy)
    push_manifest(source, "team/app", "v1", top)

    # When it is replicated, Then it fails before more than a few of them were fetched
    before = source.count(r"GET /v2/team/app/manifests/sha256")
    assert settled(between, ("v1", top.digest)) == {"v1": "graph_too_large"}
    assert source.count(r"GET /v2/team/app/manifests/sha256") - before < 50


def test_addresses_in_a_manifest_are_never_asked(
    between: Between, source: OciRegistry, target: OciRegistry, canary: Scripted
) -> None:
    # Given an image whose layers, and all else that may, name an address
    address = {"urls": [f"{canary.url}/layer"], "annotations": {"org.opencontainers.image.url": canary.url}}
    layers = [
        Blob(images.layer(), FOREIGN, address, pushed=False),
        Blob(images.layer(), "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", address),
        Blob(images.layer(), "application/vnd.oci.image.layer.v1.tar+gzip", address),
    ]
    image = images.image(layers, annotations={"org.opencontainers.image.source": canary.url})
    push(source, "team/app", "v1", image)

    # When it is replicated, Then it is there with its addresses, and nobody asked them
    assert settled(between, ("v1", image.digest)) == {"v1": None}
    assert digest_of(target, "team/app", "v1") == image.digest
    assert canary.seen == []


@pytest.mark.parametrize("by", ["a mount", "the spool"])
def test_a_digest_alone_opens_nobody_elses_blob(
    between: Between, source: OciRegistry, target: OciRegistry, tmp_path: Path, by: str
) -> None:
    # Given a blob of one repository that was replicated and could be mounted from there, or is in the spool
    target.features.mount = by == "a mount"
    secret = images.layer(300 if by == "a mount" else LARGE)
    theirs = images.image([secret])
    digest = theirs.blobs[1].digest
    geo = between(GEO_SPOOL_DIR=str(tmp_path / "spool"))
    geo.store(event(repository="team/secret", tag="v1", digest=push(source, "team/secret", "v1", theirs)))
    geo.settle()
    assert fetch_blob(target, "team/secret", digest) == secret

    # When somebody who may push elsewhere names its digest there: with an address, which registries do not check
    layer = Blob(secret, images.OCI_LAYER, {"urls": ["https://layers.example.com/1"]}, pushed=False)
    mine = images.image([layer])
    geo.store(event(repository="team/mine", tag="v1", digest=push(source, "team/mine", "v1", mine)))
    geo.settle()

    # Then it is not given to him, and it is said why
    assert digest not in target.repositories.get("team/mine", Repository(target.features)).blobs
    assert digest_of(target, "team/mine", "v1") is None
    assert geo.references("team/mine")["v1"].failure_reason == "not_found"
    with connection():
        (told,) = explain("team/mine", "v1", replication_enabled=True)
    assert f"team/mine/blobs/{digest}" in told.why


def test_what_the_primary_holds_there_too_is_mounted(
    between: Between, source: OciRegistry, target: OciRegistry
) -> None:
    # Given a layer of two repositories, replicated with the first
    shared = images.layer()
    one, two = (images.image([shared, images.layer()]) for _ in range(2))
    geo = between()
    geo.store(event(repository="team/one", tag="v1", digest=push(source, "team/one", "v1", one)))
    geo.settle()

    # When the second comes
    geo.store(event(repository="team/two", tag="v1", digest=push(source, "team/two", "v1", two)))
    geo.settle()

    # Then the primary is asked whether it is there, and not for its bytes
    digest = one.blobs[1].digest
    assert digest_of(target, "team/two", "v1") == two.digest
    assert source.count(f"HEAD /v2/team/two/blobs/{digest}") == 1
    assert source.count(f"GET /v2/team/two/blobs/{digest}") == 0
    assert target.count(f"POST .*mount={digest}") == 1


@pytest.mark.parametrize(
    "media_type",
    ["application/x\r\nX-Injected: 1", "application/x\r\n X-Folded: 1", "../../etc/passwd\x00", "x" * 5000],
)
def test_a_media_type_gets_into_no_header(
    between: Between, source: OciRegistry, target: OciRegistry, media_type: str
) -> None:
    # Given a manifest whose type would end the line in which it is sent on
    good = push(source, "team/app", "good", images.image())
    bad = images.raw({"schemaVersion": 2, "mediaType": media_type, "layers": []}, "application/json")
    plant(source, "bad", bad)

    # When it is replicated, Then it fails alone, for what it is
    assert settled(between, ("bad", bad.digest), ("good", good)) == {"bad": "invalid_manifest", "good": None}
    assert target.count("PUT .*manifests/bad") == 0


@pytest.mark.parametrize("size", [2**63, 10**30, 10**400], ids=["64 bits", "long", "very long"])
def test_an_absurd_size_fails_its_tag_alone(between: Between, source: OciRegistry, size: int) -> None:
    # Given a manifest whose layer says that it is larger than any number is
    layer = Blob(images.layer(), images.image().blobs[1].media_type)
    document = images.image([layer]).manifest
    said = re.sub(rb'"size": ?%d' % len(layer.data), b'"size":%d' % size, document)
    assert said != document
    good = push(source, "team/app", "good", images.image())
    bad = images.raw(said, images.OCI_MANIFEST)
    plant(source, "bad", bad)

    assert settled(between, ("bad", bad.digest), ("good", good)) == {"bad": "invalid_manifest", "good": None}
