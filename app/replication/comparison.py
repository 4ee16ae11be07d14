"""Comparison: one repository as it is on both registries now, judged. Only reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from app.database import connection
from app.models import ContainerRepository, Reference, Site, SyncState
from app.models import ContainerRepositoryRegistry as Registry
from app.registry import Descriptor, Manifest, NotFound, RegistryError
from app.replication.copying.copy import MAX_DEPTH, MAX_MANIFESTS, GraphTooLarge
from app.replication.drift import REFERRERS_TAG
from app.replication.plan import Action, Found, Graph, Policy, RepositoryPlan, TagPlan, judge, repository_plan
from app.replication.planner import RepositoryMissing
from app.replication.reading import Asked, Side
from app.replication.tag_scope import TagScope

T = TypeVar("T")

#: A digest; None where the registry itself says that there is none; or what it said instead of an answer.
Standing = str | None | RegistryError


@dataclass(slots=True)
class _Names:
    """The names to be judged, where they were found, and what stands under them."""

    #: Reference records of this repository.
    records: Mapping[str, Reference]
    #: The primary's tags; `complete` is False where it does not know the repository: no witness against anything.
    listed: set[str]
    complete: bool
    #: The secondary's tags.
    held: set[str]
    #: Tags on either side that are out of scope, and none of the others.
    outside: int = 0
    primary: dict[str, Standing] = field(default_factory=dict)
    secondary: dict[str, Standing] = field(default_factory=dict)

    @property
    def owed(self) -> set[str]:
        """Digests pushed without a tag, which no listing has: the records know which are not in order yet."""
        return {name for name, row in self.records.items() if not row.is_tag and row.state != SyncState.SYNCED}

    def found(self, name: str) -> Found:
        here, there = self.primary.get(name), self.secondary.get(name)
        error = next((answer for answer in (here, there) if isinstance(answer, RegistryError)), None)
        row = self.records.get(name)
        is_tag = row is None or bool(row.is_tag)
        unlisted = is_tag and self.complete and name not in self.listed
        return Found(
            name,
            is_tag,
            primary=None if isinstance(here, RegistryError) else here,
            secondary=None if isinstance(there, RegistryError) else there,
            known=row,
            gone=unlisted or (row is not None and row.delete_witness is not None),
            tagged=not is_tag and any(self.secondary.get(tag) == name for tag in self.held),
            error=None if error is None else str(error),
        )


class Comparison:
    """One look at the repository `path`: the listings, what stands under each name, then what lies below what differs.

    `counted` is told how many tags there are, and of how many more it is known what stands under them.
    """

    def __init__(
        self, site: Site, path: str, primary: Side, secondary: Side, counted: Callable[[int, int], None]
    ) -> None:
        self._site = site
        self._path = path
        self._primary = primary
        self._secondary = secondary
        self._counted = counted
        self._under_way: list[Asked[Any]] = []

    def plan(self) -> RepositoryPlan:
        """Look, and judge.

        Raises:
            RegistryError: when a listing cannot be had, or a registry does not answer.
            RepositoryMissing: when the primary does not know the repository.
            GraphTooLarge: when indexes name more manifests than honest ones do.
        """
        try:
            names = self._names()
            tags = self._tags(names)
            graph, present = self._graph(
                {tag.primary_digest for tag in tags if tag.action in (Action.COPY, Action.MOVE) and tag.primary_digest},
                {tag.primary_digest for tag in tags if tag.action is Action.EQUAL and tag.primary_digest},
            )
            return replace(repository_plan(self._path, tags, graph, present), out_of_scope=names.outside)
        finally:
            for asked in self._under_way:
                asked.drop()

    def _ask(self, side: Side, question: Callable[[str], T], names: Iterable[str]) -> Asked[T]:
        asked = side.ask(question, names)
        self._under_way.append(asked)
        return asked

    # --- what stands under each name --------------------------------------------------------------------------------

    def _tags(self, names: _Names) -> list[TagPlan]:
        wanted, there = names.listed | names.owed, names.held | names.owed
        self._counted(len(wanted | there), 0)
        ours = self._ask(self._primary, self._standing(self._primary), wanted)
        theirs = self._ask(self._secondary, self._standing(self._secondary), there)
        for name, answer in ours.answers():
            names.primary[name] = answer
            self._counted(0, 1)
        for name, answer in theirs.answers():
            names.secondary[name] = answer
            self._counted(0, int(name not in wanted))
        policy = Policy.of(self._site)
        plans = {name: judge(names.found(name), policy) for name in wanted | there}
        # A deletion needs the primary's own word on the tag, beside the listing that lacks it.
        doomed = [name for name, plan in plans.items() if plan.action is Action.DELETE and name not in wanted]
        names.primary.update(self._ask(self._primary, self._standing(self._primary), doomed).answers())
        return list((plans | {name: judge(names.found(name), policy) for name in doomed}).values())

    def _names(self) -> _Names:
        records, tracked = self._records()
        theirs = self._ask(self._secondary, self._secondary.reader.tags_or_none, [self._path])
        try:
            ours = self._ask(self._primary, self._primary.reader.list_tags, [self._path])
            listed, complete = set(ours.answer()), True
        except NotFound as error:
            self._require_nothing_of_ours(error, records, tracked)
            listed, complete = set(), False
        there = theirs.answer() or []
        held = {tag for tag in there if tag in listed or tag in records or not REFERRERS_TAG.fullmatch(tag)}
        scope = TagScope.of(self._site)
        outside = len({name for name in listed | held if not scope.covers(name)})
        listed, held = ({name for name in names if scope.covers(name)} for names in (listed, held))
        return _Names(records, listed, complete, held, outside)

    def _records(self) -> tuple[dict[str, Reference], bool]:
        """The reference records by name, and whether the site tracks the repository at all."""
        with connection():
            row = (
                Registry.select()
                .join(ContainerRepository)
                .where((Registry.site == self._site.id) & (ContainerRepository.path == self._path))
                .first()
            )
            if row is None:
                return {}, False
            return {found.name: found for found in Reference.select().where(Reference.registry == row)}, True

    def _require_nothing_of_ours(self, error: NotFound, records: Mapping[str, Reference], tracked: bool) -> None:
        """By the rule of a full sync: a registry that lost its storage says "name unknown", as one that never had it.

        Raises:
            NotFound: when it is not the registry's own word.
            RepositoryMissing: when we hold tags of it, or nobody ever heard of it.
        """
        error.require_witness()
        ours = [row for row in records.values() if row.is_tag and row.in_scope and not row.delete_witness]
        if any(row.observed_digest for row in ours):
            raise RepositoryMissing(
                f"the primary does not know {self._path}, of which the secondary holds tags: a sync fails on that and"
                f" deletes nothing. Look at the primary's storage first. ({error})"
            ) from error
        if not tracked:
            raise RepositoryMissing(f"the primary does not know {self._path} ({error})") from error

    def _standing(self, side: Side) -> Callable[[str], str | None]:
        """A question: which digest does a name stand on? None where the registry itself says on none."""
        return partial(side.reader.standing, self._path)

    # --- what lies below --------------------------------------------------------------------------------------------

    def _graph(self, tops: set[str], equal: set[str]) -> tuple[Graph, frozenset[str]]:
        """What would have to be copied below these and with them, and the blobs that the secondary's repository has.

        As a copy goes: what stands on the secondary by its digest is not looked into, but what refers to it is.
        """
        manifests: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}
        attached: dict[str, tuple[str, ...]] = {}
        errors: dict[str, str] = {}
        blobs: dict[str, int | None] = {}
        seen, level, subjects = tops | equal, set(tops), tops | equal
        for _ in range(MAX_DEPTH):
            named: set[str] = set()
            for digest, answer in self._ask(self._primary, self._manifest, level).answers():
                if isinstance(answer, Manifest):
                    manifests[digest] = (_digests(answer.manifests), _digests(answer.blobs))
                    blobs |= {blob.digest: blob.size for blob in answer.blobs}
                    named |= set(manifests[digest][0])
                elif digest in tops or not (isinstance(answer, NotFound) and answer.witnessed):
                    errors[digest] = str(answer)
            referring: set[str] = set()
            for digest, listed in self._referrers(subjects):
                if isinstance(listed, RegistryError):
                    errors[digest] = str(listed)
                elif listed:
                    attached[digest] = tuple(each for each in _digests(listed) if each != digest)
                    referring |= set(attached[digest])
            fresh = (named | referring) - seen
            seen |= fresh
            if len(seen) > MAX_MANIFESTS * max(1, len(tops | equal)):
                raise GraphTooLarge(f"more than {MAX_MANIFESTS} manifests below a tag of {self._path}")
            level = self._absent(fresh, errors)
            subjects = level | (referring & fresh)
            if not subjects:
                break
        errors |= {digest: f"indexes nest more than {MAX_DEPTH} deep above {digest}" for digest in level}
        lacking, present = self._blobs(blobs, errors)
        return Graph(manifests, lacking, attached, errors), present

    def _absent(self, digests: set[str], errors: dict[str, str]) -> set[str]:
        """Those manifests that the secondary's repository does not have."""
        reader, path = self._secondary.reader, self._path

        def there(digest: str) -> bool:
            try:
                reader.head_manifest(path, digest)
            except NotFound:
                return False
            return True

        absent = set()
        for digest, answer in self._ask(self._secondary, there, digests).answers():
            if isinstance(answer, RegistryError):
                errors[digest] = str(answer)
            elif not answer:
                absent.add(digest)
        return absent

    def _referrers(self, subjects: set[str]) -> Iterator[tuple[str, Sequence[Descriptor] | RegistryError]]:
        """What the primary lists as referring to these; nothing where it has no such API, which one request tells."""
        primary, path, waiting = self._primary, self._path, sorted(subjects)

        def listed(digest: str) -> list[Descriptor] | None:
            try:
                return primary.reader.referrers(path, digest)
            except NotFound as error:
                error.require_witness()
                return []

        if primary.lists_referrers is None and waiting:
            first = waiting.pop(0)
            answer = self._ask(primary, listed, [first]).answer()
            primary.lists_referrers = answer is not None
            yield first, answer or []
        if primary.lists_referrers:
            for digest, found in self._ask(primary, listed, waiting).answers():
                yield digest, found or []

    def _blobs(self, blobs: Mapping[str, int | None], errors: dict[str, str]) -> tuple[dict[str, int], frozenset[str]]:
        """Sizes of those that the secondary's repository lacks, and those it has."""
        lacking: dict[str, int | None] = {}
        for digest, answer in self._ask(self._secondary, self._blob(self._secondary), blobs).answers():
            if isinstance(answer, RegistryError):
                errors[digest] = str(answer)
            elif answer is None or blobs[digest] not in (None, answer):
                lacking[digest] = blobs[digest]
        # Docker's first format does not say how large its layers are.
        unsized = [digest for digest, size in lacking.items() if size is None]
        for digest, answer in self._ask(self._primary, self._blob(self._primary), unsized).answers():
            if isinstance(answer, int):
                lacking[digest] = answer
            else:
                errors[digest] = f"the primary does not have the blob {digest}" if answer is None else str(answer)
        present = frozenset(blobs.keys() - lacking.keys() - errors.keys())
        return {digest: size for digest, size in lacking.items() if size is not None}, present

    def _manifest(self, digest: str) -> Manifest:
        return self._primary.reader.get_manifest(self._path, digest)

    def _blob(self, side: Side) -> Callable[[str], int | None]:
        return lambda digest: side.reader.head_blob(self._path, digest)


def _digests(descriptors: Iterable[Descriptor]) -> tuple[str, ...]:
    return tuple(descriptor.digest for descriptor in descriptors)
