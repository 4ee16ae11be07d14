"""The seam of the limits: every exchange has a permit, from before its request to the end of its answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import pytest

from app.registry import (
    Digest,
    Quota,
    RateLimited,
    RegistryClient,
    RegistryError,
    Stopped,
    TooManyRequests,
    bulk,
)
from app.registry.connections import Deadline
from app.registry.limits import is_bulk, metered
from tests.registry.conftest import Connect, Serve
from tests.registry.scripted import Handler, Request
from tests.support import images
from tests.support.registries import RegistryFactory
from tests.support.wire import push


class Recording:
    """A limiter that lets everything through and remembers it."""

    def __init__(self, resends: int = 0) -> None:
        self.resends = resends
        self.open: set[object] = set()
        self.most = 0
        self.sizes: list[int | None] = []
        self.answers: list[int] = []
        self.waits: list[float] = []
        self.refuse: RegistryError | None = None

    def enter(self, size: int | None, deadline: Deadline | None = None, waited: float = 0.0) -> _Permit:
        if self.refuse is not None:
            raise self.refuse
        self.sizes.append(size)
        self.waits.append(waited)
        permit = _Permit(self, waited + 1.0)
        self.open.add(permit)
        self.most = max(self.most, len(self.open))
        return permit

    def roomy(self) -> bool:
        return True


class _Permit:
    def __init__(self, owner: Recording, waited: float) -> None:
        self.owner = owner
        self.waited = waited

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        self.owner.answers.append(status)

    def release(self) -> None:
        self.owner.open.discard(self)


@pytest.mark.parametrize(
    ("headers", "quota"),
    [
        ({}, None),
        ({"RateLimit-Remaining": "76;w=21600"}, Quota(76)),
        ({"ratelimit-remaining": "0"}, None),
        ({"RateLimit-Remaining": "5", "RateLimit-Reset": "30"}, Quota(5, 30.0)),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1700000060"}, Quota(0, 60.0)),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1600000000"}, Quota(0, 0.0)),
        ({"X-RateLimit-Remaining": "1, 1;window=60"}, Quota(1)),
        ({"RateLimit-Remaining": "9", "RateLimit-Reset": "999999"}, Quota(9, 3600.0)),
        ({"RateLimit-Remaining": "many", "X-RateLimit-Remaining": "3"}, Quota(3)),
        ({"RateLimit-Remaining": "9", "RateLimit-Reset": "soon"}, Quota(9)),
    ],
)
def test_quotas_are_read_as_they_are_written(headers: dict[str, str], quota: Quota | None) -> None:
    # A plain dict tells names apart by case; what an answer has does not.
    assert Quota.read(headers, now=1_700_000_000.0) == quota


def test_every_operation_gives_its_permit_back(registry_factory: RegistryFactory, connect: Connect) -> None:
    # Given a real registry and a limiter that counts
    registry = registry_factory("registry")
    made = images.image([images.layer(300_000)])
    push(registry, "team/app", "v1", made)
    limiter = Recording()
    client = connect(registry.url, limiter=limiter)
    blob = made.blobs[-1]

    def stream() -> None:
        with client.open_blob("team/app", blob.digest) as opened:
            # While the body comes, the permit is held
            assert len(limiter.open) == 1
            assert b"".join(opened) == blob.data

    def half() -> None:
        with client.open_blob("team/app", blob.digest) as opened:
            next(iter(opened))

    def upload() -> None:
        session = client.start_upload("team/other")
        assert session is not None
        session.put(iter([blob.data]), len(blob.data), blob.digest)

    def cancelled() -> None:
        session = client.start_upload("team/other")
        assert session is not None
        assert session.cancel()

    def missing() -> None:
        with pytest.raises(RegistryError):
            client.get_manifest("team/app", "missing")

    operations: list[Callable[[], object]] = [
        client.ping,
        lambda: client.head_manifest("team/app", "v1"),
        lambda: client.get_manifest("team/app", "v1"),
        lambda: client.put_manifest("team/app", "v2", client.get_manifest("team/app", "v1")),
        lambda: client.list_tags("team/app"),
        lambda: list(client.list_repositories()),
        lambda: client.head_blob("team/app", blob.digest),
        lambda: client.head_blob("team/app", Digest.of(b"missing")),
        lambda: client.blob_present("team/app", blob.digest, len(blob.data)),
        lambda: client.blob_present("team/app", Digest.of(b"missing"), 7),
        lambda: client.referrers("team/app", made.digest),
        lambda: client.supports_delete("team/app"),
        stream,
        half,
        upload,
        cancelled,
        missing,
        lambda: client.delete_manifest("team/app", made.digest),
    ]

    # When each is done, then nothing is held, and never more than one permit was
    for operation in operations:
        operation()
        assert not limiter.open
    assert limiter.most == 1


def test_blobs_say_how_large_they_are(registry_factory: RegistryFactory, connect: Connect) -> None:
    registry = registry_factory("registry")
    made = images.image([images.layer(300_000)])
    push(registry, "team/app", "v1", made)
    blob, limiter = made.blobs[-1], Recording()
    client = connect(registry.url, limiter=limiter)
    client.open_blob("team/app", blob.digest).close()
    client.open_blob("team/app", blob.digest, size=len(blob.data)).close()
    client.open_blob("team/app", blob.digest, 100, size=len(blob.data)).close()
    client.open_blob("team/app", blob.digest, 100, 200, size=len(blob.data)).close()
    client.head_manifest("team/app", "v1")
    assert limiter.sizes == [None, len(blob.data), len(blob.data) - 100, 100, 0]


def test_a_broken_exchange_gives_its_permit_back(serve: Serve, connect: Connect) -> None:
    limiter = Recording()

    def script(handler: Handler, _: Request) -> None:
        raise ConnectionResetError

    client = connect(serve(script).url, limiter=limiter)
    with pytest.raises(RegistryError):
        client.head_manifest("team/app", "v1")
    assert not limiter.open


def test_a_token_is_fetched_with_the_permit_of_its_request(serve: Serve, connect: Connect) -> None:
    # Given a registry that names a token service, which is overloaded
    def script(handler: Handler, request: Request) -> None:
        if request.path.startswith("/token"):
            handler.error(429, "TOOMANYREQUESTS", Retry_After="9")
        else:
            host = request.headers["Host"]
            handler.error(401, "UNAUTHORIZED", WWW_Authenticate=f'Bearer realm="http://{host}/token",service="x"')

    limiter = Recording()
    client = connect(serve(script).url, limiter=limiter)

    # When something is asked, then one permit was enough, and it learned of both answers
    with pytest.raises(TooManyRequests):
        client.head_manifest("team/app", "v1")
    assert limiter.most == 1
    assert not limiter.open
    assert limiter.answers == [401, 429]


def test_a_refused_request_is_sent_again_where_the_limiter_says_so(serve: Serve, connect: Connect) -> None:
    # Given a registry that refuses twice
    tries = iter([429, 429, 200])

    def script(handler: Handler, _: Request) -> None:
        status = next(tries)
        if status == 200:
            handler.reply(200, b"{}")
        else:
            handler.error(status, "TOOMANYREQUESTS", Retry_After="1")

    limiter = Recording(resends=2)
    registry = serve(script)
    connect(registry.url, limiter=limiter).ping()

    # Then each try had a permit of its own, and was told of the waiting before
    assert limiter.answers == [429, 429, 200]
    assert limiter.waits == [0.0, 1.0, 2.0]
    assert not limiter.open


def test_it_is_not_sent_for_ever(serve: Serve, connect: Connect) -> None:
    limiter = Recording(resends=2)
    # Some say it by the code alone
    registry = serve(lambda handler, _: handler.error(400, "TOOMANYREQUESTS", Retry_After="7"))
    with pytest.raises(TooManyRequests) as raised:
        connect(registry.url, limiter=limiter).ping()
    assert raised.value.retry_after == 7.0
    assert raised.value.reason == "too_many_requests"
    assert len(registry.seen) == 3
    assert limiter.answers == [400, 429] * 3


def test_what_the_registry_said_goes_before_what_the_limiter_says_of_it(serve: Serve, connect: Connect) -> None:
    limiter = Recording(resends=2)

    def script(handler: Handler, _: Request) -> None:
        limiter.refuse = RateLimited("a pause of an hour", retry_after=3600.0)
        handler.error(429, "TOOMANYREQUESTS", Retry_After="3600")

    client = connect(serve(script).url, limiter=limiter)
    with pytest.raises(TooManyRequests) as first:
        client.ping()
    with pytest.raises(RateLimited) as second:
        client.ping()
    assert (first.value.reason, second.value.reason) == ("too_many_requests", "rate_limited")
    assert first.value.status == 429
    assert second.value.temporary


def test_the_meter_is_told_of_every_byte_of_a_blob(registry_factory: RegistryFactory, connect: Connect) -> None:
    registry = registry_factory("registry")
    told: list[int] = []
    client = connect(registry.url, meter=told.append)
    data = images.layer(700_000)
    session = client.start_upload("team/app")
    assert session is not None
    session.put(iter([data[:300_000], data[300_000:]]), len(data), Digest.of(data))
    assert sum(told) == len(data)
    told.clear()
    with client.open_blob("team/app", Digest.of(data)) as stream:
        assert b"".join(stream) == data
    assert sum(told) == len(data)


def test_a_meter_that_stops_ends_the_upload(registry_factory: RegistryFactory, connect: Connect) -> None:
    registry = registry_factory("registry")

    def stop(_: int) -> None:
        raise Stopped("the process has to end")

    client: RegistryClient = connect(registry.url, meter=stop)
    session = client.start_upload("team/app")
    assert session is not None
    with pytest.raises(Stopped):
        session.put(iter([b"some", b"thing"]), 9, Digest.of(b"something"))


def test_without_a_meter_nothing_stands_between() -> None:
    chunks = iter([b"a"])
    assert metered(chunks, None) is chunks


def test_bulk_is_of_one_thread() -> None:
    seen: list[bool] = []
    with bulk():
        thread = threading.Thread(target=lambda: seen.append(is_bulk()))
        thread.start()
        thread.join()
        seen.append(is_bulk())
    assert [*seen, is_bulk()] == [False, True, False]


def test_an_answer_is_closed_when_its_permit_fails(serve: Serve, connect: Connect) -> None:
    # Given a limiter that fails at the answer's head, and a body that would go on for long
    class Failing(_Permit):
        def answered(self, status: int, headers: Mapping[str, str]) -> None:
            raise ArithmeticError(status)

    class Fails(Recording):
        def enter(self, size: int | None, deadline: Deadline | None = None, waited: float = 0.0) -> _Permit:
            permit = Failing(self, waited)
            self.open.add(permit)
            return permit

    broken_off = threading.Event()

    def script(handler: Handler, _: Request) -> None:
        try:
            handler.reply(200, bytes(64 * 1024 * 1024))
        except OSError:
            broken_off.set()
            raise

    limiter = Fails()
    with pytest.raises(ArithmeticError) as raised:
        connect(serve(script).url, limiter=limiter).open_blob("a/x", f"sha256:{'0' * 64}")

    # Then the connection is closed and the permit given back, though the error still knows of the answer
    assert broken_off.wait(5), raised
    assert not limiter.open
