"""Assembly: the context of a process, made of its settings."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from app.providers import Provider, Referrers, provider_of
from app.registry import Authenticator, KeyToken, OwnTokenService, RegistryClient
from app.replication.context import Context, Nobody, Place, Wake
from app.replication.copying.flights import Flights
from app.replication.copying.presence import LocalPresence, SharedPresence
from app.replication.copying.referrers_api import Support
from app.replication.credentials import authenticator, token_share
from app.replication.log import EventLog
from app.replication.log.feed import TOKENS, FeedLog, PrimaryClient
from app.replication.log.replica import ReplicaLog
from app.replication.movements import Movements
from app.replication.politeness import Note, Politeness
from app.replication.shared import Shared
from app.replication.shares import Shares
from app.replication.spool import Spool, SpoolDirectory
from app.replication.verification.capacity import Capacity, runs
from app.settings import AuthKind, RegistrySettings, Settings

#: Told of each request: the side, the operation, the outcome and the seconds.
Observer = Callable[[str, str, str, float], None]


def assemble(
    settings: Settings,
    wake: Wake | None = None,
    observe: Observer | None = None,
    throttled: Note | None = None,
) -> Context:
    """Connect lazily: nothing is asked of any registry here.

    Raises:
        InvalidKey: when a key or certificate cannot be used.
    """
    shared = Shared(settings.redis_url.value) if settings.redis_url else None
    stopping = threading.Event()
    polite = Politeness(settings, shared, stopping, throttled)
    deployment = _deployment(settings)
    ours = _site_authenticator(settings, deployment) or authenticator(
        settings.primary, share=token_share(settings, settings.primary, shared)
    )
    here = provider_of(settings.primary, polite.plane(settings.primary))
    primary = _client(settings.primary, "primary", ("pull",), observe, polite, ours, here)
    places = [_place(each, shared, observe, polite) for each in settings.every]
    names = [each.site_name for each in settings.every]
    first = Context(
        settings=settings,
        primary=primary,
        secondary=places[0].registry,
        primary_provider=here,
        secondary_provider=places[0].provider,
        referrers=_support((primary, here), *((each.registry, each.provider) for each in places)),
        primary_keys=ours if isinstance(ours, KeyToken) else None,
        log=_log(settings, deployment),
        deployment=deployment,
        wake=wake or Nobody(),
        spool=_spool(settings),
        stopping=stopping,
        politeness=polite,
        shared=shared,
        flights=Flights(shared),
        movements=Movements(shared),
        presence=SharedPresence(shared) if shared else LocalPresence(),
        unhurried=threading.BoundedSemaphore(max(1, settings.worker_threads - 1)),
        verification=Capacity(settings.worker_threads, settings.verification_rate, stopping=stopping),
        shares=Shares(settings.worker_threads, names),
        verification_shares=Shares(runs(settings.worker_threads), names),
    )
    further = zip(settings.further, places[1:], strict=True)
    return replace(first, further=tuple(first.of(each, place) for each, place in further))


def _place(settings: Settings, shared: Shared | None, observe: Observer | None, polite: Politeness) -> Place:
    secondary = settings.secondary
    if secondary is None:
        return Place(None, Provider())
    theirs = authenticator(secondary, share=token_share(settings, secondary, shared))
    provider = provider_of(secondary, polite.plane(secondary))
    actions = ("pull", "push", "delete")
    return Place(_client(secondary, "secondary", actions, observe, polite, theirs, provider), provider)


def _spool(settings: Settings) -> Spool | None:
    if settings.spool_limit == 0:
        return None
    # Several sites ask for the same bytes, small ones too.
    return Spool(SpoolDirectory(settings.spool_directory, settings.spool_limit), everything=len(settings.every) > 1)


def _client(
    settings: RegistrySettings,
    side: str,
    actions: tuple[str, ...],
    observe: Observer | None,
    polite: Politeness,
    authenticator: Authenticator,
    provider: Provider,
) -> RegistryClient:
    def observed(operation: str, outcome: str, seconds: float) -> None:
        if observe is not None:
            observe(side, operation, outcome, seconds)

    return RegistryClient(
        settings.url,
        authenticator,
        ca_path=str(settings.ca_path) if settings.ca_path else None,
        actions=actions,
        observe=observed,
        limiter=polite.gate(settings),
        meter=polite.meter(settings),
        manners=provider.profile.manners,
        token_hosts=settings.token_hosts,
    )


def _support(*registries: tuple[RegistryClient | None, Provider]) -> Support:
    known = [each for each in registries if each[1].profile.referrers is Referrers.TAG]
    return Support(without=[client.name for client, _ in known if client is not None])


def _deployment(settings: Settings) -> PrimaryClient | None:
    source = settings.source
    if source is None or not source.url or source.token is None:
        return None
    ca_path = str(source.ca_path) if source.ca_path else None
    return PrimaryClient(source.url, source.token.value, ca_path=ca_path)


def _log(settings: Settings, deployment: PrimaryClient | None) -> EventLog | None:
    if settings.source is not None and settings.source.database_url is not None:
        return ReplicaLog(settings.source.database_url.value, settings.site_name)
    return FeedLog(deployment) if deployment is not None else None


def _site_authenticator(settings: Settings, deployment: PrimaryClient | None) -> Authenticator | None:
    source = settings.source
    if settings.primary.auth is not AuthKind.SITE or deployment is None or source is None or source.token is None:
        return None
    return OwnTokenService(settings.site_name, source.token.value, deployment.url + TOKENS, deployment.fetch)
