"""A worker that is stopped just before it puts a tag, and goes on when somebody else has put a newer one."""

from __future__ import annotations

import os
import threading

import pytest

from tests.chaos.checker import Acknowledged, Reader
from tests.chaos.conftest import ChaosFactory
from tests.chaos.figures import tell
from tests.chaos.length import length
from tests.support import images
from tests.support.images import Image
from tests.support.registries import Registry
from tests.support.wait import wait_until
from tests.support.wire import WireError, digest_of, fetch_blob, push

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

#: Seconds in which another has the row of one who is stopped, and brings it to its end.
PROMISED = 120.0


def image() -> Image:
    return images.image([os.urandom(50_000)])


def there(registry: Registry, digest: str) -> bool:
    """Whether the registry has this blob of the image."""
    try:
        return bool(fetch_blob(registry, "team/app", digest))
    except WireError as error:
        if error.status != 404:
            raise
        return False


@pytest.mark.parametrize("database", length(["sqlite"], ["sqlite", "postgresql"]))
@pytest.mark.parametrize("moment", ["before the tag's request", "in the tag's request, which is lost"])
def test_the_newer_tag_stays(chaos: ChaosFactory, moment: str, database: str) -> None:
    # Given a worker that is about to put a tag: the last blob has to be there first, and its answer waits
    stage = chaos(database=database, workers=2, env={"WORKER_PROCESSES": "1"})
    first, second = stage.workers
    stage.absent.add(second)
    second.kill()
    old, new = image(), image()
    gate = threading.Event()
    lost = moment != "before the tag's request"
    last_blob = rf"^PUT .*/blobs/uploads/.*{old.blobs[0].digest.partition(':')[2]}"
    rule = stage.target.rule("^PUT .*/manifests/v1$" if lost else last_blob, times=1, gate=gate, drop=lost)
    push(stage.primary, "team/app", "v1", old)
    wait_until(rule.arrived.is_set, 60, stage.tell)
    # The other blob travels beside that one, and would be on its way for as long as its worker stands still.
    wait_until(lambda: there(stage.secondary, old.blobs[1].digest), 30, stage.tell)

    # When it is stopped there, and what it waits for comes to pass without it
    first.freeze()
    gate.set()
    wait_until(lambda: not stage.target.transfers_of(first.pids), 30)

    # And another takes the row over, with a newer image under the same tag
    second.start().wait_ready()
    push(stage.primary, "team/app", "v1", new)
    wait_until(lambda: digest_of(stage.secondary, "team/app", "v1") == new.digest, PROMISED, stage.tell)
    seconds = stage.settle(PROMISED)
    stage.absent |= {first, second}
    second.stop()
    before = stage.target.count("(PUT|DELETE) .*/manifests/")

    # And the first goes on, and is given the time to end in good order
    first.thaw()
    assert first.stop(30) == 0, first.log_text[-3000:]

    # Then it has put no manifest and deleted none, and the newer image stands
    tell(f"worker stopped {moment}", database=database, settled_after=seconds)
    assert stage.target.count("(PUT|DELETE) .*/manifests/") == before
    with Reader(stage.secondary) as reader:
        assert reader.manifest("team/app", "v1") == (new.manifest, new.media_type)
    stage.judge([Acknowledged("team/app", "v1", new.digest)]).raise_for_faults()
