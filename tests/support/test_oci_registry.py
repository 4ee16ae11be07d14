"""The registry in memory is honest: by the specification's own words, and by the word of other people's clients."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from app.registry import Anonymous, RegistryClient
from tests.support import images, parts
from tests.support.compare import assert_same
from tests.support.images import Blob
from tests.support.oci_registry import OciRegistry
from tests.support.wire import WireError, delete_digest, delete_tag, digest_of, fetch_blob, push, push_blob, tags


@pytest.fixture
def registry() -> Iterator[OciRegistry]:
    with OciRegistry() as registry:
        yield registry


@pytest.fixture
def http() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


def blob_url(registry: OciRegistry, digest: str) -> str:
    return f"{registry.url}/v2/a/b/blobs/{digest}"


def test_images_are_pushed_pulled_and_deleted(registry: OciRegistry) -> None:
    # Given an index under two tags
    index = images.index()
    assert push(registry, "a/b", "v1", index) == push(registry, "a/b", "v2", index) == digest_of(registry, "a/b", "v1")
    assert tags(registry, "a/b") == ["v1", "v2"]

    # Then a tag goes alone, and a digest with its tags
    delete_tag(registry, "a/b", "v1")
    assert tags(registry, "a/b") == ["v2"]
    delete_digest(registry, "a/b", index.digest)
    assert tags(registry, "a/b") == []
    assert digest_of(registry, "a/b", index.digest) is None


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_content_is_what_its_digest_says(registry: OciRegistry, algorithm: images.Algorithm) -> None:
    blob = Blob(b"content", algorithm=algorithm)
    push_blob(registry, "a/b", blob.data, digest=blob.digest)
    assert fetch_blob(registry, "a/b", blob.digest) == blob.data

    with pytest.raises(WireError, match="DIGEST_INVALID"):
        push_blob(registry, "a/b", b"other content", digest=blob.digest)


def test_a_blob_is_sent_in_chunks(registry: OciRegistry, http: requests.Session) -> None:
    # Given an upload of which the first half was sent
    blob = Blob(b"0123456789")
    location = registry.url + http.post(f"{registry.url}/v2/a/b/blobs/uploads/").headers["Location"]
    assert http.patch(location, data=blob.data[:5], headers={"Content-Range": "0-4"}).headers["Range"] == "0-4"

    # When a chunk comes that does not follow, it is refused, and what was received stays known
    refused = http.patch(location, data=b"89", headers={"Content-Range": "8-9"})
    assert (refused.status_code, refused.headers["Range"]) == (416, "0-4")
    assert http.get(location).headers["Range"] == "0-4"

    # Then the rest ends it
    assert http.patch(location, data=iter([blob.data[5:8]])).status_code == 202
    assert http.put(f"{location}?digest={blob.digest}", data=blob.data[8:]).status_code == 201
    assert fetch_blob(registry, "a/b", blob.digest) == blob.data
    assert http.get(location).status_code == 404


def test_ranges(registry: OciRegistry, http: requests.Session) -> None:
    url = blob_url(registry, push_blob(registry, "a/b", b"0123456789"))

    middle = http.get(url, headers={"Range": "bytes=3-5"})
    assert (middle.status_code, middle.content, middle.headers["Content-Range"]) == (206, b"345", "bytes 3-5/10")
    assert http.get(url, headers={"Range": "bytes=8-"}).content == b"89"
    assert http.get(url, headers={"Range": "bytes=10-"}).status_code == 416


@pytest.mark.parametrize("mount", [True, False])
def test_mounts(registry: OciRegistry, http: requests.Session, mount: bool) -> None:
    registry.features.mount = mount
    digest = push_blob(registry, "a/b", b"content")

    answer = http.post(f"{registry.url}/v2/c/d/blobs/uploads/?mount={digest}&from=a/b")

    assert answer.status_code == (201 if mount else 202)
    assert (http.head(f"{registry.url}/v2/c/d/blobs/{digest}").status_code == 200) is mount


def test_what_is_missing_below_a_manifest(registry: OciRegistry) -> None:
    without_blobs = images.image([Blob(b"never pushed", pushed=False)])
    sparse = images.index(sparse=[images.image()])
    for refused in (without_blobs, sparse):
        with pytest.raises(WireError, match="MANIFEST_BLOB_UNKNOWN"):
            push(registry, "a/b", "v1", refused)

    registry.features.missing_blobs = registry.features.sparse = True
    for taken in (without_blobs, sparse):
        assert push(registry, "a/b", "v1", taken) == digest_of(registry, "a/b", "v1")


def test_listings_come_in_pages(registry: OciRegistry) -> None:
    registry.features.page_size = 3
    image, names = images.image(), [f"v{number}" for number in range(8)]
    for name in names:
        push(registry, "a/b", name, image)
    artifacts = [push(registry, "a/b", None, images.artifact(subject=image)) for _ in range(7)]
    for name in ("c", "d/e", "f"):
        push(registry, name, "v1", image)

    with RegistryClient(registry.url, Anonymous()) as client:
        assert client.list_tags("a/b") == names
        assert list(client.list_repositories()) == ["a/b", "c", "d/e", "f"]
        found = client.referrers("a/b", image.digest)

    assert found is not None
    assert sorted(each.digest for each in found) == sorted(artifacts)
    assert registry.count("/tags/list") == registry.count("/referrers/") == 3


def test_referrers(registry: OciRegistry, http: requests.Session) -> None:
    # Given an image with two artifacts of different types, one of them typed by its configuration
    image = images.image()
    typed = images.artifact("application/vnd.example.one", subject=image, annotations={"a": "b"})
    plain = images.image(subject=image)
    url = f"{registry.url}/v2/a/b/referrers/{image.digest}"
    put = http.put(f"{registry.url}/v2/a/b/manifests/v0", data=b"{}", headers={"Content-Type": "a/b"})
    assert "OCI-Subject" not in put.headers
    assert http.get(url).json()["manifests"] == []
    for each in (image, typed, plain):
        push(registry, "a/b", None, each)

    # Then both are listed, and one of them if asked for by type
    def listed(**query: str) -> Any:
        answer = http.get(url, params=query)
        assert answer.headers["Content-Type"] == images.OCI_INDEX
        assert answer.headers.get("OCI-Filters-Applied") == ("artifactType" if query else None)
        return {entry["artifactType"]: entry.get("annotations") for entry in answer.json()["manifests"]}

    assert listed() == {"application/vnd.example.one": {"a": "b"}, images.OCI_CONFIG: None}
    assert listed(artifactType="application/vnd.example.one") == {"application/vnd.example.one": {"a": "b"}}

    # And the push says that nothing needs to be kept by the client, unless there is no API
    for has in (True, False):
        registry.features.referrers = has
        headers = {"Content-Type": typed.media_type}
        put = http.put(f"{registry.url}/v2/a/b/manifests/{typed.digest}", data=typed.manifest, headers=headers)
        assert put.headers.get("OCI-Subject") == (image.digest if has else None)
        assert http.get(url).status_code == (200 if has else 404)


def test_what_the_registry_gets_wrong_is_seen(registry: OciRegistry, http: requests.Session) -> None:
    class Wrong(OciRegistry):
        def respond(self, request: object) -> Any:
            raise RuntimeError("a mistake of this registry")

    with Wrong() as wrong:
        answer = http.get(f"{wrong.url}/v2/")
    assert answer.status_code == 500
    assert "a mistake of this registry" in answer.text


def test_skopeo_copies_into_it_and_out_of_it(registry: OciRegistry) -> None:
    skopeo = parts.require("skopeo")
    push(registry, "a/b", "v1", images.index())
    with OciRegistry(page_size=1) as other:
        command = [skopeo, "copy", "--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false"]
        addresses = [f"docker://127.0.0.1:{each.port}/a/b:v1" for each in (registry, other)]
        subprocess.run([*command, *addresses], check=True, capture_output=True)
        assert_same(registry, other, "a/b", "v1")


def test_crane_copies_into_it_and_out_of_it(registry: OciRegistry) -> None:
    crane = parts.optional("crane", "~/go/bin/crane")
    image = images.index()
    push(registry, "a/b", "v1", image)
    push(registry, "a/b", "v2", images.image())
    with OciRegistry(page_size=1) as other:
        addresses = [f"127.0.0.1:{each.port}/a/b" for each in (registry, other)]
        subprocess.run([crane, "copy", "--insecure", "--all-tags", *addresses], check=True, capture_output=True)
        for tag in ("v1", "v2"):
            assert_same(registry, other, "a/b", tag)
