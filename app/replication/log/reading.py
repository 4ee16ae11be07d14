"""Reading tables of events in order without losing a late one, wherever they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from typing import Any, Protocol

from peewee import ModelSelect, fn

from app.database import Running, in_batches, running, transaction_id
from app.models import ContainerRepository, Event
from app.replication.log.position import (
    MAX_GAP,
    UNFENCED,
    Position,
    mark_of,
    missing_between,
    stretches_of,
)
from app.statements import Statement, slot


@dataclass(frozen=True, slots=True)
class Batch:
    """Events, late ones first, and the position after them."""

    events: Sequence[Event]
    position: Position

    @property
    def moved(self) -> bool:
        return bool(self.events)


@dataclass(frozen=True, slots=True)
class Fence:
    """Every transaction that drew an id up to `up_to` has a transaction id below `xid`."""

    xid: int
    up_to: int = UNFENCED


class Tables(Protocol):
    """Where the events are. Each call is a statement of its own: what it sees is what was committed before it."""

    def running(self) -> Running | None:
        """Which transactions may be running; None where ids commit in order."""
        ...

    def fence(self) -> Fence | None:
        """A fence that holds for what was read before; None where there is none yet."""
        ...

    def bind(self, query: ModelSelect[Event]) -> ModelSelect[Event]:
        """The query, to be asked of these tables."""
        ...


class LocalTables:
    """The tables of this deployment's own database."""

    def running(self) -> Running | None:
        return running()

    def fence(self) -> Fence | None:
        xid = transaction_id()
        return None if xid is None else Fence(xid)

    def bind(self, query: ModelSelect[Event]) -> ModelSelect[Event]:
        return query


LOCAL = LocalTables()


def read(position: Position, limit: int = 200, tables: Tables = LOCAL) -> Batch:
    """The next events after `position`, at most `limit`, late ones first.

    On local tables call it inside a transaction that has no transaction id yet, or outside of any. The order of the
    statements matters: what tells that old gaps can be closed is asked before they are looked up, and the fence of new
    gaps is set after they were seen; the other way round an event could slip between.
    """
    before = tables.running()
    late = appeared(position.gaps, limit, tables)
    found = {event.id for event in late}
    gaps = {missing: fence for missing, fence in position.gaps.items() if missing not in found}
    if len(late) >= limit:
        # There may be more of them: none is given up on.
        return Batch(late, replace(position, gaps=gaps))
    gaps = _open(gaps, before)
    fresh = _fresh(tables, position.last, limit - len(late))
    if before is not None:
        gaps |= dict.fromkeys(missing_between(position.last, [event.id for event in fresh]), UNFENCED)
        gaps = _fenced(gaps, tables)
    if fresh:
        position = replace(position, last=fresh[-1].id, mark=mark_of(fresh[-1].event_key))
    return Batch([*late, *fresh], replace(position, gaps=gaps))


def head(tables: Tables = LOCAL, *, pruned_to: int = 0, log: str = "") -> Position:
    """Where the log ends now, with what may still appear below.

    Outside of any transaction, or in one that has no transaction id yet.
    """
    concurrent = tables.running() is not None
    newest: Any = Event.select(fn.MAX(Event.id))
    last = int(tables.bind(newest).scalar() or 0)
    if not last:
        return Position(pruned_to, log=log)
    # What was pruned is missing too, and will not appear.
    start = max(pruned_to, last - MAX_GAP)
    recent = tables.bind(Event.select(Event.id).where(Event.id.between(start + 1, last)).order_by(Event.id))
    gaps = dict.fromkeys(missing_between(start, [event.id for event in recent]), UNFENCED) if concurrent else {}
    ends_with = tables.bind(Event.select().where(Event.id == last)).first()
    mark = mark_of(ends_with.event_key) if ends_with is not None else ""
    return Position(last, _fenced(gaps, tables), log, mark)


def appeared(gaps: Iterable[int], limit: int | None = None, tables: Tables = LOCAL) -> list[Event]:
    """The events whose ids were missing and are there now, the lowest first, at most `limit` of them."""
    found: list[Event] = []
    # By stretches: ids one by one would soon be more than a statement can have parameters.
    for stretches in in_batches(stretches_of(gaps)):
        within = reduce(or_, (Event.id.between(first, last) for first, last in stretches))
        query = _events(tables).where(within).order_by(Event.id)
        found.extend(query if limit is None else query.limit(limit - len(found)))
        if limit is not None and len(found) >= limit:
            break
    return found


def _open(gaps: Mapping[int, int], before: Running | None) -> dict[int, int]:
    """Those that may still close. A fence is handed out when its transaction has ended: one that has not ended here was
    set in another cluster, of which this one is a restored dump, and is to be set anew."""
    if before is None:
        return {}
    return {
        missing: fence if fence < before.beyond else UNFENCED
        for missing, fence in gaps.items()
        if before.lowest < fence
    }


def _fenced(gaps: dict[int, int], tables: Tables) -> dict[int, int]:
    if UNFENCED not in gaps.values():
        return gaps
    fence = tables.fence()
    if fence is None:
        return gaps
    return {id_: fence.xid if xid == UNFENCED and id_ <= fence.up_to else xid for id_, xid in gaps.items()}


def _fresh(tables: Tables, last: int, limit: int) -> list[Event]:
    if tables is LOCAL:
        return _AFTER.rows(last=last, limit=limit)
    return list(_events(tables).where(Event.id > last).order_by(Event.id).limit(limit))


_AFTER = Statement(lambda: _events(LOCAL).where(Event.id > slot("last")).order_by(Event.id).limit(slot("limit")))


def _events(tables: Tables) -> ModelSelect[Event]:
    return tables.bind(Event.select(Event, ContainerRepository).join(ContainerRepository))
