"""Manners: chunks, pages and scopes as a registry wants them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from app.registry import Anonymous, Descriptor, Digest, DigestMismatch, Manners, RegistryError, TooLarge, copy_blob
from app.registry.auth import Scope
from tests.registry.conftest import Connect, Serve
from tests.registry.scripted import Handler, Request
from tests.support import wire
from tests.support.oci_registry import OciRegistry
from tests.support.peculiar import Narrow
from tests.support.registries import RegistryFactory

DATA = os.urandom(1_000_001)
DIGEST = Digest.of(DATA)
BLOB = Descriptor("application/octet-stream", DIGEST, len(DATA))


def pieces(data: bytes, size: int = 70_000) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@pytest.mark.parametrize("manners", [{"whole_up_to": 5, "chunk": None}, {"chunk": 0}, {"page_size": 0}])
def test_what_contradicts_itself_is_refused(manners: dict[str, int | None]) -> None:
    with pytest.raises(ValueError):
        Manners(**manners)  # type: ignore[arg-type]


def test_of_unknown_size_nothing_goes_in_chunks() -> None:
    assert not Manners(whole_up_to=1).in_chunks(None)
    assert Manners(whole_up_to=1).in_chunks(2)
    assert not Manners(whole_up_to=2).in_chunks(2)
    assert Manners().in_chunks(7, refused=7)
    assert not Manners(chunk=None).in_chunks(7, refused=7)


# --- chunks -----------------------------------------------------------------------------------------------------------


def test_a_large_blob_goes_in_chunks_and_a_small_one_whole(connect: Connect) -> None:
    # Given a registry that takes 300,000 bytes in a request, and says so nowhere
    with Narrow(300_000) as registry:
        client = connect(registry.url, manners=Manners(whole_up_to=300_000, chunk=300_000))

        # When a large blob and a small one are uploaded
        for data in (DATA, DATA[:1000]):
            upload = client.start_upload("a/x")
            assert upload is not None
            upload.put(pieces(data), len(data), Digest.of(data))

        # Then both are there, the large one by chunks that follow each other
        assert registry.repositories["a/x"].blobs == {DIGEST: DATA, Digest.of(DATA[:1000]): DATA[:1000]}
        assert registry.count("^PATCH ") == 4


def test_a_registry_can_ask_for_larger_chunks(serve: Serve, connect: Connect) -> None:
    # Given one whose chunks have 400,000 bytes at least
    ranges: list[str | None] = []

    def script(handler: Handler, request: Request) -> None:
        if request.method == "POST":
            handler.reply(202, Location="/u?n=0", OCI_Chunk_Min_Length="400000")
        elif request.method == "PATCH":
            ranges.append(request.headers.get("Content-Range"))
            handler.reply(202, Location=f"/u?n={len(ranges)}")
        else:
            handler.reply(201)

    server = serve(script)
    upload = connect(server.url, manners=Manners(whole_up_to=1, chunk=1000)).start_upload("a/x")
    assert upload is not None

    # When a blob is uploaded
    upload.put(pieces(DATA), len(DATA), DIGEST)

    # Then they have, each goes where the answer to the one before said, and the commit is empty
    assert ranges == ["0-399999", "400000-799999", "800000-1000000"]
    assert [request.path for request in server.seen][1:4] == ["/u?n=0", "/u?n=1", "/u?n=2"]
    assert (server.seen[-1].method, server.seen[-1].body) == ("PUT", b"")
    assert server.seen[-1].path == f"/u?n=3&digest={DIGEST}"


@pytest.mark.parametrize("sent", [DATA[:-1], DATA + b"x"])
def test_more_or_less_than_promised_is_never_committed(sent: bytes, connect: Connect) -> None:
    with OciRegistry() as registry:
        upload = connect(registry.url, manners=Manners(whole_up_to=1, chunk=300_000)).start_upload("a/x")
        assert upload is not None
        with pytest.raises(RegistryError) as raised:
            upload.put(pieces(sent), len(DATA), DIGEST)
        assert raised.value.reason == "size_mismatch"
        assert registry.count("^PUT ") == 0


def test_what_hashes_wrong_is_never_whole(connect: Connect) -> None:
    # Given a source that finds out at its end that what it gave is damaged
    def damaged() -> Iterator[bytes]:
        yield from pieces(DATA[:-10])
        raise DigestMismatch("damaged")

    with OciRegistry() as registry:
        upload = connect(registry.url, manners=Manners(whole_up_to=1, chunk=300_000)).start_upload("a/x")
        assert upload is not None

        # When it is sent in chunks, Then the last one never ends, and nothing is committed
        with pytest.raises(DigestMismatch):
            upload.put(damaged(), len(DATA), DIGEST)
        assert registry.count("^PUT ") == 0


def test_what_is_too_large_for_one_request_goes_in_chunks_from_then_on(connect: Connect) -> None:
    # Given a registry behind a proxy that nobody knew of
    with OciRegistry() as primary, Narrow(400_000) as secondary:
        wire.push_blob(primary, "a/x", DATA)
        source = connect(primary.url, actions=("pull",))
        target = connect(secondary.url, manners=Manners(chunk=400_000))

        # When a large blob is copied, and again into another repository
        copy_blob(source, target, "a/x", BLOB)
        wire.push_blob(primary, "a/y", DATA)
        copy_blob(source, target, "a/y", BLOB)

        # Then it is there twice, and was refused once
        assert [each.blobs for each in secondary.repositories.values()] == [{DIGEST: DATA}] * 2
        assert secondary.count(r"^PUT .*digest=") == 3
        assert secondary.count("^PATCH ") == 6


def test_where_chunks_are_lost_none_are_sent(connect: Connect) -> None:
    with OciRegistry() as primary, Narrow(400_000) as secondary:
        wire.push_blob(primary, "a/x", DATA)
        target = connect(secondary.url, manners=Manners(chunk=None))
        with pytest.raises(TooLarge):
            copy_blob(connect(primary.url, actions=("pull",)), target, "a/x", BLOB)
        assert secondary.count("^PATCH ") == 0


@pytest.mark.parametrize("version", ["2.8", "3"])
def test_distribution_takes_chunks(version: str, registry_factory: RegistryFactory, connect: Connect) -> None:
    # Given a real registry
    registry = registry_factory("chunks", version=version)
    client = connect(registry.url, manners=Manners(whole_up_to=1, chunk=300_000))

    # When a blob is uploaded in chunks
    upload = client.start_upload("a/x")
    assert upload is not None
    upload.put(pieces(DATA), len(DATA), DIGEST)

    # Then it is there
    assert wire.fetch_blob(registry, "a/x", DIGEST) == DATA


# --- listings and scopes ----------------------------------------------------------------------------------------------


def test_no_page_is_larger_than_the_registry_likes(connect: Connect) -> None:
    with OciRegistry() as registry:
        for number in range(5):
            wire.push_blob(registry, f"a/{number}", b"x")
        client = connect(registry.url, manners=Manners(page_size=2))
        assert [len(page.repositories) for page in client.catalog(1000)] == [2, 2, 1]
        assert [len(page.repositories) for page in client.catalog(1)] == [1] * 5
        assert registry.count("n=1000") == 0


class Noting(Anonymous):
    """Notes what is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.scopes: list[Scope] = []

    def authorization(self, scope: Scope, fetch: object) -> str | None:
        self.scopes.append(scope)
        return None


def test_scopes_are_asked_for_in_the_registrys_words(connect: Connect) -> None:
    # Given a registry where who may push may delete, and which has no scope for its catalog
    with OciRegistry() as registry:
        account = Noting()
        client = connect(registry.url, account, manners=Manners(delete_actions=("push",), catalog_scope=False))

        # When something is deleted, an upload given up, and the catalog listed
        client.supports_delete("a/x")
        upload = client.start_upload("a/x")
        assert upload is not None
        upload.cancel()
        list(client.list_repositories())

        # Then nothing else is asked for
        assert [scope.actions for scope in account.scopes] == [("push",), ("pull", "push"), ("pull", "push"), ()]


def test_what_a_client_may_not_do_is_judged_by_what_is_done(connect: Connect) -> None:
    # Given a client that may push, of a registry where that is enough to delete
    with OciRegistry() as registry:
        client = connect(registry.url, actions=("pull", "push"), manners=Manners(delete_actions=("push",)))

        # When it is to delete, Then it does not
        with pytest.raises(RegistryError, match="not made to delete"):
            client.delete_manifest("a/x", "v1")
