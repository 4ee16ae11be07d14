"""Looking: both registries as they are now, tag by tag, judged. Only reads."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from app.database import connection, in_batches
from app.models import ContainerRepository, Event, Handover, Site
from app.models import ContainerRepositoryRegistry as Registry
from app.registry import RegistryError
from app.replication.drift import REFERRERS_TAG
from app.replication.failover.remains import Facts, Kind, Remain, RepositoryRemains, judge
from app.replication.reading import Reader, Side, look_at_each
from app.replication.scope import Scope
from app.replication.tag_scope import TagScope


@dataclass(frozen=True, slots=True)
class Memory:
    """What this deployment knows of the time before: the row that holds what both had, and since when."""

    site: Site | None = None
    since: datetime | None = None

    def before(self, path: str) -> Mapping[str, str]:
        """By tag, the digests that both had when the other one took over."""
        if self.site is None:
            return {}
        with connection():
            query = Handover.select(Handover.name, Handover.digest).join(Registry).join(ContainerRepository)
            rows: Any = query.where((Registry.site == self.site) & (ContainerRepository.path == path)).tuples()
            return dict(rows)

    def deleted(self, path: str, digests: Sequence[str]) -> set[str]:
        """Those of the digests of which an event since then says that they were deleted."""
        if self.since is None:
            return set()
        gone = (Event.action == "delete") & (Event.created_at > self.since)
        return {str(event.digest) for event in self._events(path, digests, gone)}

    def pushed(self, path: str, digests: Sequence[str]) -> Mapping[tuple[str | None, str], datetime]:
        """By tag and digest, when an event says that it was pushed."""
        found = self._events(path, digests, Event.action == "push")
        return {(event.tag, str(event.digest)): event.occurred_at for event in found}

    def _events(self, path: str, digests: Sequence[str], condition: Any) -> list[Event]:
        found: list[Event] = []
        with connection():
            for batch in in_batches(sorted(set(digests))):
                query = Event.select().join(ContainerRepository)
                named = (ContainerRepository.path == path) & Event.digest.in_(list(batch))
                found.extend(query.where(named & condition).order_by(Event.id))
        return found


@dataclass
class Looking:
    """One look at both: `here` was the primary, `there` is.

    `scope` and `tags` are what is replicated. What is not is looked at too, for what would be lost once they are wider.
    """

    here: Reader
    there: Reader
    memory: Memory
    scope: Scope
    tags: TagScope

    def look(
        self, paths: Iterable[str], progress: Callable[[int], None] = lambda _: None
    ) -> tuple[RepositoryRemains, ...]:
        """Look at these repositories. What goes wrong with one is told of it, and the others go on.

        `progress` is called now and then with how many are done, by this thread.
        """
        return tuple(look_at_each(paths, self._guarded, (self.here, self.there), progress))

    def _guarded(self, path: str, here: Side, there: Side) -> RepositoryRemains:
        try:
            return self._repository(path, here, there)
        except RegistryError as error:
            return RepositoryRemains(path, problem=str(error), in_scope=self.scope.covers(path))

    def _repository(self, path: str, here: Side, there: Side) -> RepositoryRemains:
        asked = there.ask(there.reader.tags_or_none, [path])
        held = set(here.ask(here.reader.tags_or_none, [path]).answer() or ())
        listed, whole = set(asked.answer() or ()), self.scope.covers(path)
        outside = {name for name in held | listed if not (whole and self.tags.covers(name))}
        before = self.memory.before(path)
        missing = (listed - held - outside) & before.keys()
        answers = here.ask(_standing(here, path), held), there.ask(_standing(there, path), (held & listed) | missing)
        ours, theirs = (dict(each.answers()) for each in answers)
        pairs = {name: _Pair(name, ours.get(name), theirs.get(name), name in held) for name in sorted(held | missing)}
        digests = sorted({pair.here for pair in pairs.values() if pair.differs and isinstance(pair.here, str)})
        known = _Known(
            before,
            dict(there.ask(_standing(there, path), digests).answers()),
            self.memory.deleted(path, digests),
            self.memory.pushed(path, digests),
        )
        judged = [remain for pair in pairs.values() if (remain := known.judged(pair)) is not None]
        # Of what is not replicated nothing is replaced, now; that it would be once it is, is to be seen to before.
        remains = [each for each in judged if each.name not in outside]
        saved = (each for each in judged if each.name in outside and each.kind in {Kind.LOST, Kind.UNCLEAR})
        remains += [dataclasses.replace(each, in_scope=False) for each in saved]
        # A registry without the referrers API keeps lists under such tags, and one that has it, none.
        shown = [each for each in remains if each.kind is not Kind.ALONE or not REFERRERS_TAG.fullmatch(each.name)]
        inside = [pair for pair in pairs.values() if pair.name not in outside]
        equal = sum(pair.here is not None and pair.here == pair.there for pair in inside)
        return RepositoryRemains(
            path,
            tuple(shown),
            equal,
            len(listed - held - outside),
            len(outside & held),
            fingerprint=_fingerprint(held, ours),
            in_scope=whole,
        )


def _fingerprint(held: Set[str], standing: Mapping[str, Standing]) -> str:
    """A hash: of a million tags not each is kept until somebody has said yes. What was not told is as not asked."""
    made = hashlib.sha256()
    for name in sorted(held):
        digest = standing.get(name)
        made.update(f"{name} {digest if isinstance(digest, str) else ''}\n".encode())
    return made.hexdigest()


#: Of a repository without tags.
EMPTY = _fingerprint(set(), {})

#: A digest; None where the registry itself says that there is none; or what it said instead of an answer.
Standing = str | None | RegistryError


@dataclass(frozen=True, slots=True)
class _Pair:
    """What a tag stands on, on both; `listed` is whether it is listed here."""

    name: str
    here: Standing
    there: Standing
    listed: bool

    @property
    def error(self) -> RegistryError | None:
        return next((each for each in (self.here, self.there) if isinstance(each, RegistryError)), None)

    @property
    def differs(self) -> bool:
        return self.error is None and self.here != self.there


@dataclass(frozen=True, slots=True)
class _Known:
    """Of one repository: what both had before, and of the digests that tags stand on here, what else is known."""

    before: Mapping[str, str]
    #: What the new primary has under them.
    there: Mapping[str, Standing]
    deleted: Set[str]
    pushed: Mapping[tuple[str | None, str], datetime]

    def judged(self, pair: _Pair) -> Remain | None:
        """What is to be said of the tag; None where nothing is."""
        here, there = (each if isinstance(each, str) else None for each in (pair.here, pair.there))
        held = self.there.get(here or "")
        error = pair.error or (held if isinstance(held, RegistryError) else None)
        if error is not None:
            return Remain(pair.name, Kind.UNCLEAR, here, there, reason=str(error))
        if pair.listed and here is None:
            return Remain(pair.name, Kind.BROKEN, None, there)
        kind = judge(Facts(here, there, self.before.get(pair.name), held is not None, here in self.deleted))
        return None if kind is None else Remain(pair.name, kind, here, there, self.pushed.get((pair.name, here or "")))


def _standing(side: Side, path: str) -> Callable[[str], str | None]:
    """A question: which digest does a tag, or a digest, stand on? None where the registry itself says on none."""
    return partial(side.reader.standing, path)
