BEGIN TRANSACTION;
CREATE TABLE "container_repositories" ("id" INTEGER NOT NULL PRIMARY KEY, "path" VARCHAR(255) NOT NULL, "created_at" DATETIME NOT NULL);
INSERT INTO "container_repositories" VALUES(1,'team/app','2026-11-23 07:14:38.970554');
INSERT INTO "container_repositories" VALUES(2,'team/tool','2026-11-23 07:14:39.177315');
INSERT INTO "container_repositories" VALUES(3,'team/missing','2026-11-23 07:14:40.092233');
INSERT INTO "container_repositories" VALUES(4,'team/late','2026-11-23 07:14:40.243064');
CREATE TABLE "container_repository_references" ("id" INTEGER NOT NULL PRIMARY KEY, "registry_id" INTEGER NOT NULL, "name" VARCHAR(255) NOT NULL, "is_tag" INTEGER NOT NULL, "in_scope" INTEGER NOT NULL, "state" INTEGER NOT NULL, "generation" INTEGER NOT NULL, "desired_digest" VARCHAR(255), "observed_digest" VARCHAR(255), "media_type" VARCHAR(255), "delete_witness" VARCHAR(255), "throwaway_digest" VARCHAR(255), "drift_digest" VARCHAR(255), "drift_since" DATETIME, "deletion_reserved_at" DATETIME, "deletion_released_at" DATETIME, "event_id" INTEGER, "correlation_id" VARCHAR(255), "event_at" DATETIME, "pending_since" DATETIME, "trigger" VARCHAR(255) NOT NULL, "retry_count" INTEGER NOT NULL, "retry_at" DATETIME, "failure" TEXT, "failure_reason" VARCHAR(255), "synced_at" DATETIME, "verified_digest" VARCHAR(255), "verified_at" DATETIME, "verification_level" VARCHAR(255), "created_at" DATETIME NOT NULL, FOREIGN KEY ("registry_id") REFERENCES "container_repository_registry" ("id") ON DELETE CASCADE);
INSERT INTO "container_repository_references" VALUES(2,1,'latest',1,1,2,1,'sha256:628edbacfbe2f667e150c7ef4e508114df05c7cafd14266c3c7909c8b979baa3','sha256:628edbacfbe2f667e150c7ef4e508114df05c7cafd14266c3c7909c8b979baa3','application/vnd.oci.image.manifest.v1+json',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'full',0,NULL,NULL,NULL,'2026-11-23 07:14:39.679776','sha256:628edbacfbe2f667e150c7ef4e508114df05c7cafd14266c3c7909c8b979baa3','2026-11-23 07:14:39.952095',NULL,'2026-11-23 07:14:39.231185');
INSERT INTO "container_repository_references" VALUES(3,1,'old',1,1,2,1,'sha256:df35f621ce93133ee8138322e158bb850c344a7fea6299a278cb0477b9a2226c','sha256:df35f621ce93133ee8138322e158bb850c344a7fea6299a278cb0477b9a2226c','application/vnd.oci.image.manifest.v1+json',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'full',0,NULL,NULL,NULL,'2026-11-23 07:14:39.679776','sha256:df35f621ce93133ee8138322e158bb850c344a7fea6299a278cb0477b9a2226c','2026-11-23 07:14:39.952095',NULL,'2026-11-23 07:14:39.231185');
INSERT INTO "container_repository_references" VALUES(4,1,'sha256:5c2fa8f748b0e590f1839d68cec223690d5ca4efc4baf98289427a78829b9750',0,1,2,0,'sha256:5c2fa8f748b0e590f1839d68cec223690d5ca4efc4baf98289427a78829b9750','sha256:5c2fa8f748b0e590f1839d68cec223690d5ca4efc4baf98289427a78829b9750','application/vnd.oci.image.manifest.v1+json',NULL,NULL,NULL,NULL,NULL,NULL,4,NULL,'2026-11-23 07:14:39.095515',NULL,'event',0,NULL,NULL,NULL,'2026-11-23 07:14:39.471588','sha256:5c2fa8f748b0e590f1839d68cec223690d5ca4efc4baf98289427a78829b9750','2026-11-23 07:14:39.952095',NULL,'2026-11-23 07:14:39.231185');
INSERT INTO "container_repository_references" VALUES(5,1,'v1',1,1,2,1,'sha256:628edbacfbe2f667e150c7ef4e508114df05c7cafd14266c3c7909c8b979baa3','sha256:628edbacfbe2f667e150c7ef4e508114df05c7cafd14266c3c7909c8b979baa3','application/vnd.oci.image.manifest.v1+json',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'full',0,NULL,NULL,NULL,'2026-11-23 07:14:39.679776','sha256:628edbacfbe2f667e150c7ef4e508114df05c7cafd14266c3c7909c8b979baa3','2026-11-23 07:14:39.952095',NULL,'2026-11-23 07:14:39.231185');
INSERT INTO "container_repository_references" VALUES(6,2,'v1',1,1,2,0,'sha256:75e95eb9e3cf5fec067185bd6c6f1bb68d20c265959acaea9befcb44cc5c320c','sha256:75e95eb9e3cf5fec067185bd6c6f1bb68d20c265959acaea9befcb44cc5c320c','application/vnd.oci.image.index.v1+json',NULL,NULL,NULL,NULL,NULL,NULL,5,NULL,'2026-11-23 07:14:39.176947',NULL,'event',0,NULL,NULL,NULL,'2026-11-23 07:14:39.587932','sha256:75e95eb9e3cf5fec067185bd6c6f1bb68d20c265959acaea9befcb44cc5c320c','2026-11-23 07:14:40.084319',NULL,'2026-11-23 07:14:39.231185');
INSERT INTO "container_repository_references" VALUES(7,1,'theirs',1,1,2,0,NULL,NULL,NULL,NULL,NULL,NULL,'2026-11-23 07:14:39.656427',NULL,NULL,NULL,NULL,NULL,NULL,'full',0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'2026-11-23 07:14:39.656427');
INSERT INTO "container_repository_references" VALUES(8,3,'v1',1,1,3,0,'sha256:628edbacfbe2f667e150c7ef4e508114df05c7cafd14266c3c7909c8b979baa3',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,8,NULL,'2026-11-23 07:14:40.092062','2026-11-23 07:14:40.092062','retry',1,'2026-11-23 07:14:44.717051','team/missing:v1: GET primary.invalid:5000/v2/team/missing/manifests/v1: HTTP 404: MANIFEST_UNKNOWN: manifest unknown; no event and no listing says that it was deleted','not_on_primary',NULL,NULL,NULL,NULL,'2026-11-23 07:14:40.096079');
INSERT INTO "container_repository_references" VALUES(9,1,'next',1,1,0,0,'sha256:126c5df8720755e32163cd57c85aeb10ddd5039a6eb230db67b1194835a8e418',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,9,NULL,'2026-11-23 07:14:40.192302','2026-11-23 07:14:40.192302','event',0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'2026-11-23 07:14:40.197503');
CREATE TABLE "container_repository_registry" ("id" INTEGER NOT NULL PRIMARY KEY, "site_id" INTEGER NOT NULL, "container_repository_id" INTEGER NOT NULL, "state" INTEGER NOT NULL, "retry_count" INTEGER NOT NULL, "last_sync_failure" TEXT, "retry_at" DATETIME, "last_synced_at" DATETIME, "created_at" DATETIME NOT NULL, "generation" INTEGER NOT NULL, "full_sync" INTEGER NOT NULL, "full_sync_generation" INTEGER NOT NULL, "full_sync_requested_at" DATETIME, "priority" INTEGER NOT NULL, "pending_since" DATETIME, "lease_owner" VARCHAR(255), "lease_token" INTEGER NOT NULL, "lease_expires_at" DATETIME, "attempts" INTEGER NOT NULL, "started_at" DATETIME, "in_scope" INTEGER NOT NULL, "verification_state" INTEGER NOT NULL, "verification_checksum" VARCHAR(255), "verification_checksum_mismatched" VARCHAR(255), "checksum_mismatch" INTEGER NOT NULL, "verification_failure" TEXT, "verification_failure_reason" VARCHAR(255), "verification_retry_count" INTEGER NOT NULL, "verification_retry_at" DATETIME, "verification_started_at" DATETIME, "verified_at" DATETIME, "verification_level" VARCHAR(255), "fully_verified_at" DATETIME, "verification_full" INTEGER NOT NULL, "verification_requested_at" DATETIME, "verification_requested_level" VARCHAR(255), "verification_lease_owner" VARCHAR(255), "verification_lease_token" INTEGER NOT NULL, "verification_lease_expires_at" DATETIME, "verification_attempts" INTEGER NOT NULL, FOREIGN KEY ("site_id") REFERENCES "geo_sites" ("id") ON DELETE CASCADE, FOREIGN KEY ("container_repository_id") REFERENCES "container_repositories" ("id") ON DELETE CASCADE);
INSERT INTO "container_repository_registry" VALUES(1,2,1,0,0,NULL,NULL,'2026-11-23 07:14:39.778630','2026-11-23 07:14:39.231185',4,0,2,'2026-11-23 07:14:39.634904',0,'2026-11-23 07:14:40.192302',NULL,3,NULL,0,'2026-11-23 07:14:39.712006',1,2,'d6f24a71e57f519dd44b810caac784c71add712c6abd08c3c4e7b636950ba8e0',NULL,0,NULL,NULL,0,NULL,'2026-11-23 07:14:39.783995','2026-11-23 07:14:39.958883','content','2026-11-23 07:14:39.958883',0,'2026-11-23 07:14:39.782617',NULL,NULL,1,NULL,0);
INSERT INTO "container_repository_registry" VALUES(2,2,2,2,0,NULL,NULL,'2026-11-23 07:14:39.590911','2026-11-23 07:14:39.231185',1,0,0,NULL,0,NULL,NULL,1,NULL,0,'2026-11-23 07:14:39.482558',1,2,'f8316b88863b9c083762ab360ac748159d05c7ea690bec72e513548cc12d7ba1',NULL,0,NULL,NULL,0,NULL,'2026-11-23 07:14:39.964905','2026-11-23 07:14:40.089818','content','2026-11-23 07:14:40.089818',0,'2026-11-23 07:14:39.963674',NULL,NULL,1,NULL,0);
INSERT INTO "container_repository_registry" VALUES(3,2,3,3,1,'team/missing:v1: GET primary.invalid:5000/v2/team/missing/manifests/v1: HTTP 404: MANIFEST_UNKNOWN: manifest unknown; no event and no listing says that it was deleted','2026-11-23 07:14:44.717051',NULL,'2026-11-23 07:14:40.096079',1,0,0,NULL,0,'2026-11-23 07:14:40.092062',NULL,1,NULL,0,'2026-11-23 07:14:40.100225',1,0,NULL,NULL,0,NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,0,NULL,0);
CREATE TABLE "geo_catalog_walks" ("site_id" INTEGER NOT NULL PRIMARY KEY, "priority" INTEGER NOT NULL, "started_at" DATETIME NOT NULL, "marker" TEXT, "marked" INTEGER NOT NULL, "updated_at" DATETIME NOT NULL, FOREIGN KEY ("site_id") REFERENCES "geo_sites" ("id") ON DELETE CASCADE);
INSERT INTO "geo_catalog_walks" VALUES(4,10,'2026-11-23 07:14:40.144213',NULL,0,'2026-11-23 07:14:40.144213');
CREATE TABLE "geo_cursors" ("site_id" INTEGER NOT NULL PRIMARY KEY, "position" INTEGER NOT NULL, "gaps" TEXT NOT NULL, "event_at" DATETIME, "updated_at" DATETIME NOT NULL, FOREIGN KEY ("site_id") REFERENCES "geo_sites" ("id") ON DELETE CASCADE);
INSERT INTO "geo_cursors" VALUES(2,9,'{}','2026-11-23 07:14:40.192302','2026-11-23 07:14:40.199081');
INSERT INTO "geo_cursors" VALUES(3,8,'{}',NULL,'2026-11-23 07:14:40.127947');
INSERT INTO "geo_cursors" VALUES(4,8,'{}',NULL,'2026-11-23 07:14:40.130373');
INSERT INTO "geo_cursors" VALUES(5,8,'{}',NULL,'2026-11-23 07:14:40.132514');
CREATE TABLE "geo_event_log_state" ("id" INTEGER NOT NULL PRIMARY KEY, "identity" VARCHAR(255) NOT NULL, "pruned_to" INTEGER NOT NULL, "fenced_to" INTEGER NOT NULL, "fence" INTEGER NOT NULL);
INSERT INTO "geo_event_log_state" VALUES(1,'08a5e97aa72f4f4f8e0d19bc68a5f06e',0,0,0);
CREATE TABLE "geo_events" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "event_key" VARCHAR(255) NOT NULL, "replicable_name" VARCHAR(255) NOT NULL, "event_name" VARCHAR(255) NOT NULL, "container_repository_id" INTEGER NOT NULL, "action" VARCHAR(255) NOT NULL, "tag" VARCHAR(255), "digest" VARCHAR(255), "media_type" VARCHAR(255), "occurred_at" DATETIME NOT NULL, "actor" VARCHAR(255), "user_agent" VARCHAR(255), "source_instance_id" VARCHAR(255), "correlation_id" VARCHAR(255), "created_at" DATETIME NOT NULL, FOREIGN KEY ("container_repository_id") REFERENCES "container_repositories" ("id") ON DELETE CASCADE);
INSERT INTO "geo_events" VALUES(1,'d7a4e28b-3faf-4a31-ac9d-ad15603caa9b','container_repository','updated',1,'push','v1','sha256:628edbacfbe2f667e150c7ef4e508114df05c7cafd14266c3c7909c8b979baa3',NULL,'2026-11-23 07:14:38.970166',NULL,NULL,NULL,NULL,'2026-11-23 07:14:38.970554');
INSERT INTO "geo_events" VALUES(2,'c4ab4209-d522-4808-a2c4-8d48f7f873bf','container_repository','updated',1,'push','latest','sha256:628edbacfbe2f667e150c7ef4e508114df05c7cafd14266c3c7909c8b979baa3',NULL,'2026-11-23 07:14:39.013473',NULL,NULL,NULL,NULL,'2026-11-23 07:14:39.013829');
INSERT INTO "geo_events" VALUES(3,'cec9882b-f194-4dfa-b82b-aa145e6ed5f3','container_repository','updated',1,'push','old','sha256:df35f621ce93133ee8138322e158bb850c344a7fea6299a278cb0477b9a2226c',NULL,'2026-11-23 07:14:39.060252',NULL,NULL,NULL,NULL,'2026-11-23 07:14:39.060626');
INSERT INTO "geo_events" VALUES(4,'af82a5f0-ee08-4b24-a1c2-29d76c10526f','container_repository','updated',1,'push',NULL,'sha256:5c2fa8f748b0e590f1839d68cec223690d5ca4efc4baf98289427a78829b9750',NULL,'2026-11-23 07:14:39.095515',NULL,NULL,NULL,NULL,'2026-11-23 07:14:39.095822');
INSERT INTO "geo_events" VALUES(5,'461fd7d0-a6d5-4d53-b5c0-89be26d47e54','container_repository','updated',2,'push','v1','sha256:75e95eb9e3cf5fec067185bd6c6f1bb68d20c265959acaea9befcb44cc5c320c',NULL,'2026-11-23 07:14:39.176947',NULL,NULL,NULL,NULL,'2026-11-23 07:14:39.177315');
INSERT INTO "geo_events" VALUES(6,'cb3cb765-eca8-4770-9366-a28bb1a99179','container_repository','updated',1,'push','gone','sha256:e485a276ae56a8f639d9160d229c06c5586968029b89026f0a3e5f31097e1251',NULL,'2026-11-23 07:14:39.222823',NULL,NULL,NULL,NULL,'2026-11-23 07:14:39.223152');
INSERT INTO "geo_events" VALUES(7,'99ad62f1-a1ad-4292-82e2-409353d7f285','container_repository','updated',1,'delete',NULL,'sha256:e485a276ae56a8f639d9160d229c06c5586968029b89026f0a3e5f31097e1251',NULL,'2026-11-23 07:14:39.700517',NULL,NULL,NULL,NULL,'2026-11-23 07:14:39.700944');
INSERT INTO "geo_events" VALUES(8,'5213b0d9-7ff4-47ed-91f6-d100a9912db7','container_repository','updated',3,'push','v1','sha256:628edbacfbe2f667e150c7ef4e508114df05c7cafd14266c3c7909c8b979baa3',NULL,'2026-11-23 07:14:40.092062',NULL,NULL,NULL,NULL,'2026-11-23 07:14:40.092233');
INSERT INTO "geo_events" VALUES(9,'aba0252f-c3bf-4614-b967-a82d674ae9cc','container_repository','updated',1,'push','next','sha256:126c5df8720755e32163cd57c85aeb10ddd5039a6eb230db67b1194835a8e418',NULL,'2026-11-23 07:14:40.192302',NULL,NULL,NULL,NULL,'2026-11-23 07:14:40.192621');
INSERT INTO "geo_events" VALUES(10,'bb649903-4faf-4351-8e88-eb447df59451','container_repository','updated',4,'push','v1','sha256:7fddbb89d0808a0ba85733aa88e79ead3beff3623ef081a024b90e883c27fcd0',NULL,'2026-11-23 07:14:40.242781',NULL,NULL,NULL,NULL,'2026-11-23 07:14:40.243064');
CREATE TABLE "geo_followers" ("site_id" INTEGER NOT NULL PRIMARY KEY, "position" TEXT, "source_last_event_id" INTEGER NOT NULL, "last_event_id" INTEGER NOT NULL, "paused" INTEGER NOT NULL, "reconcile_seen" VARCHAR(255), "heard_at" DATETIME, "failing_since" DATETIME, "failure" TEXT, "reset_at" DATETIME, "reset_reason" TEXT, "reported_at" DATETIME, "report_failure" TEXT, "created_at" DATETIME NOT NULL, FOREIGN KEY ("site_id") REFERENCES "geo_sites" ("id") ON DELETE CASCADE);
INSERT INTO "geo_followers" VALUES(4,'a-position',0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'2026-11-23 07:14:40.144213');
CREATE TABLE "geo_handovers" ("registry_id" INTEGER NOT NULL, "name" VARCHAR(255) NOT NULL, "digest" VARCHAR(255) NOT NULL, PRIMARY KEY ("registry_id", "name"), FOREIGN KEY ("registry_id") REFERENCES "container_repository_registry" ("id") ON DELETE CASCADE);
INSERT INTO "geo_handovers" VALUES(1,'v1','sha256:628edbacfbe2f667e150c7ef4e508114df05c7cafd14266c3c7909c8b979baa3');
CREATE TABLE "geo_leases" ("name" VARCHAR(255) NOT NULL PRIMARY KEY, "owner" VARCHAR(255), "token" INTEGER NOT NULL, "expires_at" DATETIME NOT NULL);
INSERT INTO "geo_leases" VALUES('catalog:1',NULL,1,'2026-11-23 07:14:40.149574');
CREATE TABLE "geo_metric_values" ("name" VARCHAR(255) NOT NULL, "labels" VARCHAR(255) NOT NULL, "bucket" VARCHAR(255) NOT NULL, "value" REAL NOT NULL, PRIMARY KEY ("name", "labels", "bucket"));
INSERT INTO "geo_metric_values" VALUES('geo_blobs_total','{"how":"copied","site":"secondary"}','',12.0);
INSERT INTO "geo_metric_values" VALUES('geo_copied_bytes_total','{"site":"secondary"}','',364.0);
INSERT INTO "geo_metric_values" VALUES('geo_replication_lag_seconds','{"site":"secondary"}','0.5',6.0);
INSERT INTO "geo_metric_values" VALUES('geo_replication_lag_seconds','{"site":"secondary"}','sum',2.417566);
INSERT INTO "geo_metric_values" VALUES('geo_sync_duration_seconds','{"outcome":"synced","site":"secondary"}','0.25',6.0);
INSERT INTO "geo_metric_values" VALUES('geo_sync_duration_seconds','{"outcome":"synced","site":"secondary"}','sum',1.134405);
INSERT INTO "geo_metric_values" VALUES('geo_sync_success_total','{"action":"copy","site":"secondary"}','',6.0);
INSERT INTO "geo_metric_values" VALUES('geo_blobs_total','{"how":"skipped","site":"secondary"}','',2.0);
INSERT INTO "geo_metric_values" VALUES('geo_sync_success_total','{"action":"keep","site":"secondary"}','',4.0);
INSERT INTO "geo_metric_values" VALUES('geo_replication_lag_seconds','{"site":"secondary"}','0.1',1.0);
INSERT INTO "geo_metric_values" VALUES('geo_sync_duration_seconds','{"outcome":"synced","site":"secondary"}','0.1',1.0);
INSERT INTO "geo_metric_values" VALUES('geo_sync_success_total','{"action":"delete","site":"secondary"}','',1.0);
INSERT INTO "geo_metric_values" VALUES('geo_verification_duration_seconds','{"level":"content","site":"secondary"}','0.25',2.0);
INSERT INTO "geo_metric_values" VALUES('geo_verification_duration_seconds','{"level":"content","site":"secondary"}','sum',2.96353853998880367726e-01);
INSERT INTO "geo_metric_values" VALUES('geo_verifications_total','{"level":"content","outcome":"succeeded","site":"secondary"}','',2.0);
INSERT INTO "geo_metric_values" VALUES('geo_verified_references_total','{"level":"content","site":"secondary"}','',5.0);
INSERT INTO "geo_metric_values" VALUES('geo_sync_duration_seconds','{"outcome":"failed","site":"secondary"}','0.1',1.0);
INSERT INTO "geo_metric_values" VALUES('geo_sync_duration_seconds','{"outcome":"failed","site":"secondary"}','sum',0.004455);
INSERT INTO "geo_metric_values" VALUES('geo_sync_failures_total','{"reason":"not_on_primary","site":"secondary"}','',1.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"blob_present","registry":"secondary"}','0.005',4.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"blob_present","registry":"secondary"}','0.01',6.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"blob_present","registry":"secondary"}','0.025',9.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"blob_present","registry":"secondary"}','0.05',2.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"blob_present","registry":"secondary"}','0.1',1.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"blob_present","registry":"secondary"}','sum',3.18876077995810192078e-01);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"delete_manifest","registry":"secondary"}','0.005',2.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"delete_manifest","registry":"secondary"}','sum',7.51169499562820419669e-03);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"get_manifest","registry":"primary"}','0.005',5.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"get_manifest","registry":"primary"}','0.01',4.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"get_manifest","registry":"primary"}','0.025',2.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"get_manifest","registry":"primary"}','sum',0.0761174659783137);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"get_manifest","registry":"secondary"}','0.005',7.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"get_manifest","registry":"secondary"}','sum',2.30280469913850538432e-02);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"head_manifest","registry":"primary"}','0.005',1.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"head_manifest","registry":"primary"}','0.01',3.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"head_manifest","registry":"primary"}','sum',2.50190799924894236028e-02);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"head_manifest","registry":"secondary"}','0.005',6.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"head_manifest","registry":"secondary"}','0.01',5.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"head_manifest","registry":"secondary"}','0.025',4.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"head_manifest","registry":"secondary"}','sum',1.21738380992610473185e-01);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"list_tags","registry":"primary"}','0.005',3.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"list_tags","registry":"primary"}','sum',7.53165499918395653367e-03);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"list_tags","registry":"secondary"}','0.005',1.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"list_tags","registry":"secondary"}','sum',3.22336500539677217602e-03);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"open_blob","registry":"primary"}','0.01',2.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"open_blob","registry":"primary"}','0.025',4.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"open_blob","registry":"primary"}','0.05',5.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"open_blob","registry":"primary"}','0.1',1.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"open_blob","registry":"primary"}','sum',3.10601083008805289864e-01);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"open_blob","registry":"secondary"}','0.005',2.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"open_blob","registry":"secondary"}','0.01',6.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"open_blob","registry":"secondary"}','0.025',2.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"open_blob","registry":"secondary"}','sum',7.17384199961088597774e-02);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"put_blob","registry":"secondary"}','0.01',2.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"put_blob","registry":"secondary"}','0.025',6.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"put_blob","registry":"secondary"}','0.05',4.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"put_blob","registry":"secondary"}','0.1',1.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"put_blob","registry":"secondary"}','sum',3.19865645011304877698e-01);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"put_manifest","registry":"secondary"}','0.01',2.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"put_manifest","registry":"secondary"}','0.025',6.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"put_manifest","registry":"secondary"}','0.05',1.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"put_manifest","registry":"secondary"}','sum',1.46529079000174533575e-01);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"referrers","registry":"primary"}','0.005',1.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"referrers","registry":"primary"}','sum',4.23165500251343473792e-03);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"start_upload","registry":"secondary"}','0.01',3.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"start_upload","registry":"secondary"}','0.025',6.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"start_upload","registry":"secondary"}','0.05',4.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"start_upload","registry":"secondary"}','sum',2.88777173002017661929e-01);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"supports_delete","registry":"secondary"}','0.005',1.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_request_duration_seconds','{"operation":"supports_delete","registry":"secondary"}','sum',2.45516800350742414593e-03);
INSERT INTO "geo_metric_values" VALUES('geo_registry_requests_total','{"operation":"blob_present","outcome":"ok","registry":"secondary"}','',22.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_requests_total','{"operation":"delete_manifest","outcome":"digest_invalid","registry":"secondary"}','',1.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_requests_total','{"operation":"delete_manifest","outcome":"ok","registry":"secondary"}','',1.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_requests_total','{"operation":"get_manifest","outcome":"not_found","registry":"primary"}','',3.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_requests_total','{"operation":"get_manifest","outcome":"ok","registry":"primary"}','',8.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_requests_total','{"operation":"get_manifest","outcome":"ok","registry":"secondary"}','',7.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_requests_total','{"operation":"head_manifest","outcome":"not_found","registry":"secondary"}','',9.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_requests_total','{"operation":"head_manifest","outcome":"ok","registry":"primary"}','',4.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_requests_total','{"operation":"head_manifest","outcome":"ok","registry":"secondary"}','',6.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_requests_total','{"operation":"list_tags","outcome":"ok","registry":"primary"}','',3.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_requests_total','{"operation":"list_tags","outcome":"ok","registry":"secondary"}','',1.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_requests_total','{"operation":"open_blob","outcome":"ok","registry":"primary"}','',12.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_requests_total','{"operation":"open_blob","outcome":"ok","registry":"secondary"}','',10.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_requests_total','{"operation":"put_blob","outcome":"ok","registry":"secondary"}','',13.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_requests_total','{"operation":"put_manifest","outcome":"ok","registry":"secondary"}','',9.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_requests_total','{"operation":"referrers","outcome":"ok","registry":"primary"}','',1.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_requests_total','{"operation":"start_upload","outcome":"ok","registry":"secondary"}','',13.0);
INSERT INTO "geo_metric_values" VALUES('geo_registry_requests_total','{"operation":"supports_delete","outcome":"ok","registry":"secondary"}','',1.0);
CREATE TABLE "geo_quarantined_events" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "dialect" VARCHAR(255) NOT NULL, "reason" VARCHAR(255) NOT NULL, "content_type" VARCHAR(255), "remote_address" VARCHAR(255), "size" INTEGER NOT NULL, "excerpt" TEXT NOT NULL, "occurrences" INTEGER NOT NULL, "fingerprint" VARCHAR(255) NOT NULL, "created_at" DATETIME NOT NULL, "last_seen_at" DATETIME NOT NULL);
INSERT INTO "geo_quarantined_events" VALUES(1,'distribution','bad_event','application/json','192.0.2.1',4711,'{"events": [{"action": "push", …',1,'34734f2263115f03dc331433e3732480c682e16229a3676a9be43825cdeb930a','2026-11-23 07:14:40.114592','2026-11-23 07:14:40.114592');
CREATE TABLE "geo_reference_counts" ("id" INTEGER NOT NULL PRIMARY KEY, "site_id" INTEGER NOT NULL, "is_tag" INTEGER NOT NULL, "in_scope" INTEGER NOT NULL, "state" INTEGER NOT NULL, "drift" INTEGER NOT NULL, "number" INTEGER NOT NULL);
INSERT INTO "geo_reference_counts" VALUES(1,2,1,1,0,0,1);
INSERT INTO "geo_reference_counts" VALUES(2,2,1,1,0,0,1);
INSERT INTO "geo_reference_counts" VALUES(3,2,1,1,0,0,1);
INSERT INTO "geo_reference_counts" VALUES(4,2,0,1,0,0,1);
INSERT INTO "geo_reference_counts" VALUES(5,2,1,1,0,0,1);
INSERT INTO "geo_reference_counts" VALUES(6,2,1,1,0,0,1);
INSERT INTO "geo_reference_counts" VALUES(7,2,1,1,0,0,-1);
INSERT INTO "geo_reference_counts" VALUES(8,2,1,1,2,0,1);
INSERT INTO "geo_reference_counts" VALUES(9,2,1,1,0,0,-1);
INSERT INTO "geo_reference_counts" VALUES(10,2,1,1,2,0,1);
INSERT INTO "geo_reference_counts" VALUES(11,2,1,1,0,0,-1);
INSERT INTO "geo_reference_counts" VALUES(12,2,1,1,2,0,1);
INSERT INTO "geo_reference_counts" VALUES(13,2,0,1,0,0,-1);
INSERT INTO "geo_reference_counts" VALUES(14,2,0,1,2,0,1);
INSERT INTO "geo_reference_counts" VALUES(15,2,1,1,0,0,-1);
INSERT INTO "geo_reference_counts" VALUES(16,2,1,1,2,0,1);
INSERT INTO "geo_reference_counts" VALUES(17,2,1,1,0,0,-1);
INSERT INTO "geo_reference_counts" VALUES(18,2,1,1,2,0,1);
INSERT INTO "geo_reference_counts" VALUES(19,2,1,1,2,0,-1);
INSERT INTO "geo_reference_counts" VALUES(20,2,1,1,0,0,1);
INSERT INTO "geo_reference_counts" VALUES(21,2,1,1,2,0,-1);
INSERT INTO "geo_reference_counts" VALUES(22,2,1,1,0,0,1);
INSERT INTO "geo_reference_counts" VALUES(23,2,1,1,2,0,-1);
INSERT INTO "geo_reference_counts" VALUES(24,2,1,1,0,0,1);
INSERT INTO "geo_reference_counts" VALUES(25,2,1,1,2,0,-1);
INSERT INTO "geo_reference_counts" VALUES(26,2,1,1,0,0,1);
INSERT INTO "geo_reference_counts" VALUES(27,2,1,1,2,1,1);
INSERT INTO "geo_reference_counts" VALUES(28,2,1,1,0,0,-1);
INSERT INTO "geo_reference_counts" VALUES(29,2,1,1,2,0,1);
INSERT INTO "geo_reference_counts" VALUES(30,2,1,1,0,0,-1);
INSERT INTO "geo_reference_counts" VALUES(31,2,1,1,2,0,1);
INSERT INTO "geo_reference_counts" VALUES(32,2,1,1,0,0,-1);
INSERT INTO "geo_reference_counts" VALUES(33,2,1,1,2,0,1);
INSERT INTO "geo_reference_counts" VALUES(34,2,1,1,0,0,-1);
INSERT INTO "geo_reference_counts" VALUES(35,2,1,1,2,0,1);
INSERT INTO "geo_reference_counts" VALUES(36,2,1,1,2,0,-1);
INSERT INTO "geo_reference_counts" VALUES(37,2,1,1,0,0,1);
INSERT INTO "geo_reference_counts" VALUES(38,2,1,1,0,0,-1);
INSERT INTO "geo_reference_counts" VALUES(39,2,1,1,0,0,1);
INSERT INTO "geo_reference_counts" VALUES(40,2,1,1,0,0,-1);
INSERT INTO "geo_reference_counts" VALUES(41,2,1,1,3,0,1);
INSERT INTO "geo_reference_counts" VALUES(42,2,1,1,0,0,1);
CREATE TABLE "geo_registry_instances" ("instance_id" VARCHAR(255) NOT NULL PRIMARY KEY, "first_seen_at" DATETIME NOT NULL, "last_seen_at" DATETIME NOT NULL, "reconcile_owed" INTEGER NOT NULL, "reconcile_asked_at" DATETIME);
INSERT INTO "geo_registry_instances" VALUES('a-registry-process','2026-11-23 07:14:39.224677','2026-11-23 07:14:39.224677',0,NULL);
CREATE TABLE "geo_repository_counts" ("id" INTEGER NOT NULL PRIMARY KEY, "site_id" INTEGER NOT NULL, "in_scope" INTEGER NOT NULL, "state" INTEGER NOT NULL, "verification_state" INTEGER NOT NULL, "checksummed" INTEGER NOT NULL, "untold" INTEGER NOT NULL, "number" INTEGER NOT NULL);
INSERT INTO "geo_repository_counts" VALUES(1,2,1,0,0,0,0,1);
INSERT INTO "geo_repository_counts" VALUES(2,2,1,0,0,0,0,1);
INSERT INTO "geo_repository_counts" VALUES(3,2,1,0,0,0,0,-1);
INSERT INTO "geo_repository_counts" VALUES(4,2,1,1,0,0,0,1);
INSERT INTO "geo_repository_counts" VALUES(5,2,1,1,0,0,0,-1);
INSERT INTO "geo_repository_counts" VALUES(6,2,1,2,0,0,0,1);
INSERT INTO "geo_repository_counts" VALUES(7,2,1,0,0,0,0,-1);
INSERT INTO "geo_repository_counts" VALUES(8,2,1,1,0,0,0,1);
INSERT INTO "geo_repository_counts" VALUES(9,2,1,1,0,0,0,-1);
INSERT INTO "geo_repository_counts" VALUES(10,2,1,2,0,0,0,1);
INSERT INTO "geo_repository_counts" VALUES(11,2,1,2,0,0,0,-1);
INSERT INTO "geo_repository_counts" VALUES(12,2,1,0,0,0,0,1);
INSERT INTO "geo_repository_counts" VALUES(13,2,1,0,0,0,0,-1);
INSERT INTO "geo_repository_counts" VALUES(14,2,1,1,0,0,0,1);
INSERT INTO "geo_repository_counts" VALUES(15,2,1,1,0,0,0,-1);
INSERT INTO "geo_repository_counts" VALUES(16,2,1,2,0,0,0,1);
INSERT INTO "geo_repository_counts" VALUES(17,2,1,2,0,0,0,-1);
INSERT INTO "geo_repository_counts" VALUES(18,2,1,0,0,0,0,1);
INSERT INTO "geo_repository_counts" VALUES(19,2,1,0,0,0,0,-1);
INSERT INTO "geo_repository_counts" VALUES(20,2,1,1,0,0,0,1);
INSERT INTO "geo_repository_counts" VALUES(21,2,1,1,0,0,0,-1);
INSERT INTO "geo_repository_counts" VALUES(22,2,1,2,0,0,0,1);
INSERT INTO "geo_repository_counts" VALUES(23,2,1,2,0,0,0,-1);
INSERT INTO "geo_repository_counts" VALUES(24,2,1,2,1,0,0,1);
INSERT INTO "geo_repository_counts" VALUES(25,2,1,2,1,0,0,-1);
INSERT INTO "geo_repository_counts" VALUES(26,2,1,2,2,1,0,1);
INSERT INTO "geo_repository_counts" VALUES(27,2,1,2,0,0,0,-1);
INSERT INTO "geo_repository_counts" VALUES(28,2,1,2,1,0,0,1);
INSERT INTO "geo_repository_counts" VALUES(29,2,1,2,1,0,0,-1);
INSERT INTO "geo_repository_counts" VALUES(30,2,1,2,2,1,0,1);
INSERT INTO "geo_repository_counts" VALUES(31,2,1,0,0,0,0,1);
INSERT INTO "geo_repository_counts" VALUES(32,2,1,0,0,0,0,-1);
INSERT INTO "geo_repository_counts" VALUES(33,2,1,1,0,0,0,1);
INSERT INTO "geo_repository_counts" VALUES(34,2,1,1,0,0,0,-1);
INSERT INTO "geo_repository_counts" VALUES(35,2,1,3,0,0,0,1);
INSERT INTO "geo_repository_counts" VALUES(36,2,1,2,2,1,0,-1);
INSERT INTO "geo_repository_counts" VALUES(37,2,1,0,2,1,0,1);
CREATE TABLE "geo_site_reports" ("site_id" INTEGER NOT NULL PRIMARY KEY, "document" TEXT NOT NULL, "received_at" DATETIME NOT NULL, FOREIGN KEY ("site_id") REFERENCES "geo_sites" ("id") ON DELETE CASCADE);
INSERT INTO "geo_site_reports" VALUES(3,'{"name":"berlin","url":"https://registry.berlin.example.com","enabled":true,"total":10,"pending":1,"started":0,"synced":8,"failed":1,"references":30,"references_synced":28,"references_failed":2,"drift":1,"out_of_scope":0,"references_out_of_scope":0,"verification_total":10,"verified":7,"verification_failed":1,"checksummed":8,"checksum_failed":0,"last_synced_at":"2026-07-01T00:00:00+00:00","first_failure":"team/app:v1 (denied)","first_verification_failure":null,"backfill":{"started_at":"2026-07-01T00:00:00+00:00","finding":false,"found":10,"left":1,"failed":1,"ends_at":null},"version":"1.0","level":"healthy","headline":"In sync","advice":"","follows":"feed","replication_enabled":true,"oldest_pending_seconds":12.5,"repositories":["team/**"],"tags":["v*"],"capacity":4,"deletion":"tags","protected_tags":["stable"],"verification":"manifests","position":null}','2026-11-23 07:14:40.140952');
CREATE TABLE "geo_sites" ("id" INTEGER NOT NULL PRIMARY KEY, "name" VARCHAR(255) NOT NULL, "primary" INTEGER NOT NULL, "url" VARCHAR(255) NOT NULL, "enabled" INTEGER NOT NULL, "retired" INTEGER NOT NULL, "remote" INTEGER NOT NULL, "token_hash" VARCHAR(255), "former_token_hash" VARCHAR(255), "former_token_expires_at" DATETIME, "deletion" VARCHAR(255) NOT NULL, "protected_tags" TEXT NOT NULL, "verification" VARCHAR(255), "repositories" TEXT NOT NULL, "tags" TEXT NOT NULL, "capacity" INTEGER, "granted_repositories" TEXT NOT NULL, "granted_tags" TEXT NOT NULL, "granted_capacity" INTEGER, "granted_deletion" VARCHAR(255), "granted_protected_tags" TEXT NOT NULL, "granted_verification" VARCHAR(255), "deletions_released_at" DATETIME, "deletions_held_because" TEXT, "promoted_at" DATETIME, "given_up_at" DATETIME, "held_until" DATETIME, "readdressed" INTEGER NOT NULL, "reconcile_requested_at" DATETIME, "reconcile_reason" TEXT, "reconcile_started_at" DATETIME, "reconciled_at" DATETIME, "created_at" DATETIME NOT NULL, "updated_at" DATETIME NOT NULL);
INSERT INTO "geo_sites" VALUES(1,'primary',1,'http://primary.invalid:5000',1,0,0,NULL,NULL,NULL,'tags','',NULL,'','',NULL,'','',NULL,NULL,'',NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,'2026-11-23 07:14:38.897008','2026-11-23 07:14:38.897008');
INSERT INTO "geo_sites" VALUES(2,'secondary',0,'http://secondary.invalid:5000',1,0,0,NULL,NULL,NULL,'tags','',NULL,'','',NULL,'','',NULL,NULL,'',NULL,NULL,NULL,NULL,NULL,NULL,0,'2026-11-23 07:14:38.911387','new site',NULL,NULL,'2026-11-23 07:14:38.902066','2026-11-23 07:14:38.902066');
INSERT INTO "geo_sites" VALUES(3,'berlin',0,'https://registry.berlin.example.com',1,0,1,'0a26e7ede409b9176cb026516f779bf2385c7cfdac2c3679470db07064f90133','85b7f93c90a7d7a4601e9af93774593976ce7e17172e643c5148c8ecc552a197','2026-11-24 07:14:40.139269','','',NULL,'team/**
!team/secret','',NULL,'','',NULL,NULL,'',NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,'2026-11-23 07:14:40.117332','2026-11-23 07:14:40.139269');
INSERT INTO "geo_sites" VALUES(4,'paris',0,'',0,0,1,NULL,NULL,NULL,'','',NULL,'','',NULL,'','',NULL,NULL,'',NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,'2026-11-23 07:14:40.119958','2026-11-23 07:14:40.119958');
INSERT INTO "geo_sites" VALUES(5,'oslo',0,'',1,1,1,NULL,NULL,NULL,'','',NULL,'','v*',3,'','',NULL,NULL,'',NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,'2026-11-23 07:14:40.122439','2026-11-23 07:14:40.134792');
CREATE TABLE "schema_migration" ("id" INTEGER NOT NULL PRIMARY KEY, "name" VARCHAR(255) NOT NULL, "applied" DATETIME NOT NULL);
INSERT INTO "schema_migration" VALUES(1,'0001_initial','2026-11-23 07:14:38.888476');
CREATE TABLE "sync_attempts" ("id" INTEGER NOT NULL PRIMARY KEY, "registry_id" INTEGER NOT NULL, "reference" VARCHAR(255) NOT NULL, "action" VARCHAR(255) NOT NULL, "trigger" VARCHAR(255) NOT NULL, "event_id" INTEGER, "outcome" VARCHAR(255) NOT NULL, "reason" VARCHAR(255), "message" TEXT, "old_digest" VARCHAR(255), "new_digest" VARCHAR(255), "bytes_copied" INTEGER NOT NULL, "lag_seconds" REAL, "worker" VARCHAR(255) NOT NULL, "started_at" DATETIME NOT NULL, "finished_at" DATETIME NOT NULL, FOREIGN KEY ("registry_id") REFERENCES "container_repository_registry" ("id") ON DELETE CASCADE);
INSERT INTO "sync_attempts" VALUES(1,1,'v1','copy','event',1,'synced',NULL,NULL,NULL,'sha256:628edbacfbe2f667e150c7ef4e508114df05c7cafd14266c3c7909c8b979baa3',56,0.462915,'host.example.com:1','2026-11-23 07:14:39.252148','2026-11-23 07:14:39.433081');
INSERT INTO "sync_attempts" VALUES(2,1,'latest','copy','event',2,'synced',NULL,NULL,NULL,'sha256:628edbacfbe2f667e150c7ef4e508114df05c7cafd14266c3c7909c8b979baa3',0,0.444001,'host.example.com:1','2026-11-23 07:14:39.254641','2026-11-23 07:14:39.457474');
INSERT INTO "sync_attempts" VALUES(3,1,'old','copy','event',3,'synced',NULL,NULL,NULL,'sha256:df35f621ce93133ee8138322e158bb850c344a7fea6299a278cb0477b9a2226c',56,0.396332,'host.example.com:1','2026-11-23 07:14:39.266317','2026-11-23 07:14:39.456584');
INSERT INTO "sync_attempts" VALUES(4,1,'sha256:5c2fa8f748b0e590f1839d68cec223690d5ca4efc4baf98289427a78829b9750','copy','event',4,'synced',NULL,NULL,NULL,'sha256:5c2fa8f748b0e590f1839d68cec223690d5ca4efc4baf98289427a78829b9750',62,0.376073,'host.example.com:1','2026-11-23 07:14:39.277900','2026-11-23 07:14:39.471588');
INSERT INTO "sync_attempts" VALUES(5,1,'gone','copy','event',6,'synced',NULL,NULL,NULL,'sha256:e485a276ae56a8f639d9160d229c06c5586968029b89026f0a3e5f31097e1251',58,0.252753,'host.example.com:1','2026-11-23 07:14:39.267198','2026-11-23 07:14:39.475576');
INSERT INTO "sync_attempts" VALUES(6,2,'v1','copy','event',5,'synced',NULL,NULL,NULL,'sha256:75e95eb9e3cf5fec067185bd6c6f1bb68d20c265959acaea9befcb44cc5c320c',132,0.410985,'host.example.com:1','2026-11-23 07:14:39.485062','2026-11-23 07:14:39.587932');
INSERT INTO "sync_attempts" VALUES(7,1,'gone','delete','event',7,'synced',NULL,NULL,'sha256:e485a276ae56a8f639d9160d229c06c5586968029b89026f0a3e5f31097e1251',NULL,0,0.074507,'host.example.com:1','2026-11-23 07:14:39.719588','2026-11-23 07:14:39.775024');
INSERT INTO "sync_attempts" VALUES(8,3,'v1','copy','event',8,'failed','not_on_primary','team/missing:v1: GET primary.invalid:5000/v2/team/missing/manifests/v1: HTTP 404: MANIFEST_UNKNOWN: manifest unknown; no event and no listing says that it was deleted',NULL,NULL,0,NULL,'host.example.com:1','2026-11-23 07:14:40.102466','2026-11-23 07:14:40.106921');
CREATE UNIQUE INDEX "schema_migration_name" ON "schema_migration" ("name");
CREATE UNIQUE INDEX "geo_sites_name" ON "geo_sites" ("name");
CREATE INDEX "geo_sites_token_hash" ON "geo_sites" ("token_hash");
CREATE INDEX "geo_sites_former_token_hash" ON "geo_sites" ("former_token_hash");
CREATE UNIQUE INDEX "container_repositories_path" ON "container_repositories" ("path");
CREATE INDEX "container_repository_registry_site_id" ON "container_repository_registry" ("site_id");
CREATE INDEX "container_repository_registry_container_repository_id" ON "container_repository_registry" ("container_repository_id");
CREATE UNIQUE INDEX "container_repository_registry_site_id_container_repository_id" ON "container_repository_registry" ("site_id", "container_repository_id");
CREATE INDEX "container_repository_registry_state_retry_at" ON "container_repository_registry" ("state", "retry_at");
CREATE INDEX "container_repository_registry_verification_state_verific_6e6d84d" ON "container_repository_registry" ("verification_state", "verification_retry_at");
CREATE INDEX "container_repository_registry_site_id_in_scope_state_ful_8761539" ON "container_repository_registry" ("site_id", "in_scope", "state", "full_sync", "full_sync_requested_at");
CREATE INDEX "container_repository_registry_site_id_last_synced_at" ON "container_repository_registry" ("site_id", "last_synced_at");
CREATE UNIQUE INDEX "geo_events_event_key" ON "geo_events" ("event_key");
CREATE INDEX "geo_events_replicable_name" ON "geo_events" ("replicable_name");
CREATE INDEX "geo_events_container_repository_id" ON "geo_events" ("container_repository_id");
CREATE INDEX "geo_events_created_at" ON "geo_events" ("created_at");
CREATE INDEX "geo_handovers_registry_id" ON "geo_handovers" ("registry_id");
CREATE UNIQUE INDEX "geo_quarantined_events_fingerprint" ON "geo_quarantined_events" ("fingerprint");
CREATE INDEX "geo_quarantined_events_created_at" ON "geo_quarantined_events" ("created_at");
CREATE INDEX "container_repository_references_registry_id" ON "container_repository_references" ("registry_id");
CREATE INDEX "container_repository_references_deletion_reserved_at" ON "container_repository_references" ("deletion_reserved_at");
CREATE UNIQUE INDEX "container_repository_references_registry_id_name" ON "container_repository_references" ("registry_id", "name");
CREATE INDEX "container_repository_references_registry_id_state_retry_at" ON "container_repository_references" ("registry_id", "state", "retry_at");
CREATE INDEX "geo_registry_instances_last_seen_at" ON "geo_registry_instances" ("last_seen_at");
CREATE INDEX "sync_attempts_registry_id" ON "sync_attempts" ("registry_id");
CREATE INDEX "sync_attempts_finished_at" ON "sync_attempts" ("finished_at");
CREATE INDEX "sync_attempts_registry_id_reference" ON "sync_attempts" ("registry_id", "reference");
CREATE INDEX container_repository_references_waiting ON container_repository_references (pending_since)
    WHERE pending_since IS NOT NULL
    ;
CREATE INDEX container_repository_references_held ON container_repository_references (registry_id)
    WHERE failure_reason = 'deletion_brake'
    ;
CREATE INDEX container_repository_registry_unsettled
    ON container_repository_registry (site_id, priority, pending_since, id, retry_at)
    WHERE in_scope AND state <> 2
    ;
CREATE INDEX container_repository_registry_unverified
    ON container_repository_registry (
        site_id, verification_full, verification_requested_at, id, verification_retry_at
    )
    WHERE in_scope AND state >= 2 AND verification_state <> 2 AND verification_state <> 4
    ;
CREATE TRIGGER geo_references_made AFTER INSERT ON container_repository_references BEGIN
        INSERT INTO geo_reference_counts (site_id, is_tag, in_scope, state, drift, number)
        SELECT site_id, NEW.is_tag, NEW.in_scope, NEW.state, NEW.drift_since IS NOT NULL, 1
        FROM container_repository_registry WHERE id = NEW.registry_id;
    END;
CREATE TRIGGER geo_references_gone AFTER DELETE ON container_repository_references BEGIN
        INSERT INTO geo_reference_counts (site_id, is_tag, in_scope, state, drift, number)
        SELECT site_id, OLD.is_tag, OLD.in_scope, OLD.state, OLD.drift_since IS NOT NULL, -1
        FROM container_repository_registry WHERE id = OLD.registry_id;
    END;
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
    END;
CREATE TRIGGER geo_reference_counts_many AFTER INSERT ON geo_reference_counts WHEN NEW.id % 256 = 0 BEGIN
        INSERT INTO geo_reference_counts (site_id, is_tag, in_scope, state, drift, number)
        SELECT site_id, is_tag, in_scope, state, drift, sum(number) FROM geo_reference_counts WHERE id <= NEW.id
        GROUP BY site_id, is_tag, in_scope, state, drift HAVING sum(number) <> 0;
        DELETE FROM geo_reference_counts WHERE id <= NEW.id;
    END;
CREATE TRIGGER geo_registry_goes BEFORE DELETE ON container_repository_registry BEGIN
        DELETE FROM container_repository_references WHERE registry_id = OLD.id;
    END;
CREATE TRIGGER geo_repositories_made AFTER INSERT ON container_repository_registry BEGIN
        INSERT INTO geo_repository_counts
            (site_id, in_scope, state, verification_state, checksummed, untold, number)
        VALUES (
            NEW.site_id, NEW.in_scope, NEW.state, NEW.verification_state, NEW.verification_checksum IS NOT NULL,
            coalesce(substr(NEW.verification_failure_reason, 1, 8) = 'primary_', 0), 1
        );
    END;
CREATE TRIGGER geo_repositories_gone AFTER DELETE ON container_repository_registry BEGIN
        INSERT INTO geo_repository_counts
            (site_id, in_scope, state, verification_state, checksummed, untold, number)
        VALUES (
            OLD.site_id, OLD.in_scope, OLD.state, OLD.verification_state, OLD.verification_checksum IS NOT NULL,
            coalesce(substr(OLD.verification_failure_reason, 1, 8) = 'primary_', 0), -1
        );
    END;
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
    END;
CREATE TRIGGER geo_repository_counts_many AFTER INSERT ON geo_repository_counts WHEN NEW.id % 256 = 0 BEGIN
        INSERT INTO geo_repository_counts
            (site_id, in_scope, state, verification_state, checksummed, untold, number)
        SELECT site_id, in_scope, state, verification_state, checksummed, untold, sum(number)
        FROM geo_repository_counts WHERE id <= NEW.id
        GROUP BY site_id, in_scope, state, verification_state, checksummed, untold HAVING sum(number) <> 0;
        DELETE FROM geo_repository_counts WHERE id <= NEW.id;
    END;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('geo_events',10);
INSERT INTO "sqlite_sequence" VALUES('geo_quarantined_events',1);
COMMIT;
