"""The option by which commands are told which site is meant, where there are several."""

from __future__ import annotations

from app.models import Site


def site_option(site: Site) -> str:
    """` --site NAME` behind what is told to type, and nothing where there is one site only. Inside a connection."""
    return f" --site {site.name}" if Site.select().where(Site.here()).count() > 1 else ""
