"""Plans: what a full sync would do to a site, as values. Nothing here asks or touches anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from app.models import Reference, SyncState
from app.replication.policy import Policy as Policy
from app.replication.policy import Verdict


class Action(StrEnum):
    """What would become of one reference. `EQUAL` is never listed, only counted."""

    EQUAL = "equal"
    #: The secondary lacks it.
    COPY = "copy"
    #: The tag stands on another digest there.
    MOVE = "move"
    #: Gone from the primary, and ours.
    DELETE = "delete"
    #: Gone from the primary, and kept by the policy or a protected pattern.
    KEEP = "keep"
    #: On the secondary alone, and not ours: shown, not touched.
    DRIFT = "drift"
    #: It could not be told; the reason says why.
    UNCLEAR = "unclear"


#: What a manifest names that is not to be copied.
NOTHING: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())

#: What a sync would change on the secondary.
CHANGES = (Action.COPY, Action.MOVE, Action.DELETE)


@dataclass(frozen=True, slots=True)
class Found:
    """What stands under one name, a tag or a digest, on both sides, and what the rows know of it.

    `gone`: the primary's complete listing lacks it, or an event said that it was deleted; the second witness beside
    the registry's own word.
    """

    name: str
    is_tag: bool
    primary: str | None
    secondary: str | None
    known: Reference | None = None
    gone: bool = False
    #: A digest that some tag of the secondary stands on.
    tagged: bool = False
    #: What a registry said instead of an answer.
    error: str | None = None

    @property
    def ours(self) -> bool:
        """Whether a record proves that we put there what stands there."""
        return self.known is not None and self.secondary is not None and self.secondary == self.known.observed_digest


@dataclass(frozen=True, slots=True)
class TagPlan:
    """What would become of one tag, or of one digest pushed without a tag."""

    name: str
    is_tag: bool
    action: Action
    primary_digest: str | None = None
    secondary_digest: str | None = None
    #: Why, in words; None where the action says it all.
    reason: str | None = None
    #: Blobs below it that the secondary's repository lacks.
    lacking: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a repository could not be planned: a bounded reason, and a message that a person can act on."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Amount:
    """Some blobs: how many, and their bytes."""

    blobs: int = 0
    bytes: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.blobs + other.blobs, self.bytes + other.bytes)

    @classmethod
    def of(cls, sizes: Iterable[int]) -> Amount:
        listed = list(sizes)
        return cls(len(listed), sum(listed))


@dataclass(frozen=True, slots=True)
class RepositoryPlan:
    """What would become of one repository. `tags` are those of which there is something to say."""

    path: str
    tags: tuple[TagPlan, ...] = ()
    #: References that are the same on both sides already.
    equal: int = 0
    #: Tags that the site does not replicate, on either side.
    out_of_scope: int = 0
    #: Sizes, in bytes, of the blobs that the secondary's repository lacks: each once, however many tags need it.
    lacking: Mapping[str, int] = field(default_factory=dict, repr=False)
    #: Blobs found in the secondary's repository on the way.
    present: frozenset[str] = field(default=frozenset(), repr=False)
    #: Those it lacks that need not travel: another repository of the secondary has them, or will have by then.
    mountable: frozenset[str] = field(default=frozenset(), repr=False)
    problem: Problem | None = None

    def count(self, action: Action) -> int:
        """How many references it has in store for."""
        return self.equal if action is Action.EQUAL else sum(tag.action is action for tag in self.tags)

    @property
    def to_copy(self) -> Amount:
        return self._amount(self.lacking, mounted=False)

    @property
    def to_mount(self) -> Amount:
        return self._amount(self.lacking, mounted=True)

    def needs(self, tag: TagPlan) -> tuple[Amount, Amount]:
        """What the tag alone would have copied and mounted; tags that share a blob each count it here."""
        return self._amount(tag.lacking, mounted=False), self._amount(tag.lacking, mounted=True)

    def _amount(self, digests: Iterable[str], *, mounted: bool) -> Amount:
        return Amount.of(self.lacking[digest] for digest in digests if (digest in self.mountable) is mounted)


@dataclass(frozen=True, slots=True)
class SitePlan:
    """What would become of a site, repository by repository."""

    site: str
    repositories: tuple[RepositoryPlan, ...]
    #: What keeps the plan from being carried out, in sentences that say what to do.
    obstacles: tuple[str, ...] = ()

    def count(self, action: Action) -> int:
        return sum(each.count(action) for each in self.repositories)

    @property
    def out_of_scope(self) -> int:
        """Tags that the site does not replicate, on either side."""
        return sum(each.out_of_scope for each in self.repositories)

    @property
    def problems(self) -> int:
        """Repositories that could not be planned."""
        return sum(each.problem is not None for each in self.repositories)

    @property
    def to_copy(self) -> Amount:
        return sum((each.to_copy for each in self.repositories), Amount())

    @property
    def to_mount(self) -> Amount:
        return sum((each.to_mount for each in self.repositories), Amount())

    @property
    def in_order(self) -> bool:
        """Whether a sync would change nothing, and all could be told."""
        return not self.problems and not any(self.count(action) for action in (*CHANGES, Action.UNCLEAR))


def judge(found: Found, policy: Policy) -> TagPlan:
    """Say what a sync would do about this reference; the blobs that it needs are added by `Graph.add`."""
    if found.error is not None:
        return _plan(found, Action.UNCLEAR, found.error)
    if found.primary is not None:
        return _wanted(found, found.primary)
    if found.secondary is None:
        return _absent(found)
    if found.known is not None and found.secondary == found.known.throwaway_digest:
        return _plan(found, Action.DELETE, "its deletion was begun already")
    if not found.gone and found.ours:
        return _plan(
            found, Action.UNCLEAR, "the primary does not have it, and no event and no listing says that it was deleted"
        )
    if not found.gone:
        return _plan(found, Action.DRIFT, "the secondary holds it, but not from us")
    judged, reason = policy.judge(name=found.name, is_tag=found.is_tag, ours=found.ours)
    if judged is Verdict.DRIFT:
        return _plan(found, Action.DRIFT, reason)
    if judged is Verdict.KEEP:
        return _plan(found, Action.KEEP, reason)
    if found.tagged:
        return _plan(found, Action.KEEP, "gone from the primary, kept: a tag on the secondary stands on it")
    return _plan(
        found, Action.DELETE, "gone from the primary" if found.ours else "not from us, and GEO_DELETION=mirror"
    )


def _wanted(found: Found, digest: str) -> TagPlan:
    if found.secondary == digest:
        return _plan(found, Action.EQUAL)
    if found.secondary is None:
        return _plan(found, Action.COPY, _history(found))
    reason = None if found.ours else "what stands there now is not from us, and would be replaced"
    return _plan(found, Action.MOVE, reason or _history(found))


def _absent(found: Found) -> TagPlan:
    if found.gone or (found.known is not None and not found.is_tag):
        return _plan(found, Action.EQUAL)
    return _plan(found, Action.UNCLEAR, "the primary lists it and does not have it; its storage may be damaged")


def _history(found: Found) -> str | None:
    """What the rows say of something that the secondary lacks."""
    known = found.known
    if known is None:
        return "no event named it"
    if known.state == SyncState.FAILED:
        return f"failed before: {known.failure}"
    if known.state == SyncState.SYNCED and found.secondary is None:
        return "it was there, and somebody else removed it"
    if known.state == SyncState.SYNCED:
        return "it moved, and no event has said so"
    return None


def _plan(found: Found, action: Action, reason: str | None = None) -> TagPlan:
    return TagPlan(found.name, found.is_tag, action, found.primary, found.secondary, reason)


@dataclass(frozen=True, slots=True)
class Graph:
    """What lies below the manifests that would be copied. Each manifest and each blob was asked for once."""

    #: By digest: the manifests that one names and its blobs. What the secondary has is not in it, nor what a sparse
    #: index names and the primary does not have.
    manifests: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]
    #: Sizes, in bytes, of the blobs that the secondary's repository lacks.
    lacking: Mapping[str, int]
    #: By digest: what refers to a manifest (signatures, attestations), on the secondary or not.
    attached: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: What could not be told of a manifest or a blob.
    errors: Mapping[str, str] = field(default_factory=dict)

    def add(self, tag: TagPlan) -> TagPlan:
        """Return the plan of a tag with the blobs that it needs, or as unclear where they could not be told.

        A tag that is equal, and to which something refers that the secondary lacks, is to be copied all the same.
        """
        top = tag.primary_digest
        if top is None or tag.action not in (Action.EQUAL, Action.COPY, Action.MOVE):
            return tag
        equal = tag.action is Action.EQUAL
        below = list(self._below(self.attached.get(top, ()) if equal else (top,)))
        blobs: dict[str, None] = {}
        for digest in (top, *below):
            own = () if equal and digest == top else self.manifests.get(digest, NOTHING)[1]
            error = next((self.errors[each] for each in (digest, *own) if each in self.errors), None)
            if error is not None:
                return replace(tag, action=Action.UNCLEAR, reason=error)
            blobs.update(dict.fromkeys(own))
        lacking = tuple(blob for blob in blobs if blob in self.lacking)
        if not equal:
            return replace(tag, lacking=lacking)
        missing = sum(digest in self.manifests for digest in below)
        reason = f"the tag is there, and {missing} of the manifests that refer to it (signatures and the like) are not"
        return replace(tag, action=Action.COPY, reason=reason, lacking=lacking) if missing else tag

    def _below(self, tops: Iterable[str]) -> Iterator[str]:
        waiting = list(dict.fromkeys(tops))
        seen = set(waiting)
        while waiting:
            digest = waiting.pop()
            yield digest
            named = (*self.manifests.get(digest, NOTHING)[0], *self.attached.get(digest, ()))
            fresh = [each for each in dict.fromkeys(named) if each not in seen]
            seen.update(fresh)
            waiting += fresh


def repository_plan(path: str, tags: Iterable[TagPlan], graph: Graph, present: Iterable[str]) -> RepositoryPlan:
    """Put one repository's plan together; what is listed is in the order of the names."""
    judged = sorted((graph.add(tag) for tag in tags), key=lambda tag: (not tag.is_tag, tag.name))
    counted = Counter(tag.action for tag in judged)
    # Of a tag that is unclear nothing is promised.
    needed = dict.fromkeys(digest for tag in judged for digest in tag.lacking)
    return RepositoryPlan(
        path,
        tuple(tag for tag in judged if tag.action is not Action.EQUAL),
        counted[Action.EQUAL],
        lacking={digest: graph.lacking[digest] for digest in needed},
        present=frozenset(present),
    )


def with_mounts(plans: Sequence[RepositoryPlan], elsewhere: Mapping[str, frozenset[str]]) -> list[RepositoryPlan]:
    """Tell what need not travel, each byte once: what another of these repositories has, or would be brought before.

    `elsewhere`: by path, blobs that yet another repository of the secondary has.
    """
    holders = Counter(digest for plan in plans for digest in plan.present)
    coming: set[str] = set()
    settled = []
    for plan in plans:
        known = elsewhere.get(plan.path, frozenset())
        mountable = frozenset(d for d in plan.lacking if d in known or d in coming or d in holders)
        settled.append(replace(plan, mountable=mountable))
        coming |= plan.lacking.keys()
    return settled
