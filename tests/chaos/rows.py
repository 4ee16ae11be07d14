"""The product's tables, read by plain SQL: what no answer of the product tells, and what is asked for often."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import psycopg

from tests.chaos.checker import Lease


class Rows:
    """`Rows(url)` opens a connection for each question: the database may have been killed since the last."""

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def _now(self) -> str:
        # As the product keeps times: text in SQLite, timestamps in PostgreSQL.
        if self.url.startswith("sqlite"):
            return "strftime('%Y-%m-%d %H:%M:%f', 'now')"
        return "(now() AT TIME ZONE 'UTC')"

    def ask(self, statement: str) -> Sequence[tuple[Any, ...]]:
        """All rows of a statement that changes nothing."""
        if self.url.startswith("sqlite"):
            path = self.url.partition("sqlite:///")[2]
            with closing(sqlite3.connect(path, timeout=30)) as database:
                return database.execute(statement).fetchall()
        with psycopg.connect(self.url, autocommit=True, connect_timeout=10) as connection:
            return connection.execute(statement.encode()).fetchall()

    def leases(self) -> list[Lease]:
        """Who holds a repository, to sync or to verify it."""
        return [*self._leases("lease"), *self._leases("verification_lease")]

    def named(self) -> list[Lease]:
        """Who holds a right that goes by a name: the scheduler's, a cursor's."""
        rows = self.ask(f"SELECT name, owner, token, expires_at <= {self._now} FROM geo_leases WHERE owner IS NOT NULL")
        return [Lease(str(name), str(owner), int(token), bool(expired)) for name, owner, token, expired in rows]

    def _leases(self, kind: str) -> Iterator[Lease]:
        rows = self.ask(
            f"SELECT c.path, r.{kind}_owner, r.{kind}_token, r.{kind}_expires_at <= {self._now}"
            " FROM container_repository_registry r JOIN container_repositories c ON c.id = r.container_repository_id"
            f" WHERE r.{kind}_owner IS NOT NULL"
        )
        for path, owner, token, expired in rows:
            yield Lease(f"{path} ({kind})", str(owner), int(token), bool(expired))

    def unread(self) -> int:
        """How many events no site has read yet, at least."""
        return int(
            self.ask("SELECT count(*) FROM geo_events WHERE id > (SELECT coalesce(min(position), 0) FROM geo_cursors)")[
                0
            ][0]
        )

    def waiting(self) -> int:
        """How many repositories, or tags in them, are not in order by the product's own account."""
        rows = self.ask("SELECT count(*) FROM container_repository_registry WHERE in_scope AND state <> 2")
        tags = self.ask("SELECT count(*) FROM container_repository_references WHERE is_tag AND in_scope AND state <> 2")
        return int(rows[0][0]) + int(tags[0][0])

    def reconciles(self) -> int:
        """How many looks at everything are asked for and not done."""
        return int(self.ask("SELECT count(*) FROM geo_sites WHERE reconcile_requested_at IS NOT NULL")[0][0])

    def event_keys(self) -> set[str]:
        """The identities of all events in the log."""
        return {str(row[0]) for row in self.ask("SELECT event_key FROM geo_events")}

    def states(self) -> dict[int, int]:
        """How many repositories are in each state."""
        return dict(self.ask("SELECT state, count(*) FROM container_repository_registry GROUP BY state"))

    def events(self) -> int:
        """How many events the log holds."""
        return int(self.ask("SELECT count(*) FROM geo_events")[0][0])
