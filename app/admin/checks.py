"""The page of the check: everything that replication relies on is talked to, at the push of a button."""

from __future__ import annotations

import time

from flask import render_template

from app.admin.pages import blueprint
from app.replication.check import Examination, Severity
from app.replication.check.turn import WHOLE, Busy, examine_in_turn
from app.web import slow
from app.web.context import context
from app.web.standing_back import changes_nothing


@blueprint.get("/check")
def check() -> str:
    return render_template("check.html", report=None, busy=None, whole=WHOLE)


@blueprint.post("/check")
@changes_nothing
def check_post() -> str | tuple[str, int]:
    """The answer itself and no redirect: the report is kept nowhere."""
    began = time.monotonic()
    try:
        with slow.alone(slow.looking, "Somebody else is having the registries looked at."):
            report = examine_in_turn(Examination(context().settings))
    except Busy as error:
        return render_template("check.html", report=None, busy=str(error), whole=WHOLE), 409
    return render_template(
        "check.html",
        report=report,
        busy=None,
        whole=WHOLE,
        seconds=time.monotonic() - began,
        errors=report.count(Severity.ERROR),
        warnings=report.count(Severity.WARNING),
    )
