"""What is under way in one process is seen in another, if it takes a while; nothing depends on it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from app.replication import movements as module
from app.replication.movements import AFTER, INTERVAL, LASTS, Held, Movement, Movements
from app.replication.shared import Shared
from tests.replication.conftest import Proxied
from tests.support import images
from tests.support.clock import Clock
from tests.support.compare import assert_same
from tests.support.deployment import Deployment, environment, event
from tests.support.ports import free_port
from tests.support.registries import DistributionRegistry
from tests.support.valkey import Valkey
from tests.support.wait import wait_until
from tests.support.wire import push

ROW = Held("europe", "team/app", 7)
ONE = "sha256:" + "1" * 64


@pytest.fixture
def clock() -> Clock:
    return Clock(1_000_000.0)


Processes = Callable[[], Movements]


@pytest.fixture
def process(valkey: Valkey, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Processes]:
    """Makes what another process of the same deployment has; it tells when the test says so."""
    monkeypatch.setattr(module, "INTERVAL", 3600.0)
    with ExitStack() as stack:

        def make() -> Movements:
            shared = Shared(valkey.url)
            made = Movements(shared, clock)
            stack.callback(shared.close)
            stack.callback(made.close)
            return made

        yield make


@contextmanager
def heard(valkey: Valkey) -> Iterator[list[str]]:
    """The commands that the server is given."""
    commands: list[str] = []
    with valkey.client() as client, client.monitor() as monitor:

        def listen() -> None:
            for command in monitor.listen():
                commands.append(str(command["command"]))
                if "the end" in commands[-1]:
                    return

        thread = threading.Thread(target=listen)
        thread.start()
        with valkey.client() as other:
            other.echo("the beginning")
            wait_until(lambda: bool(commands), 10, lambda: "the server's commands are not heard")
            yield commands
            other.echo("the end")
        thread.join(10)


def test_what_takes_a_while_is_seen_elsewhere(process: Processes, clock: Clock, valkey: Valkey) -> None:
    # Given a sync with a blob of which a part is there, and one that was there before
    worker, web = process(), process()
    with worker.of(ROW) as moving:
        worker.tell()
        moving.expect(1000)
        moving.expect(200)
        with moving.blob("sha256:" + "2" * 64, 200):
            pass
        with moving.blob(ONE, 1000) as sent:
            sent(100)
            clock.now += AFTER
            worker.tell()

            # Then another process knows all of it, the speed by what was really sent
            movement = web.look([ROW])[ROW]
            assert movement == Movement(300, 1200, 50.0, ONE, 1000, 100)
            assert movement.seconds_left == 18.0

            # And it knows how it goes on
            sent(900)
            clock.now += INTERVAL
            worker.tell()
            movement = web.look([ROW])[ROW]
            assert (movement.done, movement.seconds_left) == (1200, None)

    # And what is told does not stay
    with valkey.client() as client:
        assert 0 < client.ttl(ROW.key) <= LASTS


def test_what_is_over_before_is_never_told(process: Processes, clock: Clock, valkey: Valkey) -> None:
    worker = process()
    with heard(valkey) as commands:
        for _ in range(5):
            with worker.of(ROW) as moving:
                moving.expect(1000)
                worker.tell()
                with moving.blob(ONE, 1000) as sent:
                    sent(1000)
                clock.now += AFTER / 2
                worker.tell()
            clock.now += AFTER
            worker.tell()
    assert [command for command in commands if "geo:" in command] == []


def test_a_sync_that_carries_no_blobs_is_never_told(process: Processes, clock: Clock) -> None:
    worker = process()
    with worker.of(ROW):
        clock.now += 100
        worker.tell()
        assert worker.look([ROW]) == {}


def test_many_syncs_are_told_and_asked_for_together(process: Processes, clock: Clock, valkey: Valkey) -> None:
    worker, web = process(), process()
    rows = [Held("europe", f"team/app-{number}", 1) for number in range(10)]
    with ExitStack() as stack:
        for row in rows:
            stack.enter_context(worker.of(row)).expect(10)
        clock.now += AFTER
        worker.tell()
        assert web.look([*rows, ROW]).keys() == set(rows)


def test_what_a_former_holder_told_is_not_believed(process: Processes, clock: Clock) -> None:
    # Given a sync that was told of, and the row in other hands since
    worker = process()
    with worker.of(ROW) as moving:
        moving.expect(10)
        clock.now += AFTER
        worker.tell()
        assert worker.look([ROW])
        assert worker.look([Held(ROW.site, ROW.path, ROW.token + 1)]) == {}


@pytest.mark.parametrize("rubbish", ["", "{", "[]", "7", '{"token": 7}', '{"token": 7, "done": 1, "sum": 2}'])
def test_what_cannot_be_read_is_nothing(process: Processes, valkey: Valkey, rubbish: str) -> None:
    with valkey.client() as client:
        client.set(ROW.key, rubbish)
    assert process().look([ROW]) == {}


def test_without_redis_nothing_is_told(clock: Clock) -> None:
    # Given a server that is gone, and none at all
    shared = Shared(f"redis://127.0.0.1:{free_port()}/0")
    try:
        for movements in (Movements(shared, clock), Movements(None, clock)):
            with movements.of(ROW) as moving:
                moving.expect(10)
                clock.now += AFTER
                movements.tell()
                # Then there is nothing to see, and the process itself knows as before
                assert movements.look([ROW]) == {}
                assert movements.whole.now.total == 10
            movements.close()
    finally:
        shared.close()


@pytest.mark.parametrize("lost", [False, True])
def test_a_push_of_small_images_tells_nothing_and_a_lost_redis_changes_nothing(
    sqlite_database: str,
    valkey: Valkey,
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
    lost: bool,
) -> None:
    # Given some small images that were pushed
    url = f"redis://127.0.0.1:{free_port()}/0" if lost else valkey.url
    geo = Deployment.start(environment(primary, secondary, sqlite_database, REDIS_URL=url))
    try:
        for number in range(3):
            digest = push(primary, repository, f"v{number}", images.image(count=3))
            geo.store(event(repository=repository, tag=f"v{number}", digest=digest))

        # When they are brought
        with heard(valkey) as commands:
            geo.settle()
    finally:
        geo.close()

    # Then they are there, and nothing was told of it on the way
    for number in range(3):
        assert_same(primary, secondary, repository, f"v{number}")
    assert [command for command in commands if "geo:moving" in command] == []
    assert lost or any("geo:flight" in command for command in commands)


def test_what_a_failure_leaves_behind_is_expected_no_more(
    proxied: Proxied, primary: DistributionRegistry, repository: str
) -> None:
    # Given an image of more blobs than travel at once, the first layer of which cannot be read
    geo, before_primary, _ = proxied
    image = images.image(count=60)
    digest = push(primary, repository, "v1", image)
    before_primary.rule("GET .*/blobs/", delay=0.1)
    unknown = b'{"errors": [{"code": "BLOB_UNKNOWN"}]}'
    before_primary.rule(f"GET .*/blobs/{image.blobs[1].digest}", status=404, body=unknown)

    # When it is brought as far as that goes
    geo.store(event(repository=repository, tag="v1", digest=digest))
    geo.settle()
    assert geo.failure(repository)
    assert before_primary.count("GET .*/blobs/") < len(image.blobs)

    # Then nothing is expected that nobody brings
    moved = geo.context.movements.whole.now
    assert moved.done == moved.total
