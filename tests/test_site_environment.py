"""Several sites in one environment."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from app.settings import AuthKind, Deletion, Settings, SettingsError
from app.site_environment import OF_A_REGISTRY
from tests.support.deployment import offline_environment
from tests.support.variables import Asked


def read(**env: str) -> Settings:
    return Settings.from_env(offline_environment("sqlite:///none.db") | env)


def problems(env: Mapping[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        read(**env)
    return raised.value.problems


def test_one_site_is_as_ever() -> None:
    # Given an environment with one site
    settings = read(GEO_SITE_NAME="berlin")

    # Then there is no other
    assert [each.site_name for each in settings.every] == ["berlin"]
    assert settings.at("berlin") is settings
    assert settings.at("tokyo") is None


def test_each_site_has_its_own_registry_and_what_it_does_not_say_is_everybody_s() -> None:
    # Given three sites, one of which says more than its address
    settings = read(
        GEO_SITE_NAME="berlin, eu-west, tokyo.2",
        GEO_SECONDARY_REGISTRY_URL="https://berlin.example.com",
        GEO_SECONDARY_REGISTRY_URL_EU_WEST="https://west.example.com",
        GEO_SECONDARY_REGISTRY_URL_TOKYO_2="https://tokyo.example.com",
        GEO_TAGS="v*",
        GEO_TAGS_EU_WEST="stable",
        GEO_DELETION_TOKYO_2="off",
        GEO_PROTECTED_TAGS_BERLIN="keep",
    )

    # Then each is as it says
    assert {each.site_name: each.secondary and each.secondary.url for each in settings.every} == {
        "berlin": "https://berlin.example.com",
        "eu-west": "https://west.example.com",
        "tokyo.2": "https://tokyo.example.com",
    }
    assert [each.tags for each in settings.every] == [("v*",), ("stable",), ("v*",)]
    assert [each.deletion for each in settings.every] == [Deletion.TAGS, Deletion.TAGS, Deletion.OFF]
    assert [each.protected_tags for each in settings.every] == [("keep",), (), ()]


def test_the_first_site_s_password_is_shown_to_no_other_s_registry() -> None:
    # Given a site with a password, to which another was added with its address alone
    settings = read(
        GEO_SITE_NAME="berlin,tokyo",
        GEO_SECONDARY_REGISTRY_URL_TOKYO="https://tokyo.example.com",
        GEO_SECONDARY_REGISTRY_AUTH="basic",
        GEO_SECONDARY_REGISTRY_USERNAME="somebody",
        GEO_SECONDARY_REGISTRY_PASSWORD="berlins-own",
    )

    # Then the other has none
    tokyo = settings.further[0].secondary
    assert tokyo is not None
    assert (tokyo.auth, tokyo.username, tokyo.password) == (AuthKind.ANONYMOUS, None, None)


def test_mistakes_are_told_by_the_variable_that_was_meant() -> None:
    # Given sites with a mistake each
    told = problems(
        {
            "GEO_SITE_NAME": "berlin,tokyo",
            "GEO_DELETION": "all",
            "GEO_SECONDARY_REGISTRY_AUTH_TOKYO": "basic",
            "GEO_SECONDARY_REGISTRY_MAX_CONNECTIONS": "1",
        }
    )

    # Then each is told once, by its name
    assert sum("GEO_DELETION must be" in each for each in told) == 1
    assert any("GEO_SECONDARY_REGISTRY_URL_TOKYO is required" in each for each in told)
    assert any("set GEO_SECONDARY_REGISTRY_USERNAME_TOKYO" in each for each in told)
    assert any("GEO_SECONDARY_REGISTRY_MAX_CONNECTIONS must be" in each for each in told)


def test_a_variable_of_no_site_is_taken_for_misspelled() -> None:
    # Given the variable of a site that is not named
    told = problems({"GEO_SITE_NAME": "berlin", "GEO_DELETION_BERLN": "off"})

    # Then it is told of
    assert told == ["GEO_DELETION_BERLN is the variable of no site in GEO_SITE_NAME (berlin): is it misspelled?"]


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ({"GEO_SITE_NAME": "eu-west,eu.west"}, "names that differ in nothing but case or punctuation"),
        ({"GEO_SITE_NAME": "berlin,primary"}, "not `primary`"),
        ({"GEO_SITE_NAME": "berlin,to kyo"}, "must be 1 to 63 letters"),
        (
            {
                "GEO_SITE_NAME": "berlin,tokyo",
                "GEO_ROLE": "secondary",
                "GEO_PRIMARY_URL": "https://geo.example.com",
                "GEO_SITE_TOKEN": "token",
            },
            "may be one name only",
        ),
    ],
)
def test_names_that_cannot_be_are_refused(env: dict[str, str], told: str) -> None:
    # Given such names, each with an address
    more = {f"GEO_SECONDARY_REGISTRY_URL_{name}": "http://127.0.0.1:11" for name in ("EU_WEST", "TOKYO")}

    # Then they are refused
    assert any(told in each for each in problems(env | more))


def test_every_variable_of_a_registry_is_known() -> None:
    # Given the variables that the settings ask for
    asked = Asked(offline_environment("sqlite:///none.db", GEO_SITE_NAME="tokyo"))
    Settings.from_env(asked)

    # Then those of a registry are what a site may have for itself, and what is exchanged when registries are
    for prefix in ("GEO_PRIMARY_REGISTRY_", "GEO_SECONDARY_REGISTRY_"):
        of_it = {name.removeprefix(prefix).removesuffix("_TOKYO") for name in asked.names if name.startswith(prefix)}
        assert of_it - {"URL"} == {*OF_A_REGISTRY}
