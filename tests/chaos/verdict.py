"""What a judge is told, and what it finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: How many faults of a kind a message tells of.
_TOLD = 10


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A tag that the primary took with a 2xx: it has to be on the secondary as well. The last digest counts."""

    repository: str
    tag: str
    digest: str


@dataclass(frozen=True, slots=True)
class Row:
    """What the product says of a repository: an object of `geo repositories --json`."""

    path: str
    state: int
    failure: str | None = None
    in_scope: bool = True

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Row:
        """Read one."""
        return cls(
            path=str(document["path"]),
            state=int(document["state"]),
            failure=document.get("last_sync_failure"),
            in_scope=bool(document.get("in_scope", True)),
        )


@dataclass(frozen=True, slots=True)
class Lease:
    """A row or a named right that somebody holds, and whether its time is over by the database's clock."""

    name: str
    owner: str
    token: int
    expired: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that must not be."""

    where: str
    why: str

    def __str__(self) -> str:
        return f"{self.where}: {self.why}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found, and how much was looked at."""

    #: On the primary, acknowledged, and absent or different on the secondary.
    lost: tuple[Fault, ...] = ()
    #: A repository without a row, a row that is not synced, a lease that is still held.
    stuck: tuple[Fault, ...] = ()
    #: Was on the secondary, nobody deleted it on the primary, and it is gone.
    wrongly_deleted: tuple[Fault, ...] = ()
    #: The row says synced, and the bytes differ.
    wrongly_synced: tuple[Fault, ...] = ()
    repositories: int = 0
    tags: int = 0
    manifests: int = 0
    blobs: int = 0
    bytes: int = 0

    @property
    def clean(self) -> bool:
        """Whether there is no fault of any kind."""
        return not (self.lost or self.stuck or self.wrongly_deleted or self.wrongly_synced)

    @property
    def figures(self) -> str:
        """One line for people."""
        return (
            f"lost {len(self.lost)}, stuck {len(self.stuck)}, wrongly deleted {len(self.wrongly_deleted)}, "
            f"wrongly synced {len(self.wrongly_synced)} (hashed on both sides: {self.repositories} repositories, "
            f"{self.tags} tags, {self.manifests} manifests, {self.blobs} blobs, {self.bytes / 1e6:.0f} MB)"
        )

    def raise_for_faults(self) -> None:
        """Fail with what was found, unless it is nothing.

        Raises:
            AssertionError: with the first faults of each kind.
        """
        if self.clean:
            return
        lines = [self.figures]
        for name in ("lost", "stuck", "wrongly_deleted", "wrongly_synced"):
            faults: tuple[Fault, ...] = getattr(self, name)
            lines += [f"{name.replace('_', ' ')}: {fault}" for fault in faults[:_TOLD]]
            if len(faults) > _TOLD:
                lines.append(f"{name.replace('_', ' ')}: and {len(faults) - _TOLD} more")
        raise AssertionError("\n".join(lines))
