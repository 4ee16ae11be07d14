"""Site reports: how a site with a deployment of its own says that it is; what it says is read with suspicion."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, NewType

from app.database import MAX_ROWS, connection, now, transaction
from app.models import Site, SiteReport
from app.replication import cursor
from app.replication.level import Level
from app.replication.log.local import LocalLog
from app.replication.log.position import InvalidPosition, Position
from app.replication.progress import Backfill
from app.replication.site_numbers import SiteNumbers
from app.settings import Deletion, VerificationLevel

log = logging.getLogger(__name__)

#: Bytes of a report.
REPORT_LIMIT = 256 * 1024

#: Seconds between two reports of a site that are both taken: one that sends without end costs no more than this.
MIN_INTERVAL = 1.0

#: Characters of a text in a report, and patterns in a list; a site cuts what is longer before it sends it.
TEXT_LIMIT = 1000
PATTERNS_LIMIT = 200

#: Characters of a position in a report; a site says instead of a longer one that it is less far.
POSITION_LIMIT = 64 * 1024

#: Seconds after which a report says nothing of now: four were missed.
STALE = 300.0

#: Where a site can read our event log.
FEED, STANDBY = "feed", "standby"

#: The largest number, which every reader of JSON holds exactly.
_NUMBER_LIMIT = 2**53

#: A position of the log as a text.
PositionText = NewType("PositionText", str)

#: What a terminal or a log would act on.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")

_POSITION = re.compile(rf"[A-Za-z0-9_-]{{1,{POSITION_LIMIT}}}")


#: Numbers that are part of others: a bar on a page is no longer than its frame.
_PARTS = (
    ("pending", "total"),
    ("started", "total"),
    ("synced", "total"),
    ("failed", "total"),
    ("references_synced", "references"),
    ("verified", "verification_total"),
    ("verification_failed", "verification_total"),
    ("checksummed", "verification_total"),
)


class InvalidReport(ValueError):
    """Not a report; the message says which member is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(SiteNumbers):
    """A site's status as its own deployment counts it. `name` is GEO_SITE_NAME there."""

    version: str
    level: Level
    headline: str
    advice: str
    #: Where it reads our event log: FEED or STANDBY.
    follows: str
    replication_enabled: bool
    oldest_pending_seconds: float
    #: What it replicates: the settings of its own deployment, which we limit.
    repositories: tuple[str, ...]
    tags: tuple[str, ...]
    capacity: int | None
    #: What may be deleted there, and how far is verified what it copies: likewise.
    deletion: Deletion
    protected_tags: tuple[str, ...]
    verification: VerificationLevel | None
    #: How far it has read our log, where that is on a standby: of its requests for events we know by ourselves.
    position: PositionText | None


def dump(report: Report) -> dict[str, Any]:
    """As a JSON object."""
    said = asdict(report) | {"last_synced_at": _iso(report.last_synced_at)}
    if report.backfill is not None:
        times = {name: _iso(getattr(report.backfill, name)) for name in ("started_at", "ends_at")}
        said["backfill"] = said["backfill"] | times
    return said


def parse(body: bytes) -> Report:
    """The report in a request's body.

    Raises:
        InvalidReport: when it is none, or only part of one.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidReport("a report is a JSON object") from error
    return load(document)


def load(document: object) -> Report:
    """The report that a JSON object tells of. Members that this version does not know are passed over.

    Raises:
        InvalidReport: when one that it knows is missing, of another kind or too large.
    """
    if not isinstance(document, Mapping):
        raise InvalidReport("a report is a JSON object")
    said = {each.name: _member(document, each.name, _READERS[each.type]) for each in fields(Report)}
    for part, whole in _PARTS:
        if said[part] > said[whole]:
            raise InvalidReport(f"`{part}` of the report is more than `{whole}`")
    return Report(**said)


@dataclass(frozen=True, slots=True)
class Reported:
    """The last report of a site, and how old it is."""

    received_at: datetime
    age_seconds: float
    report: Report

    @property
    def stale(self) -> bool:
        return self.age_seconds > STALE


def last(instant: datetime) -> dict[int, Reported]:
    """The last report of every site that made one, by the site's id. Call it inside `app.database.connection()`."""
    found: dict[int, Reported] = {}
    for row in SiteReport.select():
        try:
            report = load(row.document)
        except InvalidReport as error:
            # Of another version of ours; the next report takes its place.
            log.warning("what site %s last reported cannot be read: %s", row.site_id, error)
            continue
        age = max(0.0, (instant - row.received_at).total_seconds())
        found[row.site_id] = Reported(row.received_at, age, report)
    return found


def keep(site: Site, report: Report) -> bool:
    """Write down what the site said in place of what it said before; False when that was less than a second ago.

    How far it has read a standby of our database holds what it has not for it, as its requests for events would.
    """
    with transaction():
        instant = now()
        before: SiteReport | None = SiteReport.get_or_none(SiteReport.site == site)
        if before is not None and 0 <= (instant - before.received_at).total_seconds() < MIN_INTERVAL:
            return False
        said = {"document": dump(report), "received_at": instant}
        insert = SiteReport.insert(site=site, **said)
        insert.on_conflict(conflict_target=[SiteReport.site], update=said).execute()
    if report.follows == STANDBY and report.position is not None:
        _acknowledge(site, report.position)
    return True


def prune(older_than: timedelta, limit: int = MAX_ROWS) -> int:
    """Forget what sites that were removed said last, so long ago, at most `limit`; return how many."""
    with connection():
        former = SiteReport.select(SiteReport.site).join(Site).where(Site.retired)
        rows = former.where(SiteReport.received_at < now() - older_than).limit(limit)
        ids = [row.site_id for row in rows]
        deleted: int = SiteReport.delete().where(SiteReport.site.in_(ids)).execute() if ids else 0
        return deleted


def _acknowledge(site: Site, text: str) -> None:
    """Only what our log leads on from is believed: the position of another log, or beyond the end of ours, says
    nothing, and from one that is pruned the site has to begin anew."""
    try:
        position = Position.decode(text)
    except InvalidPosition as error:
        log.warning("site %s says that it has read our log up to what is no position: %s", site.name, error)
        return
    if not LocalLog(site.id).leads_on(position):
        log.info("site %s says that it has read our log up to where that does not lead on", site.name)
        return
    with connection():
        cursor.acknowledge(site, text)


def _member(document: Mapping[Any, Any], name: str, read: Callable[[object], Any]) -> Any:
    if name not in document:
        raise InvalidReport(f"the report has no `{name}`")
    try:
        return read(document[name])
    except (ValueError, OverflowError) as error:
        raise InvalidReport(f"`{name}` of the report is {error}") from error


# --- what a member may be ---------------------------------------------------------------------------------------------


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > TEXT_LIMIT:
        raise ValueError(f"not a text of at most {TEXT_LIMIT} characters")
    return clean(value)


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value <= _NUMBER_LIMIT:
        raise ValueError("not a whole number from 0 on")
    return value


def _seconds(value: object) -> float:
    if type(value) not in {int, float} or not math.isfinite(value) or not 0 <= value <= _NUMBER_LIMIT:  # type: ignore[arg-type,operator]
        raise ValueError("not a number from 0 on")
    return float(value)  # type: ignore[arg-type]


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("neither true nor false")
    return value


def _time(value: object) -> datetime:
    instant = datetime.fromisoformat(_text(value))
    if instant.tzinfo is None:
        raise ValueError("a time without a time zone")
    return instant.astimezone(UTC)


def _patterns(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or len(value) > PATTERNS_LIMIT:
        raise ValueError(f"not a list of at most {PATTERNS_LIMIT} patterns")
    return tuple(_text(each) for each in value)


def _position(value: object) -> PositionText:
    if not isinstance(value, str) or not _POSITION.fullmatch(value):
        raise ValueError("not what the log hands out as one")
    return PositionText(value)


def _backfill(value: object) -> Backfill:
    if not isinstance(value, Mapping):
        raise ValueError("not an object")
    said = {each.name: _member(value, each.name, _READERS[each.type]) for each in fields(Backfill)}
    if said["left"] > said["found"]:
        raise ValueError("one of which more is left than was found")
    return Backfill(**said)


def _or_none(read: Callable[[object], Any]) -> Callable[[object], Any]:
    return lambda value: None if value is None else read(value)


#: By the type as it is written in the class.
_READERS: Mapping[Any, Callable[[object], Any]] = {
    "str": _text,
    "str | None": _or_none(_text),
    "int": _count,
    "int | None": _or_none(_count),
    "float": _seconds,
    "bool": _flag,
    "datetime": _time,
    "datetime | None": _or_none(_time),
    "tuple[str, ...]": _patterns,
    "Level": lambda value: Level(_text(value)),
    "Deletion": lambda value: Deletion(_text(value)),
    "VerificationLevel | None": _or_none(lambda value: VerificationLevel(_text(value))),
    "PositionText | None": _or_none(_position),
    "Backfill | None": _or_none(_backfill),
}


def clean(text: str) -> str:
    """The text without what a terminal acts on or a database cannot hold, cut to the length that is taken."""
    return _CONTROL.sub(" ", text).encode("utf-8", "replace").decode()[:TEXT_LIMIT]


def _iso(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()
