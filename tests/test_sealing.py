from __future__ import annotations

import pytest

from app.sealing import Sealing


def test_what_is_sealed_can_be_opened_and_not_be_read() -> None:
    # Given a secret that is sealed
    sealed = Sealing(["a key"], "tests").seal("pässword", "of somebody")

    # Then another process with the same key opens it, as text or as bytes
    other = Sealing(["a key"], "tests")
    assert other.open(sealed, "of somebody") == other.open(sealed.encode(), "of somebody") == "pässword"

    # And it does not show in it, nor is it twice the same
    assert "ssword" not in sealed
    assert other.seal("pässword", "of somebody") != sealed


def test_a_key_is_changed_in_two_steps() -> None:
    # Given what the old key sealed
    sealed = Sealing(["old"], "tests").seal("secret")

    # When the new one comes before it, Then both are known, and the first seals
    both = Sealing(["new", "old"], "tests")
    assert both.open(sealed) == "secret"
    assert Sealing(["new"], "tests").open(both.seal("later")) == "later"

    # And once the old one is gone, what it sealed is as if absent
    assert Sealing(["new"], "tests").open(sealed) is None


@pytest.mark.parametrize("sealed", ["", "nonsense", b"\xff\x00", "ümlaut", "gAAAAAB" + "A" * 200])
def test_what_was_never_sealed_is_as_if_absent(sealed: str | bytes) -> None:
    assert Sealing(["a key"], "tests").open(sealed) is None


def test_what_is_of_something_else_is_as_if_absent() -> None:
    # Given a secret of one thing, for one purpose
    sealed = Sealing(["a key"], "tests").seal("secret", "this")

    # Then it is nobody else's, and for nothing else
    assert Sealing(["a key"], "tests").open(sealed, "that") is None
    assert Sealing(["a key"], "others").open(sealed, "this") is None


def test_a_changed_byte_spoils_it() -> None:
    sealed = Sealing(["a key"], "tests").seal("secret")
    middle = len(sealed) // 2
    changed = sealed[:middle] + ("A" if sealed[middle] != "A" else "B") + sealed[middle + 1 :]
    assert Sealing(["a key"], "tests").open(changed) is None


def test_nothing_is_sealed_without_a_key() -> None:
    with pytest.raises(ValueError, match="without a key"):
        Sealing([], "tests")
