from __future__ import annotations

from tests.api.conftest import api, asking, fresh_limits, rows

__all__ = ["api", "asking", "fresh_limits", "rows"]
