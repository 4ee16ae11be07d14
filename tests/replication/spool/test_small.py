"""Small blobs are read once by all who want them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.registry import Digest, Stopped, Watch
from app.replication.spool.directory import RESERVE
from app.replication.spool.small import SmallBlobs

PLENTY = RESERVE * 2


def blobs(path: Path, limit: int = 1_000_000, patience: float = 20.0, free: int = PLENTY) -> SmallBlobs:
    return SmallBlobs(path / "small", limit, patience=patience, free=lambda _: free)


def counted(data: bytes) -> tuple[Callable[[], bytes], list[int]]:
    """What gives the data, and how often it did."""
    calls: list[int] = []

    def load() -> bytes:
        calls.append(len(data))
        return data

    return load, calls


def files(path: Path) -> list[str]:
    return sorted(each.name for each in (path / "small").iterdir())


def test_a_blob_that_is_kept_is_not_loaded_again(tmp_path: Path) -> None:
    # Given a blob that was read once
    data = os.urandom(1000)
    load, calls = counted(data)
    blobs(tmp_path).get(Digest.of(data), load, Watch())

    # When another process wants it
    got = blobs(tmp_path).get(Digest.of(data), load, Watch())

    # Then it has it from there
    assert (got.data, got.size, list(got)) == (data, 1000, [data])
    assert len(calls) == 1


def test_one_reads_and_the_others_wait_for_it(tmp_path: Path) -> None:
    # Given several processes that want a blob while it comes
    data = os.urandom(1000)
    load, calls = counted(data)
    comes = threading.Event()

    def slowly() -> bytes:
        comes.wait(10)
        return load()

    with ThreadPoolExecutor(4) as pool:
        wanting = [pool.submit(blobs(tmp_path).get, Digest.of(data), slowly, Watch()) for _ in range(4)]

        # When it has come
        comes.set()

        # Then all have it, and it was read once
        assert [each.result().data for each in wanting] == [data] * 4
    assert len(calls) == 1


def test_what_fails_for_one_is_tried_by_the_next(tmp_path: Path) -> None:
    # Given a primary that fails the first time
    data = os.urandom(1000)
    load, _ = counted(data)

    def fails() -> bytes:
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        blobs(tmp_path).get(Digest.of(data), fails, Watch())

    # When somebody else wants it
    got = blobs(tmp_path).get(Digest.of(data), load, Watch())

    # Then nothing of the failure is in the way
    assert got.data == data
    assert files(tmp_path) == [Digest.of(data).replace(":", "-")]


def test_what_no_longer_hashes_right_is_read_anew(tmp_path: Path) -> None:
    # Given a file that a disk has spoiled
    data = os.urandom(1000)
    load, calls = counted(data)
    digest = Digest.of(data)
    blobs(tmp_path).get(digest, load, Watch())
    (tmp_path / "small" / digest.replace(":", "-")).write_bytes(b"spoiled")

    # When it is wanted
    got = blobs(tmp_path).get(digest, load, Watch())

    # Then it comes from the primary, and is kept
    assert got.data == data
    assert len(calls) == 2
    assert (tmp_path / "small" / digest.replace(":", "-")).read_bytes() == data


def test_who_waited_long_enough_reads_it_himself(tmp_path: Path) -> None:
    # Given somebody who does not come to an end
    data = os.urandom(1000)
    load, calls = counted(data)
    reading, over = threading.Event(), threading.Event()

    def stuck() -> bytes:
        reading.set()
        over.wait(10)
        return data

    with ThreadPoolExecutor(1) as pool:
        pool.submit(blobs(tmp_path).get, Digest.of(data), stuck, Watch())
        reading.wait(10)

        # When another has no more patience
        got = blobs(tmp_path, patience=0.05).get(Digest.of(data), load, Watch())
        over.set()

    # Then he has read it
    assert got.data == data
    assert len(calls) == 1


def test_who_is_told_to_stop_does_not_wait(tmp_path: Path) -> None:
    # Given somebody who reads it
    data = os.urandom(1000)
    reading, over = threading.Event(), threading.Event()

    def slowly() -> bytes:
        reading.set()
        over.wait(10)
        return data

    with ThreadPoolExecutor(1) as pool:
        pool.submit(blobs(tmp_path).get, Digest.of(data), slowly, Watch())
        reading.wait(10)

        # When another that waits is to stop
        with pytest.raises(Stopped):
            blobs(tmp_path).get(Digest.of(data), lambda: data, Watch(stop=lambda: True))
        over.set()


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    # Given more blobs than there is room for, the first of them used again
    kept = blobs(tmp_path, limit=32_000)
    datas = [os.urandom(1000) for _ in range(60)]
    for at, data in enumerate(datas):
        kept.get(Digest.of(data), counted(data)[0], Watch())
        path = tmp_path / "small" / Digest.of(data).replace(":", "-")
        os.utime(path, (at, at))
        if at == 20:
            os.utime(tmp_path / "small" / Digest.of(datas[0]).replace(":", "-"), (1000, 1000))

    # When all have come
    left = set(files(tmp_path))

    # Then the limit holds, the newest are there, and so is the one that was of use
    assert 25 <= len(left) <= 33
    assert Digest.of(datas[-1]).replace(":", "-") in left
    assert Digest.of(datas[0]).replace(":", "-") in left
    assert Digest.of(datas[1]).replace(":", "-") not in left


@pytest.mark.parametrize(("limit", "free"), [(500, PLENTY), (1_000_000, RESERVE)])
def test_without_room_it_is_given_and_not_kept(tmp_path: Path, limit: int, free: int) -> None:
    # Given no room, in the limit or on the disk
    data = os.urandom(1000)
    load, calls = counted(data)

    # When it is wanted twice
    for _ in range(2):
        assert blobs(tmp_path, limit=limit, free=free).get(Digest.of(data), load, Watch()).data == data

    # Then it was read twice, and nothing lies there
    assert len(calls) == 2
    assert files(tmp_path) == []
