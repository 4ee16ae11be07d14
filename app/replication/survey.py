"""Survey: the plan of a site, repository by repository, a bounded number of requests at a time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from app.database import connection
from app.models import ContainerRepository, Site
from app.providers.provider import Lister
from app.registry import RegistryError, Unreachable, is_repository
from app.replication import brake, holds
from app.replication.catalog import REFUSALS, do_without
from app.replication.comparison import Comparison
from app.replication.context import Context
from app.replication.copying.copy import GraphTooLarge
from app.replication.copying.presence import Presence
from app.replication.explanation import obstacles
from app.replication.plan import Action, Problem, RepositoryPlan, SitePlan, with_mounts
from app.replication.planner import RepositoryMissing
from app.replication.reading import Reader, Side, look_at_each
from app.replication.replicator import UnknownRepository
from app.replication.scope import Scope

log = logging.getLogger(__name__)

#: Repositories in a row that a registry does not answer for before the others are not asked any more.
GIVE_UP_AFTER = 3


class Catalog(Protocol):
    """What finding repositories asks of a registry."""

    def list_repositories(self) -> Iterator[str]: ...


class Repositories:
    """What lists repositories page by page, as one that does so name by name."""

    def __init__(self, source: Lister) -> None:
        self._source = source

    def list_repositories(self) -> Iterator[str]:
        for page in self._source.catalog(1000):
            yield from page.repositories


def named(site: Site, names: Sequence[str]) -> list[str]:
    """The repository paths that a person gave, each once.

    Raises:
        UnknownRepository: for what is not a repository path or not in the site's scope; it names all such.
    """
    scope = Scope.of(site)
    paths = [name.strip("/") for name in names]
    wrong = [path for path in paths if not is_repository(path)]
    if wrong:
        shown = ", ".join(repr(path) for path in wrong)
        raise UnknownRepository(f"{shown}: no repository path, such as team/app (without host and tag)")
    outside = [path for path in paths if not scope.covers(path)]
    if outside:
        raise UnknownRepository(f"{', '.join(outside)}: outside what site {site.name} replicates (GEO_REPOSITORIES)")
    return sorted(set(paths))


def in_scope(site: Site, source: Catalog) -> list[str]:
    """The paths of all repositories that the site replicates, found as a backfill does, and nothing written down.

    Raises:
        RegistryError: when the catalog breaks off.
        NoCatalog: when there is nothing to go by.
    """
    scope = Scope.of(site)
    with connection():
        known = {row.path for row in ContainerRepository.select(ContainerRepository.path)}
    known |= set(scope.listed)
    listed: set[str] = set()
    if not scope.is_list:
        try:
            for path in source.list_repositories():
                listed.add(path)
        except REFUSALS as error:
            do_without(error, begun=bool(listed), scope=scope, known=bool(known))
    return sorted(path for path in known | listed if scope.covers(path))


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a survey is. The tags of a repository are known once it was listed."""

    repositories: int = 0
    tags: int = 0
    tags_looked_at: int = 0


def survey(
    context: Context, site: Site, paths: Sequence[str], progress: Callable[[Progress], None] = lambda _: None
) -> SitePlan:
    """The plan of these repositories of the site, with what keeps it from being carried out."""
    context = context.at(site.name)
    plan = Survey(site, context.primary, context.destination(), context.presence).plan(paths, progress)
    blocked = obstacles(site, replication_enabled=context.settings.replication_enabled)
    held = _held(site, plan.count(Action.DELETE))
    return replace(plan, obstacles=(*(f"{each.why} {each.next}" for each in blocked), *held))


def _held(site: Site, deletions: int) -> Iterator[str]:
    if not deletions:
        return
    because = holds.told(site)
    if because is not None:
        yield (
            f"Nothing is deleted on {site.name}: {because}."
            f" If deletions are right there: `geo sites release-deletions {site.name}`."
        )
        return
    room = brake.room(site)
    if deletions > room:
        yield (
            f"Of {deletions} deletions about {room} go unasked now, with those of the last hour; the others wait for"
            f" `geo sites release-deletions {site.name}`."
        )


class Survey:
    """Plans repositories of one site. `presence` proposes where blobs could be mounted from; it is only looked at."""

    def __init__(self, site: Site, primary: Reader, secondary: Reader, presence: Presence) -> None:
        self._site = site
        self._readers = (primary, secondary)
        self._presence = presence
        self._lock = threading.Lock()
        self._progress = Progress()
        #: Repositories in a row that a registry did not answer for.
        self._unanswered = 0
        #: By path, blobs that the repository lacks and that some other of the secondary has.
        self._elsewhere: dict[str, frozenset[str]] = {}

    def plan(self, paths: Sequence[str], progress: Callable[[Progress], None] = lambda _: None) -> SitePlan:
        """Look at these repositories on both registries, and say what a full sync of each would do.

        What goes wrong with one repository is told in its plan, and the others go on. `progress` is called now and
        then, by this thread.
        """
        plans = look_at_each(paths, self._repository, self._readers, lambda _done: progress(self._progress))
        return SitePlan(self._site.name, tuple(with_mounts(plans, self._elsewhere)))

    def _repository(self, path: str, primary: Side, secondary: Side) -> RepositoryPlan:
        try:
            if self._unanswered >= GIVE_UP_AFTER:
                problem = Problem("unreachable", "not looked at: a registry does not answer, as said of others")
                return RepositoryPlan(path, problem=problem)
            plan = Comparison(self._site, path, primary, secondary, self._count_tags).plan()
            self._elsewhere[path] = self._mountable(path, list(plan.lacking), secondary)
            self._heard(answered=True)
            return plan
        except (RegistryError, RepositoryMissing, GraphTooLarge) as error:
            self._heard(answered=not isinstance(error, Unreachable))
            return RepositoryPlan(path, problem=Problem(error.reason, str(error)))
        finally:
            with self._lock:
                self._progress = replace(self._progress, repositories=self._progress.repositories + 1)

    def _heard(self, *, answered: bool) -> None:
        with self._lock:
            self._unanswered = 0 if answered else self._unanswered + 1

    def _mountable(self, path: str, lacking: list[str], secondary: Side) -> frozenset[str]:
        """Those that a repository of which it is known really has. Proposals age, so each is asked for."""
        sources = self._presence.look(secondary.reader.name, path, lacking).sources
        asked = secondary.ask(lambda digest: secondary.reader.head_blob(sources[digest], digest), sources)
        return frozenset(digest for digest, size in asked.answers() if isinstance(size, int))

    def _count_tags(self, known: int, looked_at: int) -> None:
        with self._lock:
            now = self._progress
            self._progress = replace(now, tags=now.tags + known, tags_looked_at=now.tags_looked_at + looked_at)
