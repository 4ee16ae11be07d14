"""Large blobs between real registries through the spool: fetched once, whatever breaks or ends meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from contextlib import ExitStack

import pytest

from app.models import SyncState
from app.registry import (
    Anonymous,
    DigestMismatch,
    NotFound,
    PatchedMismatch,
    RegistryClient,
    Stopped,
    Watch,
    bulk,
    copy_blob,
)
from app.replication.spool import LARGE, PARALLEL, Spool, SpoolDirectory
from tests.replication.spool.lab import MIB, REPOSITORY, Blob, Lab
from tests.support import images, wire
from tests.support.compare import assert_same
from tests.support.copying import command
from tests.support.deployment import Deployment, environment
from tests.support.noting import Noting
from tests.support.root import ROOT
from tests.support.wait import wait_until


def test_a_large_blob_is_fetched_once_for_all(lab: Lab) -> None:
    # Given a large blob that was copied
    blob, third = lab.pushed(LARGE), lab.registry("third")
    lab.copy(blob)
    assert lab.arrived(blob)
    assert lab.received == LARGE
    assert lab.files() == [str(LARGE)]

    # When it is copied to another registry, by another process
    assert lab.process(blob, to=third).wait() == 0

    # Then the primary is not asked for it again
    assert lab.arrived(blob, third)
    assert lab.link.carried < LARGE * 1.01


def test_a_smaller_blob_passes_by(lab: Lab) -> None:
    blob = lab.pushed(LARGE - 1)
    lab.copy(blob)
    assert lab.arrived(blob)
    assert lab.files() == []


@pytest.mark.parametrize("size", [40 * MIB, PARALLEL + 40 * MIB])
def test_what_a_killed_worker_has_brought_stays(lab: Lab, size: int) -> None:
    # Given a worker that is killed when four fifths of a blob have come, over one connection or several
    blob = lab.pushed(size)
    lab.link.rate = 30e6
    process = lab.process(blob)
    wait_until(lambda: lab.link.carried >= size * 0.8, 60, process.log.read_text)
    assert process.kill() < 0

    # When another takes up
    lab.copy(blob)

    # Then hardly more than the rest was asked of the primary
    assert lab.arrived(blob)
    assert lab.link.carried < size * 1.1
    assert lab.files() == [str(size)]


def test_a_line_that_breaks_all_the_time_brings_it_in_the_end(lab: Lab) -> None:
    blob = lab.pushed(40 * MIB)
    lab.link.cut_after = 4 * MIB
    lab.copy(blob)
    assert lab.arrived(blob)
    assert lab.link.cuts >= 10
    assert lab.link.carried < 40 * MIB * 1.1


@pytest.mark.parametrize("whole", [True, False])
def test_what_was_kept_and_is_wrong_is_fetched_whole_once(lab: Lab, whole: bool) -> None:
    # Given a spool file with a flipped bit: of a blob that was whole, or of a killed worker's
    blob = lab.pushed(40 * MIB)
    if whole:
        lab.copy(blob, to=lab.registry("third"))
    else:
        lab.link.rate = 20e6
        process = lab.process(blob)
        wait_until(lambda: lab.link.carried >= 20 * MIB, 60)
        process.kill()
        lab.link.rate = None
    with lab.file().open("r+b") as file:
        byte = file.read(1)
        file.seek(0)
        file.write(bytes([byte[0] ^ 1]))
    lab.received = 0

    # When the blob is copied
    lab.copy(blob)

    # Then it is right, the file is gone, and the primary gave it once more
    assert lab.arrived(blob)
    assert lab.files() == []
    assert lab.received < 40 * MIB * 1.8


def test_wrong_content_at_the_source_is_not_fetched_twice(lab: Lab) -> None:
    # Given a primary whose storage is damaged
    blob = lab.pushed(LARGE)
    lab.primary.blob_path(blob.digest).write_bytes(os.urandom(LARGE))

    # When it is copied, Then that is the error, and nothing is kept
    with pytest.raises(DigestMismatch) as raised:
        lab.copy(blob)
    assert not isinstance(raised.value, PatchedMismatch)
    assert lab.received == LARGE
    assert lab.files() == []


@pytest.mark.parametrize("length", [0, 1000, LARGE])
def test_what_a_power_failure_left_is_found_out(lab: Lab, length: int) -> None:
    # Given a file under its final name that is short, or zeros
    blob = lab.pushed(LARGE)
    lab.spool_path.mkdir()
    (lab.spool_path / f"{blob.digest.replace(':', '-')}.{LARGE}").write_bytes(bytes(length))

    lab.copy(blob)
    assert lab.arrived(blob)


def test_what_is_wanted_as_bulk_is_fetched_as_bulk(lab: Lab) -> None:
    for number, in_bulk in enumerate([True, False]):
        # Given a blob that is copied as bulk, or because somebody waits for it
        blob, noting = lab.pushed(LARGE, seed=40 + number), Noting()
        with RegistryClient(lab.primary.url, Anonymous(), limiter=noting) as source, ExitStack() as stack:
            if in_bulk:
                stack.enter_context(bulk())
            opener = lab.spool().opener(source, REPOSITORY, blob.descriptor, Watch())
            copy_blob(opener, lab.client(lab.secondary.url), REPOSITORY, blob.descriptor)

        # Then so are all requests of the threads that fetch it
        assert noting.bulk
        assert set(noting.bulk) == {in_bulk}


def test_a_spool_without_room_is_passed_by(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    blob = lab.pushed(LARGE)
    spool = lab.spool(limit=LARGE - 1)
    lab.copy(blob, spool=spool)
    lab.copy(blob, spool=spool, to=lab.registry("third"))
    assert lab.arrived(blob)
    assert lab.files() == []
    # And that is said, once
    assert ["no room" in record.message for record in caplog.records if record.levelname == "WARNING"] == [True]


def test_a_spool_that_cannot_be_made_is_passed_by(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    blob = lab.pushed(LARGE)
    lab.spool_path.write_bytes(b"not a directory")
    spool = lab.spool()
    lab.copy(blob, spool=spool)
    lab.copy(blob, spool=spool, to=lab.registry("third"))
    assert lab.arrived(blob)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_disk_that_is_full_in_the_middle_is_no_error(lab: Lab) -> None:
    # Given a disk of 10 MiB, in a namespace of the process's own
    inside = ["unshare", "--user", "--map-root-user", "--mount"]
    if shutil.which("unshare") is None or subprocess.run([*inside, "true"], capture_output=True).returncode:
        pytest.skip("user namespaces are not allowed here")
    blob = lab.pushed(40 * MIB)
    lab.spool_path.mkdir()
    line = command(lab.link.url, lab.secondary.url, REPOSITORY, blob.named, spool=lab.spool_path)
    script = 'mount -t tmpfs -o size=10m none "$0" && "$@" && ls "$0"'

    # When the blob is copied by a process that thinks there is room
    done = subprocess.run(
        [*inside, "sh", "-c", script, str(lab.spool_path), *line, "--careless"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )

    # Then it arrived, hardly a byte came twice, nothing is left on the disk, and somebody is told
    assert done.returncode == 0, done.stderr
    assert "No space left" in done.stderr
    figures, *left = done.stdout.splitlines()
    assert lab.arrived(blob)
    assert json.loads(figures)["received"] < 40 * MIB * 1.1
    assert left == []


def test_a_blob_that_the_source_lacks_begins_no_upload(lab: Lab) -> None:
    blob = Blob(LARGE, 2)
    with pytest.raises(NotFound):
        lab.copy(blob)
    assert lab.files() == []
    assert not list(lab.secondary.storage.glob("**/_uploads"))


@pytest.mark.parametrize(("size", "everything"), [(LARGE, False), (1000, True)], ids=["large", "small"])
def test_what_is_kept_of_one_repository_is_no_other_s(lab: Lab, size: int, *, everything: bool) -> None:
    # Given a blob of one repository that is in the spool
    blob = lab.pushed(size)
    spool = Spool(SpoolDirectory(lab.spool_path, 1024**4), everything=everything)
    lab.copy(blob, spool=spool)
    assert lab.arrived(blob)

    def copy(repository: str) -> None:
        opener = spool.opener(lab.client(lab.link.url), repository, blob.descriptor)
        copy_blob(opener, lab.client(lab.secondary.url), repository, blob.descriptor)

    # When it is wanted of another repository, Then it is no more there than on the primary
    with pytest.raises(NotFound) as raised:
        copy("team/other")
    assert raised.value.url == f"{lab.link.url}/v2/team/other/blobs/{blob.digest}"

    # And once the primary holds it there, its bytes do not travel again
    wire.push_blob(lab.primary, "team/other", blob.data)
    carried = lab.link.carried
    copy("team/other")
    assert wire.fetch_blob(lab.secondary, "team/other", blob.digest) == blob.data
    assert lab.link.carried - carried < 1000


def test_a_transfer_that_is_told_to_stop_leaves_what_it_has(lab: Lab) -> None:
    # Given a source that has fallen silent
    blob, stopped = lab.pushed(40 * MIB), threading.Event()
    lab.link.rate = 20e6
    raised: list[BaseException] = []

    def copy() -> None:
        try:
            lab.copy(blob, stop=stopped.is_set)
        except Stopped as error:
            raised.append(error)

    thread = threading.Thread(target=copy)
    thread.start()
    wait_until(lambda: lab.link.carried > 20 * MIB)
    lab.link.pause()

    # When it is told to stop, Then it does not wait for the source
    stopped.set()
    thread.join(10)
    lab.link.resume()
    assert not thread.is_alive()
    assert len(raised) == 1
    assert lab.files() == [f"{40 * MIB}.partial"]

    # And the next one goes on
    lab.link.rate = None
    lab.copy(blob)
    assert lab.arrived(blob)
    assert lab.link.carried < 40 * MIB * 1.15


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_sync_passes_large_layers_through_the_spool(lab: Lab, database_url: str) -> None:
    # Given a deployment with a spool, and a pushed image with a large layer
    image = images.image([images.layer(LARGE)])
    digest = wire.push(lab.primary, "team/app", "v1", image)
    env = environment(lab.primary, lab.secondary, database_url, GEO_SPOOL_DIR=str(lab.spool_path))
    geo = Deployment.start(env)
    try:
        # When it is synced
        geo.event("push", "team/app", "v1", digest)
        geo.settle()

        # Then it is there, and the layer is in the spool
        assert geo.row("team/app").state == SyncState.SYNCED
        assert_same(lab.primary, lab.secondary, "team/app", "v1")
        assert lab.files() == [str(len(image.blobs[1].data))]
    finally:
        geo.close()
