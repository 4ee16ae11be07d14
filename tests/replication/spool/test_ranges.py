"""Ranges of one blob beside each other, where a connection is slow, and sources that give none."""

from __future__ import annotations

import pytest

from app.replication.spool import PARALLEL
from tests.registry.scripted import Handler, Request, Scripted
from tests.replication.spool.lab import MIB, Blob, Lab
from tests.support.link import Link
from tests.support.wait import wait_until


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
