"""The results of a run as they stand in docs/interop.md, between two marks; the text around them is by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from tests.interop.results import Check, Outcome, Pairing, Result, share
from tests.support.root import ROOT

PAGE = ROOT / "docs/interop.md"

BEGIN = "<!-- Written by `make interop`; do not edit what follows. -->"
END = "<!-- So far. -->"

#: What stands in a cell of which nothing is known.
_NOTHING = "-"


@dataclass(frozen=True, slots=True)
class Tried:
    """A registry that was there."""

    name: str
    title: str
    version: str
    notifies: bool


@dataclass
class Report:
    """One run."""

    date: str
    commit: str
    registries: list[Tried]
    #: Titles of those that were not installed.
    missing: list[str]
    #: The version of the conformance suite, if that was there.
    suite: str | None
    pairings: list[Pairing] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every registry that was there was tried with every one."""
        tried = {(pairing.primary, pairing.secondary) for pairing in self.pairings}
        return tried == {(one.name, two.name) for one in self.registries for two in self.registries}

    def title(self, name: str) -> str:
        return next(each.title for each in self.registries if each.name == name)

    def document(self) -> dict[str, Any]:
        """For JSON; `Report.load` reads it."""
        return asdict(self)

    @classmethod
    def load(cls, document: Mapping[str, Any]) -> Self:
        values = dict(document)
        values["registries"] = [Tried(**each) for each in values["registries"]]
        values["pairings"] = [Pairing.load(each) for each in values["pairings"]]
        return cls(**values)


def written(page: str, report: Report) -> str:
    """The page with these results in place of the former ones.

    Raises:
        ValueError: for a page without the marks.
    """
    before, begun, rest = page.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not (begun and ended):
        raise ValueError(f"the page has no place for results, which is from {BEGIN} to {END}")
    return f"{before}{BEGIN}\n\n{markdown(report)}\n\n{END}{after}"


def markdown(report: Report) -> str:
    """The results: registries, pairings, and what primaries did not take."""
    parts = [
        _facts(report),
        _table(
            ["registry", "version", "how its pushes come to us"],
            [
                [each.title, each.version, "notifications" if each.notifies else "`geo sync`"]
                for each in report.registries
            ],
        ),
        _table(
            ["primary", "secondary", "formats", "referrers", "deletion", "content", "suite", "refused there"],
            [_row(report, pairing) for pairing in report.pairings],
        ),
    ]
    untaken = [(pairing.primary, _grouped(_all(pairing), Outcome.NOT_TAKEN)) for pairing in report.pairings]
    if any(text for _, text in untaken):
        rows = {primary: [report.title(primary), text] for primary, text in untaken if text}
        parts.append(_table(["as primary", "what cannot be there"], list(rows.values())))
    troubles = [
        f"- {report.title(each.primary)} → {report.title(each.secondary)}: {_plain(trouble)}"
        for each in report.pairings
        for trouble in each.troubles
    ]
    parts.append("\n".join(["What should not have been:", "", *troubles]) if troubles else "Nothing else went wrong.")
    return "\n\n".join(parts)


def _facts(report: Report) -> str:
    minutes = max(1, round(sum(pairing.seconds for pairing in report.pairings) / 60))
    text = f"{report.date[:10]}, commit {report.commit}, {len(report.pairings)} pairings in {minutes} min."
    if report.missing:
        text += f" Not installed where it ran: {', '.join(report.missing)}."
    if report.suite is None:
        return f"{text} The conformance suite was not installed there."
    return f"{text} The conformance suite is {report.suite}."


def _row(report: Report, pairing: Pairing) -> list[str]:
    return [
        report.title(pairing.primary),
        report.title(pairing.secondary),
        _share(pairing.formats),
        _check(pairing.referrers),
        _check(pairing.deletion),
        _share(pairing.content),
        _share(pairing.suite or []),
        _grouped(_all(pairing), Outcome.REFUSED) or "nothing",
    ]


def _all(pairing: Pairing) -> list[Result]:
    return [*pairing.formats, *pairing.content, *(pairing.suite or [])]


def _share(results: Sequence[Result]) -> str:
    if not results:
        return _NOTHING
    arrived, taken = share(results)
    return f"{arrived} of {taken}"


def _check(check: Check | None) -> str:
    if check is None:
        return _NOTHING
    return check.text if check.good else f"**{check.text}**"


def _grouped(results: Iterable[Result], outcome: Outcome) -> str:
    """Names by reason: `` `child_missing`: sparse, sparse-nested``."""
    found: dict[str, list[str]] = {}
    for result in results:
        if result.outcome is outcome and result.name not in found.setdefault(result.reason, []):
            found[result.reason].append(result.name)
    return "; ".join(f"`{reason}`: {', '.join(names)}" for reason, names in found.items())


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(map(_line, [head, ["---"] * len(head), *rows]))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_plain(cell) for cell in cells)} |"


def _plain(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
