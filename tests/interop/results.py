"""What came of it, as values: of one image, of one check, of one pairing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Self

from tests.support.wire import WireError

#: Reasons by which a destination says that it does not take something, whatever we do. Any other is our trouble.
REFUSALS = frozenset(
    {
        "child_missing",
        "digest_invalid",
        "manifest_blob_unknown",
        "manifest_invalid",
        "manifest_unverified",
        "name_invalid",
        "rejected",
        "size_invalid",
        "tag_invalid",
        "too_large",
        "unsupported",
    }
)

#: A registry that knows no schema 1 takes its signatures for content, so that its digest is another than ours.
_OF_SCHEMA1 = REFUSALS | {"digest_mismatch"}


class Outcome(StrEnum):
    ARRIVED = "arrived"
    #: The primary did not take it, so there was nothing to replicate.
    NOT_TAKEN = "not taken"
    #: The secondary refused it, and that is recorded with its reason.
    REFUSED = "refused"
    #: Neither: what this project should have done, and did not.
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one image, artifact or kind of content."""

    name: str
    outcome: Outcome
    #: A reason of ours for what was refused, the primary's answer for what was not taken, else words.
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """What became of one thing that either works or does not."""

    good: bool
    #: How it went, in a few words.
    text: str


@dataclass
class Pairing:
    """One registry as primary and one as secondary."""

    primary: str
    secondary: str
    #: Whether notifications drove it; `geo sync` did otherwise.
    notified: bool
    formats: list[Result] = field(default_factory=list)
    referrers: Check | None = None
    deletion: Check | None = None
    content: list[Result] = field(default_factory=list)
    #: The conformance suite's own content, where that program is installed.
    suite: list[Result] | None = None
    seconds: float = 0.0
    #: What broke the run of this pairing off.
    error: str | None = None

    @property
    def troubles(self) -> list[str]:
        """All that should not have been, a line each."""
        named = {"formats": self.formats, "content": self.content, "suite": self.suite or []}
        found = [
            f"{kind}: {result.name}: {result.reason}"
            for kind, results in named.items()
            for result in results
            if result.outcome is Outcome.WRONG
        ]
        checks = {"referrers": self.referrers, "deletion": self.deletion}
        found += [f"{kind}: {check.text}" for kind, check in checks.items() if check is not None and not check.good]
        return [*found, *([self.error] if self.error else [])]

    def document(self) -> dict[str, Any]:
        """For JSON; `Pairing.load` reads it."""
        return asdict(self)

    @classmethod
    def load(cls, document: Mapping[str, Any]) -> Self:
        values = dict(document)
        for name in ("formats", "content", "suite"):
            if values[name] is not None:
                values[name] = [Result(each["name"], Outcome(each["outcome"]), each["reason"]) for each in values[name]]
        for name in ("referrers", "deletion"):
            values[name] = values[name] and Check(**values[name])
        return cls(**values)


def share(results: Sequence[Result]) -> tuple[int, int]:
    """How many arrived, of how many that the primary took."""
    taken = [result for result in results if result.outcome is not Outcome.NOT_TAKEN]
    return sum(result.outcome is Outcome.ARRIVED for result in taken), len(taken)


def is_refusal(name: str, reason: str) -> bool:
    """Whether this failure of this format is the destination's own choice."""
    return reason in (_OF_SCHEMA1 if name == "schema1" else REFUSALS)


def refusal(error: WireError) -> str:
    """A registry's refusal in two words: the status and the first code in its body."""
    try:
        code = str(json.loads(error.body)["errors"][0]["code"])
    except (ValueError, LookupError, TypeError):
        code = ""
    return f"{error.status} {code}".strip()
