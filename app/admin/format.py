"""How values read on a page: times, sizes, digests, and text that strangers wrote."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from flask import Flask
from markupsafe import Markup, escape

from app import units
from app.models import SyncState, VerificationState
from app.units import size
from app.visible import visible as escaped

#: What is shown where there is nothing to show.
NOTHING = Markup("–")  # noqa: RUF001 - an en dash is meant

#: The least share of a bar, in percent: one failure among a million repositories must be seen.
LEAST_SHARE = 1.5

#: Hex digits of a shortened digest; docker shows as many.
SHORT_DIGEST = 12


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a bar, in percent of its width."""

    state: str
    count: int
    start: float
    width: float


def segments(counts: Sequence[tuple[str, int]]) -> list[Segment]:
    """Lay out counts side by side; what is there at all gets at least a visible share."""
    total = sum(count for _, count in counts)
    if not total:
        return []
    shares = [max(100.0 * count / total, LEAST_SHARE) if count else 0.0 for _, count in counts]
    scale = 100.0 / sum(shares)
    laid_out, start = [], 0.0
    for (state, count), share in zip(counts, shares, strict=True):
        if count:
            laid_out.append(Segment(state, count, round(start, 3), round(share * scale, 3)))
        start += share * scale
    return laid_out


def duration(seconds: float | None) -> str:
    """A time span in one unit: 120 ms, 3.2 s, 5 min, 2 h, 3 days."""
    return NOTHING if seconds is None else units.duration(seconds)


def ago(instant: datetime | None) -> Markup:
    """A `time` element: how long ago or hence, with the exact time for whoever asks."""
    if instant is None:
        return NOTHING
    seconds = (datetime.now(UTC) - instant).total_seconds()
    if abs(seconds) < 1:
        words = "just now"
    else:
        words = f"{duration(seconds)} ago" if seconds > 0 else f"in {duration(-seconds)}"
    return _time(instant, words, stamp(instant))


def exact(instant: datetime | None) -> Markup:
    """A `time` element that shows the time itself, in UTC; the page has to say so beside it."""
    return (
        NOTHING if instant is None else _time(instant, f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S}", stamp(instant))
    )


def clock(instant: datetime) -> str:
    """The time of day, in UTC; the page has to say so beside it."""
    return f"{instant.astimezone(UTC):%H:%M}"


def stamp(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _time(instant: datetime, words: str, title: str) -> Markup:
    return Markup('<time datetime="{}" title="{}">{}</time>').format(instant.isoformat(), title, words)


def number(value: int) -> str:
    return f"{value:,}"


def digest(value: str | None) -> Markup:
    """A digest cut short, whole in its title."""
    if value is None:
        return NOTHING
    algorithm, _, encoded = value.partition(":")
    short = f"{algorithm}:{encoded[:SHORT_DIGEST]}" if encoded else value[: SHORT_DIGEST + 7]
    return Markup('<code class="digest" title="{}">{}</code>').format(visible(value), visible(short))


def visible(text: str | None) -> str:
    """Text of strangers with what one cannot see written out: control characters, and those that turn its direction."""
    return escaped(text or "", kept="\n\t")


def breakable(text: str | None) -> Markup:
    """A long name that may wrap behind its slashes, dots and dashes rather than anywhere."""
    return Markup("<wbr>").join(re.findall(r"[^/:@._-]*(?:[/:@._-]+|$)", visible(text)))


def ticked(text: str | None) -> Markup:
    """A sentence of ours in which `backticks` hold what one types."""
    out = Markup()
    for place, part in enumerate(visible(text).split("`")):
        out += Markup("<code>{}</code>").format(part) if place % 2 else escape(part)
    return out


def state_name(state: int) -> str:
    return SyncState(state).name.lower()


#: What a verification's state means, and which sync state's mark it bears.
VERIFICATIONS = {
    VerificationState.PENDING: ("not yet", "pending"),
    VerificationState.STARTED: ("under way", "started"),
    VerificationState.SUCCEEDED: ("verified", "synced"),
    VerificationState.FAILED: ("not whole", "failed"),
    VerificationState.DISABLED: ("switched off", "disabled"),
}


def verification_name(state: int) -> str:
    return VERIFICATIONS[VerificationState(state)][0]


def verification_class(state: int) -> str:
    return VERIFICATIONS[VerificationState(state)][1]


def by_name(counts: Mapping[SyncState, int]) -> dict[str, int]:
    return {state.name.lower(): count for state, count in counts.items()}


def register(app: Flask) -> None:
    """Make them filters of the templates."""
    filters = (
        *(segments, duration, ago, exact, clock, size, number, digest, visible, breakable, ticked, by_name),
        *(state_name, verification_name, verification_class),
    )
    app.jinja_env.filters.update({function.__name__: function for function in filters})
