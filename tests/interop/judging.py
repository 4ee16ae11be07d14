"""What became of what stands on the primary, by what the deployment tells and by what both registries hold."""

from __future__ import annotations

from app.models import SyncState
from tests.interop.results import Outcome, Result, is_refusal
from tests.interop.stage import Stage, Told
from tests.support.compare import difference
from tests.support.referring import referring
from tests.support.registries import Registry


def judge(stage: Stage, name: str, repository: str, reference: str, told: Told | None) -> Result:
    """What became of a tag or digest; `told` is what the deployment knows of it."""
    if told is None:
        return Result(name, Outcome.WRONG, "no notification told of it" if stage.notified else "no sync found it")
    if told["state"] == SyncState.SYNCED:
        differs = difference(stage.primary, stage.secondary, repository, reference)
        return Result(name, Outcome.WRONG, differs) if differs else Result(name, Outcome.ARRIVED)
    if told["state"] != SyncState.FAILED:
        return Result(name, Outcome.WRONG, f"still under way after {stage.patience:g} s")
    reason = str(told["failure_reason"])
    if is_refusal(name, reason):
        return Result(name, Outcome.REFUSED, reason)
    return Result(name, Outcome.WRONG, f"{reason}: {told['failure']}")


def refer_alike(stage: Stage, repository: str, subject: str) -> bool:
    """Whether a client finds the same attached to a manifest on both sides, and anything at all."""
    there = _attached(stage.primary, repository, subject)
    return bool(there) and there == _attached(stage.secondary, repository, subject)


def _attached(registry: Registry, repository: str, subject: str) -> set[str]:
    # Not the whole descriptors: what else is in them differs from maker to maker.
    return {str(entry["digest"]) for entry in referring(registry, repository, subject)}
