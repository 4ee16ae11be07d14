"""Both registries beside each other: they must be two, and a push token for one should be no good on the other."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from app.providers import profile_of
from app.registry import InvalidKey, RegistryError, Scope
from app.registry.transport import discard
from app.replication.binding import same_address
from app.replication.check.examination import Examination, Skipped
from app.replication.check.finding import Finding, Id, error, fine, warning
from app.replication.check.probe import REPOSITORY, Probe, authenticator
from app.settings import AuthKind

_SUBJECT = "registries"


def check(examination: Examination) -> Sequence[Finding]:
    """Look for an upload of the secondary on the primary, and show the secondary's token there."""
    if examination.settings.secondary is None:
        return []
    primary, secondary = examination.registry("primary"), examination.registry("secondary")
    if same_address(primary.url, secondary.url):
        return [_same(f"both addresses are {primary.url}")]
    if not profile_of(secondary)[0].open:
        # Nothing can be begun there under a name of the checks' own.
        return [fine(_SUBJECT, "are two, by their addresses")]
    try:
        ours, theirs = authenticator(examination, "primary"), authenticator(examination, "secondary")
    except InvalidKey as problem:
        raise Skipped(str(problem)) from None
    with (
        Probe(primary, ours, examination) as first,
        Probe(secondary, theirs, examination) as second,
        Probe(primary, theirs, examination) as crossed,
    ):
        if _upload_is_seen(first, second):
            return [_same(f"what is uploaded to {secondary.url} can be seen at {primary.url}")]
        if not secondary.auth is primary.auth is AuthKind.TOKEN or first.greet().status == 200:
            return [fine(_SUBJECT, "are two")]
        if not crossed.accepts():
            return [fine(_SUBJECT, "are two, and a push token for the secondary is no good on the primary")]
    return [fine(_SUBJECT, "are two"), _shared(secondary.service)]


def _upload_is_seen(first: Probe, second: Probe) -> bool:
    """Whether an upload that begins on the second goes on on the first.

    Not by what they hold: a secondary in sync holds the same. Two registries on one storage with secrets of their own
    (`http.secret`) are not found out this way.
    """
    upload = second.client.start_upload(REPOSITORY)
    assert upload is not None  # nothing was to be mounted
    try:
        parts = urlsplit(upload.location)
        path = parts.path.partition("/v2/")[2]
        url = first.endpoint.url(path) + (f"?{parts.query}" if parts.query else "")
        discard(first.endpoint.call("GET", url, Scope(REPOSITORY, ("pull",)), expect=(200, 204)))
    except RegistryError:
        return False
    finally:
        upload.cancel()
    return True


def _same(title: str) -> Finding:
    return error(
        Id.SAME_REGISTRY,
        _SUBJECT,
        f"are one: {title}",
        "Replicating a registry to itself ends in deleting what it just copied.",
        "export GEO_SECONDARY_REGISTRY_URL=the other registry",
    )


def _shared(service: str) -> Finding:
    return warning(
        Id.SHARED_TRUST,
        _SUBJECT,
        "a push token for the secondary is good on the primary too: same key, issuer and service",
        "Whoever gets hold of one, in a log or on the way, can push to the primary.",
        f"auth.token.service: {service}-secondary (on the secondary), and"
        f" export GEO_SECONDARY_REGISTRY_SERVICE={service}-secondary; a key pair of its own is better still",
    )
