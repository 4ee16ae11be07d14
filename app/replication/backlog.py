"""Backlog: what is due of a claimed row and not begun, read again when there may be anything new."""

from __future__ import annotations

from collections.abc import Sequence

from peewee import Case, ModelSelect

from app.database import now
from app.models import Reference, SyncState
from app.replication.attempt import URGENT
from app.replication.claim import Claim
from app.replication.generations import Generations
from app.replication.marking import TRIGGERS
from app.statements import Statement, slot

#: References that are read, and only looked at, in one go: a listing names thousands that are in order already.
BATCH = 64

#: Seconds after which what is due is read again without an event: a retry's time may have come.
READ_AGAIN = 2.0


class Backlog:
    """Of one claimed row, for its one thread."""

    def __init__(self, claim: Claim, generations: Generations) -> None:
        self._claim = claim
        self._generations = generations
        #: Read and not begun, the most urgent first.
        self.references: list[Reference] = []
        #: The row's, when `behind` was last asked.
        self.generation = -1
        #: Whether there may be more than was read.
        self.more = True
        self._seen = -1
        self._read_at = float("-inf")
        #: Under way when an event came: it may be about them.
        self._moved: set[int] = set()

    def behind(self) -> bool:
        """Whether there may be anything new: an event came, what was read is used up, or it was read long ago."""
        self.generation = self._generations.of(self._claim.registry_id)
        used_up = not self.references and self.more
        return self.generation != self._seen or used_up or self._claim.lease.clock() - self._read_at >= READ_AGAIN

    def read(self, busy: Sequence[Reference], waiting: Sequence[int], only_pushed: bool) -> None:
        """Read what is due, but for what is `busy` or `waiting` (ids) already. Inside a connection, after `behind`.

        `only_pushed` leaves out what is no push: removals that wait come first, and what is pushed meanwhile is none.
        """
        moved = self.generation != self._seen
        self.references = self._due([*(reference.id for reference in busy), *waiting], only_pushed)
        # Read before the references: closing compares it, and an event between the two makes the row pending again.
        self._claim.generation = self._seen = self.generation
        self.more, self._read_at = len(self.references) == BATCH, self._claim.lease.clock()
        if moved:
            # The event may be about one of these: then it is due again when this copy of it has ended.
            self._moved = {reference.id for reference in busy}

    def ended(self, reference: Reference) -> None:
        """Whatever was done about the reference is over."""
        if reference.id in self._moved:
            self.out_of_date()

    def out_of_date(self) -> None:
        """More may be due than was read, though no event came."""
        self._seen = -1

    def _due(self, taken: Sequence[int], only_pushed: bool) -> list[Reference]:
        statement = _PUSHED if only_pushed else _DUE
        # With room for those that are to be left out: a list of them would be another statement each time.
        found = statement.rows(registry=self._claim.registry_id, instant=now(), limit=BATCH + len(taken))
        left_out = set(taken)
        return [reference for reference in found if reference.id not in left_out][:BATCH]


def _due() -> ModelSelect[Reference]:
    instant = slot("instant", Reference.retry_at)
    waiting = Reference.state.in_([SyncState.PENDING, SyncState.STARTED])
    query = Reference.select().where(
        (Reference.registry == slot("registry"))
        & (
            (waiting & (Reference.retry_at.is_null() | (Reference.retry_at <= instant)))
            | ((Reference.state == SyncState.FAILED) & (Reference.retry_at <= instant))
        )
    )
    urgency = Case(Reference.trigger, [(name, place) for place, name in enumerate(TRIGGERS)], len(TRIGGERS))
    order = (Reference.is_tag.desc(), urgency, Reference.pending_since, Reference.id)
    return query.order_by(*order).limit(slot("limit"))


def _pushed() -> ModelSelect[Reference]:
    return _due().where(Reference.trigger.in_(sorted(URGENT)) & Reference.delete_witness.is_null())


_DUE, _PUSHED = Statement(_due), Statement(_pushed)
