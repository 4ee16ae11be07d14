"""Remote sites, as the primary's deployment knows them."""

from __future__ import annotations

from typing import Any

from app.database import connection
from app.models import Site
from app.replication import remote_sites, site_tokens
from app.replication.remote_sites import Change, Declaration


def add(*patterns: str, name: str = "berlin", **said: Any) -> str:
    """Add a site of these repositories, with whatever else is `said` of it; its token."""
    remote_sites.apply([Change(None, Declaration(name, repositories=patterns, **said))])
    with connection():
        return site_tokens.issue(Site.get(Site.name == name))
