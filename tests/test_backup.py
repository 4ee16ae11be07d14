"""A backup is of one moment, while others write."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from app.backup import NoBackup, backup
from tests.support.deployment import Deployment, event, offline_environment

pytestmark = pytest.mark.timeout(60)


def test_who_writes_meanwhile_goes_on(tmp_path: Path) -> None:
    # Given a deployment that takes events in, two of each push
    state = Deployment.start(offline_environment(f"sqlite:///{tmp_path}/geo.db"))
    over, stored = threading.Event(), 0

    def write() -> None:
        nonlocal stored
        while not over.is_set():
            state.store(event(tag=f"a{stored}"), event(tag=f"b{stored}"))
            stored += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        # When backups are made of it
        before = stored
        for number in range(5):
            size = backup(tmp_path / f"backup-{number}.db")
            assert size == (tmp_path / f"backup-{number}.db").stat().st_size > 0
    finally:
        over.set()
        writer.join(20)
        state.close()
    assert stored > before

    # Then each has whole envelopes alone, as of its moment, and is a database as any other
    counts = []
    for number in range(5):
        with closing(sqlite3.connect(tmp_path / f"backup-{number}.db")) as copy:
            counts.append(copy.execute("SELECT count(*) FROM geo_events").fetchone()[0])
    assert [count % 2 for count in counts] == [0] * 5
    assert counts == sorted(counts)
    restored = Deployment.start(offline_environment(f"sqlite:///{tmp_path}/backup-4.db"))
    assert restored.mark().events == counts[4]
    restored.close()

    # And nothing else was left beside them
    assert not [each for each in tmp_path.iterdir() if each.name.startswith(".geo-backup-")]


def no_links(source: Path, target: Path) -> None:
    """As on FAT, exFAT and many mounted object stores."""
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a database, and a file system that has no links
    state = Deployment.start(offline_environment(f"sqlite:///{tmp_path}/geo.db"))
    state.store(event(tag="v1"))
    backups = tmp_path / "backups"
    backups.mkdir()
    monkeypatch.setattr(os, "link", no_links)

    # When a backup is made, Then it is there, and nothing beside it
    target = backups / "geo-backup.db"
    assert backup(target) == target.stat().st_size > 0
    with closing(sqlite3.connect(target)) as copy:
        assert copy.execute("SELECT count(*) FROM geo_events").fetchone() == (1,)
    assert [each.name for each in backups.iterdir()] == ["geo-backup.db"]

    # And where it cannot be put there at last, the name is nobody's
    monkeypatch.setattr(os, "replace", no_links)
    with pytest.raises(NoBackup, match="not permitted"):
        backup(backups / "another.db")
    assert [each.name for each in backups.iterdir()] == ["geo-backup.db"]
    state.close()


@pytest.mark.parametrize("links", [True, False])
def test_what_appears_meanwhile_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    # Given somebody who makes a file of that name while the backup is written
    state = Deployment.start(offline_environment(f"sqlite:///{tmp_path}/geo.db"))
    target = tmp_path / "geo-backup.db"
    monkeypatch.setattr("app.backup._check", lambda _: target.write_text("precious"))
    if not links:
        monkeypatch.setattr(os, "link", no_links)

    # When
    with pytest.raises(NoBackup, match="nothing is overwritten"):
        backup(target)

    # Then it is as it was
    assert target.read_text() == "precious"
    state.close()
