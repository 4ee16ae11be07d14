"""Remote sites as a person or a reviewed file declares them."""

from __future__ import annotations

import pytest

from app.database import connection
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Cursor, Site
from app.replication import remote_sites, sites
from app.replication.log import Terms
from app.replication.log.local import terms_of
from app.replication.remote_sites import Change, Declaration, InvalidSite
from app.settings import Deletion, Settings, VerificationLevel
from tests.support.deployment import Deployment, event, offline_environment

FILE = """
[sites.berlin]
url = "https://registry.berlin.example.com/"
repositories = ["team/**", "!team/secret"]

[sites."paris.2"]
paused = true
"""


def names() -> list[str]:
    with connection():
        return [site.name for site in remote_sites.remote()]


def difference(text: str) -> list[str]:
    with connection():
        return [line for change in remote_sites.changes(remote_sites.read(text)) for line in change.lines()]


def apply(text: str) -> None:
    with connection():
        changed = remote_sites.changes(remote_sites.read(text))
    remote_sites.apply(changed)


def site(name: str = "berlin") -> Site:
    with connection():
        return Site.get(Site.name == name)


def test_a_file_says_which_sites_there_are(state: Deployment) -> None:
    # Given a file, applied
    assert [line for line in difference(FILE) if not line.startswith(" ")] == ["+ berlin", "+ paris.2"]
    apply(FILE)

    # Then its sites are there, and nothing is different any more
    assert names() == ["berlin", "paris.2"]
    assert difference(FILE) == []
    assert (site().url, site().repositories) == ("https://registry.berlin.example.com", "team/**\n!team/secret")
    assert (site().enabled, site("paris.2").enabled) == (True, False)

    # When it changes
    other = '[sites.berlin]\nrepositories = ["team/**"]\n'

    # Then the difference says what, and applying it makes it so
    assert difference(other) == [
        "~ berlin",
        '    - url = "https://registry.berlin.example.com"',
        '    + url = ""',
        '    - repositories = ["team/**", "!team/secret"]',
        '    + repositories = ["team/**"]',
        "- paris.2",
        '    - url = ""',
        "    - repositories = []",
        "    - tags = []",
        "    - protected_tags = []",
        "    - paused = true",
    ]
    apply(other)
    assert names() == ["berlin"]
    assert site().reconcile_reason == "its scope changed at the primary"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sites = 1", "table"),
        ("[site.berlin]", "nothing else"),
        ("[sites.berlin", "not TOML"),
        ("[sites]\nberlin = 1", "not a table"),
        ('[sites.berlin]\nrepository = ["a"]', "there is no `repository`"),
        ('[sites.berlin]\nrepositories = "a"', "not a list"),
        ("[sites.berlin]\nrepositories = [1]", "list of patterns"),
        ('[sites.berlin]\nrepositories = ["A/B"]', "cannot match"),
        ('[sites.berlin]\nurl = "ftp://x"', "no http"),
        ('[sites.berlin]\nurl = "https://a:b@x"', "no http"),
        ("[sites.berlin]\ncapacity = 0", "whole number"),
        ("[sites.berlin]\ncapacity = true", "not a whole number"),
        ('[sites.berlin]\ncapacity = "4"', "not a whole number"),
        ('[sites.berlin]\ndeletion = "all"', "`deletion` is one of off, tags, tags\\+untagged, mirror, not 'all'"),
        ("[sites.berlin]\ndeletion = false", "`deletion` is not a text"),
        ('[sites.berlin]\nprotected_tags = "stable"', "not a list"),
        ('[sites.berlin]\nprotected_tags = ["a/b"]', "cannot match a tag"),
        ('[sites.berlin]\nprotected_tags = ["regex:("]', "no regular expression"),
        ('[sites.berlin]\nprotected_tags = ["regex:a\\nb"]', "list of patterns"),
        ('[sites.berlin]\nverification = "all"', "`verification` is one of tags, manifests, blobs, content"),
        ("[sites.primary]", "cannot be a site's name"),
        ('[sites."a b"]', "cannot be a site's name"),
    ],
)
def test_a_mistake_in_a_file_changes_nothing_and_is_told(state: Deployment, text: str, words: str) -> None:
    with pytest.raises(InvalidSite, match=words):
        apply(text)
    assert names() == []


def test_a_capacity_is_declared_and_taken_back(state: Deployment) -> None:
    apply("[sites.berlin]\ncapacity = 4")
    assert site().capacity == 4
    assert difference("[sites.berlin]\ncapacity = 5") == ["~ berlin", "    - capacity = 4", "    + capacity = 5"]
    assert difference("[sites.berlin]") == ["~ berlin", "    - capacity = 4"]
    apply("[sites.berlin]")
    assert (site().capacity, site().reconcile_reason) == (None, None)


def test_policies_are_declared_shown_and_taken_back(state: Deployment) -> None:
    # Given a site of which nothing but its name is said
    apply("[sites.berlin]")
    assert (site().deletion, site().protected_tags, site().verification) == ("", "", None)
    assert terms_of(site()) == Terms("berlin")

    # When a file says policies of it
    text = '[sites.berlin]\ndeletion = "off"\nprotected_tags = ["stable", "v1.*"]\nverification = "blobs"\n'
    assert difference(text) == [
        "~ berlin",
        '    + deletion = "off"',
        "    - protected_tags = []",
        '    + protected_tags = ["stable", "v1.*"]',
        '    + verification = "blobs"',
    ]
    apply(text)

    # Then they are what its deployment is told, and no repository need be looked at here for that
    assert difference(text) == []
    expected = Terms(
        "berlin",
        deletion=Deletion.OFF,
        protected_tags=("stable", "v1.*"),
        verification=VerificationLevel.BLOBS,
    )
    assert terms_of(site()) == expected
    assert site().reconcile_reason is None

    # And what a file no longer says is left to the site again
    assert difference("[sites.berlin]")[1] == '    - deletion = "off"'
    apply("[sites.berlin]")
    assert terms_of(site()) == Terms("berlin")


def test_the_environment_s_own_site_is_not_a_file_s(state: Deployment) -> None:
    # Given a file that names it, and another site
    text = f'[sites.berlin]\n[sites.{state.site.name}]\ndeletion = "off"'

    # Then no difference is shown of it, but who governs it, and by which variables
    with pytest.raises(InvalidSite, match=r"GEO_SITE_NAME.* anew at each start.*GEO_DELETION, GEO_PROTECTED_TAGS"):
        difference(text)

    # And a change that was made up otherwise changes nothing either
    with pytest.raises(InvalidSite, match="GEO_SITE_NAME"):
        remote_sites.apply([Change(None, Declaration(state.site.name, deletion=Deletion.OFF))])
    assert (state.fresh_site().remote, state.fresh_site().deletion, names()) == (False, "tags", [])

    # And a file that leaves it out leaves it alone
    apply("[sites.berlin]")
    assert not state.fresh_site().retired


def test_what_was_changed_meanwhile_is_not_overwritten(state: Deployment) -> None:
    apply("[sites.berlin]")
    before = Declaration("berlin", repositories=("team/*",))
    with pytest.raises(InvalidSite, match="meanwhile"):
        remote_sites.apply([Change(before, Declaration("berlin"))])


def test_nothing_is_replicated_to_a_remote_site_from_here(state: Deployment) -> None:
    # Given our own site and a remote one
    apply("[sites.berlin]")
    state.store(event(tag="v1"))
    state.mark()

    # Then only ours has work
    assert [each.name for each in _enabled()] == [state.site.name]
    with connection():
        assert {row.site_id for row in Registry.select()} == {state.site.id}


def _enabled() -> list[Site]:
    with connection():
        return sites.enabled_secondaries()


def test_a_start_leaves_remote_sites_alone(state: Deployment) -> None:
    apply("[sites.berlin]")
    sites.apply_environment(state.context.settings)
    assert names() == ["berlin"]
    assert not site().retired


def test_a_removed_site_comes_back_as_a_new_one(state: Deployment) -> None:
    # Given a site that is removed and added again while events came
    apply("[sites.berlin]")
    apply("[sites]")
    assert names() == []
    state.store(event(tag="v1"))
    apply("[sites.berlin]")

    # Then the log is kept for it from now on
    with connection():
        position = Cursor.get(Cursor.site == site()).position
    assert position == 1


def test_our_own_site_becomes_a_remote_one_with_a_deployment_of_its_own(state: Deployment, database_url: str) -> None:
    # Given a deployment that has replicated
    state.store(event(tag="v1"))
    state.mark()
    name = state.site.name

    # When it becomes one that only receives, and its former site a remote one
    settings = Settings.from_env(offline_environment(database_url, GEO_ROLE="primary"))
    assert sites.apply_environment(settings) is None
    assert site(name).retired
    apply(f"[sites.{name}]")

    # Then nothing of what was known of it is left to be claimed here
    assert names() == [name]
    with connection():
        assert Registry.select().count() == 0


def test_a_name_is_not_two_sites(state: Deployment, database_url: str) -> None:
    apply("[sites.berlin]")
    with pytest.raises(sites.NotOurs, match="berlin"):
        sites.apply_environment(Settings.from_env(offline_environment(database_url, GEO_SITE_NAME="berlin")))
