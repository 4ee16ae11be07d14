from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.replication.spool.file import SpoolFile

SIZE = 10_000
DATA = os.urandom(SIZE)


@pytest.fixture
def partial(tmp_path: Path) -> Path:
    return tmp_path / "blob.partial"


@pytest.fixture
def final(tmp_path: Path) -> Path:
    return tmp_path / "blob"


@contextmanager
def opened(partial: Path, *, lock: bool = False) -> Iterator[SpoolFile]:
    """As another process has it: with a descriptor, and so a lock, of its own."""
    file = SpoolFile.open(partial, partial.with_name("blob"), SIZE, create=True)
    try:
        assert not lock or file.try_lock()
        yield file
    finally:
        file.release()


def put(file: SpoolFile, start: int, end: int) -> None:
    file.write(start, DATA[start:end])
    file.note(start, end)


def test_what_was_written_is_there_for_the_next(partial: Path) -> None:
    with opened(partial, lock=True) as file:
        put(file, 0, 1000)
        put(file, 5000, 6000)
    with opened(partial) as file:
        assert file.read(0, SIZE) == DATA[:1000]
        assert file.read(1000, 10) == b""
        assert file.read(5500, 100) == DATA[5500:5600]
        assert file.missing() == [(1000, 5000), (6000, SIZE)]
        assert not file.whole


def test_only_the_owner_reads_it(partial: Path) -> None:
    with opened(partial):
        assert partial.stat().st_mode & 0o777 == 0o600


def test_a_follower_sees_what_the_writer_enters(partial: Path) -> None:
    with opened(partial, lock=True) as writer, opened(partial) as follower:
        writer.write(0, DATA[:1000])
        follower.refresh()
        assert follower.reach(0) == 0
        writer.note(0, 1000)
        follower.refresh()
        assert follower.read(0, SIZE) == DATA[:1000]


def test_one_writes_until_it_is_gone(partial: Path) -> None:
    with opened(partial) as second:
        with opened(partial, lock=True):
            assert not second.try_lock()
        assert second.try_lock()


def test_a_whole_file_gets_its_final_name(partial: Path, final: Path) -> None:
    with opened(partial, lock=True) as writer, opened(partial) as follower:
        put(writer, 0, SIZE)
        writer.complete()
        follower.refresh()
        assert follower.whole
        assert follower.named
    assert final.read_bytes() == DATA
    assert not partial.exists()
    with opened(partial) as file:
        assert file.whole
        assert file.read(0, SIZE) == DATA


@pytest.mark.parametrize("damage", ["torn", "garbage", "zeros", "cut"])
def test_a_damaged_ledger_counts_as_far_as_it_is_good(partial: Path, damage: str) -> None:
    # Given a file whose ledger has two good entries and then what a crash left
    with opened(partial, lock=True) as file:
        put(file, 0, 1000)
        put(file, 1000, 2000)
        put(file, 2000, 3000)
    whole = partial.read_bytes()
    tail = {"torn": whole[-20:-7], "garbage": os.urandom(20), "zeros": bytes(4096), "cut": b""}[damage]
    partial.write_bytes(whole[:-20] + tail)

    # When somebody goes on with it, Then he has those two, and what he enters is found again
    with opened(partial, lock=True) as file:
        assert file.missing() == [(2000, SIZE)]
        put(file, 2000, 4000)
    with opened(partial) as file:
        assert file.missing() == [(4000, SIZE)]


def test_an_entry_of_nonsense_is_not_believed(partial: Path) -> None:
    with opened(partial, lock=True) as file:
        file.note(5, SIZE + 1)
    with opened(partial) as file:
        assert file.total == 0


def test_a_file_without_its_header_is_empty(partial: Path) -> None:
    with opened(partial, lock=True) as file:
        put(file, 0, 1000)
    raw = bytearray(partial.read_bytes())
    raw[SIZE : SIZE + 4] = b"\0\0\0\0"
    partial.write_bytes(raw)
    with opened(partial, lock=True) as file:
        assert file.total == 0
        put(file, 0, 500)
    with opened(partial) as file:
        assert file.reach(0) == 500


@pytest.mark.parametrize("length", [0, 1, SIZE - 1, SIZE + 5])
def test_a_final_file_of_another_length_is_filled_anew(partial: Path, final: Path, length: int) -> None:
    # Given what a power failure left under the final name
    final.write_bytes(os.urandom(length))

    # When it is opened, Then nothing of it counts, and it can be made whole
    with opened(partial, lock=True) as file:
        assert file.total == 0
        put(file, 0, SIZE)
        file.complete()
    assert final.read_bytes() == DATA


def test_a_discarded_file_is_gone_for_all(partial: Path) -> None:
    with opened(partial, lock=True) as writer, opened(partial) as follower:
        put(writer, 0, 1000)
        follower.refresh()
        writer.discard()
        writer.unlock()

        assert not partial.exists()
        assert not follower.named
        assert not follower.try_lock()
        with pytest.raises(OSError, match="spool"):
            follower.read(0, 10)


def test_a_discarded_file_does_not_take_a_new_one_with_it(partial: Path) -> None:
    with opened(partial, lock=True) as old:
        partial.unlink()
        with opened(partial, lock=True) as new:
            put(new, 0, 1000)
            old.discard()
            assert new.named
            assert new.read(0, 1000) == DATA[:1000]


def test_nothing_is_entered_once_the_lock_is_given_up(partial: Path) -> None:
    # Given a thread that is still at it when its file was let go of and has become whole
    with opened(partial, lock=True) as late:
        put(late, 0, 1000)
        late.unlock()
        with opened(partial, lock=True) as file:
            put(file, 0, SIZE)
            file.complete()

        # When it writes, Then the file stays what it was
        put(late, 1000, 2000)
    assert (partial.with_name("blob")).read_bytes() == DATA


def test_a_held_file_stays_open(partial: Path) -> None:
    file = SpoolFile.open(partial, partial.with_name("blob"), SIZE, create=True)
    file.hold()
    file.release()
    file.write(0, DATA)
    assert file.read(0, SIZE) == DATA
    file.release()
    with pytest.raises(OSError, match="descriptor"):
        file.read(0, SIZE)
