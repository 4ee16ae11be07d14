"""Reading: asking two registries about many names at once, and changing nothing there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from typing import Generic, Protocol, TypeVar

from app.registry import Descriptor, Manifest, RegistryError, Unreachable
from app.registry.limits import always_bulk

T = TypeVar("T")

#: Requests to each of the two registries at a time, and repositories looked at beside each other.
REQUESTS, REPOSITORIES = 16, 8

#: Seconds between reports of progress.
INTERVAL = 0.2


class Reader(Protocol):
    """What may be done with a registry: every method is a GET or a HEAD and needs to pull, nothing more."""

    @property
    def name(self) -> str: ...

    def list_tags(self, repository: str) -> list[str]: ...
    def tags_or_none(self, repository: str) -> list[str] | None: ...
    def standing(self, repository: str, reference: str) -> str | None: ...
    def head_manifest(self, repository: str, reference: str) -> Descriptor: ...
    def get_manifest(self, repository: str, reference: str) -> Manifest: ...
    def head_blob(self, repository: str, digest: str) -> int | None: ...
    def referrers(self, repository: str, digest: str) -> list[Descriptor] | None: ...


class Asked(Generic[T]):
    """One question under way about many names."""

    def __init__(self, futures: Mapping[str, Future[T]]) -> None:
        self._futures = futures

    def answers(self) -> Iterator[tuple[str, T | RegistryError]]:
        """Yield name and answer; what the registry says against one name is its answer.

        Raises:
            Unreachable: as soon as it does not answer at all.
        """
        for name, future in self._futures.items():
            try:
                yield name, future.result()
            except Unreachable:
                raise
            except RegistryError as error:
                yield name, error

    def answer(self) -> T:
        """The one answer.

        Raises:
            RegistryError: when that is what it is.
        """
        ((_, answer),) = self.answers()
        if isinstance(answer, RegistryError):
            raise answer
        return answer

    def drop(self) -> None:
        """Ask nothing more."""
        for future in self._futures.values():
            future.cancel()


class Side:
    """One registry, and the threads that ask it. None of them ever waits for another."""

    def __init__(self, reader: Reader, threads: ThreadPoolExecutor) -> None:
        self.reader = reader
        #: Whether it lists what refers to a manifest; None until it was asked.
        self.lists_referrers: bool | None = None
        self._threads = threads

    def ask(self, question: Callable[[str], T], names: Iterable[str]) -> Asked[T]:
        """Begin to ask about each of these, each once."""
        return Asked({name: self._threads.submit(question, name) for name in sorted(set(names))})


def look_at_each(
    paths: Iterable[str],
    look: Callable[[str, Side, Side], T],
    readers: tuple[Reader, Reader],
    progress: Callable[[int], None],
) -> list[T]:
    """Look at these repositories beside each other, each on both registries, and return what was seen in the order of
    the paths.

    `progress` is called now and then with how many are done, by this thread.
    """
    with ExitStack() as stack:
        repositories = _threads(stack, REPOSITORIES, "repository")
        # Left first, so that nothing waits for an answer that will not come when this is broken off.
        one, other = (Side(reader, _threads(stack, REQUESTS, "request")) for reader in readers)
        futures = [repositories.submit(look, path, one, other) for path in sorted(set(paths))]
        waiting: set[Future[T]] = set(futures)
        while waiting:
            _, waiting = wait(waiting, timeout=INTERVAL)
            progress(len(futures) - len(waiting))
        return [future.result() for future in futures]


def _threads(stack: ExitStack, number: int, name: str) -> ThreadPoolExecutor:
    # Somebody waits for it, but the registries may be busy with what was just pushed, or with their own start.
    threads = ThreadPoolExecutor(number, thread_name_prefix=name, initializer=always_bulk)
    stack.callback(threads.shutdown, wait=True, cancel_futures=True)
    return threads
