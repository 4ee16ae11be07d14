"""The pages for people."""

from __future__ import annotations

from app.admin.views import blueprint

__all__ = ["blueprint"]
