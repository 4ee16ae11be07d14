"""Graph: what one tag is made of, manifests and blobs, asked of the primary now, and whether the secondary has each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from app.registry import Descriptor, Manifest, NotFound, RegistryError
from app.replication.copying.copy import MAX_DEPTH
from app.replication.reading import Reader

#: Seconds in which it has to be known. A person waits for it.
PATIENCE = 8.0

#: Graphs in each process that are read at once, those included that nobody waits for any more.
READINGS = 2

#: Parts that are told of at most.
MAX_PARTS = 500


class Kind(StrEnum):
    """What a part is."""

    INDEX = "index"
    MANIFEST = "manifest"
    CONFIG = "config"
    LAYER = "layer"


class There(StrEnum):
    """Whether the secondary has a part."""

    YES = "there"
    NO = "missing"
    #: It did not say, or there was no time to ask.
    UNKNOWN = "unknown"


@dataclass(slots=True)
class Part:
    """A manifest or a blob, and what is below it. `note` is why nothing is, where something should be."""

    kind: Kind
    digest: str
    media_type: str
    size: int | None
    there: There = There.UNKNOWN
    note: str = ""
    children: list[Part] = field(default_factory=list)


@dataclass(slots=True)
class Graph:
    """`whole` unless time or room ran out before all was known; `parts` and `bytes` count each digest once."""

    root: Part
    whole: bool = True
    parts: int = 0
    bytes: int = 0
    missing: int = 0
    unknown: int = 0


class TooSlow(Exception):
    """The primary has not even said what the tag stands on."""

    reason = "timeout"
    temporary = True


class Busy(Exception):
    """As many are being read as may be."""

    reason = "graph_busy"
    temporary = True

    def __init__(self) -> None:
        super().__init__("the registries have not answered for other graphs yet; try again when they have")


_room = threading.BoundedSemaphore(READINGS)


def read(
    primary: Reader,
    secondary: Reader | None,
    repository: str,
    reference: str,
    *,
    patience: float = PATIENCE,
    clock: Callable[[], float] = time.monotonic,
) -> Graph:
    """Ask for the graph of a tag or digest, within `patience` seconds.

    In a thread that is left behind when a registry is silent: each request of it ends by its own idle limit.

    Raises:
        RegistryError: when the primary says that there is none, or cannot say.
        TooSlow: when it does not answer in time.
        Busy: when too many threads are behind already.
    """
    if not _room.acquire(blocking=False):
        raise Busy
    reading = _Reading(primary, secondary, repository, clock() + patience, clock)
    thread = threading.Thread(target=reading.run, args=(reference,), name="graph", daemon=True)
    try:
        thread.start()
    except BaseException:
        _room.release()
        raise
    thread.join(patience + 0.5)
    return reading.result(done=not thread.is_alive())


class _Reading:
    """Breadth first: of what is too much or too slow to be read whole, the upper part is known."""

    def __init__(
        self, primary: Reader, secondary: Reader | None, repository: str, deadline: float, clock: Callable[[], float]
    ) -> None:
        self._primary, self._secondary, self._repository = primary, secondary, repository
        self._deadline, self._clock = deadline, clock
        self._lock = threading.Lock()
        self._graph: Graph | None = None
        self._error: Exception | None = None
        self._known: dict[str, There] = {}

    def run(self, reference: str) -> None:
        try:
            top = self._primary.get_manifest(self._repository, reference)
            graph = Graph(_part(top.descriptor))
            with self._lock:
                self._graph = graph
            self._read(graph, top)
        except Exception as error:  # noqa: BLE001 - whoever waits raises it
            self._error = error
        finally:
            _room.release()

    def result(self, *, done: bool) -> Graph:
        with self._lock:
            if self._error is not None:
                raise self._error
            if self._graph is None:
                raise TooSlow("the primary registry has not answered in time; try again")
            graph = self._graph
            # The thread, if it still runs, ends with its next look at the clock.
            self._deadline = float("-inf")
        graph.whole = graph.whole and done
        seen: dict[str, Part] = {}
        for part in _all(graph.root):
            part.there = self._known.get(part.digest, There.UNKNOWN)
            seen.setdefault(part.digest, part)
        graph.parts = len(seen)
        graph.bytes = sum(part.size or 0 for part in seen.values())
        graph.missing = sum(part.there is There.NO for part in seen.values())
        graph.unknown = sum(part.there is There.UNKNOWN for part in seen.values())
        return graph

    def _read(self, graph: Graph, top: Manifest) -> None:
        room = MAX_PARTS - 1
        level: list[tuple[Part, Manifest]] = [(graph.root, top)]
        for depth in range(MAX_DEPTH + 1):
            below: list[Part] = []
            for part, manifest in level:
                children = list(_children(manifest))
                if len(children) > room:
                    graph.whole, part.note = False, "too much to be shown here"
                    continue
                room -= len(children)
                part.children = children
                below += [child for child in children if child.kind in {Kind.INDEX, Kind.MANIFEST}]
            if depth == MAX_DEPTH or not below:
                break
            level = [(part, found) for part in below if (found := self._manifest(graph, part)) is not None]
        self._look(graph)

    def _manifest(self, graph: Graph, part: Part) -> Manifest | None:
        if self._late(graph):
            part.note = "not asked for: it took too long"
            return None
        try:
            return self._primary.get_manifest(self._repository, part.digest)
        except NotFound:
            part.note = "the primary does not have it: an index may name what nobody pushed"
        except RegistryError as error:
            part.note = str(error)
        return None

    def _look(self, graph: Graph) -> None:
        for part in _all(graph.root):
            if self._secondary is None or self._late(graph):
                return
            if part.digest in self._known:
                continue
            try:
                self._known[part.digest] = There.YES if self._has(part, self._secondary) else There.NO
            except RegistryError as error:
                self._known[part.digest] = There.UNKNOWN
                part.note = part.note or str(error)

    def _has(self, part: Part, secondary: Reader) -> bool:
        if part.kind in {Kind.CONFIG, Kind.LAYER}:
            return secondary.head_blob(self._repository, part.digest) is not None
        try:
            secondary.head_manifest(self._repository, part.digest)
        except NotFound:
            return False
        return True

    def _late(self, graph: Graph) -> bool:
        late = self._clock() >= self._deadline
        if late:
            graph.whole = False
        return late


def _part(descriptor: Descriptor) -> Part:
    kind = Kind.INDEX if descriptor.is_index else Kind.MANIFEST
    return Part(kind, descriptor.digest, descriptor.media_type, descriptor.size)


def _children(manifest: Manifest) -> Iterable[Part]:
    for child in manifest.manifests:
        yield _part(child)
    for blob in (*manifest.blobs, *manifest.foreign):
        kind = Kind.CONFIG if blob.media_type == manifest.config_media_type else Kind.LAYER
        yield Part(kind, blob.digest, blob.media_type, blob.size)


def _all(part: Part) -> Iterable[Part]:
    yield part
    for child in part.children:
        yield from _all(child)
