"""Owing: which references are said to be in sync, and which of them no verification has looked at."""

from __future__ import annotations

from peewee import Expression

from app.models import Reference, SyncState


def in_sync(registry_id: int) -> Expression:
    """What was copied or found equal. What is kept although the primary no longer has it could not be copied again."""
    expression: Expression = (
        (Reference.registry == registry_id)
        & (Reference.state == SyncState.SYNCED)
        & (Reference.desired_digest == Reference.observed_digest)
    )
    return expression


def unseen() -> Expression:
    """What was never looked at, or not since it moved."""
    expression: Expression = Reference.verified_digest.is_null() | (
        Reference.verified_digest != Reference.observed_digest
    )
    return expression


def owed(registry_id: int) -> bool:
    """Whether anything in sync has not been looked at. Inside a connection."""
    return bool(Reference.select(Reference.id).where(in_sync(registry_id) & unseen()).exists())


def unrepaired(registry_id: int) -> list[Reference]:
    """Tags that a verification found broken and that no sync has put right. Inside a connection."""
    broken = Reference.verification_level.is_null(False) & (Reference.state != SyncState.SYNCED)
    tags = Reference.select().where((Reference.registry == registry_id) & Reference.is_tag & broken)
    return list(tags.order_by(Reference.name))
