"""The list of the repositories, and what can be asked of all that it is narrowed to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import abort, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from app.admin.format import number
from app.admin.pages import ROWS, blueprint, cursor, following, narrowed
from app.database import connection
from app.models import Site, VerificationState
from app.replication import bulk, queries
from app.replication.narrowing import Filter, Order
from app.settings import VerificationLevel
from app.web import slow
from app.web.context import context

#: In which order lists can be read, in words.
ORDERS = {
    Order.PATH: "path",
    Order.STATE: "state, failed first",
    Order.NEWEST: "last synced, newest first",
    Order.OLDEST: "last synced, oldest first",
}

#: How far a verification can go, in words; each goes beyond those before it.
LEVELS = {
    VerificationLevel.TAGS: "the digest under each tag",
    VerificationLevel.MANIFESTS: "and all manifests",
    VerificationLevel.BLOBS: "and one byte of each blob",
    VerificationLevel.CONTENT: "and all bytes of each blob",
}


@dataclass(frozen=True, slots=True)
class Wish:
    """Something that can be asked of many repositories, as it is said before."""

    name: str
    title: str
    does: str


RESYNC = Wish(
    "resync",
    "Resync",
    "Every tag of each is compared with the primary, and what differs is copied. What failed is tried again at once,"
    " whatever its next try says. Nothing that is in order is copied again.",
)
REVERIFY = Wish(
    "reverify",
    "Reverify",
    "Everything that was replicated of each is looked for on the secondary. What is missing is copied again by itself."
    " Nothing is changed where all is there.",
)


@blueprint.get("/repositories")
def repositories() -> str:
    narrow, order = narrowed(), Order.parse(request.args.get("sort"))
    with connection():
        sites = _sites()
        # There is nothing to choose from where there is one.
        within = Filter(narrow.state, sites[0].name, narrow.search, narrow.verification) if len(sites) == 1 else narrow
        sortable = within.site is not None or not order.of_one_site
        page = queries.repositories(
            within if order.of_one_site and sortable else narrow,
            order=order if sortable else Order.PATH,
            after=cursor(),
            limit=ROWS,
        )
        return render_template(
            "repositories.html",
            page=page,
            narrow=narrow,
            order=order,
            orders=ORDERS,
            sortable=sortable,
            counts=queries.repository_counts(narrow.site),
            sites=sites,
            verifications=list(VerificationState),
            filters=_filters(narrow),
            next_page=following(page),
        )


@blueprint.get("/repositories/<any(resync, reverify):wish>")
def ask_all(wish: str) -> str:
    """What it will do, of how many, before it is done."""
    narrow = narrowed()
    return render_template(
        "ask_all.html",
        wish=_wish(wish),
        narrow=narrow,
        count=bulk.count(narrow),
        levels=LEVELS,
        usual=context().settings.verification_interval_level,
        filters=_filters(narrow),
    )


@blueprint.post("/repositories/<any(resync, reverify):wish>")
def ask_all_post(wish: str) -> Response:
    narrow = Filter.parse(**{name: request.form.get(name) for name in ("state", "site", "search", "verification")})
    wanted = level(request.form.get("level"))
    with slow.marked():
        count = bulk.resync(narrow, context()) if wish == RESYNC.name else bulk.reverify(narrow, context(), wanted)
    what = "repository is" if count == 1 else "repositories are"
    done = "compared with the primary" if wish == RESYNC.name else "looked for on the secondary"
    flash(f"{number(count)} {what} being {done}, the most urgent first.")
    return redirect(url_for(".repositories", **_filters(narrow)), 303)


def level(text: str | None) -> VerificationLevel | None:
    """The level that a form asks for; None is the usual one."""
    if not text:
        return None
    try:
        return VerificationLevel(text)
    except ValueError:
        abort(400, f"The level must be one of {', '.join(VerificationLevel)}.")


def _wish(name: str) -> Wish:
    return RESYNC if name == RESYNC.name else REVERIFY


def _sites() -> list[Site]:
    """Those whose repositories are known here."""
    return [row for row in queries.sites() if not (row.primary or row.remote or row.retired)]


def _filters(narrow: Filter) -> dict[str, Any]:
    """The filter as an address or a form has it."""
    said = {
        "state": None if narrow.state is None else narrow.state.name.lower(),
        "verification": None if narrow.verification is None else narrow.verification.name.lower(),
        "site": narrow.site,
        "search": narrow.search,
    }
    return {name: value for name, value in said.items() if value}
