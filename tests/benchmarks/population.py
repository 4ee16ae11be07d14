"""A deployment's database as it is after years: filled by SQL, for what looks at many rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.database import connection, database, is_sqlite
from app.models import Site
from app.retention import KEEP_EVENTS, KEEP_HISTORY

#: References of each repository.
TAGS = 100

#: Of a hundred repositories one waits, one fails, and one holds something that is not ours; and of a hundred tags in
#: each of these one does.
SHARE = 100

#: A reference of ten has an event in the log and an attempt in its history.
REMEMBERED = 10

#: Rows in one statement.
_CHUNK = 100_000


@dataclass(frozen=True, slots=True)
class Population:
    """What the database holds."""

    repositories: int

    @property
    def references(self) -> int:
        return self.repositories * TAGS

    def fill(self, site: Site) -> None:
        """Make the rows of the site; the database is migrated and empty."""
        with connection():
            self._repositories()
            self._registries(site)
            for first in range(0, self.references, _CHUNK):
                end = min(self.references, first + _CHUNK)
                self._references(first, end)
                self._memory(first, end)
            database.execute_sql("UPDATE geo_cursors SET position = (SELECT max(id) FROM geo_events)")
            Site.update(reconcile_requested_at=None, reconcile_started_at=_NOW).where(Site.id == site.id).execute()
            # As the database itself does it in time.
            database.execute_sql("ANALYZE")
        if not is_sqlite():
            with connection():
                database.obj.connection().autocommit = True
                database.execute_sql("VACUUM ANALYZE")
                database.obj.connection().autocommit = False

    def all_wait(self) -> None:
        """Let every repository wait, as at the beginning of a first backfill."""
        with connection():
            database.execute_sql("UPDATE container_repository_registry SET state = 0, priority = 10, full_sync = true")
            database.execute_sql("ANALYZE")

    def _repositories(self) -> None:
        _insert(
            "container_repositories (path, created_at)",
            f"'group-' || (n / 100) || '/project-' || n, '{_text(_NOW)}'",
            0,
            self.repositories,
        )

    def _registries(self, site: Site) -> None:
        numbers = {
            "state": f"CASE n % {SHARE} WHEN 1 THEN 0 WHEN 2 THEN 3 ELSE 2 END",
            "retry_count": f"CASE n % {SHARE} WHEN 2 THEN 1 ELSE 0 END",
            "last_sync_failure": f"CASE n % {SHARE} WHEN 2 THEN 'the registry does not answer' END",
            "retry_at": _instant(f"CASE n % {SHARE} WHEN 2 THEN '{_text(_NOW + timedelta(days=1))}' END"),
            "pending_since": _instant(f"CASE WHEN n % {SHARE} IN (1, 2) THEN '{_text(_NOW)}' END"),
            "generation": "1",
            "full_sync": "false",
            "full_sync_generation": "0",
            "full_sync_requested_at": _instant(f"'{_text(_NOW + timedelta(seconds=1))}'"),
            "priority": "0",
            "lease_token": "1",
            "attempts": "0",
            "in_scope": "true",
            "verification_state": f"CASE n % {SHARE} WHEN 1 THEN 0 WHEN 3 THEN 3 ELSE 2 END",
            "verification_checksum": _digest("n"),
            "checksum_mismatch": "false",
            "verification_failure": f"CASE n % {SHARE} WHEN 3 THEN 'a layer is missing' END",
            "verification_retry_count": "0",
            "verification_full": "false",
            "verification_lease_token": "0",
            "verification_attempts": "0",
            "last_synced_at": _instant(f"'{_text(_NOW)}'"),
            "created_at": _instant(f"'{_text(_NOW)}'"),
        }
        _insert(
            f"container_repository_registry (site_id, container_repository_id, {', '.join(numbers)})",
            f"{site.id}, n + 1, {', '.join(numbers.values())}",
            0,
            self.repositories,
        )

    def _references(self, first: int, end: int) -> None:
        """One after the other as pushes come: those of one repository lie far apart."""
        repository, tag = f"(n % {self.repositories})", f"(n / {self.repositories})"
        waits, fails, drifts = (f"({repository} % {SHARE} = {kind} AND {tag} = 0)" for kind in (1, 2, 3))
        values = {
            "registry_id": f"{repository} + 1",
            "name": f"'v' || {tag}",
            "is_tag": "true",
            "in_scope": "true",
            "state": f"CASE WHEN {waits} THEN 0 WHEN {fails} THEN 3 ELSE 2 END",
            "generation": "1",
            "desired_digest": _digest("n"),
            "observed_digest": f"CASE WHEN {waits} OR {fails} THEN NULL ELSE {_digest('n')} END",
            "media_type": "'application/vnd.oci.image.manifest.v1+json'",
            "drift_since": _instant(f"CASE WHEN {drifts} THEN '{_text(_NOW)}' END"),
            "pending_since": _instant(f"CASE WHEN {waits} OR {fails} THEN '{_text(_NOW)}' END"),
            "trigger": "'event'",
            "retry_count": "0",
            "retry_at": _instant(f"CASE WHEN {fails} THEN '{_text(_NOW + timedelta(days=1))}' END"),
            "synced_at": _instant(f"'{_text(_NOW)}'"),
            "verified_digest": _digest("n"),
            "verified_at": _instant(f"'{_text(_NOW)}'"),
            "created_at": _instant(f"'{_text(_NOW)}'"),
        }
        _insert(f"container_repository_references ({', '.join(values)})", ", ".join(values.values()), first, end)

    def _memory(self, first: int, end: int) -> None:
        """The event log, and the history of attempts."""
        first, end = first // REMEMBERED, end // REMEMBERED
        repository, tag = f"(n % {self.repositories})", f"(n / {self.repositories})"
        _insert(
            "geo_events (event_key, replicable_name, event_name, container_repository_id, action, tag, digest,"
            " occurred_at, created_at)",
            f"{_digest('n')}, 'container_repository', 'updated', {repository} + 1, 'push', 'v' || {tag},"
            f" {_digest('n')}, {self._moment(KEEP_EVENTS)}, {self._moment(KEEP_EVENTS)}",
            first,
            end,
        )
        _insert(
            'sync_attempts (registry_id, reference, action, "trigger", outcome, new_digest, bytes_copied, worker,'
            " started_at, finished_at)",
            f"{repository} + 1, 'v' || {tag}, 'copy', 'event', 'synced', {_digest('n')}, 1000000, 'worker:1',"
            f" {self._moment(KEEP_HISTORY)}, {self._moment(KEEP_HISTORY)}",
            first,
            end,
        )

    def _moment(self, kept: timedelta) -> str:
        """When the n-th of what is remembered happened: evenly over the time for which such are kept."""
        every = kept.total_seconds() / (self.references // REMEMBERED)
        begun = _text(_NOW - kept)
        if is_sqlite():
            return f"strftime('%Y-%m-%d %H:%M:%f', '{begun}', '+' || (n * {every}) || ' seconds') || '000'"
        return f"'{begun}'::timestamp + n * {every} * interval '1 second'"


_NOW = datetime.now(UTC).replace(microsecond=123456)


def _insert(into: str, values: str, first: int, end: int) -> None:
    if is_sqlite():
        numbers = (
            f"WITH RECURSIVE numbers(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM numbers WHERE n < {end - 1})"
        )
        database.execute_sql(f"INSERT INTO {into} {numbers} SELECT {values} FROM numbers")
    else:
        statement = f"INSERT INTO {into} SELECT {values} FROM generate_series({first}, {end - 1}) AS n"
        database.execute_sql(statement.replace("%", "%%"))


def _digest(number: str) -> str:
    """A digest that looks like any other, of the number."""
    if is_sqlite():
        return f"printf('sha256:%016x%016x%032x', {number} * 2654435761 % 4294967296, {number}, {number} * 40503)"
    return f"'sha256:' || encode(sha256(({number})::text::bytea), 'hex')"


def _instant(text: str) -> str:
    return text if is_sqlite() else f"({text})::timestamp"


def _text(instant: datetime) -> str:
    return instant.replace(tzinfo=None).isoformat(" ", "microseconds")
