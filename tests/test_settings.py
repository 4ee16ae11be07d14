"""The environment: all of its mistakes at once, and its secrets never shown."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.retention import Retention
from app.settings import (
    AuthKind,
    Deletion,
    Role,
    Settings,
    SettingsError,
    VerificationLevel,
)
from tests.support.variables import GOOD, problems


def test_little_is_needed() -> None:
    # Given the least that a deployment needs
    settings = Settings.from_env(GOOD)

    # Then the rest is as documented
    assert settings.database_url.value == "sqlite:///var/geo.db"
    assert (settings.redis_url, settings.broker_url) == (None, None)
    assert (settings.port, settings.worker_processes, settings.worker_threads) == (8000, 2, 8)
    assert (settings.role, settings.site_name, settings.replication_enabled) == (Role.BOTH, "secondary", True)
    assert settings.deletion is Deletion.TAGS
    assert settings.repositories == settings.tags == ()
    assert (settings.capacity, settings.reconcile_interval) == (None, timedelta(days=1))
    assert settings.primary.url == "https://registry.example.com:5050"
    assert settings.primary.auth is AuthKind.ANONYMOUS
    assert (settings.primary.issuer, settings.primary.service) == ("geo-registry", "container_registry")
    assert settings.secondary is not None
    assert settings.secondary.url == "http://10.0.0.2:5000"


def test_every_mistake_is_told_at_once() -> None:
    # Given an environment with a mistake everywhere
    found = problems(
        {
            "DATABASE_URL": "mysql://host/db",
            "REDIS_URL": "http://host",
            "BROKER_URL": "kafka://host",
            "PORT": "99999",
            "WORKER_PROCESSES": "0",
            "WORKER_THREADS": "many",
            "GEO_SITE_NAME": "primary",
            "GEO_REGISTRY_REPLICATION_ENABLED": "perhaps",
            "GEO_SECONDARY_REGISTRY_URL": "ftp://host",
            "GEO_REGISTRY_KEY_PATH": "/not/there",
            "GEO_PRIMARY_REGISTRY_AUTH": "kerberos",
            "GEO_SECONDARY_REGISTRY_AUTH": "basic",
            "GEO_DELETION": "everything",
        }
    )

    # Then each is named by its variable
    for name in (
        "DATABASE_URL",
        "REDIS_URL",
        "BROKER_URL",
        "PORT",
        "WORKER_PROCESSES",
        "WORKER_THREADS",
        "GEO_SITE_NAME",
        "GEO_REGISTRY_REPLICATION_ENABLED",
        "GEO_REGISTRY_REPLICATION_PRIMARY_API_URL",
        "GEO_SECONDARY_REGISTRY_URL",
        "GEO_REGISTRY_KEY_PATH",
        "GEO_PRIMARY_REGISTRY_AUTH",
        "GEO_SECONDARY_REGISTRY_USERNAME",
        "GEO_DELETION",
        "GEO_NOTIFICATION_SECRET",
    ):
        assert any(name in problem for problem in found), name


def test_an_empty_environment_names_what_is_required() -> None:
    found = "\n".join(problems({}))
    for name in ("GEO_REGISTRY_REPLICATION_PRIMARY_API_URL", "GEO_SECONDARY_REGISTRY_URL", "GEO_NOTIFICATION_SECRET"):
        assert f"{name} is required" in found


def test_secrets_never_print_themselves(key: str) -> None:
    # Given secrets everywhere
    settings = Settings.from_env(
        GOOD
        | {
            "DATABASE_URL": "postgresql://geo:hidden-1@host/geo",
            "REDIS_URL": "redis://:hidden-2@host",
            "BROKER_URL": "amqp://geo:hidden-3@host",
            "GEO_NOTIFICATION_SECRET": "hidden-4, hidden-5",
            "GEO_ADMIN_TOKEN": "hidden-6",
            "GEO_SECRET_KEY": "hidden-7",
            "GEO_SECONDARY_REGISTRY_AUTH": "basic",
            "GEO_SECONDARY_REGISTRY_USERNAME": "geo",
            "GEO_SECONDARY_REGISTRY_PASSWORD": "hidden-8",
        }
    )

    # Then no way of printing shows one
    for text in (repr(settings), str(settings), f"{settings.admin_token}", "\n".join(settings.warnings())):
        assert "hidden" not in text
    assert [secret.value for secret in settings.notification_secrets] == ["hidden-4", "hidden-5"]


def test_problems_do_not_show_secrets_either() -> None:
    found = problems(
        GOOD | {"DATABASE_URL": "mysql://u:hidden@h/d", "REDIS_URL": "http://:hidden@h", "BROKER_URL": "x://hidden"}
    )
    assert len(found) == 3
    assert "hidden" not in "".join(found)


@pytest.mark.parametrize("name", ["REDIS_URL", "BROKER_URL"])
def test_sentinels_may_be_named(name: str) -> None:
    url = "redis+sentinel://:hidden@one:26379,two/mymaster/1"
    settings = Settings.from_env(GOOD | {name: url})
    found = settings.redis_url or settings.broker_url
    assert found is not None
    assert found.value == url

    # And what is wrong with such an address is told without it
    (problem,) = problems(GOOD | {name: "redis+sentinel://:hidden@one:26379,two"})
    assert name in problem
    assert "hidden" not in problem


def test_a_primary_alone_needs_no_secondary() -> None:
    env = {name: value for name, value in GOOD.items() if "SECONDARY" not in name}
    settings = Settings.from_env(env | {"GEO_ROLE": "primary"})
    assert settings.secondary is None
    assert problems(GOOD | {"GEO_ROLE": "secondary"})


@pytest.mark.parametrize(("value", "switched"), [("true", True), ("0", False), ("No", False), ("ON", True), ("", True)])
def test_switches_are_read_as_people_write_them(value: str, switched: bool) -> None:
    assert Settings.from_env(GOOD | {"GEO_REGISTRY_REPLICATION_ENABLED": value}).replication_enabled is switched


def test_repositories_are_separated_by_anything() -> None:
    settings = Settings.from_env(GOOD | {"GEO_REPOSITORIES": "team/*, !team/secret\n other/app ,"})
    assert settings.repositories == ("team/*", "!team/secret", "other/app")


def test_what_works_but_should_not_stay_is_warned_of() -> None:
    assert any("GEO_ADMIN_TOKEN is not set" in text for text in Settings.from_env(GOOD).warnings())
    weak = Settings.from_env(GOOD | {"GEO_NOTIFICATION_SECRET": "weak", "GEO_ADMIN_TOKEN": "weak"}).warnings()
    assert len(weak) == 2
    assert Settings.from_env(GOOD | {"GEO_ADMIN_TOKEN": "long enough to be one"}).warnings() == []


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ("stable,v1.* latest", ("stable", "v1.*", "latest")),
        ("stable semver:>=1.2 <2 !*-rc*", ("stable", "semver:>=1.2 <2", "!*-rc*")),
        ("semver: >= 1.2, <2,latest", ("semver: >= 1.2, <2", "latest")),
        ("semver:^1 || ^3 v1.*", ("semver:^1 || ^3", "v1.*")),
        ("semver:1.x || 2.x,!regex:a{1,3}b x", ("semver:1.x || 2.x", "!regex:a{1,3}b", "x")),
        ("semver:>=1.2<2||>=4\n!semver:<1", ("semver:>=1.2<2||>=4", "!semver:<1")),
    ],
)
def test_tags_are_separated_by_blanks_or_commas_and_ranges_stay_whole(text: str, patterns: tuple[str, ...]) -> None:
    assert Settings.from_env(GOOD | {"GEO_TAGS": text}).tags == patterns


def test_protected_tags_are_separated_by_blanks_or_commas() -> None:
    # A comma within a quantifier is the expression's own
    settings = Settings.from_env(GOOD | {"GEO_PROTECTED_TAGS": "stable,v1.* \n regex:v[0-9]{1,3}(-rc)?,latest ,"})
    assert settings.protected_tags == ("stable", "v1.*", "regex:v[0-9]{1,3}(-rc)?", "latest")
    assert Settings.from_env(GOOD).protected_tags == ()


@pytest.mark.parametrize("policy", Deletion)
def test_every_policy_of_deletion_can_be_chosen(policy: Deletion) -> None:
    assert Settings.from_env(GOOD | {"GEO_DELETION": policy.value}).deletion is policy


def test_verification_has_its_settings() -> None:
    # Given nothing, and something else
    usual = Settings.from_env(GOOD)
    other = Settings.from_env(
        {
            **GOOD,
            "GEO_VERIFICATION": "off",
            "GEO_VERIFICATION_INTERVAL": "36h",
            "GEO_VERIFICATION_INTERVAL_LEVEL": "content",
            "GEO_VERIFICATION_RATE": "0",
        }
    )

    # Then
    assert (usual.verification, usual.verification_interval_level) == ("manifests", "blobs")
    assert (usual.verification_interval, usual.verification_rate) == (timedelta(days=7), 100)
    assert (other.verification, other.verification_interval_level) == (None, "content")
    assert (other.verification_interval, other.verification_rate) == (timedelta(hours=36), 0)
    assert Settings.from_env({**GOOD, "GEO_VERIFICATION_INTERVAL": "off"}).verification_interval is None


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("GEO_VERIFICATION", "deep", "must be one of: off, tags, manifests, blobs, content"),
        ("GEO_VERIFICATION_INTERVAL_LEVEL", "off", "must be one of: tags, manifests, blobs, content"),
        ("GEO_VERIFICATION_INTERVAL", "7", "such as 7d"),
        ("GEO_VERIFICATION_INTERVAL", "0d", "such as 7d"),
        ("GEO_VERIFICATION_RATE", "-1", "from 0"),
    ],
)
def test_verification_that_cannot_be_is_refused(name: str, value: str, told: str) -> None:
    (problem,) = problems({**GOOD, name: value})
    assert problem.startswith(name)
    assert told in problem


def test_a_level_of_verification_reaches_those_before_it() -> None:
    assert VerificationLevel.CONTENT.reaches(VerificationLevel.BLOBS)
    assert VerificationLevel.TAGS.reaches(VerificationLevel.TAGS)
    assert not VerificationLevel.MANIFESTS.reaches(VerificationLevel.BLOBS)


# --- a secondary's own deployment -------------------------------------------------------------------------------------

FOLLOWING = {
    "GEO_ROLE": "secondary",
    "GEO_REGISTRY_REPLICATION_PRIMARY_API_URL": "https://registry.example.com:5050",
    "GEO_SECONDARY_REGISTRY_URL": "http://10.0.0.2:5000",
    "GEO_PRIMARY_URL": "https://geo.example.com/",
    "GEO_SITE_TOKEN": "geosite_x",
}


def test_a_secondary_s_own_deployment_needs_the_primary_s_address_and_a_token() -> None:
    settings = Settings.from_env(FOLLOWING)
    assert settings.source is not None
    assert settings.source.url == "https://geo.example.com"
    assert settings.notification_secrets == ()
    assert "geosite_x" not in repr(settings)
    for missing in ("GEO_PRIMARY_URL", "GEO_SITE_TOKEN"):
        (problem,) = problems({**FOLLOWING, missing: ""})[-1:]
        assert missing in problem


def test_a_standby_will_do_in_place_of_the_primary_s_address() -> None:
    env = {**FOLLOWING, "GEO_PRIMARY_URL": "", "GEO_SITE_TOKEN": "", "GEO_PRIMARY_DATABASE_URL": "postgresql://h/geo"}
    settings = Settings.from_env(env)
    assert settings.source is not None
    assert (settings.source.url, settings.primary.auth) == (None, AuthKind.ANONYMOUS)
    assert problems({**env, "GEO_PRIMARY_DATABASE_URL": "sqlite:///geo.db"})


def test_pulls_are_by_the_primary_s_deployment_unless_there_is_a_key(key: str) -> None:
    assert Settings.from_env(FOLLOWING).primary.auth is AuthKind.SITE
    assert Settings.from_env({**FOLLOWING, "GEO_PRIMARY_REGISTRY_KEY_PATH": key}).primary.auth is AuthKind.TOKEN
    assert Settings.from_env({**FOLLOWING, "GEO_SECONDARY_REGISTRY_KEY_PATH": key}).primary.auth is AuthKind.SITE
    assert Settings.from_env({**FOLLOWING, "GEO_PRIMARY_REGISTRY_AUTH": "anonymous"}).primary.auth is AuthKind.ANONYMOUS


def test_what_is_for_a_secondary_alone_is_refused_elsewhere() -> None:
    assert any("GEO_SITE_TOKEN" in problem for problem in problems({**GOOD, "GEO_SITE_TOKEN": "x"}))
    for variable in ("GEO_PRIMARY_REGISTRY_AUTH", "GEO_SECONDARY_REGISTRY_AUTH"):
        assert any(variable in problem for problem in problems({**GOOD, variable: "site"}))
    assert problems({**FOLLOWING, "GEO_SECONDARY_REGISTRY_AUTH": "site"})


def test_a_token_in_the_clear_is_warned_of() -> None:
    clear = Settings.from_env({**FOLLOWING, "GEO_PRIMARY_URL": "http://geo.example.com"})
    assert any("GEO_PRIMARY_URL" in warning for warning in clear.warnings())
    assert not any("GEO_PRIMARY_URL" in warning for warning in Settings.from_env(FOLLOWING).warnings())


def test_how_often_the_api_may_be_asked() -> None:
    assert Settings.from_env(GOOD).api_rate_limit == 600
    assert Settings.from_env(GOOD | {"GEO_API_RATE_LIMIT": "0"}).api_rate_limit == 0
    (problem,) = problems(GOOD | {"GEO_API_RATE_LIMIT": "many"})
    assert problem.startswith("GEO_API_RATE_LIMIT must be a whole number from 0")


def test_identity_tokens_need_to_be_for_us_and_of_somebody() -> None:
    # Given nothing about them
    assert Settings.from_env(GOOD).identity is None

    # Given both
    both = {
        "GEO_NOTIFICATION_AUDIENCE": "https://geo.example.com",
        "GEO_NOTIFICATION_EMAIL": "a@b.example, c@d.example",
    }
    settings = Settings.from_env(GOOD | both)
    assert settings.identity is not None
    assert settings.identity.audience == "https://geo.example.com"
    assert settings.identity.emails == ("a@b.example", "c@d.example")
    assert settings.identity.keys_url == "https://www.googleapis.com/oauth2/v3/certs"

    # Given one of them, or keys from nowhere
    for name in both:
        assert "go together" in "".join(problems(GOOD | {name: both[name]}))
    assert "GEO_NOTIFICATION_KEYS_URL" in "".join(problems(GOOD | {"GEO_NOTIFICATION_KEYS_URL": "ftp://a.example"}))


def test_keys_in_the_clear_are_warned_of() -> None:
    env = {"GEO_NOTIFICATION_AUDIENCE": "a", "GEO_NOTIFICATION_EMAIL": "b@c.example"}
    warned = Settings.from_env(GOOD | env | {"GEO_NOTIFICATION_KEYS_URL": "http://127.0.0.1:9/certs"}).warnings()
    assert any("GEO_NOTIFICATION_KEYS_URL" in warning for warning in warned)
    assert not any("KEYS_URL" in warning for warning in Settings.from_env(GOOD | env).warnings())


def test_secret_keys_are_several_while_one_is_changed() -> None:
    settings = Settings.from_env(GOOD | {"GEO_SECRET_KEY": "new-key, old-key ,"})
    assert [key.value for key in settings.secret_keys] == ["new-key", "old-key"]
    assert Settings.from_env(GOOD).secret_keys == ()


def test_how_long_what_is_past_is_kept() -> None:
    # Given nothing that says so, and something for each
    days = {"GEO_KEEP_EVENTS": "1d", "GEO_KEEP_UNREAD_EVENTS": "2w", "GEO_KEEP_HISTORY": "off"}

    # Then
    assert Settings.from_env(GOOD).retention == Retention(*(timedelta(days=each) for each in (14, 60, 30, 90)))
    assert Settings.from_env({**GOOD, **days, "GEO_KEEP_QUARANTINE": "12h"}).retention == Retention(
        events=timedelta(days=1), unread_events=timedelta(weeks=2), history=None, quarantine=timedelta(hours=12)
    )
    with pytest.raises(SettingsError, match="GEO_KEEP_HISTORY must be a number with"):
        Settings.from_env({**GOOD, "GEO_KEEP_HISTORY": "30"})
