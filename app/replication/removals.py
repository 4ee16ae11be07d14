"""Removals: references that are gone from the primary by both witnesses, and wait to be deleted alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from app.database import connection, now
from app.models import Reference
from app.registry import NotFound, Stopped
from app.replication import deletion
from app.replication.brake import DeletionHeld
from app.replication.claim import Claim
from app.replication.context import Context
from app.replication.outcome import Action, Done

#: Removals that are gathered before they are carried out.
LIMIT = 200


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
    error.require_witness()
    if reference.delete_witness:
        raise Gone(reference)
    if not reference.is_tag and reference.observed_digest is None:
        # A digest that went before we ever copied it leaves nothing to do.
        return Done("forget", started, clock())
    raise NotThereYet(f"{error}; no event and no listing says that it was deleted") from error


@dataclass
class Removals:
    """Those of one claimed row. They are carried out one at a time, when nothing of the row is being copied."""

    claim: Claim
    context: Context
    clock: Callable[[], datetime]
    _waiting: dict[int, Reference] = field(default_factory=dict)
    #: The row's generation at which they were last reconsidered.
    _seen: int | None = None
    #: The brake is on: what else waits need not be looked at to know that.
    _held: DeletionHeld | None = None

    @property
    def full(self) -> bool:
        """Whether these are to be carried out before anything else that may be gone is taken up."""
        return len(self._waiting) >= LIMIT

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

    def reconsider(self, generation: int) -> None:
        """An event since the witnesses spoke (the tag was pushed again, say) makes the reference due like any other.

        `generation` is the row's: at the same as before there was none.
        """
        if generation == self._seen:
            return
        self._seen = generation
        if not self._waiting:
            return
        now_at = Reference.select(Reference.id, Reference.generation).where(Reference.id.in_(self.ids))
        current = {row.id: row.generation for row in now_at}
        self._waiting = {i: r for i, r in self._waiting.items() if current.get(i) == r.generation}

    def carry_out(self, reference: Reference, started: datetime) -> Done:
        """Delete it on the secondary, as far as policy, brake and proof let us.

        Raises:
            Stopped: it is due like any other again, or nothing more is to be done here.
            NotFound, RegistryError: as the primary answered; and as `deletion.delete`.
        """
        with connection():
            # By the database's clock: the brake counts deletions, and a worker's own may be wrong by hours.
            began = now()
        if not deletion.keeps(self.claim, reference):
            self._require_due(reference)
            self._require_gone(reference)
        try:
            provider = self.context.secondary_provider
            gone = deletion.delete(self.claim, reference, self.context.destination(), provider)
        except DeletionHeld as held:
            self._held = held
            raise
        if gone.kept or gone.drift_digest:
            digest = gone.digest or gone.drift_digest
            return Done("keep", started, self.clock(), digest, gone.digest, drift_digest=gone.drift_digest, kept=True)
        # What is not there although its deletion was begun was deleted by us, and the answer was lost.
        action: Action = "delete" if gone.digest or reference.deletion_reserved_at else "forget"
        with connection():
            return Done(action, began, now(), None, gone.digest)

    def _require_due(self, reference: Reference) -> None:
        with connection():
            current = Reference.get_or_none(Reference.id == reference.id)
        if current is None or current.generation != reference.generation:
            raise Stopped(f"{self.claim.path}:{reference.name} was asked for meanwhile")
        if self._held is not None and current.deletion_released_at is None:
            raise self._held

    def _require_gone(self, reference: Reference) -> None:
        """Ask the primary once more: since its first answer large copies may have gone on for hours."""
        try:
            self.context.primary.get_manifest(self.claim.path, reference.name)
        except NotFound as error:
            error.require_witness()
            return
        same = (Reference.id == reference.id) & (Reference.generation == reference.generation)
        with connection():
            # Both cannot be true: should the primary say "not found" again, that wants a witness anew.
            Reference.update(delete_witness=None).where(same).execute()
        raise Stopped(f"{self.claim.path}:{reference.name} is on the primary again")
