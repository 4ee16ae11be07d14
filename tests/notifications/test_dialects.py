from __future__ import annotations

import pytest

from app.notifications import DEFAULT_DIALECT, DIALECTS, Delivery, NotificationError, UnknownDialect, parse

PUSH = b'{"action": "push", "id": "1", "target": {"repository": "a/x", "tag": "v1"}}'


def test_without_a_name_the_default_dialect_is_read() -> None:
    assert DEFAULT_DIALECT == "distribution"
    assert parse(None, PUSH) == parse("distribution", PUSH)
    assert parse(None, PUSH).events[0].tag == "v1"


@pytest.mark.parametrize("name", ["", "Distribution", "../distribution", "x" * 10_000])
def test_an_unknown_dialect_is_a_typed_error(name: str) -> None:
    with pytest.raises(UnknownDialect, match=r"known: .*distribution") as caught:
        parse(name, b"")
    assert isinstance(caught.value, NotificationError)
    assert (caught.value.reason, caught.value.temporary) == ("unknown_dialect", False)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("name", sorted(DIALECTS))
@pytest.mark.parametrize("body", [b"", b"\xff", b"{}", b"[" * 100_000, b"[1, null, {}]", b'{"events": {"events": 1}}'])
def test_no_dialect_raises_for_content(name: str, body: bytes) -> None:
    found = parse(name, body, "application/json", {})
    assert found.events == ()
    assert found.quarantined


def test_header_names_are_the_same_in_any_case() -> None:
    assert Delivery(b"", None, {"X-GitHub-Event": "package"}).headers == {"x-github-event": "package"}
