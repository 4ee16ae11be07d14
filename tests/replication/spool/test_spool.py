"""Large blobs between real registries, over lines that break, are slow, or end with the process."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from app.models import SyncState
from app.registry import (
    Anonymous,
    Descriptor,
    Digest,
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
from tests.registry.scripted import Handler, Request, Scripted
from tests.support import images, wire
from tests.support.compare import assert_same
from tests.support.copying import ROOT, command
from tests.support.deployment import Deployment, environment
from tests.support.link import Link
from tests.support.noting import Noting
from tests.support.processes import Process
from tests.support.registries import DistributionRegistry
from tests.support.wait import wait_until

MIB = 1024 * 1024
REPOSITORY = "team/large"


class Blob:
    """Random bytes: the same each time for one seed."""

    def __init__(self, size: int, seed: int) -> None:
        self.data = random.Random(seed).randbytes(size)
        self.descriptor = Descriptor("application/octet-stream", Digest.of(self.data), size)

    @property
    def digest(self) -> str:
        return self.descriptor.digest

    @property
    def named(self) -> tuple[str, int]:
        return self.digest, len(self.data)


class Lab:
    """A primary behind a line, secondaries, and a spool."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self.path = path
        self.spool_path = path / "spool"
        self.stack = stack
        self.primary = self.registry("primary")
        self.secondary = self.registry("secondary")
        self.link = stack.enter_context(Link(self.primary.port))
        self.received = 0
        self._lock = threading.Lock()

    def registry(self, name: str) -> DistributionRegistry:
        return self.stack.enter_context(DistributionRegistry(self.path / name))

    def pushed(self, size: int, seed: int = 1) -> Blob:
        blob = Blob(size, seed)
        wire.push_blob(self.primary, REPOSITORY, blob.data)
        return blob

    def client(self, url: str, **options: float) -> RegistryClient:
        actions = ("pull", "push", "delete")
        return self.stack.enter_context(RegistryClient(url, Anonymous(), actions=actions, **options))  # type: ignore[arg-type]

    def spool(self, limit: int = 1024**4, *, follow_patience: float = 20.0) -> Spool:
        return Spool(SpoolDirectory(self.spool_path, limit), follow_patience=follow_patience)

    def copy(
        self,
        blob: Blob,
        *,
        spool: Spool | None = None,
        to: DistributionRegistry | None = None,
        source: str | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Copy the blob through the spool, here."""
        watch = Watch(stop=stop, received=self._count)
        opener = (spool or self.spool()).opener(
            self.client(source or self.link.url), REPOSITORY, blob.descriptor, watch
        )
        copy_blob(opener, self.client((to or self.secondary).url), REPOSITORY, blob.descriptor, stop=stop)

    def process(self, blob: Blob, *, to: DistributionRegistry | None = None) -> Process:
        """Copy the blob through the same spool in a process of its own."""
        line = command(self.link.url, (to or self.secondary).url, REPOSITORY, blob.named, spool=self.spool_path)
        return Process(line, log=self.path / "copying.log", cwd=ROOT).start()

    def arrived(self, blob: Blob, at: DistributionRegistry | None = None) -> bool:
        return wire.fetch_blob(at or self.secondary, REPOSITORY, blob.digest) == blob.data

    def files(self) -> list[str]:
        """The names of the spooled blobs, from what follows the digest on."""
        names = [path.name for path in self.spool_path.glob("sha*")] if self.spool_path.exists() else []
        return sorted(name.partition(".")[2] for name in names)

    def file(self) -> Path:
        (found,) = self.spool_path.glob("sha*")
        return found

    def _count(self, size: int) -> None:
        with self._lock:
            self.received += size


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with ExitStack() as stack:
        yield Lab(tmp_path, stack)


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


@pytest.mark.long
def test_ranges_are_fetched_in_parallel_where_a_connection_is_slow(lab: Lab) -> None:
    # Given a line that brings 15 MB/s over each connection
    blob = lab.pushed(PARALLEL + 60 * MIB + 1)
    lab.link.rate, lab.link.round_trip = 15e6, 0.02

    # When a blob is copied
    lab.copy(blob)

    # Then it came by several, though not by more than eight, and hardly a byte came twice
    assert lab.arrived(blob)
    assert 3 <= lab.link.most_at_once <= 8
    assert lab.link.carried < blob.descriptor.size * 1.1  # type: ignore[operator]


@pytest.mark.long
def test_no_connections_are_added_that_bring_nothing(lab: Lab) -> None:
    # Given a line that brings 20 MB/s in all
    blob = lab.pushed(PARALLEL)
    lab.link.rate, lab.link.shared = 20e6, True

    lab.copy(blob)

    # Then a second was tried, and no third; what the first had asked for and left to it may still be draining
    assert lab.arrived(blob)
    assert 2 <= lab.link.most_at_once <= 3


@pytest.mark.long
def test_parallel_parts_survive_a_line_that_breaks(lab: Lab) -> None:
    blob = lab.pushed(PARALLEL + 60 * MIB)
    lab.link.rate, lab.link.cut_after = 15e6, 10 * MIB
    lab.copy(blob)
    assert lab.arrived(blob)
    assert lab.link.most_at_once >= 2


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


def test_two_that_want_a_blob_at_once_fetch_it_once(lab: Lab) -> None:
    # Given two secondaries that lack it
    blob, third = lab.pushed(40 * MIB), lab.registry("third")
    lab.link.rate = 40e6

    # When it is copied to both at the same time, by two processes
    process = lab.process(blob, to=third)
    lab.copy(blob)
    assert process.wait() == 0

    # Then it came once
    assert lab.arrived(blob)
    assert lab.arrived(blob, third)
    assert lab.link.carried < 40 * MIB * 1.1


def test_many_threads_of_one_process_fetch_it_once(lab: Lab) -> None:
    blob, spool = lab.pushed(20 * MIB), lab.spool()
    lab.link.rate = 20e6
    others = [lab.registry(f"other-{number}") for number in range(3)]
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(lab.copy, blob, spool=spool, to=to) for to in (lab.secondary, *others)]:
            done.result()

    assert all(lab.arrived(blob, registry) for registry in (lab.secondary, *others))
    assert lab.link.carried < 20 * MIB * 1.1


def follower(lab: Lab, blob: Blob, **options: float) -> tuple[Process, threading.Thread]:
    """A process that brings a blob to another registry, and a thread here that follows it."""
    third = lab.registry("third")
    lab.link.rate = 10e6
    process = lab.process(blob, to=third)
    wait_until(lambda: lab.link.carried > 2 * MIB, 30, process.log.read_text)
    thread = threading.Thread(target=lab.copy, args=(blob,), kwargs={"spool": lab.spool(**options)})  # type: ignore[arg-type]
    thread.start()
    # It has begun its upload, and so has found the spool's writer at work.
    wait_until(lambda: list((lab.secondary.storage / "docker/registry/v2/repositories").glob("**/_uploads/*/data")))
    return process, thread


def test_who_follows_takes_over_from_a_killed_worker(lab: Lab) -> None:
    blob = lab.pushed(24 * MIB)
    process, thread = follower(lab, blob)

    # When the worker is killed
    process.kill()
    lab.link.rate = None
    thread.join(60)

    # Then the other goes on where it was
    assert lab.arrived(blob)
    assert lab.link.carried < 24 * MIB * 1.1
    assert lab.files() == [str(24 * MIB)]


def test_who_follows_does_not_wait_for_a_worker_that_stands_still(lab: Lab) -> None:
    blob = lab.pushed(24 * MIB)
    process, thread = follower(lab, blob, follow_patience=0.5)

    # When the worker is stopped where it stands
    process.pause()
    lab.link.rate = None
    thread.join(60)

    # Then the other does without it, and it can go on later
    assert lab.arrived(blob)
    process.resume()
    assert process.wait() == 0
    assert lab.files() == [str(24 * MIB)]


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


@pytest.mark.long
def test_who_resumes_uses_several_connections_too(lab: Lab) -> None:
    # Given a killed worker's blob of which 70 MiB are missing
    blob = lab.pushed(PARALLEL + 46 * MIB)
    lab.link.rate = 40e6
    process = lab.process(blob)
    wait_until(lambda: lab.link.carried >= 40 * MIB, 60, process.log.read_text)
    process.kill()
    wait_until(lambda: lab.link.open == 0)
    lab.link.rate, lab.link.most_at_once = 15e6, 0

    lab.copy(blob)
    assert lab.arrived(blob)
    assert lab.link.most_at_once >= 3


class Rangeless:
    """A source that answers every range with the whole blob, at the start or from a time on."""

    def __init__(self, data: bytes, ranges: int = 0) -> None:
        self.data = data
        #: How many ranges it still gives.
        self.ranges = ranges

    def __call__(self, handler: Handler, request: Request) -> None:
        asked = request.headers.get("Range")
        if asked is None or self.ranges == 0:
            handler.reply(200, self.data)
            return
        self.ranges -= 1
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start, end = int(first), int(last) if last else len(self.data) - 1
        body = self.data[start : end + 1]
        handler.reply(206, body, Content_Range=f"bytes {start}-{end}/{len(self.data)}")


@pytest.mark.long
@pytest.mark.parametrize("ranges", [0, pytest.param(2, marks=pytest.mark.long)])
def test_a_source_without_ranges_is_read_by_one_connection(lab: Lab, ranges: int) -> None:
    # Given a slow line to a source that can do ranges never, or no longer
    blob = Blob(PARALLEL + 20 * MIB, 3)
    with Scripted(Rangeless(blob.data, ranges)) as source, Link(source.port, rate=25e6) as link:
        # When the blob is copied
        lab.copy(blob, source=link.url)

        # Then it is right, and one connection brought nearly all
        assert lab.arrived(blob)
        assert link.most_at_once >= 2
        assert link.carried < len(blob.data) * 2


def test_a_source_without_ranges_completes_what_was_begun(lab: Lab) -> None:
    # Given half of a blob in the spool
    blob = lab.pushed(40 * MIB)
    lab.link.rate = 20e6
    process = lab.process(blob)
    wait_until(lambda: lab.link.carried >= 20 * MIB, 60)
    process.kill()

    # When the rest is to come from a source that gives only the whole, Then it comes
    with Scripted(Rangeless(blob.data)) as source:
        lab.copy(blob, source=source.url)
    assert lab.arrived(blob)
    assert lab.files() == [str(40 * MIB)]


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


def big(lab: Lab, mib: int, seed: int) -> tuple[str, int]:
    """Push a blob that is never held in memory."""

    def pieces() -> Iterator[bytes]:
        generator = random.Random(seed)
        for _ in range(mib):
            yield generator.randbytes(1024) * 1024

    hasher = Digest.hasher("sha256:")
    for piece in pieces():
        hasher.update(piece)
    digest = f"sha256:{hasher.hexdigest()}"
    upload = lab.client(lab.primary.url).start_upload(REPOSITORY)
    assert upload is not None
    upload.put(pieces(), mib * MIB, digest)
    return digest, mib * MIB


def copied(lab: Lab, *blobs: tuple[str, int]) -> dict[str, float]:
    """Copy the blobs at the same time through the spool, in a process of their own, and return its figures."""
    line = command(lab.link.url, lab.secondary.url, REPOSITORY, *blobs, spool=lab.spool_path)
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True)
    for digest, size in blobs:
        head = requests.head(f"{lab.secondary.url}/v2/{REPOSITORY}/blobs/{digest}", timeout=30)
        assert int(head.headers["Content-Length"]) == size
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_worker_killed_at_four_fifths_of_a_gigabyte(lab: Lab) -> None:
    digest, size = big(lab, 1024, 1)
    lab.link.rate, lab.link.round_trip = 20e6, 0.08
    line = command(lab.link.url, lab.secondary.url, REPOSITORY, (digest, size), spool=lab.spool_path)
    process = Process(line, log=lab.path / "copying.log", cwd=ROOT).start()
    wait_until(lambda: lab.link.carried >= size * 0.8, 300, process.log.read_text)
    process.kill()

    copied(lab, (digest, size))
    assert lab.link.carried < size * 1.1


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_gigabyte_over_connections_that_end_after_64_mib(lab: Lab) -> None:
    blob = big(lab, 1024, 2)
    lab.link.cut_after = 64 * MIB

    assert copied(lab, blob)["received"] < 1024 * MIB * 1.1
    assert lab.link.cuts >= 15


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_memory_of_a_process_does_not_grow_with_its_blobs(lab: Lab) -> None:
    # Given four blobs of 2 GiB over a line that makes all of them come by several connections
    blobs = [big(lab, 2048, seed) for seed in range(4)]
    lab.link.rate = 30e6

    # When they are copied at the same time, Then that costs a few buffers for each connection
    assert copied(lab, *blobs)["memory"] < 100e6
    assert lab.link.most_at_once > 8
