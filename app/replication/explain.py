"""Explanations: why an image is, or is not, on a site, in sentences, from what the rows say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from peewee import fn

from app.database import now
from app.models import ContainerRepository, Cursor, Event, Reference, Site, SyncState
from app.models import ContainerRepositoryRegistry as Registry
from app.registry import is_digest
from app.replication import claim, health, queries
from app.replication.brake import DeletionHeld
from app.replication.explanation import Cause, Explanation, Obstacle, obstacles
from app.replication.policy import Policy
from app.replication.scope import Scope
from app.replication.site_option import site_option
from app.replication.status import status
from app.replication.tag_scope import TagScope

#: Attempts told, newest first.
HISTORY = 10

#: Tags named in one sentence.
NAMED = 5


def explain(path: str, name: str, *, replication_enabled: bool) -> list[Explanation]:
    """Say for every site why it has, or has not, the tag or digest `name` of the repository `path`.

    Sites that are retired are told of only if they ever tracked it. Call it inside `app.database.connection()`.
    """
    repository = ContainerRepository.get_or_none(ContainerRepository.path == path)
    found = []
    for site in queries.sites():
        row = None
        if repository is not None:
            row = Registry.get_or_none((Registry.site == site) & (Registry.container_repository == repository))
        if not site.primary and not site.remote and (row is not None or not site.retired):
            found.append(_Case(site, path, name, repository, row, replication_enabled).explanation())
    return found


@dataclass
class _Case:
    site: Site
    path: str
    name: str
    repository: ContainerRepository | None
    row: Registry | None
    replication_enabled: bool
    instant: datetime = field(default_factory=now)

    def __post_init__(self) -> None:
        self.image = f"{self.path}{'@' if is_digest(self.name) else ':'}{self.name}"
        #: What commands are told.
        self.target = f"{self.path}{site_option(self.site)}"
        self.record = None if self.row is None else queries.reference(self.row.id, self.name)

    def explanation(self) -> Explanation:
        told = self._told()
        if self.row is None:
            return told
        history = queries.attempts(self.row.id, reference=self.name, limit=HISTORY).rows
        return replace(told, record=self.record, history=tuple(history))

    def _told(self) -> Explanation:
        unread = self._unread()
        blocked = list(obstacles(self.site, replication_enabled=self.replication_enabled))
        settled = None if unread else self._settled()
        if settled is not None and self.site.retired:
            return replace(
                settled, cause=Cause.RETIRED, why=f"{blocked[0].why} Before that: {settled.why}", next=_all(blocked)
            )
        outside = self._out_of_scope(unread=bool(unread))
        if outside is not None:
            return outside
        if settled is not None:
            return replace(settled, next=" ".join([settled.next, *(f"{each.why} {each.next}" for each in blocked)]))
        waiting = self._waiting_event(unread[0]) if unread else self._unsettled()
        if not blocked or waiting.cause is Cause.UNKNOWN:
            return waiting
        return self._because(blocked[0].cause, " ".join(each.why for each in blocked), _all(blocked))

    def _out_of_scope(self, *, unread: bool) -> Explanation | None:
        scope, tags = Scope.of(self.site), TagScope.of(self.site)
        granted = True
        if not scope.covers(self.path):
            what, setting, option = f"{self.path}", "GEO_REPOSITORIES", "--repository"
            granted = scope.within is None or scope.within.covers(self.path)
        elif not tags.covers(self.name):
            what, setting, option = f"the tag {self.name}", "GEO_TAGS", "--tag"
            granted = tags.within is None or tags.within.covers(self.name)
        elif self._is_lone_digest() and not unread and not tags.takes_digest(attached=False):
            return self._because(
                Cause.OUT_OF_SCOPE,
                f"No tag that {self.site.name} replicates is known to stand on {self.name}, and GEO_TAGS leaves out"
                " what is under none of them. It may be there as a part of another image.",
                "To have it there for itself, give it a tag that is in scope.",
            )
        else:
            return None
        held = self.record.observed_digest if self.record is not None else None
        stays = f" It did before: {held} is kept there and no longer updated." if held else ""
        if not granted:
            return self._because(
                Cause.OUT_OF_SCOPE,
                f"The primary's deployment does not let {self.site.name} replicate {what}.{stays}",
                f"Widen that there: `geo sites edit {self.site.name} {option} …`, with all patterns that are to hold.",
            )
        return self._because(
            Cause.OUT_OF_SCOPE,
            f"{self.site.name} does not replicate {what}: {setting} leaves it out.{stays}",
            f"Add it, or a pattern that covers it, to {setting} and restart.",
        )

    def _is_lone_digest(self) -> bool:
        return is_digest(self.name) and self.record is None and self._by_another_name() is None

    # --- nothing is left to be done ---------------------------------------------------------------------------------

    def _settled(self) -> Explanation | None:
        record = self.record
        if record is None:
            return self._by_another_name() or self._deleted()
        if record.state != SyncState.SYNCED:
            return None
        if record.drift_since is not None:
            return self._because(
                Cause.DRIFT,
                f"{self.site.name} has {self.image}, but not from us, and the primary does not have it: it is shown and"
                " not touched.",
                "Push it to the primary if it is wanted everywhere, or delete it on the secondary by hand.",
            )
        if record.desired_digest is None:
            return self._kept(record)
        return self._because(
            Cause.SYNCED,
            f"{self.image} is on {self.site.name} as {record.observed_digest}, the same as on the primary when both"
            f" were last asked ({_stamp(record.synced_at)}).",
            f"If it is not there now, somebody removed it: `geo plan {self.target}` compares both registries,"
            f" `geo sync {self.target}` sets it right.",
            there=True,
        )

    def _kept(self, record: Reference) -> Explanation:
        _, reason = Policy.of(self.site).judge(name=self.name, is_tag=record.is_tag, ours=True)
        return self._because(
            Cause.KEPT,
            f"{self.site.name} still has {self.image} as {record.observed_digest}:"
            f" {reason or 'gone from the primary, kept when that was found'}.",
            "Nothing is to be done, if that is meant."
            + ("" if reason else f" The policy has changed since; `geo sync {self.target}` looks again."),
            there=True,
        )

    def _by_another_name(self) -> Explanation | None:
        """A digest that tags stand on has no record of its own."""
        if self.row is None or not is_digest(self.name):
            return None
        on_it = Reference.select().where((Reference.registry == self.row) & (Reference.observed_digest == self.name))
        tags = [tag.name for tag in on_it.order_by(Reference.name).limit(NAMED)]
        if not tags:
            return None
        return self._because(
            Cause.SYNCED,
            f"{self.image} is on {self.site.name}, under {', '.join(tags)}.",
            f"`geo why {self.path}:{tags[0]}` tells more.",
            there=True,
        )

    def _deleted(self) -> Explanation | None:
        if self.row is None:
            return None
        last = next(iter(queries.attempts(self.row.id, reference=self.name, limit=1).rows), None)
        if last is None or last.outcome != "synced" or last.action not in {"delete", "forget"}:
            return None
        event = f" (event {last.event_id})" if last.event_id else ""
        done = (
            f"was deleted from {self.site.name}"
            if last.action == "delete"
            else f"was not on {self.site.name} any more, or never had been,"
        )
        return self._because(
            Cause.DELETED,
            f"{self.image} is gone from the primary{event}, and {done} on {_stamp(last.finished_at)}.",
            "To have it back, push it to the primary again.",
        )

    # --- something is left to be done -------------------------------------------------------------------------------

    def _unread(self) -> list[Event]:
        """Events about this reference, or the whole repository, that the site's cursor has not read."""
        cursor = Cursor.get_or_none(Cursor.site == self.site)
        if self.repository is None or cursor is None:
            return []
        gaps = [int(gap) for gap in cursor.gaps]
        late = (Event.id > cursor.position) | Event.id.in_(gaps) if gaps else Event.id > cursor.position
        about = (Event.tag == self.name) | (Event.digest == self.name) | (Event.tag.is_null() & Event.digest.is_null())
        events = Event.select().where((Event.container_repository == self.repository) & late & about)
        return list(events.order_by(Event.id.desc()).limit(1))

    def _waiting_event(self, event: Event) -> Explanation:
        return self._because(
            Cause.UNREAD,
            f"Event {event.id}, a {event.action} of {_stamp(event.occurred_at)}, names it and has not been read yet.",
            self._attendance() or "Workers read events within a second; ask again.",
        )

    def _unsettled(self) -> Explanation:
        row, record = self.row, self.record
        if row is None:
            return self._because(
                Cause.UNKNOWN,
                f"{self.path} is not known: no event named it, and no listing of the primary found it.",
                f"`geo sync {self.target}` looks now. If it was pushed, does `geo events` show it?",
            )
        if row.state == SyncState.STARTED:
            return self._under_way(row)
        if record is not None and record.state == SyncState.FAILED:
            return self._failed(record)
        if row.state == SyncState.FAILED:
            return self._because(
                Cause.FAILED,
                f"The last sync of {self.path} failed, {_times(row.retry_count)}: {_sentence(row.last_sync_failure)}",
                self._retry(row.retry_at),
            )
        if row.state == SyncState.PENDING or record is not None:
            return self._pending(row)
        return self._because(
            Cause.UNKNOWN,
            f"No event named {self.image}, and no full look at {self.path} found it. {self._others(row)}",
            f"`geo plan {self.target}` asks both registries, `geo sync {self.target}` looks again. If it was pushed,"
            " does `geo events` show it?",
        )

    def _others(self, row: Registry) -> str:
        """What may have been meant instead."""
        tags = Reference.select().where((Reference.registry == row) & Reference.is_tag).order_by(Reference.name)
        names = [tag.name for tag in tags.limit(NAMED + 1)]
        more = " and more" if len(names) > NAMED else ""
        return f"Known there: {', '.join(names[:NAMED])}{more}." if names else "No tag of it is known."

    def _under_way(self, row: Registry) -> Explanation:
        if row.lease_expires_at is not None and row.lease_expires_at <= self.instant:
            return self._because(
                Cause.PENDING,
                f"The worker {row.lease_owner}, which was syncing {self.path}, has not been heard of since"
                f" {_stamp(row.lease_expires_at)}.",
                self._attendance() or "Another takes it over within a minute.",
            )
        return self._because(
            Cause.COPYING,
            f"The worker {row.lease_owner} has been syncing {self.path} since {_stamp(row.started_at)}."
            + (
                f" The last try of {self.name} failed: {_sentence(self.record.failure)}"
                if self.record and self.record.failure
                else ""
            ),
            "Nothing is to be done; large images take their time.",
        )

    def _failed(self, record: Reference) -> Explanation:
        if record.failure_reason == DeletionHeld.reason:
            return self._because(
                Cause.HELD,
                f"{self.image} is gone from the primary, and its deletion waits for a person:"
                f" {_sentence(record.failure)}",
                f"`geo sites release-deletions {self.site.name}` lets it go ahead. {self._retry(record.retry_at)}",
            )
        older = f" The site still has {record.observed_digest}." if record.observed_digest else ""
        return self._because(
            Cause.FAILED,
            f"The last try failed, {_times(record.retry_count)}: {_sentence(record.failure)}{older}",
            self._retry(record.retry_at),
        )

    def _pending(self, row: Registry) -> Explanation:
        ahead = _ahead(row, self.instant)
        first = (
            f"{ahead} repositories go first" if ahead > 1 else "one repository goes first" if ahead else "it is next"
        )
        if self.record is None:
            why = f"{self.path} is to be looked at in full, whatever tags it has"
        else:
            what = "deleted" if self.record.delete_witness else "copied"
            why = f"{self.image} has been waiting to be {what} since {_stamp(self.record.pending_since)}"
        usual = "Nothing is to be done: workers take up what is due within seconds."
        return replace(
            self._because(Cause.PENDING, f"{why}; {first}.", self._attendance() or usual),
            ahead=ahead,
        )

    def _retry(self, retry_at: datetime | None) -> str:
        if self._attendance():
            return self._attendance()
        when = "soon" if retry_at is None or retry_at <= self.instant else f"at {_stamp(retry_at)}"
        return f"It is tried again {when}; `geo sync {self.target}` tries now."

    def _attendance(self) -> str:
        """What is wrong with the processes that should do it; empty when nothing is."""
        whole = status()
        for counted in whole.sites:
            if counted.name == self.site.name:
                judged = health.judge(counted, whole, self.instant, replication_enabled=self.replication_enabled)
                if judged.level is health.Level.CRITICAL:
                    return f"{judged.headline}. {judged.advice}"
        return ""

    def _because(self, cause: Cause, why: str, following: str, *, there: bool = False) -> Explanation:
        return Explanation(self.site.name, self.path, self.name, cause, there, why, following)


def _ahead(row: Registry, instant: datetime) -> int:
    """How many rows workers take before this one, in the order in which they claim them."""
    sites = Site.select(Site.id).where(Site.enabled & ~Site.retired & ~Site.primary)
    # Compared within the database, as its own order has it.
    own = Registry.alias()
    since = own.select(own.pending_since).where(own.id == row.id)
    unknown = since.where(own.pending_since.is_null())
    first = Registry.id < row.id
    earlier = (Registry.pending_since < since) | ((Registry.pending_since == since) & first)
    earlier |= Registry.pending_since.is_null() & (~fn.EXISTS(unknown) | first)
    before = (Registry.priority < row.priority) | ((Registry.priority == row.priority) & earlier)
    count: int = Registry.select().where(claim.due(instant) & Registry.site.in_(sites) & before).count()
    return count


def _all(blocked: Sequence[Obstacle]) -> str:
    return " ".join(each.next for each in blocked)


def _sentence(message: str | None) -> str:
    """A failure's message, ended like a sentence."""
    text = (message or "no reason was noted").rstrip()
    return text if text[-1:] in {".", "!", "?"} else f"{text}."


def _times(count: int) -> str:
    return "once" if count <= 1 else f"{count} times in a row"


def _stamp(instant: datetime | None) -> str:
    return "an unknown time" if instant is None else f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
