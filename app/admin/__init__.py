"""The pages for people."""

from __future__ import annotations

# Each of these puts its pages on the blueprint.
from app.admin import checks as checks
from app.admin import events as events
from app.admin import repositories as repositories
from app.admin import repository as repository
from app.admin import sites as sites
from app.admin.pages import blueprint

__all__ = ["blueprint"]
