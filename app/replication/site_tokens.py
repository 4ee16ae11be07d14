"""Site tokens: the secret by which a site's own deployment comes to us. We keep only what tells whether it is right."""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import timedelta

from app.database import connection, now, transaction
from app.models import Site

#: So that people and scanners of leaked secrets can tell what it is.
PREFIX = "geosite_"

#: How long the former token stays good beside a new one: time to bring the new one to the site.
OVERLAP = timedelta(days=1)

_TOKEN = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")


def issue(site: Site, overlap: timedelta = OVERLAP) -> str:
    """Make a new token for the site and return it; it cannot be shown again.

    The one before is good for `overlap` longer, and one before that not at all.
    """
    token = PREFIX + secrets.token_urlsafe(32)
    with transaction():
        current = Site.get_by_id(site.id)
        instant = now()
        keep = overlap > timedelta(0) and current.token_hash is not None
        Site.update(
            token_hash=_hash(token),
            former_token_hash=current.token_hash if keep else None,
            former_token_expires_at=instant + overlap if keep else None,
            updated_at=instant,
        ).where(Site.id == site.id).execute()
    return token


def site_of(token: str | None) -> Site | None:
    """The site whose token this is; None for any other text, and once the site is removed."""
    if not token or not _TOKEN.fullmatch(token):
        return None
    # Looked up by its hash: what the time that it takes tells of a hash leads to no token.
    hashed = _hash(token)
    with connection():
        former = (Site.former_token_hash == hashed) & (Site.former_token_expires_at > now())
        good = (Site.token_hash == hashed) | former
        found: Site | None = Site.select().where(good & Site.remote & ~Site.retired & ~Site.primary).first()
    return found


def _hash(token: str) -> str:
    # 256 random bits: nothing slower is needed to keep them from being guessed.
    return hashlib.sha256(token.encode()).hexdigest()
