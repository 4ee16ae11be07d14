"""Notifications: do they arrive, with our secret, and only those that matter.

Observed from our end: what a registry sent, and with what secret, is counted in the database by the web processes. A
registry repeats what is refused for ever, and tells of each pull unless told not to; so a pull of ours, and some
seconds of watching, tell now from then.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from app.database import now
from app.models import ContainerRepository, Event, MetricValue, QuarantinedEvent, Reference, RegistryInstance, Site
from app.models import ContainerRepositoryRegistry as Registry
from app.registry import InvalidKey, NotFound, RegistryClient, RegistryError
from app.registry_config import IGNORED_ACTIONS, IGNORED_MEDIA_TYPES
from app.replication.check.examination import Examination
from app.replication.check.finding import Finding, Id, error, fine, warning
from app.replication.check.probe import Probe, authenticator
from app.settings import AuthKind

#: For so long something unreadable is worth a word.
_RECENT = timedelta(days=1)

#: Seconds between two looks at the counters.
_POLL = 0.2

#: Repositories of the primary that are compared with what is known of them.
_SAMPLE = 5

#: Events, the newest, that tell which repositories are pushed to.
_LIVELY = 50

_SUBJECT = "notifications"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Arrivals:
    """What has arrived so far, ever."""

    #: Requests without our secret.
    refused: int
    #: Events that say nothing new: pulls and blobs.
    ignored: int
    #: Whether any registry process has ever told of something.
    any: bool


def check(examination: Examination) -> Sequence[Finding]:
    """Look at what has arrived, and at what arrives now."""
    if not examination.settings.role.receives:
        return [fine(_SUBJECT, "are received by the primary's deployment")]
    return list(_findings(examination))


def _findings(examination: Examination) -> Iterator[Finding]:
    before = _arrivals(examination)
    if before.refused or before.ignored:
        _pull(examination)
        after = _watched(examination, before)
    else:
        after = before
    refused = after.refused > before.refused or (after.refused > 0 and not after.any)
    if refused:
        yield error(
            Id.NOTIFICATION_SECRET,
            _SUBJECT,
            f"arrive with another secret: {after.refused} requests were answered with 401"
            f"{', the last just now' if after.refused > before.refused else ''}",
            "The registry repeats each for ever, and sends nothing that comes after it.",
            "notifications.endpoints[].headers.Authorization: [the value of GEO_NOTIFICATION_SECRET] in the primary"
            " registry's configuration, and restart it; or set the variable to what stands there, and restart web",
        )
    if after.ignored > before.ignored:
        yield _ignorable(after.ignored)
    unreadable = _unreadable(examination)
    if unreadable is not None:
        yield unreadable
    if refused:
        return
    untold = _untold(examination)
    if untold is not None:
        yield error(
            Id.NOTIFICATIONS_MISSING,
            _SUBJECT,
            f"do not arrive: nothing told of {untold}, which is on the primary",
            "What is pushed is found by the next reconcile only, and not within seconds.",
            "notifications: endpoints: [{name: geo, url: …}] in the primary registry's configuration, and restart it:"
            " `geo registry-config primary` prints the section; `geo check --webhook URL` tries its address",
        )
    elif not after.any:
        yield _never(after)
    else:
        yield fine(_SUBJECT, "have arrived, with our secret")


def _ignorable(count: int) -> Finding:
    types, actions = ", ".join(IGNORED_MEDIA_TYPES), ", ".join(IGNORED_ACTIONS)
    return warning(
        Id.NOTIFICATIONS_IGNORABLE,
        _SUBJECT,
        f"tell of pulls or blobs, which change nothing: {count} so far",
        "A registry sends one at a time: behind hundreds of pulls, our own too, a push is told of late.",
        f"notifications.endpoints[].ignore: {{mediatypes: [{types}], actions: [{actions}]}} (both lists: before 3.1"
        " the actions count only beside a media type), and restart the primary registry",
    )


def _never(arrivals: _Arrivals) -> Finding:
    if arrivals.ignored:
        return fine(_SUBJECT, "arrive; nothing was pushed yet")
    return warning(
        Id.NOTIFICATIONS_NEVER,
        _SUBJECT,
        "none has ever arrived",
        "If that stays so after a push, the primary registry is not configured to send them here.",
        "Push something, and look again; `geo registry-config primary` prints the section for the registry's"
        " configuration, and `geo check --webhook URL` tries its address",
    )


def _arrivals(examination: Examination) -> _Arrivals:
    with examination.stored():
        requests = _counted("geo_webhook_requests_total", "status", "401")
        ignored = _counted("geo_webhook_events_total", "outcome", "ignored")
        return _Arrivals(requests, ignored, RegistryInstance.select().exists() or Event.select().exists())


def _counted(name: str, label: str, value: str) -> int:
    rows = MetricValue.select().where(MetricValue.name == name)
    return int(sum(row.value for row in rows if json.loads(row.labels).get(label) == value))


def _watched(examination: Examination, before: _Arrivals) -> _Arrivals:
    """What has arrived once something does, or the time is up."""
    deadline = time.monotonic() + examination.watch
    while True:
        seen = _arrivals(examination)
        if seen.refused > before.refused or seen.ignored > before.ignored or time.monotonic() >= deadline:
            return seen
        time.sleep(_POLL)


def _pull(examination: Examination) -> None:
    """Do what a registry tells of unless it was told not to: look at a manifest. Changes nothing."""

    def look(client: RegistryClient) -> None:
        for repository in next(client.catalog()).repositories[:_SAMPLE]:
            tags = _tags(client, repository)
            if tags:
                client.head_manifest(repository, tags[0])
                return

    _ask(examination, look)


def _untold(examination: Examination) -> str | None:
    """Something on the primary that neither an event nor a listing has told of, and that stays untold of.

    Not where a scope is set: what lies outside may be unknown for good reason.
    """
    settings = examination.settings
    if settings.repositories or settings.tags or settings.primary.auth is AuthKind.SITE:
        return None
    with examination.stored():
        if not Site.select().where(Site.reconciled_at.is_null(False)).exists():
            return None  # what was there before the first look at everything is not known yet
    deadline = time.monotonic() + examination.watch
    while True:
        found = _ask(examination, lambda client: next(_unknown(examination, client), None))
        if found is None or time.monotonic() >= deadline:
            return found
        time.sleep(_POLL)


def _unknown(examination: Examination, client: RegistryClient) -> Iterator[str]:
    """Repositories, and tags of those that were pushed to last, that are on the primary and not known here."""
    listed = next(client.catalog()).repositories
    with examination.stored():
        rows = ContainerRepository.select().where(ContainerRepository.path.in_(list(listed)))
        known = {row.path: row.id for row in rows}
        lively = [row.container_repository.path for row in Event.select().order_by(Event.id.desc()).limit(_LIVELY)]
    for repository in [path for path in listed if path not in known][:_SAMPLE]:
        if _tags(client, repository):
            yield repository
    candidates = dict.fromkeys(
        [*(path for path in lively if path in known), *(path for path in listed if path in known)]
    )
    for repository in list(candidates)[:_SAMPLE]:
        tags = _tags(client, repository)
        with examination.stored():
            told = Event.select(Event.tag).where(Event.container_repository == known[repository])
            seen = Reference.select(Reference.name).join(Registry)
            names = seen.where(Registry.container_repository == known[repository])
            unknown = set(tags) - {row.tag for row in told} - {row.name for row in names}
        yield from (f"{repository}:{tag}" for tag in sorted(unknown))


def _tags(client: RegistryClient, repository: str) -> list[str]:
    try:
        return client.list_tags(repository)
    except NotFound:
        return []  # it was in the catalog a moment ago, or has no tag left


def _ask(examination: Examination, question: Callable[[RegistryClient], T | None]) -> T | None:
    """Ask the primary; what is wrong with it is told of elsewhere."""
    try:
        account = authenticator(examination, "primary")
        with Probe(examination.settings.primary, account, examination) as probe:
            return question(probe.client)
    except (RegistryError, InvalidKey):
        return None


def _unreadable(examination: Examination) -> Finding | None:
    with examination.stored():
        recent = QuarantinedEvent.last_seen_at > now() - _RECENT
        rows = list(QuarantinedEvent.select().where(recent).order_by(QuarantinedEvent.last_seen_at.desc()).limit(100))
    if not rows:
        return None
    return warning(
        Id.EVENTS_UNREADABLE,
        _SUBJECT,
        f"could not be read: {len(rows)} within a day, the last for {rows[0].reason}",
        "What they told of is found by the next reconcile only.",
        "geo events --quarantined shows them; send only a registry's own notifications to this address",
    )
