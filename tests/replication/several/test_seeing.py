"""What people see of several sites: each by its name, with the variables and options that are its own."""

from __future__ import annotations

from app.database import connection
from app.replication import explain
from app.replication.check import Examination, Id, Severity, examine
from app.replication.check.report import CHECKS
from app.replication.check.turn import examine_in_turn
from tests.replication.several.lab import NAMES, Lab, work
from tests.support import images


def test_the_check_looks_at_every_site(lab: Lab) -> None:
    # Given three sites, one of which is away
    geo = lab.start()
    lab.secondaries["tokyo"].stop()
    lab.before["tokyo"].rule(".*", drop=True)

    # When everything is examined
    report = examine(Examination(geo.context.settings, answer=2.0, watch=0.1))

    # Then each registry is named by its site
    found = {name: [each for each in report.findings if each.subject == name] for name in NAMES}
    for name in ("berlin", "eu-west"):
        titles = [each.title for each in found[name] if each.severity is Severity.OK]
        assert "takes what is uploaded" in titles
        assert any("it and the primary are two" in title for title in titles)
    wrong = next(each for each in found["tokyo"] if each.id is Id.REGISTRY_UNREACHABLE)

    # And the cure is in that site's own variable
    assert "GEO_SECONDARY_REGISTRY_URL_TOKYO" in wrong.fix
    assert not any(each.subject in {"secondary", "uploads", "registries"} for each in report.findings)


def test_what_is_to_be_typed_says_which_site(lab: Lab) -> None:
    # Given a tag that is on two sites
    geo = lab.start("berlin", "tokyo")
    lab.pushed(geo, "team/app", "v1", images.image())
    work(geo)

    # When it is asked why, should it not be there
    with connection():
        told = {each.site: each for each in explain.explain("team/app", "v1", replication_enabled=True)}

    # Then the commands name the site
    assert "`geo sync team/app --site tokyo`" in told["tokyo"].next
    assert "`geo plan team/app --site berlin`" in told["berlin"].next


def test_the_time_for_all_is_that_for_all_sites_too(lab: Lab) -> None:
    # Given three sites, and a clock by which the time for everything is over after the first look
    geo = lab.start()
    times = iter([0.0, 1.0])

    # When it is looked in turn
    report = examine_in_turn(
        Examination(geo.context.settings), {"registries": CHECKS["registries"]}, clock=lambda: next(times, 100.0)
    )

    # Then the further sites are not looked at, and that is said of each
    skipped = [each.subject for each in report.findings if each.id is Id.CHECK_SKIPPED]
    assert skipped == ["eu-west", "tokyo"]
    assert [each.subject for each in report.findings if each.severity is Severity.OK] == ["berlin"]
