from __future__ import annotations

from pathlib import Path

import pytest

from app.replication.assembly import assemble
from app.settings import SPOOL_LIMIT, Settings, SettingsError
from tests.support.deployment import offline_environment


def settings(**extra: str) -> Settings:
    return Settings.from_env(offline_environment("sqlite:///var/geo.db", **extra))


def test_the_spool_is_on_by_default() -> None:
    chosen = settings()
    assert chosen.spool_directory == Path("var/spool")
    assert chosen.spool_limit == SPOOL_LIMIT == 20 * 1024**3


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1048576", 1048576),
        ("5K", 5000),
        ("5M", 5_000_000),
        ("20 G", 20 * 10**9),
        ("1T", 10**12),
        ("3Ki", 3072),
        ("3MiB", 3 * 1024**2),
        ("2Gi", 2 * 1024**3),
        ("1TiB", 1024**4),
    ],
)
def test_a_size_may_have_a_unit(value: str, expected: int) -> None:
    assert settings(GEO_SPOOL_MAX_BYTES=value).spool_limit == expected


@pytest.mark.parametrize("value", ["lots", "-1", "1.5G", "5 Zi", "G"])
def test_what_is_no_size_is_told(value: str) -> None:
    with pytest.raises(SettingsError, match="GEO_SPOOL_MAX_BYTES"):
        settings(GEO_SPOOL_MAX_BYTES=value)


@pytest.mark.parametrize(("value", "there"), [("0", False), ("1Gi", True)])
def test_a_limit_of_nothing_does_without_a_spool(value: str, there: bool) -> None:
    context = assemble(settings(GEO_SPOOL_MAX_BYTES=value))
    try:
        assert (context.spool is not None) == there
    finally:
        context.close()
