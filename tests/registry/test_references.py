from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.registry import references
from app.registry.errors import InvalidReference, UnsupportedDigest
from app.registry.references import Digest, is_digest, is_repository, is_tag

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize("name", ["a", "a/b", "library/alpine", "a.b_c__d-e---f/0", "a" * 255, "x/y/z/0-1"])
def test_a_repository_name_of_the_specification(name: str) -> None:
    assert is_repository(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "A",
        "a//b",
        "/a",
        "a/",
        "a/../b",
        "..",
        "a..b",
        "a___b",
        "_a",
        "a?n=1",
        "a b",
        "a\n",
        "a%2fb",
        "a" * 256,
        "é",
    ],
)
def test_not_a_repository_name(name: str) -> None:
    assert not is_repository(name)
    with pytest.raises(InvalidReference):
        references.require_repository(name)


@pytest.mark.parametrize("tag", ["latest", "v1.0.0", "_x", "A-B", "0", "a" * 128, f"sha256-{HEX}.sig"])
def test_a_tag_of_the_specification(tag: str) -> None:
    assert is_tag(tag)
    assert references.require_reference(tag) == tag


@pytest.mark.parametrize("tag", ["", ".a", "-a", "a/b", "a:b", "a b", "a\n", "a" * 129, "é", "a?b"])
def test_not_a_tag(tag: str) -> None:
    assert not is_tag(tag)


@pytest.mark.parametrize(
    "digest",
    [
        f"sha256:{HEX}",
        f"sha384:{HEX}{HEX[:32]}",
        f"sha512:{HEX * 2}",
        "blake3:abc",
        "multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8",
    ],
)
def test_a_digest_of_the_specification(digest: str) -> None:
    assert is_digest(digest)
    assert references.require_digest(digest) == digest


@pytest.mark.parametrize(
    "digest",
    [
        "",
        "sha256",
        "sha256:",
        "sha256:abc",
        f"sha256:{HEX.upper()}",
        f"sha384:{HEX}",
        f"sha512:{HEX}",
        f"SHA256:{HEX}",
        "a:b/c",
        f"sha256:{HEX}\n",
    ],
)
def test_not_a_digest(digest: str) -> None:
    assert not is_digest(digest)
    with pytest.raises(InvalidReference):
        references.require_digest(digest)


@given(st.text(max_size=40))
def test_no_name_escapes_the_path_of_a_url(name: str) -> None:
    if is_repository(name) or is_tag(name):
        assert not set(name) & set("?#%\\ \n\r")
        assert ".." not in name.split("/")


def test_digests_are_computed_by_their_algorithm() -> None:
    assert Digest.of(b"x") == f"sha256:{hashlib.sha256(b'x').hexdigest()}"
    assert Digest.of(b"x", "sha384") == f"sha384:{hashlib.sha384(b'x').hexdigest()}"
    assert Digest.of(b"x", "sha512") == f"sha512:{hashlib.sha512(b'x').hexdigest()}"
    assert Digest.supported(Digest.of(b"x"))
    assert not Digest.supported("blake3:abc")


def test_a_digest_of_another_algorithm_cannot_be_computed() -> None:
    with pytest.raises(UnsupportedDigest, match="blake3") as raised:
        Digest.hasher("blake3:abc")
    assert not raised.value.temporary


def test_digests_of_two_algorithms_do_not_contradict_each_other() -> None:
    assert Digest.differs(Digest.of(b"x"), Digest.of(b"y"))
    assert not Digest.differs(Digest.of(b"x"), Digest.of(b"x"))
    assert not Digest.differs(Digest.of(b"x"), Digest.of(b"y", "sha512"))
