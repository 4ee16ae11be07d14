"""A site: a place with one container registry."""

from __future__ import annotations

from peewee import AutoField, BooleanField, CharField, Expression, IntegerField, TextField

from app.database import UTCDateTimeField
from app.models.base import BaseModel


class Site(BaseModel):
    """The primary, or one of the secondaries."""

    id = AutoField()
    name = CharField(unique=True)
    primary = BooleanField(default=False)
    url = CharField()
    #: A site that is not enabled keeps its backlog and copies nothing.
    enabled = BooleanField(default=True)
    #: No longer named by the environment; kept with its history, and taken up again when it comes back.
    retired = BooleanField(default=False)
    #: Its own deployment follows our event log; nothing is copied to it from here, and no environment names it.
    remote = BooleanField(default=False)
    #: SHA-256 (hex) of the token by which its deployment comes, and of the one before while that is still good.
    token_hash = CharField(null=True, index=True)
    former_token_hash = CharField(null=True, index=True)
    former_token_expires_at = UTCDateTimeField(null=True)
    #: One of `settings.Deletion`. Of a remote site it is the most that we let its own deployment delete, and empty
    #: where that is left to it; the next two are likewise what we ask of it beside its own settings.
    deletion = CharField(default="tags")
    #: Patterns of tags that are never deleted, a line each.
    protected_tags = TextField(default="")
    #: Of a remote site: one of `settings.VerificationLevel`, as far as what it copies is verified at least.
    verification = CharField(null=True)
    #: Allow and deny patterns, a line each; empty covers everything.
    repositories = TextField(default="")
    #: The same of tags (replication.tag_scope), a line each; empty covers everything.
    tags = TextField(default="")
    #: Repositories that are synced at once at most; None: as many as there are threads.
    capacity = IntegerField(null=True)
    #: The same as the primary's deployment sets them for this one, in a secondary's own deployment; elsewhere
    #: they limit nothing. What holds is the narrowest, or the most careful, of both.
    granted_repositories = TextField(default="")
    granted_tags = TextField(default="")
    granted_capacity = IntegerField(null=True)
    granted_deletion = CharField(null=True)
    granted_protected_tags = TextField(default="")
    granted_verification = CharField(null=True)
    #: Deletions before this instant no longer count for the brake (`geo sites release-deletions`).
    deletions_released_at = UTCDateTimeField(null=True)
    #: Why nothing at all is deleted before a person releases it, a reason a line (replication.holds); None: only the
    #: brake counts.
    deletions_held_because = TextField(null=True)
    #: Of the primary: when it took over from another, as long as no environment was applied since.
    promoted_at = UTCDateTimeField(null=True)
    #: Of a registry that was the primary: when another took over. Nothing is written to it before `geo demote`.
    given_up_at = UTCDateTimeField(null=True)
    #: Of such: until when a worker that held a row of it then may still write to the registry that took over.
    held_until = UTCDateTimeField(null=True)
    #: Of such: no site's registry took over, only the address became another in the environment. It may be the primary
    #: itself under a former name, and so nothing but a secondary at this very address is refused.
    readdressed = BooleanField(default=False)
    #: A reconcile is due since then, and why.
    reconcile_requested_at = UTCDateTimeField(null=True)
    reconcile_reason = TextField(null=True)
    #: When the last one began to find repositories, and when it, or one before, had found all.
    reconcile_started_at = UTCDateTimeField(null=True)
    reconciled_at = UTCDateTimeField(null=True)
    created_at = UTCDateTimeField()
    updated_at = UTCDateTimeField()

    class Meta:
        table_name = "geo_sites"

    @classmethod
    def secondaries(cls) -> Expression:
        """A condition: every site that is replicated to, from here or by its own deployment."""
        expression: Expression = ~cls.primary & ~cls.retired
        return expression

    @classmethod
    def here(cls) -> Expression:
        """A condition: the sites that are replicated to from here; remote ones do that for themselves."""
        expression: Expression = cls.secondaries() & ~cls.remote
        return expression
