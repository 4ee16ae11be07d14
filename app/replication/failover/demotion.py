"""Demotion: a registry that was the primary becomes a secondary, and nothing that it alone holds is lost for it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.database import connection, in_batches, now, transaction
from app.models import ContainerRepository, Reference, Site, SyncState
from app.registry import Denied, NotFound, RegistryClient, RegistryError, Unauthorized, Unsupported
from app.replication import former, marking, sites
from app.replication.context import Context
from app.replication.deletion import TAG_WRITE_LIMIT
from app.replication.event_log import repository_ids
from app.replication.failover.looking import EMPTY, Looking, Memory
from app.replication.failover.remains import DemotionPlan, Kind, Remain, RepositoryRemains
from app.replication.scope import Scope
from app.replication.sites import Compared, SiteError
from app.replication.survey import Repositories
from app.replication.tag_scope import TagScope
from app.settings import Deletion, Settings

log = logging.getLogger(__name__)


class NotDemotable(SiteError):
    """The registry cannot be made a secondary now; the message says why. Nothing that it holds was changed."""


class StillPushedTo(NotDemotable):
    """A tag moved since it was looked at: somebody still pushes there."""


def plan(context: Context, progress: Callable[[int, int], None] = lambda _done, _total: None) -> DemotionPlan:
    """Compare the environment's secondary, which was the primary, with the primary; change nothing.

    Of several secondaries that is the one that was the primary, as far as is known, else the first.

    `progress` is told how many repositories of how many were looked at.

    Raises:
        NotDemotable: when it is the primary, or one of the two does not answer.
    """
    context = _place(context)
    settings = context.settings
    assert settings.secondary is not None
    _require_former(settings.secondary.url, settings)
    here, there = context.destination(), context.primary
    for side, client in (("secondary", here), ("primary", there)):
        try:
            client.ping()
        except RegistryError as error:
            raise NotDemotable(f"the {side} registry of the environment cannot be used: {error}") from error
    memory = _memory(settings)
    scope, tags = Scope(settings.repositories), TagScope(settings.tags)
    known, warnings = _repositories(Repositories(context.secondary_provider.lister(here)), scope)
    looked = Looking(here, there, memory, scope, tags).look(known, lambda done: progress(done, len(known)))
    with connection():
        instant = now()
    made = DemotionPlan(
        url=settings.secondary.url,
        primary=settings.primary.url,
        site=settings.site_name,
        at=instant,
        repositories=looked,
        since=memory.since,
        out_of_scope=sum(not scope.covers(path) for path in known),
    )
    return _warned(made, [*warnings, *_of_names(made), *_of_scope(made), *_of_policy(settings, made)])


def save(plan: DemotionPlan, registry: RegistryClient) -> int:
    """Give all that would be lost another tag, each on the registry itself; how many. Safe to repeat.

    Raises:
        StillPushedTo: when a tag has moved since the plan.
        NotDemotable: when the registry does not take one. What was saved until then stays.
    """
    saved = 0
    for repository in plan.repositories:
        for remain in repository.of(Kind.LOST):
            _save(repository.path, remain, registry)
            saved += 1
    return saved


@dataclass(frozen=True, slots=True)
class Demotion:
    """What was carried out: the site, and the plan by what was found at that moment."""

    site: Site
    plan: DemotionPlan


def demote(
    plan: DemotionPlan,
    context: Context,
    *,
    delete: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Demotion:
    """Make the plan's registry a secondary, after all that would be lost was saved.

    Both are compared again: what was pushed there while the plan was read would be lost, and not told of. What the new
    primary has got meanwhile is no obstacle. `progress` is as for `plan`.

    It is backfilled from the primary once the deployment is started. Nothing is deleted on it before a person releases
    it. With `delete`, what was deleted at the new primary since it took over is to be deleted here too, then: a person
    has said of each of these that it may be. What was known before proves nothing.

    Raises:
        StillPushedTo: when anything there is not as it was planned.
        NotDemotable: as `plan` and `save`.
        SiteError: as `sites.apply_environment`.
    """
    settings = context.settings
    _require_former(plan.url, settings)
    found = _look_again(plan, context, progress)
    save(found, _place(context).destination())
    # At once, or not at all: a former primary that nobody remembers would be overwritten by the next start.
    sites.apply_environment(settings, compared=Compared(plan.url, _because(found)))
    with connection():
        site: Site = Site.get(Site.name == plan.site)
    if delete:
        seen = {(each.path, remain.name) for each in plan.repositories for remain in each.of(Kind.DELETED)}
        for each in found.repositories:
            _condemn(site, each.path, [one for one in each.of(Kind.DELETED) if (each.path, one.name) in seen])
    log.info("%s is a secondary of %s from now on", plan.url, plan.primary)
    with connection():
        return Demotion(Site.get_by_id(site.id), found)


def _look_again(before: DemotionPlan, context: Context, progress: Callable[[int, int], None]) -> DemotionPlan:
    found = plan(context, progress)
    if not sites.same_address(found.url, before.url):
        raise NotDemotable(f"{before.url} is no longer the secondary here; plan it again")
    then, current = ({each.path: each for each in one.repositories} for one in (before, found))
    for path in sorted(then.keys() | current.keys()):
        was, now_is = then.get(path), current.get(path)
        told_then, told_now = (each is None or each.problem is None for each in (was, now_is))
        if not told_now and told_then:
            assert now_is is not None
            raise NotDemotable(f"{path} could not be compared once more before anything is done: {now_is.problem}")
        if told_then and told_now and _fingerprint(was) != _fingerprint(now_is):
            raise StillPushedTo(
                f"{path} is not as it was when it was compared: somebody still pushes to {before.url}. Keep everybody"
                " else away from it, and look at the plan again"
            )
    if found.unclear > before.unclear:
        raise NotDemotable("of more than before it could not be told what would be lost: look at the plan again")
    return found


def _fingerprint(repository: RepositoryRemains | None) -> str:
    """A repository that was not found is as an empty one."""
    return (repository.fingerprint if repository is not None else None) or EMPTY


def _place(context: Context) -> Context:
    """The context of the secondary that was the primary."""
    with connection():
        primary = Site.get_or_none(Site.primary)
        for each in context.every:
            url = each.settings.secondary.url if each.settings.secondary is not None else ""
            if former.given_up(url) or (primary is not None and sites.same_address(primary.url, url)):
                return each
    return context


def _require_former(url: str, settings: Settings) -> None:
    """Nothing is written to a registry that has taken over, because an environment is still that of before.

    Raises:
        NotDemotable: when the registry at `url` is the primary, and its place is not the environment's to give away.
    """
    with connection():
        primary = Site.get_or_none(Site.primary)
        if primary is None or not sites.same_address(primary.url, url):
            return
        before = former.given_up(settings.primary.url)
    if primary.promoted_at is None and before is None:
        return
    raise NotDemotable(
        f"{primary.url} has taken over and is the primary, and the environment has it as the secondary: exchange"
        " GEO_REGISTRY_REPLICATION_PRIMARY_API_URL and GEO_SECONDARY_REGISTRY_URL, then say it again. If"
        f" {settings.primary.url} is to be the primary again, demote it first, and promote it after that"
    )


# --- what there is --------------------------------------------------------------------------------------------------


def _memory(settings: Settings) -> Memory:
    """What this deployment knows of the time before."""
    assert settings.secondary is not None
    with connection():
        site = former.given_up(settings.secondary.url) or former.given_up()
        if site is None:
            here = Site.select().where(~Site.primary & ~Site.remote)
            site = next((each for each in here if sites.same_address(each.url, settings.secondary.url)), None)
        return Memory(site, site.given_up_at if site is not None else None)


def _repositories(here: Repositories, scope: Scope) -> tuple[list[str], list[str]]:
    """All repositories that the registry may have, and what is to be said of how they were found."""
    with connection():
        found = {row.path for row in ContainerRepository.select(ContainerRepository.path)}
    found |= set(scope.listed)
    try:
        found |= set(here.list_repositories())
    except (NotFound, Unsupported, Unauthorized, Denied) as error:
        return sorted(found), [
            f"The registry does not list its repositories, so only the {len(found)} that are known here were looked at;"
            f" name others in GEO_REPOSITORIES. ({error})"
        ]
    except RegistryError as error:
        raise NotDemotable(f"the list of its repositories broke off: {error}") from error
    return sorted(found), []


def _of_names(made: DemotionPlan) -> Iterator[str]:
    alone = made.count(Kind.ALONE) + made.count(Kind.DELETED)
    if alone:
        yield (
            f"What is kept here ({alone} {'tag' if alone == 1 else 'tags'}) is replaced, and not saved, once somebody"
            " pushes a tag of that name to the new primary: bring it there or give it another name before, if it is"
            " wanted."
        )


def _of_scope(made: DemotionPlan) -> Iterator[str]:
    if made.unclear_out_of_scope:
        yield (
            f"Of {made.unclear_out_of_scope} tags or repositories that are not replicated it could not be told what"
            " would be lost: compare them by hand before GEO_REPOSITORIES or GEO_TAGS covers them."
        )


def _of_policy(settings: Settings, made: DemotionPlan) -> Iterator[str]:
    alone = made.count(Kind.ALONE) + made.count(Kind.DELETED) + made.count(Kind.LOST)
    if settings.deletion is Deletion.MIRROR and alone:
        yield (
            f"GEO_DELETION is mirror, which deletes what the primary lacks, whoever put it there: {alone} tags, saved"
            f" ones too, would go with `geo sites release-deletions {made.site}`. Bring them to safety before, or set"
            " another policy."
        )


def _warned(made: DemotionPlan, warnings: Sequence[str]) -> DemotionPlan:
    return DemotionPlan(
        made.url, made.primary, made.site, made.at, made.repositories, made.since, made.out_of_scope, tuple(warnings)
    )


def _because(plan: DemotionPlan) -> str:
    alone = plan.count(Kind.ALONE) + plan.count(Kind.DELETED) + plan.count(Kind.LOST)
    holds = (
        f"and it holds {alone} tags that are not there, or not so" if alone else "and nobody has looked at both since"
    )
    return f"{plan.primary} has become its primary, {holds}"


# --- what is done ---------------------------------------------------------------------------------------------------


def _save(path: str, remain: Remain, registry: RegistryClient) -> None:
    tag = remain.saved_as
    assert tag is not None
    try:
        manifest = registry.get_manifest(path, remain.name)
        if manifest.digest != remain.here:
            raise StillPushedTo(
                f"{path}:{remain.name} was {remain.here} and is {manifest.digest} now: somebody still pushes to"
                f" {registry.name}. Keep everybody else away from it, and look at the plan again"
            )
        registry.put_manifest(path, tag, manifest, total_timeout=TAG_WRITE_LIMIT)
        standing = registry.head_manifest(path, tag).digest
    except RegistryError as error:
        raise NotDemotable(f"{path}:{remain.name} could not be saved as {tag}: {error}") from error
    if standing != remain.here:
        raise NotDemotable(f"{path}:{remain.name} could not be saved: {tag} is {standing} instead of {remain.here}")
    log.info("saved", extra={"reference": f"{path}:{remain.name}", "as": tag})


def _condemn(site: Site, path: str, remains: Sequence[Remain]) -> None:
    """Have these deleted once deletions are released; both witnesses are asked for again then."""
    for batch in in_batches(list(remains)):
        with transaction():
            instant = now()
            repository_id = repository_ids([path], instant)[path]
            row = marking.tracking_rows(site, [repository_id], instant)[repository_id]
            marking.awaken([row.id], since=instant, priority=marking.BACKFILL, full=True)
            for remain in batch:
                _doom(row, remain, instant)


def _doom(row: Any, remain: Remain, instant: datetime) -> None:
    said: dict[str, Any] = {
        "state": SyncState.PENDING,
        "observed_digest": remain.here,
        "desired_digest": None,
        "delete_witness": "listing",
        "trigger": "manual",
        "pending_since": instant,
        "in_scope": True,
    }
    made = Reference.insert(registry=row, name=remain.name, is_tag=True, created_at=instant, **said)
    made = made.on_conflict(action="NOTHING", conflict_target=[Reference.registry, Reference.name])
    if not list(made.returning(Reference.id).execute()):
        known = (Reference.registry == row) & (Reference.name == remain.name)
        Reference.update(generation=Reference.generation + 1, retry_at=None, retry_count=0, **said).where(
            known
        ).execute()
