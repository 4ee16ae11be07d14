"""The event log as the database has it, and what a cursor reads of it."""

from __future__ import annotations

from app import database
from app.database import connection
from app.models import Cursor, Event
from app.replication import cursor, event_log
from app.replication.event_log import Origin, Position
from tests.support.deployment import Deployment, event
from tests.support.sessions import Session

ORIGIN = Origin("distribution", 100)


def ids() -> list[int]:
    with connection():
        return [row.id for row in Event.select().order_by(Event.id)]


def names() -> list[str | None]:
    with connection():
        return [row.tag for row in Event.select().order_by(Event.id)]


def read_tags(deployment: Deployment) -> list[str | None]:
    """What one look of the cursor reads, by tag."""
    with connection():
        before = Cursor.get(Cursor.site == deployment.site)
        position = Position(before.position, {int(gap): xmax for gap, xmax in before.gaps.items()})
    with database.transaction():
        tags = [found.tag for found in event_log.read(position).events]
    cursor.advance(deployment.fresh_site())
    return tags


def insert(session: Session, tag: str) -> None:
    """Store an event in the transaction that is open in `session`.

    Not by `store`: nested, it would make a savepoint, whose transaction id of its own hides what is to be tested.
    """
    session.do(lambda: event_log.append([event(tag=tag)]))


def gaps(deployment: Deployment) -> dict[str, int]:
    with connection():
        known: dict[str, int] = Cursor.get(Cursor.site == deployment.site).gaps
        return known
