from __future__ import annotations

import json

import pytest

from tests.interop.report import BEGIN, END, PAGE, Report, Tried, markdown, written
from tests.interop.results import Check, Outcome, Pairing, Result, refusal
from tests.support.answering import Answer, Server
from tests.support.registries import Address
from tests.support.wire import WireError, fetch


def _pairing(primary: str = "2.8", secondary: str = "3", **changed: object) -> Pairing:
    formats = [
        Result("oci", Outcome.ARRIVED),
        Result("schema1", Outcome.REFUSED, "manifest_invalid"),
        Result("sparse", Outcome.REFUSED, "child_missing"),
        Result("sparse-nested", Outcome.REFUSED, "child_missing"),
        Result("unknown", Outcome.NOT_TAKEN, "400 MANIFEST_INVALID"),
    ]
    values = {"formats": formats, "referrers": Check(True, "tag → API"), "deletion": Check(True, "digest"), **changed}
    return Pairing(primary, secondary, True, seconds=61.0, **values)  # type: ignore[arg-type]


def _report(*pairings: Pairing) -> Report:
    registries = [Tried("2.8", "Distribution 2.8", "2.8.2", True), Tried("3", "Distribution 3", "v3.1.1", True)]
    return Report("2026-11-23T04:00:00+00:00", "abc", registries, ["zot"], None, list(pairings))


def test_a_row_says_what_arrived_and_what_was_refused_why() -> None:
    # When
    text = markdown(_report(_pairing()))

    # Then
    refused = "`manifest_invalid`: schema1; `child_missing`: sparse, sparse-nested"
    row = f"| Distribution 2.8 | Distribution 3 | 1 of 4 | tag → API | digest | - | - | {refused} |"
    assert row in text.splitlines()
    assert "| Distribution 2.8 | `400 MANIFEST_INVALID`: unknown |" in text.splitlines()
    assert "2026-11-23, commit abc, 1 pairings in 1 min. Not installed where it ran: zot." in text
    assert "The conformance suite was not installed there." in text
    assert "Nothing else went wrong." in text


def test_what_should_not_have_been_is_said() -> None:
    # Given
    bad = [Result("oci", Outcome.WRONG, "blob a|b\ndiffers")]
    pairing = _pairing(content=bad, deletion=Check(False, "tag: nothing went"), error="WireError: 500")

    # When
    text = markdown(_report(pairing))

    # Then
    assert len(pairing.troubles) == 3
    assert "- Distribution 2.8 → Distribution 3: content: oci: blob a\\|b differs" in text
    assert "**tag: nothing went**" in text
    assert "Nothing else went wrong." not in text


def test_a_report_survives_json() -> None:
    # Given
    report = _report(_pairing(suite=[Result("one:v1", Outcome.ARRIVED)]), _pairing("3", "3"))

    # When
    again = Report.load(json.loads(json.dumps(report.document())))

    # Then
    assert again == report
    assert markdown(again) == markdown(report)


def test_only_a_run_of_every_pairing_is_complete() -> None:
    names = ("2.8", "3")
    pairings = [_pairing(one, two) for one in names for two in names]
    assert _report(*pairings).complete
    assert not _report(*pairings[1:]).complete


def test_results_take_the_place_of_the_former_ones() -> None:
    # Given
    page = f"# Interop\n\nBefore.\n\n{BEGIN}\n\nold\n\n{END}\n\nAfter.\n"
    report = _report(_pairing())

    # When
    once = written(page, report)

    # Then
    assert once == page.replace("old", markdown(report))
    assert written(once, report) == once
    with pytest.raises(ValueError, match="no place"):
        written("# Interop\n", report)


def test_the_page_has_a_place_for_results_and_a_row_for_every_pairing() -> None:
    # Given the page, and the tables in it
    results = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    tables = [
        [[cell.strip() for cell in line.split(" | ")] for line in block.splitlines()]
        for block in results.split("\n\n")
        if block.startswith("|")
    ]

    # Then each registry was tried with each
    titles = [row[0].strip("| ") for row in tables[0][2:]]
    assert [(row[0].strip("| "), row[1]) for row in tables[1][2:]] == [(a, b) for a in titles for b in titles]


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (400, b'{"errors":[{"code":"MANIFEST_INVALID","message":"x"}]}', "400 MANIFEST_INVALID"),
        (404, b"<html>", "404"),
        (500, b'{"errors":[]}', "500"),
        (400, b"[]", "400"),
    ],
)
def test_a_refusal_is_told_in_two_words(status: int, body: bytes, told: str) -> None:
    # Given a registry that refuses everything
    server = Server(lambda _: Answer(status, body))
    server.start()
    try:
        # When it is asked
        with pytest.raises(WireError) as refused:
            fetch(Address(f"http://127.0.0.1:{server.port}"), "team/app", "v1")
    finally:
        server.stop()

    # Then
    assert refusal(refused.value) == told
