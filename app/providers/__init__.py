"""What is peculiar to the registries of single providers, as data that replication reads."""

from __future__ import annotations

from app.providers.control import ControlPlane, ControlPlaneError
from app.providers.profile import (
    Catalog,
    Creation,
    Deletion,
    Limits,
    Mount,
    Profile,
    Referrers,
    Removal,
    Told,
)
from app.providers.profiles import GENERIC, PROFILES
from app.providers.provider import Chosen, Provider, profile_of, provider_of

__all__ = [
    "GENERIC",
    "PROFILES",
    "Catalog",
    "Chosen",
    "ControlPlane",
    "ControlPlaneError",
    "Creation",
    "Deletion",
    "Limits",
    "Mount",
    "Profile",
    "Provider",
    "Referrers",
    "Removal",
    "Told",
    "profile_of",
    "provider_of",
]
