"""Politeness: how much we ask of each registry at once, and how fast, agreed on by all processes of a deployment."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable
from urllib.parse import urlsplit

from app.providers import profile_of
from app.registry import Meter
from app.replication.politeness.board import Board
from app.replication.politeness.bucket import Bucket
from app.replication.politeness.gate import Gate, Terms
from app.replication.politeness.keeper import Keeper
from app.replication.shared import Shared
from app.settings import MAX_CONNECTIONS, RegistrySettings, Settings

__all__ = ["Bucket", "Gate", "Politeness", "Terms"]

#: Told of each throttling: the side (`primary`, `secondary`) and the kind.
Note = Callable[[str, str], None]

#: Requests at once that a control plane gets from a process: they take fewer than registries.
CONTROL_PLANE = 8


class Politeness:
    """The gates and buckets of one process, a pair for each registry. Does nothing until a request is made."""

    def __init__(
        self, settings: Settings, shared: Shared | None, stopping: threading.Event, note: Note | None = None
    ) -> None:
        self._shared = shared
        self._stopping = stopping
        self._note = note
        self._processes = settings.worker_processes
        # Not the process's number alone: there may be several machines.
        self._process = f"{os.getpid():x}-{uuid.uuid4().hex[:12]}"
        sides = [("primary", settings.primary), *(("secondary", each.secondary) for each in settings.every)]
        registries = [(side, registry) for side, registry in sides if registry is not None]
        self._gates = {registry.url: self._gate(side, registry) for side, registry in registries}
        self._planes = {
            registry.url: self._plane(side, registry)
            for side, registry in registries
            if profile_of(registry)[0].has_control_plane
        }
        self._meters = {registry.url: self._meter(side, registry) for side, registry in registries}
        gates = [*self._gates.values(), *self._planes.values()]
        self._keeper = Keeper(shared, gates) if shared is not None else None

    def gate(self, registry: RegistrySettings) -> Gate:
        """What lets requests to it through."""
        return self._gates[registry.url]

    def plane(self, registry: RegistrySettings) -> Gate | None:
        """What lets requests to its provider's control plane through; None where it has none."""
        return self._planes.get(registry.url)

    def meter(self, registry: RegistrySettings) -> Meter | None:
        """What counts the bytes of its blobs; None where nothing limits them."""
        return self._meters[registry.url]

    def close(self) -> None:
        """End the thread."""
        if self._keeper is not None:
            self._keeper.close()

    def _gate(self, side: str, registry: RegistrySettings) -> Gate:
        return self._made(side, side, _host(registry), _terms(registry, self._processes))

    def _plane(self, side: str, registry: RegistrySettings) -> Gate:
        terms = Terms(CONTROL_PLANE, processes=self._processes)
        return self._made(side, f"control plane of the {side}", f"{_host(registry)} control plane", terms)

    def _made(self, side: str, name: str, key: str, terms: Terms) -> Gate:
        def note(kind: str) -> None:
            if self._note is not None:
                self._note(side, kind)

        shared = self._shared
        process = f"{self._process}-{name.replace(' ', '-')}"
        return Gate(
            name,
            terms,
            process=process,
            board=Board(shared, key, process) if shared is not None else None,
            note=note,
            stop=self._stopping.is_set,
            began=self._listen,
        )

    def _meter(self, side: str, registry: RegistrySettings) -> Meter | None:
        if registry.rates.unlimited:
            return None
        return Bucket(
            registry.rates,
            key=f"{side}:{_host(registry)}",
            shared=self._shared,
            processes=self._processes,
            stopping=self._stopping,
        )

    def _listen(self) -> None:
        if self._keeper is not None:
            self._keeper.start()


def _terms(registry: RegistrySettings, processes: int) -> Terms:
    """As the operator has set, else as the provider likes it."""
    profile, _ = profile_of(registry)
    maximum, floor = registry.max_connections, registry.ratelimit_floor
    return Terms(
        maximum or profile.connections or MAX_CONNECTIONS,
        profile.ratelimit_floor if floor is None else floor,
        processes,
    )


def _host(registry: RegistrySettings) -> str:
    return urlsplit(registry.url).netloc
