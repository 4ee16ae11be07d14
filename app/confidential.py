"""What must not be written anywhere: the secrets in the settings, in the forms in which they travel."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from app.redis_address import secrets_in
from app.settings import RegistrySettings, Secret


def secret_values(settings: Any) -> frozenset[str]:
    """Every secret in it and in what it is made of. Of an address that is one only the password is, so that a message
    may still say where something is."""
    return frozenset(_values(settings))


def _values(value: Any) -> Iterator[str]:
    if isinstance(value, Secret):
        yield from secrets_in(value.value) if "://" in value.value else (value.value,)
    elif isinstance(value, tuple):
        for each in value:
            yield from _values(each)
    elif is_dataclass(value):
        if isinstance(value, RegistrySettings) and value.username and value.password:
            yield base64.b64encode(f"{value.username}:{value.password.value}".encode()).decode()
        for field in fields(value):
            yield from _values(getattr(value, field.name))
