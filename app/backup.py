"""A backup of the embedded database: one file, whole, made while everything runs."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from pathlib import Path

from app.database import connection, database, is_sqlite


class NoBackup(Exception):
    """None was made, and nothing was overwritten; the message says why and what to do."""


def backup(target: Path) -> int:
    """Write the state as it is at this moment to `target`, readable by its owner alone; return its size in bytes.

    Nobody has to stop for it: who writes meanwhile goes on, and is not in it. It is checked before it is there.

    Raises:
        NoBackup: when `target` exists or cannot be written, or the database is none that is a file.
    """
    if not is_sqlite():
        raise NoBackup("the database is PostgreSQL, which has its own: pg_dump --format=custom --file=FILE")
    # A dangling link counts: to write through it would put the state who knows where.
    if os.path.lexists(target):
        raise NoBackup(f"{target} exists, and nothing is overwritten: name another file, or remove that one")
    try:
        # In the same directory, so that it is there as a whole or not at all.
        with tempfile.TemporaryDirectory(prefix=".geo-backup-", dir=target.parent) as staging:
            draft = Path(staging, target.name)
            os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            with connection():
                # Not a copy of the file, which is three files while anything runs; it may be written to meanwhile.
                database.execute_sql("VACUUM INTO ?", (str(draft),))
            _check(draft)
            _sync(draft)
            _name(draft, target)
        _sync(target.parent)
        return target.stat().st_size
    except FileExistsError:
        raise NoBackup(f"{target} has appeared meanwhile, and nothing is overwritten") from None
    except OSError as error:
        raise NoBackup(f"{target} cannot be written: {error.strerror}") from error


def _check(path: Path) -> None:
    """A copy of what is damaged is no backup."""
    with contextlib.closing(sqlite3.connect(path)) as copy:
        found = copy.execute("PRAGMA integrity_check").fetchone()[0]
    if found != "ok":
        raise NoBackup(f"the database is damaged, and no backup was made of it ({found}); keep the one before")


def _name(draft: Path, target: Path) -> None:
    """Give the file the name that nobody else has."""
    try:
        os.link(draft, target)
    except FileExistsError:
        raise
    except OSError:
        # FAT, exFAT and many mounted object stores have no links. An empty file takes the name, and the whole one its
        # place: a copy could be cut short.
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            draft.replace(target)
        except BaseException:
            target.unlink(missing_ok=True)
            raise


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
