"""The pages of single registries: every provider has one, and what it says is what the program knows."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from botocore import xform_name
from botocore.session import get_session

from app.notifications.dialects import DIALECTS
from app.providers import PROFILES, profile_of
from app.providers.profile import Catalog, Creation, Told
from app.settings import ProviderName, Settings
from tests.docs.markdown import Page, pages
from tests.support.root import ROOT
from tests.support.variables import Asked

INDEX = "docs/registries/README.md"

#: What the other half of a pair is, where a block of settings says only one.
OTHERS = {
    "GEO_REGISTRY_REPLICATION_PRIMARY_API_URL": "https://primary.example.com",
    "GEO_SECONDARY_REGISTRY_URL": "https://secondary.example.com",
    "GEO_NOTIFICATION_SECRET": "of-the-other-half",
}

PAGES = [page for page in pages() if page.name.startswith("docs/registries/") and page.name != INDEX]

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: Path(page.name).stem)


def indexed() -> Mapping[ProviderName, str]:
    """The page of each provider, by the table of the index."""
    rows = re.findall(r"^\| [^|]+ \| \[[^\]]+\]\(([^)#]+)[^)]*\) \| ([^|]+) \|", Page.read(INDEX).text, re.MULTILINE)
    return {
        ProviderName(name): str((ROOT / INDEX).parent.joinpath(page).resolve().relative_to(ROOT))
        for page, names in rows
        for name in re.findall(r"`([\w-]+)`", names)
    }


def providers(page: Page) -> set[ProviderName]:
    return {name for name, path in indexed().items() if path == page.name}


def environments(page: Page) -> list[dict[str, str]]:
    """The blocks of settings of a page."""
    blocks = [block.text for block in page.blocks if re.match(r"GEO_\w+=", block.text)]
    return [dict(line.split("=", 1) for line in shlex.split(text)) for text in blocks]


def test_every_provider_has_a_page() -> None:
    # Given the providers that the program knows, and the table
    found = indexed()

    # Then each is in it, and its page is there
    assert set(found) == set(PROFILES)
    assert [path for path in found.values() if not (ROOT / path).exists()] == []

    # And no page is left out
    assert {page.name for page in PAGES} <= set(found.values())


def test_every_dialect_is_on_a_page_and_every_one_on_a_page_is_there() -> None:
    # Given the addresses that any page tells people to enter
    route = re.compile(r"/events/([a-z][\w-]*)")
    named = {name for page in pages() for name in route.findall(page.text)}

    # Then they are routes, and none is missing but the one that needs no name
    assert sorted(named - set(DIALECTS)) == []
    assert {name for page in PAGES for name in route.findall(page.text)} == set(DIALECTS) - {"distribution", "gitlab"}


def test_the_table_says_what_the_profiles_say() -> None:
    told = {Told.ALL: "all", Told.SOME: "some", Told.NONE: "none", Told.UNKNOWN: "nobody knows"}
    lists = {
        Catalog.YES: ("yes", "it is asked"),
        Catalog.ADMINISTRATORS: ("to administrators",),
        Catalog.NO: ("no",),
        Catalog.CONTROL_PLANE: ("by Amazon's API",),
    }
    for row in re.findall(r"^\| .* \|$", Page.read(INDEX).text, re.MULTILINE)[1:]:
        cells = [cell.strip() for cell in row.strip("|").split(" | ")]
        for name in re.findall(r"`([\w-]+)`", cells[2]):
            profile = PROFILES[ProviderName(name)]
            assert cells[4].startswith(told[profile.deletions_told]), name
            assert cells[5] in lists[profile.catalog], name


@each_page
def test_the_settings_on_it_are_taken(page: Page) -> None:
    # Given its blocks of settings, and all names that settings have
    blocks = environments(page)
    sides = set()
    for block in blocks:
        # When the program reads each as it stands there, with another registry as the other half
        asked = Asked(OTHERS | block)
        settings = Settings.from_env(asked)

        # Then it takes them, knows every name, and sees whose registry it is
        assert sorted(set(block) - asked.names) == []
        for side, address in zip(("PRIMARY", "SECONDARY"), list(OTHERS)[:2], strict=True):
            if address in block:
                sides.add(side)
                registry = settings.primary if side == "PRIMARY" else settings.secondary
                assert registry is not None
                assert profile_of(registry)[0].name in providers(page), block

    # And there is one for each side
    assert sides == {"PRIMARY", "SECONDARY"}


@each_page
def test_what_the_registry_lacks_is_told_with_what_follows(page: Page) -> None:
    lacking = page.section("What it cannot do")
    primaries = [block for block in environments(page) if "GEO_REGISTRY_REPLICATION_PRIMARY_API_URL" in block]
    for name in providers(page):
        profile = PROFILES[name]

        # Whose deletions are not all told of, is followed by the reconcile; who lists nothing, by names
        if profile.deletions_told is not Told.ALL:
            assert "GEO_RECONCILE_INTERVAL" in lacking, name
        if profile.catalog is Catalog.NO:
            assert all("GEO_REPOSITORIES" in block for block in primaries), name
            assert "`GEO_REPOSITORIES`" in lacking, name
        if profile.creation is Creation.BY_HAND:
            assert "repository_not_created" in page.section("As the secondary"), name
        if profile.immutable_tags:
            assert "tag_immutable" in lacking, name
        if any((profile.limits.blob, profile.limits.manifest, profile.limits.artifact)):
            assert "beyond_limit" in lacking, name


@each_page
def test_it_says_what_was_never_run_and_how_to_check(page: Page) -> None:
    assert re.search(r"^\*Never run against [^*]+:\*", page.text, re.MULTILINE)
    assert "`geo check`" in page.section("Check")


@each_page
def test_what_is_json_on_it_is_json(page: Page) -> None:
    for block in page.blocks:
        if block.language == "json":
            json.loads(block.text)


@each_page
def test_a_shell_can_read_its_commands(page: Page) -> None:
    for block in page.blocks:
        if block.language == "sh":
            done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (0, ""), block


def test_amazons_commands_have_the_options_that_are_given() -> None:
    # Given the commands of Amazon's program; they are called as the operations of its API, as are their options
    text = "\n".join(block.text for block in Page.read("docs/registries/ecr.md").blocks if block.language == "sh")
    commands = re.findall(r"\baws ([a-z]+) ([a-z-]+)(.*?)(?=\baws [a-z]+ [a-z-]+ |\Z)", text, re.DOTALL)
    assert len(commands) == 6

    for service, command, rest in commands:
        # When its operation is looked up in Amazon's own client
        model = get_session().get_service_model(service)
        operation = {xform_name(name, "-"): name for name in model.operation_names}[command]
        members = {xform_name(name, "-") for name in model.operation_model(operation).input_shape.members}

        # Then each option is there
        given = set(re.findall(r"(?<=\s)--([a-z-]+)", rest)) - {"query", "output"}
        assert sorted(given - members) == [], command


def test_the_actions_of_amazons_policies_exist() -> None:
    # Given the actions in the policies; those of a registry are called as the operations of its API
    named = re.findall(r'"(ecr(?:-public)?):(\w+)"', Page.read("docs/registries/ecr.md").text)
    operations = {
        service: set(get_session().get_service_model(service).operation_names) for service in ("ecr", "ecr-public")
    }

    # Then Amazon's own client knows each
    assert named
    assert [f"{service}:{action}" for service, action in named if action not in operations[service]] == []

    # And what our control plane calls is allowed
    for service in operations:
        allowed = {action for each, action in named if each == service}
        assert allowed >= {"BatchDeleteImage", "CreateRepository", "DescribeRepositories", "GetAuthorizationToken"}
