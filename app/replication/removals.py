"""Removals: references that are gone from the primary by both witnesses, and wait to be deleted alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from app.models import Reference
from app.registry import NotFound
from app.replication import deletion
from app.replication.claim import Claim
from app.replication.context import Context
from app.replication.outcome import Action, Done


class Gone(Exception):
    """The reference is gone from the primary, by both witnesses: a way out of a copy, no failure."""

    def __init__(self, reference: Reference) -> None:
        super().__init__(reference.name)
        self.reference = reference


class NotThereYet(Exception):
    """The primary does not have what an event says was pushed. Its storage may be late; nothing is deleted for it."""

    reason = "not_on_primary"
    temporary = True


def absent(reference: Reference, error: NotFound, started: datetime, clock: Callable[[], datetime]) -> Done:
    """Judge the primary's 404. With one more witness it is a deletion; alone it is a failure.

    Raises:
        Gone: both witnesses have spoken.
        NotThereYet: the second one has not.
        NotFound: the 404 is not the registry's own word.
    """
    if error.witnessed and reference.delete_witness:
        raise Gone(reference)
    if error.witnessed and not reference.is_tag and reference.observed_digest is None:
        # A digest that went before we ever copied it leaves nothing to do.
        return Done("forget", started, clock())
    if error.witnessed:
        raise NotThereYet(f"{error}; no event and no listing says that it was deleted") from error
    raise error


@dataclass
class Removals:
    """Those of one claimed row. They are carried out one at a time, when nothing of the row is being copied."""

    claim: Claim
    context: Context
    clock: Callable[[], datetime]
    _waiting: dict[int, Reference] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def ids(self) -> list[int]:
        return list(self._waiting)

    def add(self, reference: Reference) -> None:
        self._waiting[reference.id] = reference

    def pop(self) -> Reference:
        """Take one out, to be carried out."""
        return self._waiting.popitem()[1]

    def reconsider(self) -> None:
        """An event since the witnesses spoke (the tag was pushed again, say) makes the reference due like any other."""
        if not self._waiting:
            return
        now_at = Reference.select(Reference.id, Reference.generation).where(Reference.id.in_(self.ids))
        current = {row.id: row.generation for row in now_at}
        self._waiting = {i: r for i, r in self._waiting.items() if current.get(i) == r.generation}

    def carry_out(self, reference: Reference, started: datetime) -> Done:
        """Delete it on the secondary, as far as policy, brake and proof let us; raises as `deletion.delete`."""
        gone = deletion.delete(self.claim, reference, self.context.destination())
        if gone.kept or gone.drift_digest:
            digest = gone.digest or gone.drift_digest
            return Done("keep", started, self.clock(), digest, gone.digest, drift_digest=gone.drift_digest, kept=True)
        action: Action = "delete" if gone.digest else "forget"
        return Done(action, started, self.clock(), None, gone.digest)
