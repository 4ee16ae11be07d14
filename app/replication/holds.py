"""Holds: why nothing is deleted on a site before a person has released it. One reason does not hide another."""

from __future__ import annotations

from peewee import Expression

from app.models import Site

#: What a mirror is held for. Whether the registries are the right ones has to be seen by somebody before a mirror
#: deletes for the first time: it takes away what it never brought.
MIRROR = "`mirror` deletes what the primary lacks, whoever put it there"


def hold(which: Expression, because: str) -> None:
    """Let nothing be deleted on these sites before a person releases it. Inside a transaction."""
    for site in Site.select().where(which).order_by(Site.id):
        reasons = _reasons(site)
        if because not in reasons:
            _write(site, [*reasons, because])


def hold_mirror(site: Site, why: str) -> None:
    """The same, because the site has become a mirror. Inside a transaction."""
    hold(Site.id == site.id, f"{why}, and {MIRROR}")


def lift_mirror(site: Site) -> None:
    """The site is no mirror any more: what it was held for as one is over, and nothing else. Inside a transaction."""
    fresh = Site.get_by_id(site.id)
    reasons = _reasons(fresh)
    left = [reason for reason in reasons if not reason.endswith(MIRROR)]
    if left != reasons:
        _write(fresh, left)


def told(site: Site) -> str | None:
    """All reasons, as the end of a sentence; None where there is none."""
    return "; ".join(_reasons(site)) or None


def _reasons(site: Site) -> list[str]:
    return (site.deletions_held_because or "").splitlines()


def _write(site: Site, reasons: list[str]) -> None:
    Site.update(deletions_held_because="\n".join(reasons) or None).where(Site.id == site.id).execute()
