"""A finding: one thing that was looked at, and, where it is not right, why that matters and what to change."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How much it matters."""

    OK = "ok"
    #: It works, and should not stay as it is; or it could not be told.
    WARNING = "warning"
    #: Something does not work, or will not.
    ERROR = "error"


class Id(StrEnum):
    """What can be found, in words that scripts may rely on. Each is explained in docs/troubleshooting.md."""

    #: What was looked at is in order.
    FINE = "fine"
    CHECK_FAILED = "check-failed"
    CHECK_SKIPPED = "check-skipped"
    CHECK_TIMEOUT = "check-timeout"

    DATABASE_CLOCK = "database-clock"
    DATABASE_NEWER = "database-newer"
    DATABASE_UNMIGRATED = "database-unmigrated"
    DATABASE_UNREACHABLE = "database-unreachable"

    QUEUE_CLIENT = "queue-client"
    QUEUE_MISSING = "queue-missing"
    QUEUE_REFUSES = "queue-refuses"
    REDIS_REFUSES = "redis-refuses"
    REDIS_UNREACHABLE = "redis-unreachable"

    REGISTRY_ADDRESS = "registry-address"
    REGISTRY_CATALOG = "registry-catalog"
    REGISTRY_CLOCK = "registry-clock"
    REGISTRY_CREDENTIALS = "registry-credentials"
    REGISTRY_CREDENTIALS_MISSING = "registry-credentials-missing"
    REGISTRY_DENIED = "registry-denied"
    REGISTRY_FAILING = "registry-failing"
    REGISTRY_PAGINATION = "registry-pagination"
    REGISTRY_REALM = "registry-realm"
    REGISTRY_REDIRECTS = "registry-redirects"
    REGISTRY_TLS = "registry-tls"
    REGISTRY_UNREACHABLE = "registry-unreachable"

    CERTIFICATE_EXPIRED = "certificate-expired"
    CERTIFICATE_EXPIRING = "certificate-expiring"
    CERTIFICATE_NOT_YET_VALID = "certificate-not-yet-valid"
    CERTIFICATE_UNTRUSTED = "certificate-untrusted"
    ISSUER_UNTRUSTED = "issuer-untrusted"
    KEY_OR_ISSUER_UNTRUSTED = "key-or-issuer-untrusted"
    KEY_UNTRUSTED = "key-untrusted"
    KEY_UNUSABLE = "key-unusable"
    SERVICE_WRONG = "service-wrong"

    DELETION_DISABLED = "deletion-disabled"
    SECONDARY_FULL = "secondary-full"
    SECONDARY_PUSH_DENIED = "secondary-push-denied"
    SECONDARY_READ_ONLY = "secondary-read-only"
    SECONDARY_WRITE_FAILS = "secondary-write-fails"

    CONTROL_PLANE = "control-plane"

    SAME_REGISTRY = "same-registry"
    SHARED_TRUST = "shared-trust"

    EVENTS_UNREADABLE = "events-unreadable"
    NOTIFICATIONS_IGNORABLE = "notifications-ignorable"
    NOTIFICATIONS_MISSING = "notifications-missing"
    NOTIFICATIONS_NEVER = "notifications-never"
    NOTIFICATION_SECRET = "notification-secret"  # noqa: S105 - the name of a finding

    WEBHOOK_ADDRESS = "webhook-address"
    WEBHOOK_FAILING = "webhook-failing"
    WEBHOOK_REDIRECTS = "webhook-redirects"
    WEBHOOK_SECRET = "webhook-secret"  # noqa: S105 - as above
    WEBHOOK_UNREACHABLE = "webhook-unreachable"

    REPLICATION_FAILING = "replication-failing"
    REPLICATION_OFF = "replication-off"
    REPLICATION_STUCK = "replication-stuck"
    SCHEDULER_SILENT = "scheduler-silent"
    SITE_PAUSED = "site-paused"
    SITES_NOT_APPLIED = "sites-not-applied"
    WORKERS_MISSING = "workers-missing"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found. All texts are for people, and hold no secret.

    `subject` names what it is about (`primary`, `database`, a site's name). `fix` is what to change, the line itself
    where there is one. Raises `ValueError` for a trouble without a reason or a cure.
    """

    id: Id
    severity: Severity
    subject: str
    title: str
    why: str = ""
    fix: str = ""

    def __post_init__(self) -> None:
        if (self.severity is Severity.OK) != (self.id is Id.FINE):
            raise ValueError(f"{self.id} is not {self.severity}")
        if self.severity is not Severity.OK and not (self.title and self.why and self.fix):
            raise ValueError(f"{self.id} has to say what is wrong, why it matters and what to change")


def fine(subject: str, title: str) -> Finding:
    """What is in order."""
    return Finding(Id.FINE, Severity.OK, subject, title)


def warning(id_: Id, subject: str, title: str, why: str, fix: str) -> Finding:
    """What should not stay as it is."""
    return Finding(id_, Severity.WARNING, subject, title, why, fix)


def error(id_: Id, subject: str, title: str, why: str, fix: str) -> Finding:
    """What has to be mended."""
    return Finding(id_, Severity.ERROR, subject, title, why, fix)
