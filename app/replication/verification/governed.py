"""Governed: how far is verified what a sync has brought, by a site's own settings and by what the primary asks."""

from __future__ import annotations

from dataclasses import replace

from app.models import Site
from app.settings import Settings
from app.settings import VerificationLevel as Level


def governed(settings: Settings, site: Site | None = None) -> Settings:
    """The settings, with the deeper of both levels. Inside a connection.

    `site` is this deployment's secondary, where it is at hand.
    """
    if settings.source is None:
        return settings
    site = site or Site.get_or_none((Site.name == settings.site_name) & ~Site.primary)
    if site is None or site.granted_verification is None:
        return settings
    asked = Level(site.granted_verification)
    if settings.verification is not None and settings.verification.reaches(asked):
        return settings
    return replace(settings, verification=asked)
