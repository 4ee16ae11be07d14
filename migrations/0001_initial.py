"""The first schema. Frozen: the models may move on, this file does not."""

from __future__ import annotations

from typing import Any

import peewee
from peewee import (
    AutoField,
    BigAutoField,
    BigIntegerField,
    BooleanField,
    CharField,
    CompositeKey,
    DateTimeField,
    DoubleField,
    ForeignKeyField,
    IntegerField,
    JSONField,
    TextField,
)
from playhouse.sqlite_ext import AutoIncrementField


def tables(db: peewee.Database) -> list[type[peewee.Model]]:
    sqlite = isinstance(db, peewee.SqliteDatabase)
    #: SQLite's plain row ids begin again at 1 once all rows are pruned, and a cursor would skip what follows.
    never_repeats = AutoIncrementField if sqlite else BigAutoField

    class Base(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class Site(Base):
        id = AutoField()
        name = CharField(unique=True)
        primary = BooleanField()
        url = CharField()
        enabled = BooleanField()
        retired = BooleanField()
        remote = BooleanField()
        token_hash = CharField(null=True, index=True)
        former_token_hash = CharField(null=True, index=True)
        former_token_expires_at = DateTimeField(null=True)
        deletion = CharField()
        protected_tags = TextField()
        verification = CharField(null=True)
        repositories = TextField()
        tags = TextField()
        capacity = IntegerField(null=True)
        granted_repositories = TextField()
        granted_tags = TextField()
        granted_capacity = IntegerField(null=True)
        granted_deletion = CharField(null=True)
        granted_protected_tags = TextField()
        granted_verification = CharField(null=True)
        deletions_released_at = DateTimeField(null=True)
        deletions_held_because = TextField(null=True)
        promoted_at = DateTimeField(null=True)
        given_up_at = DateTimeField(null=True)
        held_until = DateTimeField(null=True)
        readdressed = BooleanField()
        reconcile_requested_at = DateTimeField(null=True)
        reconcile_reason = TextField(null=True)
        reconcile_started_at = DateTimeField(null=True)
        reconciled_at = DateTimeField(null=True)
        created_at = DateTimeField()
        updated_at = DateTimeField()

        class Meta:
            table_name = "geo_sites"

    class ContainerRepository(Base):
        id = AutoField()
        path = CharField(unique=True)
        created_at = DateTimeField()

        class Meta:
            table_name = "container_repositories"

    class Event(Base):
        id = never_repeats()
        event_key = CharField(unique=True)
        replicable_name = CharField(index=True)
        event_name = CharField()
        container_repository = ForeignKeyField(ContainerRepository, on_delete="CASCADE")
        action = CharField()
        tag = CharField(null=True)
        digest = CharField(null=True)
        media_type = CharField(null=True)
        occurred_at = DateTimeField()
        actor = CharField(null=True)
        user_agent = CharField(null=True)
        source_instance_id = CharField(null=True)
        correlation_id = CharField(null=True)
        created_at = DateTimeField(index=True)

        class Meta:
            table_name = "geo_events"

    class QuarantinedEvent(Base):
        id = never_repeats()
        dialect = CharField()
        reason = CharField()
        content_type = CharField(null=True)
        remote_address = CharField(null=True)
        size = BigIntegerField()
        excerpt = TextField()
        occurrences = IntegerField()
        fingerprint = CharField(unique=True)
        created_at = DateTimeField(index=True)
        last_seen_at = DateTimeField()

        class Meta:
            table_name = "geo_quarantined_events"

    class ContainerRepositoryRegistry(Base):
        id = AutoField()
        site = ForeignKeyField(Site, on_delete="CASCADE")
        container_repository = ForeignKeyField(ContainerRepository, on_delete="CASCADE")
        state = IntegerField()
        retry_count = IntegerField()
        last_sync_failure = TextField(null=True)
        retry_at = DateTimeField(null=True)
        last_synced_at = DateTimeField(null=True)
        created_at = DateTimeField()
        generation = BigIntegerField()
        full_sync = BooleanField()
        full_sync_generation = BigIntegerField()
        full_sync_requested_at = DateTimeField(null=True)
        priority = IntegerField()
        pending_since = DateTimeField(null=True)
        lease_owner = CharField(null=True)
        lease_token = BigIntegerField()
        lease_expires_at = DateTimeField(null=True)
        attempts = IntegerField()
        started_at = DateTimeField(null=True)
        in_scope = BooleanField()
        verification_state = IntegerField()
        verification_checksum = CharField(null=True)
        verification_checksum_mismatched = CharField(null=True)
        checksum_mismatch = BooleanField()
        verification_failure = TextField(null=True)
        verification_failure_reason = CharField(null=True)
        verification_retry_count = IntegerField()
        verification_retry_at = DateTimeField(null=True)
        verification_started_at = DateTimeField(null=True)
        verified_at = DateTimeField(null=True)
        verification_level = CharField(null=True)
        fully_verified_at = DateTimeField(null=True)
        verification_full = BooleanField()
        verification_requested_at = DateTimeField(null=True)
        verification_requested_level = CharField(null=True)
        verification_lease_owner = CharField(null=True)
        verification_lease_token = BigIntegerField()
        verification_lease_expires_at = DateTimeField(null=True)
        verification_attempts = IntegerField()

        class Meta:
            table_name = "container_repository_registry"
            indexes = (
                (("site", "container_repository"), True),
                (("state", "retry_at"), False),
                (("verification_state", "verification_retry_at"), False),
                (("site", "in_scope", "state", "full_sync", "full_sync_requested_at"), False),
                (("site", "last_synced_at"), False),
            )

    class Reference(Base):
        id = AutoField()
        registry = ForeignKeyField(ContainerRepositoryRegistry, on_delete="CASCADE")
        name = CharField()
        is_tag = BooleanField()
        in_scope = BooleanField()
        state = IntegerField()
        generation = BigIntegerField()
        desired_digest = CharField(null=True)
        observed_digest = CharField(null=True)
        media_type = CharField(null=True)
        delete_witness = CharField(null=True)
        throwaway_digest = CharField(null=True)
        drift_digest = CharField(null=True)
        drift_since = DateTimeField(null=True)
        deletion_reserved_at = DateTimeField(null=True, index=True)
        deletion_released_at = DateTimeField(null=True)
        event_id = BigIntegerField(null=True)
        correlation_id = CharField(null=True)
        event_at = DateTimeField(null=True)
        pending_since = DateTimeField(null=True)
        trigger = CharField()
        retry_count = IntegerField()
        retry_at = DateTimeField(null=True)
        failure = TextField(null=True)
        failure_reason = CharField(null=True)
        synced_at = DateTimeField(null=True)
        verified_digest = CharField(null=True)
        verified_at = DateTimeField(null=True)
        verification_level = CharField(null=True)
        created_at = DateTimeField()

        class Meta:
            table_name = "container_repository_references"
            indexes = ((("registry", "name"), True), (("registry", "state", "retry_at"), False))

    class ReferenceCount(Base):
        id = BigAutoField()
        site_id = IntegerField()
        is_tag = BooleanField()
        in_scope = BooleanField()
        state = IntegerField()
        drift = BooleanField()
        number = BigIntegerField()

        class Meta:
            table_name = "geo_reference_counts"

    class RepositoryCount(Base):
        id = BigAutoField()
        site_id = IntegerField()
        in_scope = BooleanField()
        state = IntegerField()
        verification_state = IntegerField()
        checksummed = BooleanField()
        untold = BooleanField()
        number = BigIntegerField()

        class Meta:
            table_name = "geo_repository_counts"

    class Handover(Base):
        registry = ForeignKeyField(ContainerRepositoryRegistry, on_delete="CASCADE")
        name = CharField()
        digest = CharField()

        class Meta:
            table_name = "geo_handovers"
            primary_key = CompositeKey("registry", "name")

    class SyncAttempt(Base):
        id = BigAutoField()
        registry = ForeignKeyField(ContainerRepositoryRegistry, on_delete="CASCADE")
        reference = CharField()
        action = CharField()
        trigger = CharField()
        event_id = BigIntegerField(null=True)
        outcome = CharField()
        reason = CharField(null=True)
        message = TextField(null=True)
        old_digest = CharField(null=True)
        new_digest = CharField(null=True)
        bytes_copied = BigIntegerField()
        lag_seconds = DoubleField(null=True)
        worker = CharField()
        started_at = DateTimeField()
        finished_at = DateTimeField(index=True)

        class Meta:
            table_name = "sync_attempts"
            indexes = ((("registry", "reference"), False),)

    class Cursor(Base):
        site = ForeignKeyField(Site, primary_key=True, on_delete="CASCADE")
        position = BigIntegerField()
        gaps = JSONField()
        event_at = DateTimeField(null=True)
        updated_at = DateTimeField()

        class Meta:
            table_name = "geo_cursors"

    class LogState(Base):
        id = IntegerField(primary_key=True)
        identity = CharField()
        pruned_to = BigIntegerField()
        fenced_to = BigIntegerField()
        fence = BigIntegerField()

        class Meta:
            table_name = "geo_event_log_state"

    class Follower(Base):
        site = ForeignKeyField(Site, primary_key=True, on_delete="CASCADE")
        position = TextField(null=True)
        source_last_event_id = BigIntegerField()
        last_event_id = BigIntegerField()
        paused = BooleanField()
        reconcile_seen = CharField(null=True)
        heard_at = DateTimeField(null=True)
        failing_since = DateTimeField(null=True)
        failure = TextField(null=True)
        reset_at = DateTimeField(null=True)
        reset_reason = TextField(null=True)
        reported_at = DateTimeField(null=True)
        report_failure = TextField(null=True)
        created_at = DateTimeField()

        class Meta:
            table_name = "geo_followers"

    class SiteReport(Base):
        site = ForeignKeyField(Site, primary_key=True, on_delete="CASCADE")
        document = JSONField()
        received_at = DateTimeField()

        class Meta:
            table_name = "geo_site_reports"

    class CatalogWalk(Base):
        site = ForeignKeyField(Site, primary_key=True, on_delete="CASCADE")
        priority = IntegerField()
        started_at = DateTimeField()
        marker = TextField(null=True)
        marked = IntegerField()
        updated_at = DateTimeField()

        class Meta:
            table_name = "geo_catalog_walks"

    class RegistryInstance(Base):
        instance_id = CharField(primary_key=True)
        first_seen_at = DateTimeField()
        last_seen_at = DateTimeField(index=True)
        reconcile_owed = BooleanField()
        reconcile_asked_at = DateTimeField(null=True)

        class Meta:
            table_name = "geo_registry_instances"

    class Lease(Base):
        name = CharField(primary_key=True)
        owner = CharField(null=True)
        token = BigIntegerField()
        expires_at = DateTimeField()

        class Meta:
            table_name = "geo_leases"

    class MetricValue(Base):
        name = CharField()
        labels = CharField()
        bucket = CharField()
        value = DoubleField()

        class Meta:
            table_name = "geo_metric_values"
            primary_key = CompositeKey("name", "labels", "bucket")

    return [
        Site,
        ContainerRepository,
        Event,
        QuarantinedEvent,
        ContainerRepositoryRegistry,
        Reference,
        ReferenceCount,
        Handover,
        RepositoryCount,
        SyncAttempt,
        Cursor,
        LogState,
        Follower,
        SiteReport,
        CatalogWalk,
        RegistryInstance,
        Lease,
        MetricValue,
    ]


#: What waits is found without looking at what does not, in the order in which it is taken up.
WAITING = (
    """
    CREATE INDEX container_repository_references_waiting ON container_repository_references (pending_since)
    WHERE pending_since IS NOT NULL
    """,
    """
    CREATE INDEX container_repository_references_held ON container_repository_references (registry_id)
    WHERE failure_reason = 'deletion_brake'
    """,
    """
    CREATE INDEX container_repository_registry_unsettled
    ON container_repository_registry (site_id, priority, pending_since{nulls_first}, id, retry_at)
    WHERE in_scope AND state <> 2
    """,
    """
    CREATE INDEX container_repository_registry_unverified
    ON container_repository_registry (
        site_id, verification_full, verification_requested_at{nulls_first}, id, verification_retry_at
    )
    WHERE in_scope AND state >= 2 AND verification_state <> 2 AND verification_state <> 4
    """,
)

#: References go before the row that they belong to: their site has to be known while they are taken off its counts.
SQLITE = (
    """
    CREATE TRIGGER geo_references_made AFTER INSERT ON container_repository_references BEGIN
        INSERT INTO geo_reference_counts (site_id, is_tag, in_scope, state, drift, number)
        SELECT site_id, NEW.is_tag, NEW.in_scope, NEW.state, NEW.drift_since IS NOT NULL, 1
        FROM container_repository_registry WHERE id = NEW.registry_id;
    END
    """,
    """
    CREATE TRIGGER geo_references_gone AFTER DELETE ON container_repository_references BEGIN
        INSERT INTO geo_reference_counts (site_id, is_tag, in_scope, state, drift, number)
        SELECT site_id, OLD.is_tag, OLD.in_scope, OLD.state, OLD.drift_since IS NOT NULL, -1
        FROM container_repository_registry WHERE id = OLD.registry_id;
    END
    """,
    """
    CREATE TRIGGER geo_references_changed
    AFTER UPDATE OF registry_id, is_tag, in_scope, state, drift_since ON container_repository_references
    WHEN (OLD.registry_id, OLD.is_tag, OLD.in_scope, OLD.state, OLD.drift_since IS NOT NULL)
        <> (NEW.registry_id, NEW.is_tag, NEW.in_scope, NEW.state, NEW.drift_since IS NOT NULL)
    BEGIN
        INSERT INTO geo_reference_counts (site_id, is_tag, in_scope, state, drift, number)
        SELECT site_id, OLD.is_tag, OLD.in_scope, OLD.state, OLD.drift_since IS NOT NULL, -1
        FROM container_repository_registry WHERE id = OLD.registry_id
        UNION ALL
        SELECT site_id, NEW.is_tag, NEW.in_scope, NEW.state, NEW.drift_since IS NOT NULL, 1
        FROM container_repository_registry WHERE id = NEW.registry_id;
    END
    """,
    """
    CREATE TRIGGER geo_reference_counts_many AFTER INSERT ON geo_reference_counts WHEN NEW.id % 256 = 0 BEGIN
        INSERT INTO geo_reference_counts (site_id, is_tag, in_scope, state, drift, number)
        SELECT site_id, is_tag, in_scope, state, drift, sum(number) FROM geo_reference_counts WHERE id <= NEW.id
        GROUP BY site_id, is_tag, in_scope, state, drift HAVING sum(number) <> 0;
        DELETE FROM geo_reference_counts WHERE id <= NEW.id;
    END
    """,
    """
    CREATE TRIGGER geo_registry_goes BEFORE DELETE ON container_repository_registry BEGIN
        DELETE FROM container_repository_references WHERE registry_id = OLD.id;
    END
    """,
    """
    CREATE TRIGGER geo_repositories_made AFTER INSERT ON container_repository_registry BEGIN
        INSERT INTO geo_repository_counts
            (site_id, in_scope, state, verification_state, checksummed, untold, number)
        VALUES (
            NEW.site_id, NEW.in_scope, NEW.state, NEW.verification_state, NEW.verification_checksum IS NOT NULL,
            coalesce(substr(NEW.verification_failure_reason, 1, 8) = 'primary_', 0), 1
        );
    END
    """,
    """
    CREATE TRIGGER geo_repositories_gone AFTER DELETE ON container_repository_registry BEGIN
        INSERT INTO geo_repository_counts
            (site_id, in_scope, state, verification_state, checksummed, untold, number)
        VALUES (
            OLD.site_id, OLD.in_scope, OLD.state, OLD.verification_state, OLD.verification_checksum IS NOT NULL,
            coalesce(substr(OLD.verification_failure_reason, 1, 8) = 'primary_', 0), -1
        );
    END
    """,
    """
    CREATE TRIGGER geo_repositories_changed
    AFTER UPDATE OF site_id, in_scope, state, verification_state, verification_checksum, verification_failure_reason
    ON container_repository_registry
    WHEN (
        OLD.site_id, OLD.in_scope, OLD.state, OLD.verification_state, OLD.verification_checksum IS NOT NULL,
        coalesce(substr(OLD.verification_failure_reason, 1, 8) = 'primary_', 0)
    ) <> (
        NEW.site_id, NEW.in_scope, NEW.state, NEW.verification_state, NEW.verification_checksum IS NOT NULL,
        coalesce(substr(NEW.verification_failure_reason, 1, 8) = 'primary_', 0)
    )
    BEGIN
        INSERT INTO geo_repository_counts
            (site_id, in_scope, state, verification_state, checksummed, untold, number)
        VALUES (
            OLD.site_id, OLD.in_scope, OLD.state, OLD.verification_state, OLD.verification_checksum IS NOT NULL,
            coalesce(substr(OLD.verification_failure_reason, 1, 8) = 'primary_', 0), -1
        ), (
            NEW.site_id, NEW.in_scope, NEW.state, NEW.verification_state, NEW.verification_checksum IS NOT NULL,
            coalesce(substr(NEW.verification_failure_reason, 1, 8) = 'primary_', 0), 1
        );
    END
    """,
    """
    CREATE TRIGGER geo_repository_counts_many AFTER INSERT ON geo_repository_counts WHEN NEW.id % 256 = 0 BEGIN
        INSERT INTO geo_repository_counts
            (site_id, in_scope, state, verification_state, checksummed, untold, number)
        SELECT site_id, in_scope, state, verification_state, checksummed, untold, sum(number)
        FROM geo_repository_counts WHERE id <= NEW.id
        GROUP BY site_id, in_scope, state, verification_state, checksummed, untold HAVING sum(number) <> 0;
        DELETE FROM geo_repository_counts WHERE id <= NEW.id;
    END
    """,
)

#: By statement, not by row: a listing makes hundreds of references at once.
POSTGRESQL = (
    """
    CREATE FUNCTION geo_count_references() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'INSERT' THEN
            INSERT INTO geo_reference_counts (site_id, is_tag, in_scope, state, drift, number)
            SELECT r.site_id, c.is_tag, c.in_scope, c.state, c.drift_since IS NOT NULL, count(*)
            FROM made c JOIN container_repository_registry r ON r.id = c.registry_id GROUP BY 1, 2, 3, 4, 5;
        ELSIF TG_OP = 'DELETE' THEN
            INSERT INTO geo_reference_counts (site_id, is_tag, in_scope, state, drift, number)
            SELECT r.site_id, c.is_tag, c.in_scope, c.state, c.drift_since IS NOT NULL, -count(*)
            FROM gone c JOIN container_repository_registry r ON r.id = c.registry_id GROUP BY 1, 2, 3, 4, 5;
        ELSE
            INSERT INTO geo_reference_counts (site_id, is_tag, in_scope, state, drift, number)
            SELECT r.site_id, c.is_tag, c.in_scope, c.state, c.drift, sum(c.number)
            FROM (
                SELECT registry_id, is_tag, in_scope, state, drift_since IS NOT NULL AS drift, -1 AS number FROM gone
                UNION ALL
                SELECT registry_id, is_tag, in_scope, state, drift_since IS NOT NULL, 1 FROM made
            ) c JOIN container_repository_registry r ON r.id = c.registry_id
            GROUP BY 1, 2, 3, 4, 5 HAVING sum(c.number) <> 0;
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE FUNCTION geo_sum_reference_counts() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        WITH taken AS (
            DELETE FROM geo_reference_counts
            WHERE id IN (SELECT id FROM geo_reference_counts ORDER BY id LIMIT 1000 FOR UPDATE SKIP LOCKED)
            RETURNING site_id, is_tag, in_scope, state, drift, number
        )
        INSERT INTO geo_reference_counts (site_id, is_tag, in_scope, state, drift, number)
        SELECT site_id, is_tag, in_scope, state, drift, sum(number) FROM taken
        GROUP BY site_id, is_tag, in_scope, state, drift HAVING sum(number) <> 0;
        RETURN NULL;
    END $$
    """,
    """
    CREATE FUNCTION geo_registry_goes() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        DELETE FROM container_repository_references WHERE registry_id = OLD.id;
        RETURN OLD;
    END $$
    """,
    """
    CREATE TRIGGER geo_references_made AFTER INSERT ON container_repository_references
    REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION geo_count_references()
    """,
    """
    CREATE TRIGGER geo_references_gone AFTER DELETE ON container_repository_references
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION geo_count_references()
    """,
    """
    CREATE TRIGGER geo_references_changed AFTER UPDATE ON container_repository_references
    REFERENCING OLD TABLE AS gone NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION geo_count_references()
    """,
    """
    CREATE TRIGGER geo_reference_counts_many AFTER INSERT ON geo_reference_counts
    FOR EACH ROW WHEN (mod(NEW.id, 256) = 0 AND pg_trigger_depth() < 2) EXECUTE FUNCTION geo_sum_reference_counts()
    """,
    """
    CREATE TRIGGER geo_registry_goes BEFORE DELETE ON container_repository_registry
    FOR EACH ROW EXECUTE FUNCTION geo_registry_goes()
    """,
    # By row, and only of a row in which something that counts has changed: heartbeats are most of what is written here.
    """
    CREATE FUNCTION geo_count_repositories() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP <> 'INSERT' THEN
            INSERT INTO geo_repository_counts
                (site_id, in_scope, state, verification_state, checksummed, untold, number)
            VALUES (
                OLD.site_id, OLD.in_scope, OLD.state, OLD.verification_state, OLD.verification_checksum IS NOT NULL,
                coalesce(left(OLD.verification_failure_reason, 8) = 'primary_', false), -1
            );
        END IF;
        IF TG_OP <> 'DELETE' THEN
            INSERT INTO geo_repository_counts
                (site_id, in_scope, state, verification_state, checksummed, untold, number)
            VALUES (
                NEW.site_id, NEW.in_scope, NEW.state, NEW.verification_state, NEW.verification_checksum IS NOT NULL,
                coalesce(left(NEW.verification_failure_reason, 8) = 'primary_', false), 1
            );
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE FUNCTION geo_sum_repository_counts() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        WITH taken AS (
            DELETE FROM geo_repository_counts
            WHERE id IN (SELECT id FROM geo_repository_counts ORDER BY id LIMIT 1000 FOR UPDATE SKIP LOCKED)
            RETURNING site_id, in_scope, state, verification_state, checksummed, untold, number
        )
        INSERT INTO geo_repository_counts
            (site_id, in_scope, state, verification_state, checksummed, untold, number)
        SELECT site_id, in_scope, state, verification_state, checksummed, untold, sum(number) FROM taken
        GROUP BY site_id, in_scope, state, verification_state, checksummed, untold HAVING sum(number) <> 0;
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER geo_repositories_made AFTER INSERT ON container_repository_registry
    FOR EACH ROW EXECUTE FUNCTION geo_count_repositories()
    """,
    """
    CREATE TRIGGER geo_repositories_gone AFTER DELETE ON container_repository_registry
    FOR EACH ROW EXECUTE FUNCTION geo_count_repositories()
    """,
    """
    CREATE TRIGGER geo_repositories_changed
    AFTER UPDATE OF site_id, in_scope, state, verification_state, verification_checksum, verification_failure_reason
    ON container_repository_registry
    FOR EACH ROW WHEN (
        (
            OLD.site_id, OLD.in_scope, OLD.state, OLD.verification_state, OLD.verification_checksum IS NOT NULL,
            coalesce(left(OLD.verification_failure_reason, 8) = 'primary_', false)
        ) IS DISTINCT FROM (
            NEW.site_id, NEW.in_scope, NEW.state, NEW.verification_state, NEW.verification_checksum IS NOT NULL,
            coalesce(left(NEW.verification_failure_reason, 8) = 'primary_', false)
        )
    ) EXECUTE FUNCTION geo_count_repositories()
    """,
    """
    CREATE TRIGGER geo_repository_counts_many AFTER INSERT ON geo_repository_counts
    FOR EACH ROW WHEN (mod(NEW.id, 256) = 0 AND pg_trigger_depth() < 2) EXECUTE FUNCTION geo_sum_repository_counts()
    """,
)

FUNCTIONS = (
    *("geo_count_references", "geo_sum_reference_counts", "geo_count_repositories", "geo_sum_repository_counts"),
    "geo_registry_goes",
)


def up(migrator: Any, db: peewee.Database) -> None:
    db.create_tables(tables(db))
    sqlite = isinstance(db, peewee.SqliteDatabase)
    # In an index SQLite puts what is not known first, and cannot be told to.
    waiting = [index.format(nulls_first="" if sqlite else " NULLS FIRST") for index in WAITING]
    for statement in (*waiting, *(SQLITE if sqlite else POSTGRESQL)):
        db.execute_sql(statement)


def down(migrator: Any, db: peewee.Database) -> None:
    db.drop_tables(list(reversed(tables(db))))
    if not isinstance(db, peewee.SqliteDatabase):
        for function in FUNCTIONS:
            db.execute_sql(f"DROP FUNCTION {function}()")
