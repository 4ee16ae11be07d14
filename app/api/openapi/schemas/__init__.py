"""What is answered, and what is taken: one schema for each kind of object."""

from __future__ import annotations

from typing import Any

from app.api.openapi.parts import PROBLEM_MEMBERS, record
from app.api.openapi.schemas import events, following, repositories, sites

SCHEMAS: dict[str, Any] = {
    **sites.SCHEMAS,
    **repositories.SCHEMAS,
    **events.SCHEMAS,
    **following.SCHEMAS,
    "Ok": record("All is well.", status={"type": "string", "const": "ok"}),
    "Problem": record("An error (RFC 9457).", **PROBLEM_MEMBERS),
}
