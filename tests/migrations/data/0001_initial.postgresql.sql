SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE FUNCTION public.geo_count_references() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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
    END $$;
CREATE FUNCTION public.geo_count_repositories() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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
    END $$;
CREATE FUNCTION public.geo_registry_goes() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
    BEGIN
        DELETE FROM container_repository_references WHERE registry_id = OLD.id;
        RETURN OLD;
    END $$;
CREATE FUNCTION public.geo_sum_reference_counts() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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
    END $$;
CREATE FUNCTION public.geo_sum_repository_counts() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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
    END $$;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.container_repositories (
    id integer NOT NULL,
    path character varying(255) NOT NULL,
    created_at timestamp without time zone NOT NULL
);
CREATE SEQUENCE public.container_repositories_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.container_repositories_id_seq OWNED BY public.container_repositories.id;
CREATE TABLE public.container_repository_references (
    id integer NOT NULL,
    registry_id integer NOT NULL,
    name character varying(255) NOT NULL,
    is_tag boolean NOT NULL,
    in_scope boolean NOT NULL,
    state integer NOT NULL,
    generation bigint NOT NULL,
    desired_digest character varying(255),
    observed_digest character varying(255),
    media_type character varying(255),
    delete_witness character varying(255),
    throwaway_digest character varying(255),
    drift_digest character varying(255),
    drift_since timestamp without time zone,
    deletion_reserved_at timestamp without time zone,
    deletion_released_at timestamp without time zone,
    event_id bigint,
    correlation_id character varying(255),
    event_at timestamp without time zone,
    pending_since timestamp without time zone,
    trigger character varying(255) NOT NULL,
    retry_count integer NOT NULL,
    retry_at timestamp without time zone,
    failure text,
    failure_reason character varying(255),
    synced_at timestamp without time zone,
    verified_digest character varying(255),
    verified_at timestamp without time zone,
    verification_level character varying(255),
    created_at timestamp without time zone NOT NULL
);
CREATE SEQUENCE public.container_repository_references_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.container_repository_references_id_seq OWNED BY public.container_repository_references.id;
CREATE TABLE public.container_repository_registry (
    id integer NOT NULL,
    site_id integer NOT NULL,
    container_repository_id integer NOT NULL,
    state integer NOT NULL,
    retry_count integer NOT NULL,
    last_sync_failure text,
    retry_at timestamp without time zone,
    last_synced_at timestamp without time zone,
    created_at timestamp without time zone NOT NULL,
    generation bigint NOT NULL,
    full_sync boolean NOT NULL,
    full_sync_generation bigint NOT NULL,
    full_sync_requested_at timestamp without time zone,
    priority integer NOT NULL,
    pending_since timestamp without time zone,
    lease_owner character varying(255),
    lease_token bigint NOT NULL,
    lease_expires_at timestamp without time zone,
    attempts integer NOT NULL,
    started_at timestamp without time zone,
    in_scope boolean NOT NULL,
    verification_state integer NOT NULL,
    verification_checksum character varying(255),
    verification_checksum_mismatched character varying(255),
    checksum_mismatch boolean NOT NULL,
    verification_failure text,
    verification_failure_reason character varying(255),
    verification_retry_count integer NOT NULL,
    verification_retry_at timestamp without time zone,
    verification_started_at timestamp without time zone,
    verified_at timestamp without time zone,
    verification_level character varying(255),
    fully_verified_at timestamp without time zone,
    verification_full boolean NOT NULL,
    verification_requested_at timestamp without time zone,
    verification_requested_level character varying(255),
    verification_lease_owner character varying(255),
    verification_lease_token bigint NOT NULL,
    verification_lease_expires_at timestamp without time zone,
    verification_attempts integer NOT NULL
);
CREATE SEQUENCE public.container_repository_registry_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.container_repository_registry_id_seq OWNED BY public.container_repository_registry.id;
CREATE TABLE public.geo_catalog_walks (
    site_id integer NOT NULL,
    priority integer NOT NULL,
    started_at timestamp without time zone NOT NULL,
    marker text,
    marked integer NOT NULL,
    updated_at timestamp without time zone NOT NULL
);
CREATE TABLE public.geo_cursors (
    site_id integer NOT NULL,
    "position" bigint NOT NULL,
    gaps jsonb NOT NULL,
    event_at timestamp without time zone,
    updated_at timestamp without time zone NOT NULL
);
CREATE TABLE public.geo_event_log_state (
    id integer NOT NULL,
    identity character varying(255) NOT NULL,
    pruned_to bigint NOT NULL,
    fenced_to bigint NOT NULL,
    fence bigint NOT NULL
);
CREATE TABLE public.geo_events (
    id bigint NOT NULL,
    event_key character varying(255) NOT NULL,
    replicable_name character varying(255) NOT NULL,
    event_name character varying(255) NOT NULL,
    container_repository_id integer NOT NULL,
    action character varying(255) NOT NULL,
    tag character varying(255),
    digest character varying(255),
    media_type character varying(255),
    occurred_at timestamp without time zone NOT NULL,
    actor character varying(255),
    user_agent character varying(255),
    source_instance_id character varying(255),
    correlation_id character varying(255),
    created_at timestamp without time zone NOT NULL
);
CREATE SEQUENCE public.geo_events_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.geo_events_id_seq OWNED BY public.geo_events.id;
CREATE TABLE public.geo_followers (
    site_id integer NOT NULL,
    "position" text,
    source_last_event_id bigint NOT NULL,
    last_event_id bigint NOT NULL,
    paused boolean NOT NULL,
    reconcile_seen character varying(255),
    heard_at timestamp without time zone,
    failing_since timestamp without time zone,
    failure text,
    reset_at timestamp without time zone,
    reset_reason text,
    reported_at timestamp without time zone,
    report_failure text,
    created_at timestamp without time zone NOT NULL
);
CREATE TABLE public.geo_handovers (
    registry_id integer NOT NULL,
    name character varying(255) NOT NULL,
    digest character varying(255) NOT NULL
);
CREATE TABLE public.geo_leases (
    name character varying(255) NOT NULL,
    owner character varying(255),
    token bigint NOT NULL,
    expires_at timestamp without time zone NOT NULL
);
CREATE TABLE public.geo_metric_values (
    name character varying(255) NOT NULL,
    labels character varying(255) NOT NULL,
    bucket character varying(255) NOT NULL,
    value double precision NOT NULL
);
CREATE TABLE public.geo_quarantined_events (
    id bigint NOT NULL,
    dialect character varying(255) NOT NULL,
    reason character varying(255) NOT NULL,
    content_type character varying(255),
    remote_address character varying(255),
    size bigint NOT NULL,
    excerpt text NOT NULL,
    occurrences integer NOT NULL,
    fingerprint character varying(255) NOT NULL,
    created_at timestamp without time zone NOT NULL,
    last_seen_at timestamp without time zone NOT NULL
);
CREATE SEQUENCE public.geo_quarantined_events_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.geo_quarantined_events_id_seq OWNED BY public.geo_quarantined_events.id;
CREATE TABLE public.geo_reference_counts (
    id bigint NOT NULL,
    site_id integer NOT NULL,
    is_tag boolean NOT NULL,
    in_scope boolean NOT NULL,
    state integer NOT NULL,
    drift boolean NOT NULL,
    number bigint NOT NULL
);
CREATE SEQUENCE public.geo_reference_counts_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.geo_reference_counts_id_seq OWNED BY public.geo_reference_counts.id;
CREATE TABLE public.geo_registry_instances (
    instance_id character varying(255) NOT NULL,
    first_seen_at timestamp without time zone NOT NULL,
    last_seen_at timestamp without time zone NOT NULL,
    reconcile_owed boolean NOT NULL,
    reconcile_asked_at timestamp without time zone
);
CREATE TABLE public.geo_repository_counts (
    id bigint NOT NULL,
    site_id integer NOT NULL,
    in_scope boolean NOT NULL,
    state integer NOT NULL,
    verification_state integer NOT NULL,
    checksummed boolean NOT NULL,
    untold boolean NOT NULL,
    number bigint NOT NULL
);
CREATE SEQUENCE public.geo_repository_counts_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.geo_repository_counts_id_seq OWNED BY public.geo_repository_counts.id;
CREATE TABLE public.geo_site_reports (
    site_id integer NOT NULL,
    document jsonb NOT NULL,
    received_at timestamp without time zone NOT NULL
);
CREATE TABLE public.geo_sites (
    id integer NOT NULL,
    name character varying(255) NOT NULL,
    "primary" boolean NOT NULL,
    url character varying(255) NOT NULL,
    enabled boolean NOT NULL,
    retired boolean NOT NULL,
    remote boolean NOT NULL,
    token_hash character varying(255),
    former_token_hash character varying(255),
    former_token_expires_at timestamp without time zone,
    deletion character varying(255) NOT NULL,
    protected_tags text NOT NULL,
    verification character varying(255),
    repositories text NOT NULL,
    tags text NOT NULL,
    capacity integer,
    granted_repositories text NOT NULL,
    granted_tags text NOT NULL,
    granted_capacity integer,
    granted_deletion character varying(255),
    granted_protected_tags text NOT NULL,
    granted_verification character varying(255),
    deletions_released_at timestamp without time zone,
    deletions_held_because text,
    promoted_at timestamp without time zone,
    given_up_at timestamp without time zone,
    held_until timestamp without time zone,
    readdressed boolean NOT NULL,
    reconcile_requested_at timestamp without time zone,
    reconcile_reason text,
    reconcile_started_at timestamp without time zone,
    reconciled_at timestamp without time zone,
    created_at timestamp without time zone NOT NULL,
    updated_at timestamp without time zone NOT NULL
);
CREATE SEQUENCE public.geo_sites_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.geo_sites_id_seq OWNED BY public.geo_sites.id;
CREATE TABLE public.schema_migration (
    id integer NOT NULL,
    name character varying(255) NOT NULL,
    applied timestamp without time zone NOT NULL
);
CREATE SEQUENCE public.schema_migration_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.schema_migration_id_seq OWNED BY public.schema_migration.id;
CREATE TABLE public.sync_attempts (
    id bigint NOT NULL,
    registry_id integer NOT NULL,
    reference character varying(255) NOT NULL,
    action character varying(255) NOT NULL,
    trigger character varying(255) NOT NULL,
    event_id bigint,
    outcome character varying(255) NOT NULL,
    reason character varying(255),
    message text,
    old_digest character varying(255),
    new_digest character varying(255),
    bytes_copied bigint NOT NULL,
    lag_seconds double precision,
    worker character varying(255) NOT NULL,
    started_at timestamp without time zone NOT NULL,
    finished_at timestamp without time zone NOT NULL
);
CREATE SEQUENCE public.sync_attempts_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.sync_attempts_id_seq OWNED BY public.sync_attempts.id;
ALTER TABLE ONLY public.container_repositories ALTER COLUMN id SET DEFAULT nextval('public.container_repositories_id_seq'::regclass);
ALTER TABLE ONLY public.container_repository_references ALTER COLUMN id SET DEFAULT nextval('public.container_repository_references_id_seq'::regclass);
ALTER TABLE ONLY public.container_repository_registry ALTER COLUMN id SET DEFAULT nextval('public.container_repository_registry_id_seq'::regclass);
ALTER TABLE ONLY public.geo_events ALTER COLUMN id SET DEFAULT nextval('public.geo_events_id_seq'::regclass);
ALTER TABLE ONLY public.geo_quarantined_events ALTER COLUMN id SET DEFAULT nextval('public.geo_quarantined_events_id_seq'::regclass);
ALTER TABLE ONLY public.geo_reference_counts ALTER COLUMN id SET DEFAULT nextval('public.geo_reference_counts_id_seq'::regclass);
ALTER TABLE ONLY public.geo_repository_counts ALTER COLUMN id SET DEFAULT nextval('public.geo_repository_counts_id_seq'::regclass);
ALTER TABLE ONLY public.geo_sites ALTER COLUMN id SET DEFAULT nextval('public.geo_sites_id_seq'::regclass);
ALTER TABLE ONLY public.schema_migration ALTER COLUMN id SET DEFAULT nextval('public.schema_migration_id_seq'::regclass);
ALTER TABLE ONLY public.sync_attempts ALTER COLUMN id SET DEFAULT nextval('public.sync_attempts_id_seq'::regclass);
INSERT INTO public.container_repositories VALUES
	(1, 'team/app', '2026-11-23 07:14:40.600959'),
	(2, 'team/tool', '2026-11-23 07:14:40.801804'),
	(3, 'team/missing', '2026-11-23 07:14:41.787494'),
	(4, 'team/late', '2026-11-23 07:14:41.976987');
INSERT INTO public.container_repository_references VALUES
	(7, 1, 'theirs', true, true, 2, 0, NULL, NULL, NULL, NULL, NULL, NULL, '2026-11-23 07:14:41.311739', NULL, NULL, NULL, NULL, NULL, NULL, 'full', 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '2026-11-23 07:14:41.311739'),
	(6, 2, 'v1', true, true, 2, 0, 'sha256:75e95eb9e3cf5fec067185bd6c6f1bb68d20c265959acaea9befcb44cc5c320c', 'sha256:75e95eb9e3cf5fec067185bd6c6f1bb68d20c265959acaea9befcb44cc5c320c', 'application/vnd.oci.image.index.v1+json', NULL, NULL, NULL, NULL, NULL, NULL, 5, NULL, '2026-11-23 07:14:40.801089', NULL, 'event', 0, NULL, NULL, NULL, '2026-11-23 07:14:41.211137', 'sha256:75e95eb9e3cf5fec067185bd6c6f1bb68d20c265959acaea9befcb44cc5c320c', '2026-11-23 07:14:41.773246', NULL, '2026-11-23 07:14:40.853021'),
	(4, 1, 'sha256:5c2fa8f748b0e590f1839d68cec223690d5ca4efc4baf98289427a78829b9750', false, true, 2, 0, 'sha256:5c2fa8f748b0e590f1839d68cec223690d5ca4efc4baf98289427a78829b9750', 'sha256:5c2fa8f748b0e590f1839d68cec223690d5ca4efc4baf98289427a78829b9750', 'application/vnd.oci.image.manifest.v1+json', NULL, NULL, NULL, NULL, NULL, NULL, 4, NULL, '2026-11-23 07:14:40.730094', NULL, 'event', 0, NULL, NULL, NULL, '2026-11-23 07:14:41.069731', 'sha256:5c2fa8f748b0e590f1839d68cec223690d5ca4efc4baf98289427a78829b9750', '2026-11-23 07:14:41.645042', NULL, '2026-11-23 07:14:40.853021'),
	(5, 1, 'v1', true, true, 2, 1, 'sha256:628edbacfbe2f667e150c7ef4e508114df05c7cafd14266c3c7909c8b979baa3', 'sha256:628edbacfbe2f667e150c7ef4e508114df05c7cafd14266c3c7909c8b979baa3', 'application/vnd.oci.image.manifest.v1+json', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'full', 0, NULL, NULL, NULL, '2026-11-23 07:14:41.339366', 'sha256:628edbacfbe2f667e150c7ef4e508114df05c7cafd14266c3c7909c8b979baa3', '2026-11-23 07:14:41.645042', NULL, '2026-11-23 07:14:40.853021'),
	(3, 1, 'old', true, true, 2, 1, 'sha256:df35f621ce93133ee8138322e158bb850c344a7fea6299a278cb0477b9a2226c', 'sha256:df35f621ce93133ee8138322e158bb850c344a7fea6299a278cb0477b9a2226c', 'application/vnd.oci.image.manifest.v1+json', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'full', 0, NULL, NULL, NULL, '2026-11-23 07:14:41.339366', 'sha256:df35f621ce93133ee8138322e158bb850c344a7fea6299a278cb0477b9a2226c', '2026-11-23 07:14:41.645042', NULL, '2026-11-23 07:14:40.853021'),
	(2, 1, 'latest', true, true, 2, 1, 'sha256:628edbacfbe2f667e150c7ef4e508114df05c7cafd14266c3c7909c8b979baa3', 'sha256:628edbacfbe2f667e150c7ef4e508114df05c7cafd14266c3c7909c8b979baa3', 'application/vnd.oci.image.manifest.v1+json', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'full', 0, NULL, NULL, NULL, '2026-11-23 07:14:41.339366', 'sha256:628edbacfbe2f667e150c7ef4e508114df05c7cafd14266c3c7909c8b979baa3', '2026-11-23 07:14:41.645042', NULL, '2026-11-23 07:14:40.853021'),
	(8, 3, 'v1', true, true, 3, 0, 'sha256:628edbacfbe2f667e150c7ef4e508114df05c7cafd14266c3c7909c8b979baa3', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 8, NULL, '2026-11-23 07:14:41.786972', '2026-11-23 07:14:41.786972', 'retry', 1, '2026-11-23 07:14:46.722999', 'team/missing:v1: GET primary.invalid:5000/v2/team/missing/manifests/v1: HTTP 404: MANIFEST_UNKNOWN: manifest unknown; no event and no listing says that it was deleted', 'not_on_primary', NULL, NULL, NULL, NULL, '2026-11-23 07:14:41.796027'),
	(9, 1, 'next', true, true, 0, 0, 'sha256:126c5df8720755e32163cd57c85aeb10ddd5039a6eb230db67b1194835a8e418', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 9, NULL, '2026-11-23 07:14:41.929223', '2026-11-23 07:14:41.929223', 'event', 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '2026-11-23 07:14:41.935458');
INSERT INTO public.container_repository_registry VALUES
	(2, 2, 2, 2, 0, NULL, NULL, '2026-11-23 07:14:41.218644', '2026-11-23 07:14:40.853021', 1, false, 0, NULL, 0, NULL, NULL, 1, NULL, 0, '2026-11-23 07:14:41.095223', true, 2, 'f8316b88863b9c083762ab360ac748159d05c7ea690bec72e513548cc12d7ba1', NULL, false, NULL, NULL, 0, NULL, '2026-11-23 07:14:41.659485', '2026-11-23 07:14:41.783556', 'content', '2026-11-23 07:14:41.783556', false, '2026-11-23 07:14:41.65824', NULL, NULL, 1, NULL, 0),
	(3, 2, 3, 3, 1, 'team/missing:v1: GET primary.invalid:5000/v2/team/missing/manifests/v1: HTTP 404: MANIFEST_UNKNOWN: manifest unknown; no event and no listing says that it was deleted', '2026-11-23 07:14:46.722999', NULL, '2026-11-23 07:14:41.796027', 1, false, 0, NULL, 0, '2026-11-23 07:14:41.786972', NULL, 1, NULL, 0, '2026-11-23 07:14:41.805507', true, 0, NULL, NULL, false, NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, false, NULL, NULL, NULL, 0, NULL, 0),
	(1, 2, 1, 0, 0, NULL, NULL, '2026-11-23 07:14:41.469385', '2026-11-23 07:14:40.853021', 4, false, 2, '2026-11-23 07:14:41.271877', 0, '2026-11-23 07:14:41.929223', NULL, 3, NULL, 0, '2026-11-23 07:14:41.377444', true, 2, 'd6f24a71e57f519dd44b810caac784c71add712c6abd08c3c4e7b636950ba8e0', NULL, false, NULL, NULL, 0, NULL, '2026-11-23 07:14:41.479271', '2026-11-23 07:14:41.653301', 'content', '2026-11-23 07:14:41.653301', false, '2026-11-23 07:14:41.477143', NULL, NULL, 1, NULL, 0);
INSERT INTO public.geo_catalog_walks VALUES
	(4, 10, '2026-11-23 07:14:41.875032', NULL, 0, '2026-11-23 07:14:41.875032');
INSERT INTO public.geo_cursors VALUES
	(3, 8, '{}', NULL, '2026-11-23 07:14:41.849427'),
	(4, 8, '{}', NULL, '2026-11-23 07:14:41.85395'),
	(5, 8, '{}', NULL, '2026-11-23 07:14:41.858396'),
	(2, 9, '{}', '2026-11-23 07:14:41.929223', '2026-11-23 07:14:41.93901');
INSERT INTO public.geo_event_log_state VALUES
	(1, 'eea3a49bba70410f8f7543f07d969a89', 0, 8, 803);
INSERT INTO public.geo_events VALUES
	(1, 'f3850fc4-989f-4597-a710-3838a34c5919', 'container_repository', 'updated', 1, 'push', 'v1', 'sha256:628edbacfbe2f667e150c7ef4e508114df05c7cafd14266c3c7909c8b979baa3', NULL, '2026-11-23 07:14:40.599447', NULL, NULL, NULL, NULL, '2026-11-23 07:14:40.600959'),
	(2, 'b6dc572b-d863-4576-88f6-9aa06064d9d4', 'container_repository', 'updated', 1, 'push', 'latest', 'sha256:628edbacfbe2f667e150c7ef4e508114df05c7cafd14266c3c7909c8b979baa3', NULL, '2026-11-23 07:14:40.642259', NULL, NULL, NULL, NULL, '2026-11-23 07:14:40.643482'),
	(3, '0e9d3b60-439c-4ca8-b4f1-09a7fd0edf3a', 'container_repository', 'updated', 1, 'push', 'old', 'sha256:df35f621ce93133ee8138322e158bb850c344a7fea6299a278cb0477b9a2226c', NULL, '2026-11-23 07:14:40.686203', NULL, NULL, NULL, NULL, '2026-11-23 07:14:40.687612'),
	(4, '0e9570c9-1420-457c-a173-10ce57677fd1', 'container_repository', 'updated', 1, 'push', NULL, 'sha256:5c2fa8f748b0e590f1839d68cec223690d5ca4efc4baf98289427a78829b9750', NULL, '2026-11-23 07:14:40.730094', NULL, NULL, NULL, NULL, '2026-11-23 07:14:40.731077'),
	(5, 'e5242810-04ac-4716-9cab-92300487eed0', 'container_repository', 'updated', 2, 'push', 'v1', 'sha256:75e95eb9e3cf5fec067185bd6c6f1bb68d20c265959acaea9befcb44cc5c320c', NULL, '2026-11-23 07:14:40.801089', NULL, NULL, NULL, NULL, '2026-11-23 07:14:40.801804'),
	(6, '871bae1c-46c6-4874-8b90-23d41923eb74', 'container_repository', 'updated', 1, 'push', 'gone', 'sha256:e485a276ae56a8f639d9160d229c06c5586968029b89026f0a3e5f31097e1251', NULL, '2026-11-23 07:14:40.83957', NULL, NULL, NULL, NULL, '2026-11-23 07:14:40.84058'),
	(7, '7f2b6b7d-5b3c-4f03-b85e-4370a20e490d', 'container_repository', 'updated', 1, 'delete', NULL, 'sha256:e485a276ae56a8f639d9160d229c06c5586968029b89026f0a3e5f31097e1251', NULL, '2026-11-23 07:14:41.355485', NULL, NULL, NULL, NULL, '2026-11-23 07:14:41.356722'),
	(8, '77aca971-954b-4cb0-a428-e74cf06d919d', 'container_repository', 'updated', 3, 'push', 'v1', 'sha256:628edbacfbe2f667e150c7ef4e508114df05c7cafd14266c3c7909c8b979baa3', NULL, '2026-11-23 07:14:41.786972', NULL, NULL, NULL, NULL, '2026-11-23 07:14:41.787494'),
	(9, '987ebeaf-6d71-4b4e-801f-4579e795c523', 'container_repository', 'updated', 1, 'push', 'next', 'sha256:126c5df8720755e32163cd57c85aeb10ddd5039a6eb230db67b1194835a8e418', NULL, '2026-11-23 07:14:41.929223', NULL, NULL, NULL, NULL, '2026-11-23 07:14:41.929853'),
	(10, '6e177ee0-9afd-4535-9ee3-e951d6a7702d', 'container_repository', 'updated', 4, 'push', 'v1', 'sha256:7fddbb89d0808a0ba85733aa88e79ead3beff3623ef081a024b90e883c27fcd0', NULL, '2026-11-23 07:14:41.975767', NULL, NULL, NULL, NULL, '2026-11-23 07:14:41.976987');
INSERT INTO public.geo_followers VALUES
	(4, 'a-position', 0, 0, false, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '2026-11-23 07:14:41.875032');
INSERT INTO public.geo_handovers VALUES
	(1, 'v1', 'sha256:628edbacfbe2f667e150c7ef4e508114df05c7cafd14266c3c7909c8b979baa3');
INSERT INTO public.geo_leases VALUES
	('catalog:1', NULL, 1, '2026-11-23 07:14:41.882704');
INSERT INTO public.geo_metric_values VALUES
	('geo_blobs_total', '{"how":"skipped","site":"secondary"}', '', 2),
	('geo_blobs_total', '{"how":"copied","site":"secondary"}', '', 12),
	('geo_copied_bytes_total', '{"site":"secondary"}', '', 364),
	('geo_replication_lag_seconds', '{"site":"secondary"}', '0.5', 5),
	('geo_sync_duration_seconds', '{"outcome":"synced","site":"secondary"}', '0.25', 6),
	('geo_sync_success_total', '{"action":"copy","site":"secondary"}', '', 6),
	('geo_sync_success_total', '{"action":"keep","site":"secondary"}', '', 4),
	('geo_replication_lag_seconds', '{"site":"secondary"}', '0.25', 2),
	('geo_replication_lag_seconds', '{"site":"secondary"}', 'sum', 2.328116),
	('geo_sync_duration_seconds', '{"outcome":"synced","site":"secondary"}', '0.1', 1),
	('geo_sync_duration_seconds', '{"outcome":"synced","site":"secondary"}', 'sum', 0.9937280000000001),
	('geo_sync_success_total', '{"action":"delete","site":"secondary"}', '', 1),
	('geo_verification_duration_seconds', '{"level":"content","site":"secondary"}', '0.25', 2),
	('geo_verification_duration_seconds', '{"level":"content","site":"secondary"}', 'sum', 0.29403336799441604),
	('geo_verifications_total', '{"level":"content","outcome":"succeeded","site":"secondary"}', '', 2),
	('geo_verified_references_total', '{"level":"content","site":"secondary"}', '', 5),
	('geo_sync_duration_seconds', '{"outcome":"failed","site":"secondary"}', '0.1', 1),
	('geo_sync_duration_seconds', '{"outcome":"failed","site":"secondary"}', 'sum', 0.004697),
	('geo_sync_failures_total', '{"reason":"not_on_primary","site":"secondary"}', '', 1),
	('geo_registry_request_duration_seconds', '{"operation":"blob_present","registry":"secondary"}', '0.005', 8),
	('geo_registry_request_duration_seconds', '{"operation":"blob_present","registry":"secondary"}', '0.01', 8),
	('geo_registry_request_duration_seconds', '{"operation":"blob_present","registry":"secondary"}', '0.025', 6),
	('geo_registry_request_duration_seconds', '{"operation":"blob_present","registry":"secondary"}', 'sum', 0.1610718610099866),
	('geo_registry_request_duration_seconds', '{"operation":"delete_manifest","registry":"secondary"}', '0.005', 1),
	('geo_registry_request_duration_seconds', '{"operation":"delete_manifest","registry":"secondary"}', '0.01', 1),
	('geo_registry_request_duration_seconds', '{"operation":"delete_manifest","registry":"secondary"}', 'sum', 0.01113502500083996),
	('geo_registry_request_duration_seconds', '{"operation":"get_manifest","registry":"primary"}', '0.005', 6),
	('geo_registry_request_duration_seconds', '{"operation":"get_manifest","registry":"primary"}', '0.01', 2),
	('geo_registry_request_duration_seconds', '{"operation":"get_manifest","registry":"primary"}', '0.025', 1),
	('geo_registry_request_duration_seconds', '{"operation":"get_manifest","registry":"primary"}', '0.05', 2),
	('geo_registry_request_duration_seconds', '{"operation":"get_manifest","registry":"primary"}', 'sum', 0.10646101198653923),
	('geo_registry_request_duration_seconds', '{"operation":"get_manifest","registry":"secondary"}', '0.005', 7),
	('geo_registry_request_duration_seconds', '{"operation":"get_manifest","registry":"secondary"}', 'sum', 0.017564264009706676),
	('geo_registry_request_duration_seconds', '{"operation":"head_manifest","registry":"primary"}', '0.005', 4),
	('geo_registry_request_duration_seconds', '{"operation":"head_manifest","registry":"primary"}', 'sum', 0.013462627997796517),
	('geo_registry_request_duration_seconds', '{"operation":"head_manifest","registry":"secondary"}', '0.005', 6),
	('geo_registry_request_duration_seconds', '{"operation":"head_manifest","registry":"secondary"}', '0.01', 7),
	('geo_registry_request_duration_seconds', '{"operation":"head_manifest","registry":"secondary"}', '0.025', 2),
	('geo_registry_request_duration_seconds', '{"operation":"head_manifest","registry":"secondary"}', 'sum', 0.11099404199921992),
	('geo_registry_request_duration_seconds', '{"operation":"list_tags","registry":"primary"}', '0.005', 3),
	('geo_registry_request_duration_seconds', '{"operation":"list_tags","registry":"primary"}', 'sum', 0.00952775699988706),
	('geo_registry_request_duration_seconds', '{"operation":"list_tags","registry":"secondary"}', '0.005', 1),
	('geo_registry_request_duration_seconds', '{"operation":"list_tags","registry":"secondary"}', 'sum', 0.0035368220051168464),
	('geo_registry_request_duration_seconds', '{"operation":"open_blob","registry":"primary"}', '0.025', 6),
	('geo_registry_request_duration_seconds', '{"operation":"open_blob","registry":"primary"}', '0.05', 5),
	('geo_registry_request_duration_seconds', '{"operation":"open_blob","registry":"primary"}', '0.1', 1),
	('geo_registry_request_duration_seconds', '{"operation":"open_blob","registry":"primary"}', 'sum', 0.3170903069913038),
	('geo_registry_request_duration_seconds', '{"operation":"open_blob","registry":"secondary"}', '0.005', 5),
	('geo_registry_request_duration_seconds', '{"operation":"open_blob","registry":"secondary"}', '0.01', 4),
	('geo_registry_request_duration_seconds', '{"operation":"open_blob","registry":"secondary"}', '0.025', 1),
	('geo_registry_request_duration_seconds', '{"operation":"open_blob","registry":"secondary"}', 'sum', 0.0531879000045592),
	('geo_registry_request_duration_seconds', '{"operation":"put_blob","registry":"secondary"}', '0.01', 1),
	('geo_registry_request_duration_seconds', '{"operation":"put_blob","registry":"secondary"}', '0.025', 8),
	('geo_registry_request_duration_seconds', '{"operation":"put_blob","registry":"secondary"}', '0.05', 4),
	('geo_registry_request_duration_seconds', '{"operation":"put_blob","registry":"secondary"}', 'sum', 0.28328877301100874),
	('geo_registry_request_duration_seconds', '{"operation":"put_manifest","registry":"secondary"}', '0.01', 1),
	('geo_registry_request_duration_seconds', '{"operation":"put_manifest","registry":"secondary"}', '0.025', 6),
	('geo_registry_request_duration_seconds', '{"operation":"put_manifest","registry":"secondary"}', '0.05', 2),
	('geo_registry_request_duration_seconds', '{"operation":"put_manifest","registry":"secondary"}', 'sum', 0.15754305600421503),
	('geo_registry_request_duration_seconds', '{"operation":"referrers","registry":"primary"}', '0.005', 1),
	('geo_registry_request_duration_seconds', '{"operation":"referrers","registry":"primary"}', 'sum', 0.001823824000894092),
	('geo_registry_request_duration_seconds', '{"operation":"start_upload","registry":"secondary"}', '0.01', 3),
	('geo_registry_request_duration_seconds', '{"operation":"start_upload","registry":"secondary"}', '0.025', 6),
	('geo_registry_request_duration_seconds', '{"operation":"start_upload","registry":"secondary"}', '0.05', 4),
	('geo_registry_request_duration_seconds', '{"operation":"start_upload","registry":"secondary"}', 'sum', 0.2606646799831651),
	('geo_registry_request_duration_seconds', '{"operation":"supports_delete","registry":"secondary"}', '0.005', 1),
	('geo_registry_request_duration_seconds', '{"operation":"supports_delete","registry":"secondary"}', 'sum', 0.0026067280050483532),
	('geo_registry_requests_total', '{"operation":"blob_present","outcome":"ok","registry":"secondary"}', '', 22),
	('geo_registry_requests_total', '{"operation":"delete_manifest","outcome":"digest_invalid","registry":"secondary"}', '', 1),
	('geo_registry_requests_total', '{"operation":"delete_manifest","outcome":"ok","registry":"secondary"}', '', 1),
	('geo_registry_requests_total', '{"operation":"get_manifest","outcome":"not_found","registry":"primary"}', '', 3),
	('geo_registry_requests_total', '{"operation":"get_manifest","outcome":"ok","registry":"primary"}', '', 8),
	('geo_registry_requests_total', '{"operation":"get_manifest","outcome":"ok","registry":"secondary"}', '', 7),
	('geo_registry_requests_total', '{"operation":"head_manifest","outcome":"not_found","registry":"secondary"}', '', 9),
	('geo_registry_requests_total', '{"operation":"head_manifest","outcome":"ok","registry":"primary"}', '', 4),
	('geo_registry_requests_total', '{"operation":"head_manifest","outcome":"ok","registry":"secondary"}', '', 6),
	('geo_registry_requests_total', '{"operation":"list_tags","outcome":"ok","registry":"primary"}', '', 3),
	('geo_registry_requests_total', '{"operation":"list_tags","outcome":"ok","registry":"secondary"}', '', 1),
	('geo_registry_requests_total', '{"operation":"open_blob","outcome":"ok","registry":"primary"}', '', 12),
	('geo_registry_requests_total', '{"operation":"open_blob","outcome":"ok","registry":"secondary"}', '', 10),
	('geo_registry_requests_total', '{"operation":"put_blob","outcome":"ok","registry":"secondary"}', '', 13),
	('geo_registry_requests_total', '{"operation":"put_manifest","outcome":"ok","registry":"secondary"}', '', 9),
	('geo_registry_requests_total', '{"operation":"referrers","outcome":"ok","registry":"primary"}', '', 1),
	('geo_registry_requests_total', '{"operation":"start_upload","outcome":"ok","registry":"secondary"}', '', 13),
	('geo_registry_requests_total', '{"operation":"supports_delete","outcome":"ok","registry":"secondary"}', '', 1);
INSERT INTO public.geo_quarantined_events VALUES
	(1, 'distribution', 'bad_event', 'application/json', '192.0.2.1', 4711, '{"events": [{"action": "push", …', 1, '34734f2263115f03dc331433e3732480c682e16229a3676a9be43825cdeb930a', '2026-11-23 07:14:41.830557', '2026-11-23 07:14:41.830557');
INSERT INTO public.geo_reference_counts VALUES
	(1, 2, true, true, 0, false, 1),
	(2, 2, true, true, 0, false, 1),
	(3, 2, true, true, 0, false, 1),
	(4, 2, false, true, 0, false, 1),
	(5, 2, true, true, 0, false, 1),
	(6, 2, true, true, 0, false, 1),
	(7, 2, true, true, 0, false, -1),
	(8, 2, true, true, 2, false, 1),
	(9, 2, true, true, 0, false, -1),
	(10, 2, true, true, 2, false, 1),
	(11, 2, false, true, 0, false, -1),
	(12, 2, false, true, 2, false, 1),
	(13, 2, true, true, 0, false, -1),
	(14, 2, true, true, 2, false, 1),
	(15, 2, true, true, 0, false, -1),
	(16, 2, true, true, 2, false, 1),
	(17, 2, true, true, 0, false, -1),
	(18, 2, true, true, 2, false, 1),
	(19, 2, true, true, 2, false, -4),
	(20, 2, true, true, 0, false, 4),
	(21, 2, true, true, 2, true, 1),
	(22, 2, true, true, 0, false, -4),
	(23, 2, true, true, 2, false, 4),
	(24, 2, true, true, 0, false, 1),
	(25, 2, true, true, 2, false, -1),
	(26, 2, true, true, 0, false, -1),
	(27, 2, true, true, 0, false, 1),
	(28, 2, true, true, 0, false, -1),
	(29, 2, true, true, 3, false, 1),
	(30, 2, true, true, 0, false, 1);
INSERT INTO public.geo_registry_instances VALUES
	('a-registry-process', '2026-11-23 07:14:40.843019', '2026-11-23 07:14:40.843019', false, NULL);
INSERT INTO public.geo_repository_counts VALUES
	(1, 2, true, 0, 0, false, false, 1),
	(2, 2, true, 0, 0, false, false, 1),
	(3, 2, true, 0, 0, false, false, -1),
	(4, 2, true, 1, 0, false, false, 1),
	(5, 2, true, 1, 0, false, false, -1),
	(6, 2, true, 2, 0, false, false, 1),
	(7, 2, true, 0, 0, false, false, -1),
	(8, 2, true, 1, 0, false, false, 1),
	(9, 2, true, 1, 0, false, false, -1),
	(10, 2, true, 2, 0, false, false, 1),
	(11, 2, true, 2, 0, false, false, -1),
	(12, 2, true, 0, 0, false, false, 1),
	(13, 2, true, 0, 0, false, false, -1),
	(14, 2, true, 1, 0, false, false, 1),
	(15, 2, true, 1, 0, false, false, -1),
	(16, 2, true, 2, 0, false, false, 1),
	(17, 2, true, 2, 0, false, false, -1),
	(18, 2, true, 0, 0, false, false, 1),
	(19, 2, true, 0, 0, false, false, -1),
	(20, 2, true, 1, 0, false, false, 1),
	(21, 2, true, 1, 0, false, false, -1),
	(22, 2, true, 2, 0, false, false, 1),
	(23, 2, true, 2, 0, false, false, -1),
	(24, 2, true, 2, 1, false, false, 1),
	(25, 2, true, 2, 1, false, false, -1),
	(26, 2, true, 2, 2, true, false, 1),
	(27, 2, true, 2, 0, false, false, -1),
	(28, 2, true, 2, 1, false, false, 1),
	(29, 2, true, 2, 1, false, false, -1),
	(30, 2, true, 2, 2, true, false, 1),
	(31, 2, true, 0, 0, false, false, 1),
	(32, 2, true, 0, 0, false, false, -1),
	(33, 2, true, 1, 0, false, false, 1),
	(34, 2, true, 1, 0, false, false, -1),
	(35, 2, true, 3, 0, false, false, 1),
	(36, 2, true, 2, 2, true, false, -1),
	(37, 2, true, 0, 2, true, false, 1);
INSERT INTO public.geo_site_reports VALUES
	(3, '{"url": "https://registry.berlin.example.com", "name": "berlin", "tags": ["v*"], "drift": 1, "level": "healthy", "total": 10, "advice": "", "failed": 1, "synced": 8, "enabled": true, "follows": "feed", "pending": 1, "started": 0, "version": "1.0", "backfill": {"left": 1, "found": 10, "failed": 1, "ends_at": null, "finding": false, "started_at": "2026-07-01T00:00:00+00:00"}, "capacity": 4, "deletion": "tags", "headline": "In sync", "position": null, "verified": 7, "references": 30, "checksummed": 8, "out_of_scope": 0, "repositories": ["team/**"], "verification": "manifests", "first_failure": "team/app:v1 (denied)", "last_synced_at": "2026-07-01T00:00:00+00:00", "protected_tags": ["stable"], "checksum_failed": 0, "references_failed": 2, "references_synced": 28, "verification_total": 10, "replication_enabled": true, "verification_failed": 1, "oldest_pending_seconds": 12.5, "references_out_of_scope": 0, "first_verification_failure": null}', '2026-11-23 07:14:41.869698');
INSERT INTO public.geo_sites VALUES
	(1, 'primary', true, 'http://primary.invalid:5000', true, false, false, NULL, NULL, NULL, 'tags', '', NULL, '', '', NULL, '', '', NULL, NULL, '', NULL, NULL, NULL, NULL, NULL, NULL, false, NULL, NULL, NULL, NULL, '2026-11-23 07:14:40.524285', '2026-11-23 07:14:40.524285'),
	(2, 'secondary', false, 'http://secondary.invalid:5000', true, false, false, NULL, NULL, NULL, 'tags', '', NULL, '', '', NULL, '', '', NULL, NULL, '', NULL, NULL, NULL, NULL, NULL, NULL, false, '2026-11-23 07:14:40.550318', 'new site', NULL, NULL, '2026-11-23 07:14:40.533914', '2026-11-23 07:14:40.533914'),
	(4, 'paris', false, '', false, false, true, NULL, NULL, NULL, '', '', NULL, '', '', NULL, '', '', NULL, NULL, '', NULL, NULL, NULL, NULL, NULL, NULL, false, NULL, NULL, NULL, NULL, '2026-11-23 07:14:41.838621', '2026-11-23 07:14:41.838621'),
	(5, 'oslo', false, '', true, true, true, NULL, NULL, NULL, '', '', NULL, '', 'v*', 3, '', '', NULL, NULL, '', NULL, NULL, NULL, NULL, NULL, NULL, false, NULL, NULL, NULL, NULL, '2026-11-23 07:14:41.8421', '2026-11-23 07:14:41.861407'),
	(3, 'berlin', false, 'https://registry.berlin.example.com', true, false, true, '0a26e7ede409b9176cb026516f779bf2385c7cfdac2c3679470db07064f90133', '85b7f93c90a7d7a4601e9af93774593976ce7e17172e643c5148c8ecc552a197', '2026-11-24 07:14:41.86761', '', '', NULL, 'team/**
!team/secret', '', NULL, '', '', NULL, NULL, '', NULL, NULL, NULL, NULL, NULL, NULL, false, NULL, NULL, NULL, NULL, '2026-11-23 07:14:41.834604', '2026-11-23 07:14:41.86761');
INSERT INTO public.schema_migration VALUES
	(1, '0001_initial', '2026-11-23 07:14:40.511412');
INSERT INTO public.sync_attempts VALUES
	(1, 1, 'v1', 'copy', 'event', 1, 'synced', NULL, NULL, NULL, 'sha256:628edbacfbe2f667e150c7ef4e508114df05c7cafd14266c3c7909c8b979baa3', 56, 0.442535, 'host.example.com:1', '2026-11-23 07:14:40.891425', '2026-11-23 07:14:41.041982'),
	(2, 1, 'old', 'copy', 'event', 3, 'synced', NULL, NULL, NULL, 'sha256:df35f621ce93133ee8138322e158bb850c344a7fea6299a278cb0477b9a2226c', 56, 0.360146, 'host.example.com:1', '2026-11-23 07:14:40.893629', '2026-11-23 07:14:41.046349'),
	(3, 1, 'sha256:5c2fa8f748b0e590f1839d68cec223690d5ca4efc4baf98289427a78829b9750', 'copy', 'event', 4, 'synced', NULL, NULL, NULL, 'sha256:5c2fa8f748b0e590f1839d68cec223690d5ca4efc4baf98289427a78829b9750', 62, 0.339637, 'host.example.com:1', '2026-11-23 07:14:40.925919', '2026-11-23 07:14:41.069731'),
	(4, 1, 'gone', 'copy', 'event', 6, 'synced', NULL, NULL, NULL, 'sha256:e485a276ae56a8f639d9160d229c06c5586968029b89026f0a3e5f31097e1251', 58, 0.233586, 'host.example.com:1', '2026-11-23 07:14:40.894204', '2026-11-23 07:14:41.073156'),
	(5, 1, 'latest', 'copy', 'event', 2, 'synced', NULL, NULL, NULL, 'sha256:628edbacfbe2f667e150c7ef4e508114df05c7cafd14266c3c7909c8b979baa3', 0, 0.434055, 'host.example.com:1', '2026-11-23 07:14:40.892457', '2026-11-23 07:14:41.076314'),
	(6, 2, 'v1', 'copy', 'event', 5, 'synced', NULL, NULL, NULL, 'sha256:75e95eb9e3cf5fec067185bd6c6f1bb68d20c265959acaea9befcb44cc5c320c', 132, 0.410048, 'host.example.com:1', '2026-11-23 07:14:41.101374', '2026-11-23 07:14:41.211137'),
	(7, 1, 'gone', 'delete', 'event', 7, 'synced', NULL, NULL, 'sha256:e485a276ae56a8f639d9160d229c06c5586968029b89026f0a3e5f31097e1251', NULL, 0, 0.108109, 'host.example.com:1', '2026-11-23 07:14:41.389527', '2026-11-23 07:14:41.463594'),
	(8, 3, 'v1', 'copy', 'event', 8, 'failed', 'not_on_primary', 'team/missing:v1: GET primary.invalid:5000/v2/team/missing/manifests/v1: HTTP 404: MANIFEST_UNKNOWN: manifest unknown; no event and no listing says that it was deleted', NULL, NULL, 0, NULL, 'host.example.com:1', '2026-11-23 07:14:41.809721', '2026-11-23 07:14:41.814418');
SELECT pg_catalog.setval('public.container_repositories_id_seq', 4, true);
SELECT pg_catalog.setval('public.container_repository_references_id_seq', 9, true);
SELECT pg_catalog.setval('public.container_repository_registry_id_seq', 3, true);
SELECT pg_catalog.setval('public.geo_events_id_seq', 10, true);
SELECT pg_catalog.setval('public.geo_quarantined_events_id_seq', 1, true);
SELECT pg_catalog.setval('public.geo_reference_counts_id_seq', 30, true);
SELECT pg_catalog.setval('public.geo_repository_counts_id_seq', 37, true);
SELECT pg_catalog.setval('public.geo_sites_id_seq', 5, true);
SELECT pg_catalog.setval('public.schema_migration_id_seq', 1, true);
SELECT pg_catalog.setval('public.sync_attempts_id_seq', 8, true);
ALTER TABLE ONLY public.container_repositories
    ADD CONSTRAINT container_repositories_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.container_repository_references
    ADD CONSTRAINT container_repository_references_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.container_repository_registry
    ADD CONSTRAINT container_repository_registry_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.geo_catalog_walks
    ADD CONSTRAINT geo_catalog_walks_pkey PRIMARY KEY (site_id);
ALTER TABLE ONLY public.geo_cursors
    ADD CONSTRAINT geo_cursors_pkey PRIMARY KEY (site_id);
ALTER TABLE ONLY public.geo_event_log_state
    ADD CONSTRAINT geo_event_log_state_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.geo_events
    ADD CONSTRAINT geo_events_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.geo_followers
    ADD CONSTRAINT geo_followers_pkey PRIMARY KEY (site_id);
ALTER TABLE ONLY public.geo_handovers
    ADD CONSTRAINT geo_handovers_pkey PRIMARY KEY (registry_id, name);
ALTER TABLE ONLY public.geo_leases
    ADD CONSTRAINT geo_leases_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.geo_metric_values
    ADD CONSTRAINT geo_metric_values_pkey PRIMARY KEY (name, labels, bucket);
ALTER TABLE ONLY public.geo_quarantined_events
    ADD CONSTRAINT geo_quarantined_events_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.geo_reference_counts
    ADD CONSTRAINT geo_reference_counts_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.geo_registry_instances
    ADD CONSTRAINT geo_registry_instances_pkey PRIMARY KEY (instance_id);
ALTER TABLE ONLY public.geo_repository_counts
    ADD CONSTRAINT geo_repository_counts_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.geo_site_reports
    ADD CONSTRAINT geo_site_reports_pkey PRIMARY KEY (site_id);
ALTER TABLE ONLY public.geo_sites
    ADD CONSTRAINT geo_sites_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.schema_migration
    ADD CONSTRAINT schema_migration_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.sync_attempts
    ADD CONSTRAINT sync_attempts_pkey PRIMARY KEY (id);
CREATE UNIQUE INDEX container_repositories_path ON public.container_repositories USING btree (path);
CREATE INDEX container_repository_references_deletion_reserved_at ON public.container_repository_references USING btree (deletion_reserved_at);
CREATE INDEX container_repository_references_held ON public.container_repository_references USING btree (registry_id) WHERE ((failure_reason)::text = 'deletion_brake'::text);
CREATE INDEX container_repository_references_registry_id ON public.container_repository_references USING btree (registry_id);
CREATE UNIQUE INDEX container_repository_references_registry_id_name ON public.container_repository_references USING btree (registry_id, name);
CREATE INDEX container_repository_references_registry_id_state_retry_at ON public.container_repository_references USING btree (registry_id, state, retry_at);
CREATE INDEX container_repository_references_waiting ON public.container_repository_references USING btree (pending_since) WHERE (pending_since IS NOT NULL);
CREATE INDEX container_repository_registry_container_repository_id ON public.container_repository_registry USING btree (container_repository_id);
CREATE INDEX container_repository_registry_site_id ON public.container_repository_registry USING btree (site_id);
CREATE UNIQUE INDEX container_repository_registry_site_id_container_repository_id ON public.container_repository_registry USING btree (site_id, container_repository_id);
CREATE INDEX container_repository_registry_site_id_in_scope_state_ful_876153 ON public.container_repository_registry USING btree (site_id, in_scope, state, full_sync, full_sync_requested_at);
CREATE INDEX container_repository_registry_site_id_last_synced_at ON public.container_repository_registry USING btree (site_id, last_synced_at);
CREATE INDEX container_repository_registry_state_retry_at ON public.container_repository_registry USING btree (state, retry_at);
CREATE INDEX container_repository_registry_unsettled ON public.container_repository_registry USING btree (site_id, priority, pending_since NULLS FIRST, id, retry_at) WHERE (in_scope AND (state <> 2));
CREATE INDEX container_repository_registry_unverified ON public.container_repository_registry USING btree (site_id, verification_full, verification_requested_at NULLS FIRST, id, verification_retry_at) WHERE (in_scope AND (state >= 2) AND (verification_state <> 2) AND (verification_state <> 4));
CREATE INDEX container_repository_registry_verification_state_verific_6e6d84 ON public.container_repository_registry USING btree (verification_state, verification_retry_at);
CREATE INDEX geo_events_container_repository_id ON public.geo_events USING btree (container_repository_id);
CREATE INDEX geo_events_created_at ON public.geo_events USING btree (created_at);
CREATE UNIQUE INDEX geo_events_event_key ON public.geo_events USING btree (event_key);
CREATE INDEX geo_events_replicable_name ON public.geo_events USING btree (replicable_name);
CREATE INDEX geo_handovers_registry_id ON public.geo_handovers USING btree (registry_id);
CREATE INDEX geo_quarantined_events_created_at ON public.geo_quarantined_events USING btree (created_at);
CREATE UNIQUE INDEX geo_quarantined_events_fingerprint ON public.geo_quarantined_events USING btree (fingerprint);
CREATE INDEX geo_registry_instances_last_seen_at ON public.geo_registry_instances USING btree (last_seen_at);
CREATE INDEX geo_sites_former_token_hash ON public.geo_sites USING btree (former_token_hash);
CREATE UNIQUE INDEX geo_sites_name ON public.geo_sites USING btree (name);
CREATE INDEX geo_sites_token_hash ON public.geo_sites USING btree (token_hash);
CREATE UNIQUE INDEX schema_migration_name ON public.schema_migration USING btree (name);
CREATE INDEX sync_attempts_finished_at ON public.sync_attempts USING btree (finished_at);
CREATE INDEX sync_attempts_registry_id ON public.sync_attempts USING btree (registry_id);
CREATE INDEX sync_attempts_registry_id_reference ON public.sync_attempts USING btree (registry_id, reference);
CREATE TRIGGER geo_reference_counts_many AFTER INSERT ON public.geo_reference_counts FOR EACH ROW WHEN (((mod(new.id, (256)::bigint) = 0) AND (pg_trigger_depth() < 2))) EXECUTE FUNCTION public.geo_sum_reference_counts();
CREATE TRIGGER geo_references_changed AFTER UPDATE ON public.container_repository_references REFERENCING OLD TABLE AS gone NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION public.geo_count_references();
CREATE TRIGGER geo_references_gone AFTER DELETE ON public.container_repository_references REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION public.geo_count_references();
CREATE TRIGGER geo_references_made AFTER INSERT ON public.container_repository_references REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION public.geo_count_references();
CREATE TRIGGER geo_registry_goes BEFORE DELETE ON public.container_repository_registry FOR EACH ROW EXECUTE FUNCTION public.geo_registry_goes();
CREATE TRIGGER geo_repositories_changed AFTER UPDATE OF site_id, in_scope, state, verification_state, verification_checksum, verification_failure_reason ON public.container_repository_registry FOR EACH ROW WHEN (((((((old.site_id IS DISTINCT FROM new.site_id) OR (old.in_scope IS DISTINCT FROM new.in_scope)) OR (old.state IS DISTINCT FROM new.state)) OR (old.verification_state IS DISTINCT FROM new.verification_state)) OR ((old.verification_checksum IS NOT NULL) IS DISTINCT FROM (new.verification_checksum IS NOT NULL))) OR (COALESCE(("left"((old.verification_failure_reason)::text, 8) = 'primary_'::text), false) IS DISTINCT FROM COALESCE(("left"((new.verification_failure_reason)::text, 8) = 'primary_'::text), false)))) EXECUTE FUNCTION public.geo_count_repositories();
CREATE TRIGGER geo_repositories_gone AFTER DELETE ON public.container_repository_registry FOR EACH ROW EXECUTE FUNCTION public.geo_count_repositories();
CREATE TRIGGER geo_repositories_made AFTER INSERT ON public.container_repository_registry FOR EACH ROW EXECUTE FUNCTION public.geo_count_repositories();
CREATE TRIGGER geo_repository_counts_many AFTER INSERT ON public.geo_repository_counts FOR EACH ROW WHEN (((mod(new.id, (256)::bigint) = 0) AND (pg_trigger_depth() < 2))) EXECUTE FUNCTION public.geo_sum_repository_counts();
ALTER TABLE ONLY public.container_repository_references
    ADD CONSTRAINT container_repository_references_registry_id_fkey FOREIGN KEY (registry_id) REFERENCES public.container_repository_registry(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.container_repository_registry
    ADD CONSTRAINT container_repository_registry_container_repository_id_fkey FOREIGN KEY (container_repository_id) REFERENCES public.container_repositories(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.container_repository_registry
    ADD CONSTRAINT container_repository_registry_site_id_fkey FOREIGN KEY (site_id) REFERENCES public.geo_sites(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.geo_catalog_walks
    ADD CONSTRAINT geo_catalog_walks_site_id_fkey FOREIGN KEY (site_id) REFERENCES public.geo_sites(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.geo_cursors
    ADD CONSTRAINT geo_cursors_site_id_fkey FOREIGN KEY (site_id) REFERENCES public.geo_sites(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.geo_events
    ADD CONSTRAINT geo_events_container_repository_id_fkey FOREIGN KEY (container_repository_id) REFERENCES public.container_repositories(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.geo_followers
    ADD CONSTRAINT geo_followers_site_id_fkey FOREIGN KEY (site_id) REFERENCES public.geo_sites(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.geo_handovers
    ADD CONSTRAINT geo_handovers_registry_id_fkey FOREIGN KEY (registry_id) REFERENCES public.container_repository_registry(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.geo_site_reports
    ADD CONSTRAINT geo_site_reports_site_id_fkey FOREIGN KEY (site_id) REFERENCES public.geo_sites(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.sync_attempts
    ADD CONSTRAINT sync_attempts_registry_id_fkey FOREIGN KEY (registry_id) REFERENCES public.container_repository_registry(id) ON DELETE CASCADE;
