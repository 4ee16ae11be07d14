"""The provider of each registry: whose it is, how we know, and what it does not do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from app.providers import (
    PROFILES,
    Catalog,
    Chosen,
    ControlPlaneError,
    Creation,
    Profile,
    Removal,
    Told,
    profile_of,
    provider_of,
)
from app.providers.probing import probed, recognized
from app.registry import InvalidKey, RegistryError
from app.replication.check.examination import Examination
from app.replication.check.finding import Finding, Id, error, fine
from app.replication.check.probe import REPOSITORY, Probe, authenticator
from app.replication.scope import Scope
from app.settings import AuthKind, Deletion


def check(examination: Examination) -> Sequence[Finding]:
    """Both registries. Whether they answer at all is told of elsewhere."""
    sides = ["primary"] if examination.settings.secondary is None else ["primary", "secondary"]
    return [finding for side in sides for finding in _findings(examination, side)]


def secondary(examination: Examination) -> Sequence[Finding]:
    """The secondary alone."""
    return list(_findings(examination, "secondary"))


def _findings(examination: Examination, side: str) -> Iterator[Finding]:
    registry = examination.registry(side)
    profile, chosen = profile_of(registry)
    told = f"provider: {profile.title} ({chosen.value})"
    if chosen is Chosen.NOTHING and registry.auth is not AuthKind.SITE:
        profile, hint = _probed(examination, side, profile)
        told += hint
    lacking = [*profile.lacking(), *_untold(examination, side, profile)]
    yield fine(side, "; ".join([told, *lacking]))
    if _needs_control(examination, side, profile):
        yield from _control(examination, side, profile)


def _probed(examination: Examination, side: str, profile: Profile) -> tuple[Profile, str]:
    """The profile as the registry fills it in, and whose it looks like."""
    registry = examination.registry(side)
    try:
        account = authenticator(examination, side)
        with Probe(registry, account, examination) as probe:
            name = recognized(probe.greet().challenge)
            deletes = side == "secondary" and examination.settings.deletion is not Deletion.OFF
            found = probed(profile, probe.client, REPOSITORY, deletes=deletes)
    except (RegistryError, InvalidKey):
        return profile, ""
    if name is None:
        return found, ""
    hint = f"GEO_{side.upper()}_REGISTRY_PROVIDER={name.value}"
    return found, f", and looks like {PROFILES[name].title}: export {hint}"


def _untold(examination: Examination, side: str, profile: Profile) -> Iterator[str]:
    """What its events do not tell, where it is they that we go by."""
    if side != "primary" or profile.deletions_told not in (Told.SOME, Told.NONE):
        return
    which = "no deletions" if profile.deletions_told is Told.NONE else "some deletions only"
    interval = examination.settings.reconcile_interval
    yield f"its events tell of {which}, the others are found {_within(interval)}"


def _within(interval: timedelta | None) -> str:
    if interval is None:
        return "by `geo reconcile` alone (GEO_RECONCILE_INTERVAL=off)"
    hours = interval / timedelta(hours=1)
    return f"within {hours / 24:g} d" if hours >= 24 else f"within {hours:g} h"


def _needs_control(examination: Examination, side: str, profile: Profile) -> bool:
    """Whether the control plane is asked for anything: a primary is only read, and names may be given."""
    settings = examination.settings
    if side == "primary":
        named = settings.primary.auth is AuthKind.SITE or Scope(settings.repositories).is_list
        return profile.catalog is Catalog.CONTROL_PLANE and not named
    deletes = Removal.CONTROL_PLANE in (profile.deletion.tag, profile.deletion.digest)
    return profile.creation is Creation.CONTROL_PLANE or (deletes and settings.deletion is not Deletion.OFF)


def _control(examination: Examination, side: str, profile: Profile) -> Iterator[Finding]:
    provider = provider_of(examination.registry(side))
    try:
        provider.plane().ready()
        yield fine(side, f"the control plane of {profile.title} can be asked")
    except ControlPlaneError as problem:
        yield error(
            Id.CONTROL_PLANE,
            side,
            f"the control plane of {profile.title} cannot be asked: {problem.message}",
            "Without it nothing is deleted there, and no repository is created or listed, as far as it does that.",
            "pip install 'geo-registry[ecr]' and AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… (or a role) for Amazon's;"
            f" for GitHub's export GEO_{side.upper()}_REGISTRY_PASSWORD=a classic token with `delete:packages`"
            f" (and GEO_{side.upper()}_REGISTRY_CONTROL_URL of an Enterprise Server's API)",
        )
    finally:
        provider.close()
