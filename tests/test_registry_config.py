"""Printed configuration, proven by the registries that read it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest
import requests

from app.notifications import RegistryEvent, parse
from app.registry_config import GITLAB_MAX_RETRIES, InvalidRegistryConfig, distribution_yaml, gitlab_rb
from tests.support import parts
from tests.support.images import image
from tests.support.keys import TokenAuth
from tests.support.processes import clean_environment
from tests.support.receivers import Receiver
from tests.support.registries import DistributionRegistry, Version
from tests.support.wait import wait_until
from tests.support.wire import delete_digest, digest_of, fetch, push

#: All that is special to YAML or to Ruby, and legal in an HTTP header.
NASTY = r"""it's "odd": #{raise} \ \n \' \" # %s $HOME - [a]{b} & *c !d | > @e `f` ~"""
SECRETS = ["Zm9v-bar_BAZ0123456789abcdefghij", "Bearer x", NASTY, "'", '"', "\\", "\\'", "#{1}", "null", "0x1F", "- a"]
URL = "https://geo.example.com/api/v4/container_registry_event/events"
CERTIFICATE = "/etc/docker/registry.crt"


class Configured(DistributionRegistry):
    """A registry whose configuration is the least there can be, with the printed sections merged in."""

    def __init__(self, path: Path, printed: str, **options: Any) -> None:
        super().__init__(path, **options)
        self.printed = printed

    def _write_config(self) -> None:
        storage = f"storage:\n  filesystem:\n    rootdirectory: {json.dumps(str(self.storage))}\n"
        assert self.printed.count("storage:\n") <= 1
        merged = self.printed.replace("storage:\n", storage) if "storage:\n" in self.printed else storage + self.printed
        (self.path / "config.yml").write_text(f"version: 0.1\nhttp:\n  addr: {self.host}\n{merged}")


@pytest.mark.parametrize("version", get_args(Version))
@pytest.mark.parametrize("secret", SECRETS)
def test_a_primary_sends_pushes_alone_with_the_very_secret(tmp_path: Path, version: Version, secret: str) -> None:
    # Given a registry with what is printed for the primary
    with Receiver() as receiver:
        printed = distribution_yaml("primary", webhook_url=f"{receiver.url}/events", secret=secret)
        with Configured(tmp_path, printed, version=version) as registry:
            # When an image is pushed, pulled, and another pushed
            first, second = image(), image()
            push(registry, "team/app", "v1", first)
            fetch(registry, "team/app", "v1")
            push(registry, "team/app", "v2", second)
            wait_until(lambda: len(receiver.events) >= 2)

        # Then the two pushes arrive, neither blobs nor pulls, and with the secret unchanged
        assert {request.headers["authorization"] for request in receiver.received} == {secret}
        found = [parse(None, request.body, request.headers["content-type"]) for request in receiver.received]
        assert [(outcome.ignored, outcome.quarantined) for outcome in found] == [({}, ())] * 2
        assert [described(event) for outcome in found for event in outcome.events] == [
            ("push", "team/app", "v1", first.digest),
            ("push", "team/app", "v2", second.digest),
        ]
        assert all(len(outcome.source_instances) == 1 for outcome in found)


def described(event: RegistryEvent) -> tuple[str, str, str | None, str | None]:
    assert event.occurred_at is not None
    return event.action, event.repository, event.tag, event.digest


@pytest.mark.parametrize("version", get_args(Version))
def test_a_secondary_trusts_the_key_and_lets_delete(tmp_path: Path, token_auth: TokenAuth, version: Version) -> None:
    # Given a registry with what is printed for the secondary, its certificate in a place with an odd name
    bundle = tmp_path / 'it\'s "mine" \\ #1' / "registry é.crt"
    bundle.parent.mkdir()
    bundle.write_bytes(token_auth.rootcertbundle.read_bytes())
    auth = TokenAuth(token_auth.keys, issuer='the "issuer": #1', service="the 'service' \\")
    printed = distribution_yaml(
        "secondary",
        realm="https://auth.example.com/token?a=b",
        service=auth.service,
        issuer=auth.issuer,
        certificate_path=str(bundle),
    )
    with Configured(tmp_path / "registry", printed, version=version, token=auth) as registry:
        # When an image is pushed by a token of that key, and deleted
        digest = push(registry, "team/app", "v1", image())
        delete_digest(registry, "team/app", digest)

        # Then it is gone, and who has no token is sent to the realm
        assert digest_of(registry, "team/app", "v1") is None
        with requests.Session() as session:
            session.trust_env = False
            challenge = session.get(f"{registry.url}/v2/", timeout=10).headers["WWW-Authenticate"]
        assert 'realm="https://auth.example.com/token?a=b"' in challenge


def test_what_is_configured_elsewhere_is_left_out() -> None:
    # Given no certificate, then there is no token section; given a secondary, then no notifications
    assert "\nauth:" not in distribution_yaml("primary", webhook_url=URL, secret="s")
    printed = distribution_yaml("secondary", realm="https://a/t", certificate_path=CERTIFICATE)
    assert "\nnotifications:" not in printed
    assert "\nstorage:" not in distribution_yaml("primary", webhook_url=URL, secret="s")


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        (URL, False),
        ("http://geo.example.com/e", True),
        ("http://127.0.0.1:8000/e", False),
        ("http://[::1]:80/e", False),
    ],
)
def test_a_secret_that_crosses_the_network_in_clear_is_warned_of(url: str, warned: bool) -> None:
    for printed in (
        distribution_yaml("primary", webhook_url=url, secret="s"),
        gitlab_rb("primary", webhook_url=url, secret="s"),
    ):
        assert ("Use https" in printed) is warned


@pytest.mark.parametrize(
    "arguments",
    [
        {"secret": None},
        {"webhook_url": None},
        {"secret": ""},
        {"secret": " x"},
        {"secret": "x\t"},
        {"secret": "x\ny"},
        {"secret": "sécret"},
        {"webhook_url": "geo.example.com/events"},
        {"webhook_url": "ftp://geo.example.com/events"},
        {"webhook_url": "https:///events"},
        {"webhook_url": "https://geo.example.com:x/events"},
        {"webhook_url": "https://[broken/events"},
        {"webhook_url": "https://geo.example.com/a b"},
        {"webhook_url": "https://geo.example.com/a\nb"},
        {"webhook_url": "https://geo.example.com/#a"},
        {"webhook_url": "https://user:hidden@geo.example.com/"},
    ],
)
def test_a_webhook_that_cannot_work_is_refused_without_showing_the_secret(arguments: dict[str, Any]) -> None:
    for printer in (distribution_yaml, gitlab_rb):
        with pytest.raises(InvalidRegistryConfig) as caught:
            printer("primary", **{"webhook_url": URL, "secret": "hidden", **arguments})
        assert (caught.value.reason, caught.value.temporary) == ("invalid", False)
        assert "hidden" not in str(caught.value)
        assert (arguments.get("secret") or "hidden").strip() not in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        {"realm": None},
        {"realm": "auth.example.com"},
        {"service": ""},
        {"issuer": "a\nb"},
        {"certificate_path": "/etc/a\x85b"},
        {"certificate_path": ""},
    ],
)
def test_a_token_section_that_cannot_work_is_refused(arguments: dict[str, Any]) -> None:
    good: dict[str, Any] = {"realm": "https://a/t", "certificate_path": CERTIFICATE}
    with pytest.raises(InvalidRegistryConfig):
        distribution_yaml("secondary", **{**good, **arguments})


def test_a_role_that_is_none_is_refused() -> None:
    role: Any = "both"
    for printer in (distribution_yaml, gitlab_rb):
        with pytest.raises(InvalidRegistryConfig, match="primary or secondary"):
            printer(role)


def strings(ruby: str) -> list[str]:
    """The single-quoted strings of Ruby text, unescaped as Ruby does."""
    code = "\n".join(line for line in ruby.splitlines() if not line.lstrip().startswith("#"))
    return [re.sub(r"\\([\\'])", r"\1", quoted) for quoted in re.findall(r"'((?:[^'\\]|\\.)*)'", code)]


@pytest.mark.parametrize("secret", SECRETS)
def test_gitlabs_strings_are_quoted(secret: str) -> None:
    found = strings(gitlab_rb("primary", webhook_url=f"{URL}?a='b'", secret=secret))
    assert found[found.index("url") + 1] == f"{URL}?a='b'"
    assert found[found.index("Authorization") + 1] == secret


#: What gitlab.rb is to GitLab: an unset setting becomes an empty hash when it is read.
GITLAB_STUB = """
require 'json'
registry, gitlab_rails = Array.new(2) { Hash.new { |hash, key| hash[key] = {} } }
registry['notifications'] = JSON.parse(ARGV[1]) if ARGV[1]
eval(File.read(ARGV[0]))
puts JSON.generate('registry' => registry, 'gitlab_rails' => gitlab_rails)
"""


def evaluate(path: Path, printed: str, *arguments: str) -> dict[str, Any]:
    """What GitLab makes of the lines, by Ruby itself where it is installed."""
    ruby = parts.optional("ruby")
    (path / "gitlab.rb").write_text(printed)
    done = subprocess.run(
        [ruby, "-w", "-e", GITLAB_STUB, path / "gitlab.rb", *arguments],
        check=True,
        capture_output=True,
        text=True,
        env=clean_environment(LANG="C.UTF-8"),
    )
    assert done.stderr == ""
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("present", [[], [{"name": "other"}]], ids=["none", "one"])
def test_gitlab_adds_the_endpoint_to_those_that_are_there(
    tmp_path: Path, secret: str, present: list[dict[str, str]]
) -> None:
    # Given a gitlab.rb that has no endpoint, or one
    printed = gitlab_rb("primary", webhook_url=URL, secret=secret)

    # When Ruby reads the lines
    found = evaluate(tmp_path, printed, *([json.dumps(present)] if present else []))

    # Then ours is the last, and nothing else is set
    assert found == {
        "registry": {
            "notifications": [
                *present,
                {
                    "name": "geo_event",
                    "url": URL,
                    "timeout": "500ms",
                    "maxretries": GITLAB_MAX_RETRIES,
                    "backoff": "1s",
                    "headers": {"Authorization": [secret]},
                    "ignore": {"mediatypes": ["application/octet-stream"], "actions": ["pull", "mount"]},
                },
            ]
        },
        "gitlab_rails": {},
    }


def test_gitlabs_secondary_lets_delete_and_replicates_by_one_means_alone(tmp_path: Path) -> None:
    assert evaluate(tmp_path, gitlab_rb("secondary")) == {
        "registry": {"storage_delete_enabled": True},
        "gitlab_rails": {"geo_registry_replication_enabled": False},
    }


@pytest.mark.parametrize("version", get_args(Version))
def test_a_registry_takes_what_gitlab_makes_of_its_lines(tmp_path: Path, version: Version) -> None:
    # Given GitLab's way of writing its registry's configuration: the list as JSON
    with Receiver() as receiver:
        printed = gitlab_rb("primary", webhook_url=f"{receiver.url}/events", secret=NASTY)
        endpoints = evaluate(tmp_path, printed)["registry"]["notifications"]
        config = f"notifications:\n  endpoints: {json.dumps(endpoints)}\n"

        # When an image is pushed
        with Configured(tmp_path / "registry", config, version=version) as registry:
            push(registry, "team/app", "v1", image())
            (request,) = wait_until(lambda: receiver.received)

        # Then it arrives with the secret
        assert request.headers["authorization"] == NASTY
