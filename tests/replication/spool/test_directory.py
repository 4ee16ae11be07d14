from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.registry import Digest
from app.replication.spool.directory import ABANDONED, STALE, SpoolDirectory

NOW = 1_900_000_000.0
KIB = 1024


def digest(number: int) -> str:
    return Digest.of(str(number).encode())


class Spooled:
    """A spool directory of 100 KiB, by a clock that stands, on a disk with as much room as `free` says."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.free = 10**9
        self.directory = SpoolDirectory(path, 100 * KIB, reserve=10 * KIB, free=lambda _: self.free, clock=lambda: NOW)

    def add(self, number: int, kib: int, *, whole: bool = True, age: float = 10.0) -> bool:
        """Put a blob there, used so many seconds ago; False if there was no room."""
        file = self.directory.file(digest(number), kib * KIB)
        if file is None:
            return False
        assert file.try_lock()
        if whole:
            file.write(0, os.urandom(kib * KIB))
            file.complete()
        file.release()
        os.utime(self._path(number, kib, whole), (NOW - age, NOW - age))
        return True

    def has(self, number: int, kib: int, *, whole: bool = True) -> bool:
        return self._path(number, kib, whole).exists()

    def _path(self, number: int, kib: int, whole: bool) -> Path:
        return self.path / f"{digest(number).replace(':', '-')}.{kib * KIB}{'' if whole else '.partial'}"


@pytest.fixture
def spooled(tmp_path: Path) -> Spooled:
    return Spooled(tmp_path / "var" / "spool")


def test_the_directory_is_made_for_us_alone(spooled: Spooled) -> None:
    assert spooled.add(1, 10)
    assert spooled.path.stat().st_mode & 0o777 == 0o700


def test_what_was_used_longest_ago_makes_room(spooled: Spooled) -> None:
    spooled.add(1, 30, age=100)
    spooled.add(2, 30, age=300)
    spooled.add(3, 30, age=200)

    assert spooled.add(4, 40)
    assert spooled.has(1, 30)
    assert not spooled.has(2, 30)
    assert spooled.has(3, 30)


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_every_digest_that_is_kept_makes_room(spooled: Spooled, algorithm: str) -> None:
    # Given a blob by a digest of any algorithm that can be computed
    kept = Digest.of(b"1", algorithm)
    file = spooled.directory.file(kept, 80 * KIB)
    assert file is not None
    assert file.try_lock()
    file.write(0, bytes(80 * KIB))
    file.complete()
    file.release()
    os.utime(spooled.path / f"{kept.replace(':', '-')}.{80 * KIB}", (NOW - 10, NOW - 10))

    # When there is need of its room, Then it goes
    assert spooled.add(2, 40)
    assert [path.name for path in spooled.path.glob("sha*")] == [f"{digest(2).replace(':', '-')}.{40 * KIB}"]


def test_use_is_noted(spooled: Spooled) -> None:
    spooled.add(1, 40, age=300)
    spooled.add(2, 40, age=200)
    found = spooled.directory.file(digest(1), 40 * KIB)
    assert found is not None
    found.release()

    assert spooled.add(3, 40)
    assert spooled.has(1, 40)
    assert not spooled.has(2, 40)


def test_a_blob_beyond_the_limit_costs_the_others_nothing(spooled: Spooled) -> None:
    spooled.add(1, 90)
    assert not spooled.add(2, 101)
    assert spooled.has(1, 90)


def test_room_is_kept_for_what_is_not_there_yet(spooled: Spooled) -> None:
    # Given a transfer under way that has nothing yet
    file = spooled.directory.file(digest(1), 80 * KIB)
    assert file is not None
    assert file.try_lock()

    # Then its room is taken, and the file is nobody's to remove however old it is
    os.utime(spooled.path / f"{digest(1).replace(':', '-')}.{80 * KIB}.partial", (0, 0))
    assert not spooled.add(2, 30)
    assert spooled.add(3, 20)
    file.release()


def test_what_a_failed_transfer_left_goes_when_its_room_is_needed(spooled: Spooled) -> None:
    spooled.add(1, 40, whole=False, age=ABANDONED - 1)
    spooled.add(2, 40, whole=False, age=ABANDONED + 1)

    assert spooled.add(3, 60)
    assert spooled.has(1, 40, whole=False)
    assert not spooled.has(2, 40, whole=False)
    # And the younger one stays, since it may soon go on.
    assert not spooled.add(4, 70)
    assert spooled.has(1, 40, whole=False)


def test_what_is_stale_goes_anyway(spooled: Spooled) -> None:
    spooled.add(1, 10, whole=False, age=STALE + 1)
    spooled.add(2, 10, whole=False, age=STALE - 1)
    spooled.add(3, 10, age=STALE + 1)

    assert spooled.add(4, 10)
    assert not spooled.has(1, 10, whole=False)
    assert spooled.has(2, 10, whole=False)
    assert spooled.has(3, 10)


def test_some_of_the_disk_is_left_free(spooled: Spooled) -> None:
    spooled.free = 50 * KIB
    assert not spooled.add(1, 41)
    assert spooled.add(2, 40)


def test_a_full_disk_is_relieved_of_old_blobs(spooled: Spooled) -> None:
    spooled.add(1, 40)
    spooled.free = 30 * KIB
    assert spooled.add(2, 40)
    assert not spooled.has(1, 40)


def test_other_files_are_left_alone(spooled: Spooled) -> None:
    spooled.add(1, 10)
    (spooled.path / "README").write_bytes(b"x" * 200 * KIB)
    (spooled.path / "sha256-abc.5.partial").write_bytes(b"x")
    os.utime(spooled.path / "sha256-abc.5.partial", (0, 0))

    assert spooled.add(2, 90)
    assert {"README", "sha256-abc.5.partial"} <= {path.name for path in spooled.path.iterdir()}


def test_a_directory_that_cannot_be_made_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        SpoolDirectory(tmp_path / "file" / "spool", 10**6).file(digest(1), 10)


def test_a_link_is_not_followed(spooled: Spooled, tmp_path: Path) -> None:
    spooled.path.mkdir(parents=True)
    (tmp_path / "victim").write_bytes(b"precious")
    (spooled.path / f"{digest(1).replace(':', '-')}.{10 * KIB}").symlink_to(tmp_path / "victim")

    with pytest.raises(OSError, match="symbolic links"):
        spooled.directory.file(digest(1), 10 * KIB)
    assert (tmp_path / "victim").read_bytes() == b"precious"
