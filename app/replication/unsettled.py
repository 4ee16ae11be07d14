"""Unsettled: which tracking rows somebody has to take up, in the words of the indexes that hold nothing else.

A database uses an index of some rows only where a query says what the index says, and SQLite wants it word for word; a
parameter is no word. So these conditions are written out, to be asked beside whatever tells one kind from another.
"""

from __future__ import annotations

from peewee import SQL, Expression, ModelSelect

from app.models import ContainerRepositoryRegistry as Registry
from app.models import Site, SyncState, VerificationState


def unsettled() -> Expression:
    """Tracking rows in scope that are not synced: they wait, are in somebody's hands, or have failed."""
    expression: Expression = Registry.in_scope & (Registry.state != _written(SyncState.SYNCED))
    return expression


def unverified() -> Expression:
    """Tracking rows in scope that are to be verified, are in somebody's hands for it, or were found wanting; those that
    a sync is at, or about to be, are none of them."""
    state = Registry.verification_state
    expression: Expression = Registry.in_scope & (Registry.state >= _written(SyncState.SYNCED))
    expression &= state != _written(VerificationState.SUCCEEDED)
    expression &= state != _written(VerificationState.DISABLED)
    return expression


def taken_up() -> ModelSelect[Site]:
    """The ids of the sites whose rows are taken up at all."""
    return Site.select(Site.id).where(Site.secondaries() & Site.enabled)


def _written(state: SyncState | VerificationState) -> SQL:
    return SQL(str(state.value))
