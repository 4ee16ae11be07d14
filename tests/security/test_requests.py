"""What a request can try that its sender has no right to: by its host, its origin, its form and its cookie."""

from __future__ import annotations

import ast
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.sessions import SecureCookieSessionInterface

from app import secret_keys
from app.database import connection
from app.models import ContainerRepository, ContainerRepositoryRegistry, Event, QuarantinedEvent, Reference, Site
from tests.support.deployment import ADMIN_TOKEN
from tests.support.face import Face, csrf, face
from tests.support.root import ROOT
from tests.support.seed import seed

#: What a person may have changed.
CHANGED = (Site, ContainerRepository, ContainerRepositoryRegistry, Reference, Event, QuarantinedEvent)

#: An operator's own secret with itself, a token with the one that it takes the place of, and plans of demotions.
COMPARED = {
    ("shared_tokens.py", "secret != besides"),
    ("registry_settings.py", "(username is None) != (password is None)"),
    ("registry_config.py", "secret != secret.strip()"),
    ("demotion.py", "_fingerprint(was) != _fingerprint(now_is)"),
}

HOSTILE_HOST = 'evil.example"><script>alert(1)</script>'


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Face]:
    with face(f"sqlite:///{tmp_path}/geo.db", tmp_path / "state") as started:
        yield started


@pytest.mark.parametrize("host", ["evil.example", "evil.example:1", HOSTILE_HOST, "evil.example/admin", "a b"])
def test_a_host_of_somebodys_choosing_leads_nobody_there(web: Face, host: str) -> None:
    # Given a request that names another host, and one that a proxy is said to have had
    headers = {"Host": host, "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}

    # When somebody who is not signed in asks, Then he is sent on within the host that he has asked
    answer = web.client.get("/admin/repositories", headers=headers)
    if answer.status_code != 400:
        assert answer.location.startswith("/admin/sign-in")

    # And nothing on a page is read from there, nor becomes markup
    web.sign_in()
    for address in ("/admin", "/admin/events"):
        page = web.client.get(address, headers=headers).text
        assert "<script>alert" not in page
        assert re.findall(r'(?:href|src|action)="[^"]*evil[^"]*"', page) == []


def test_every_form_has_its_token(web: Face) -> None:
    # Given all pages with forms
    rows = seed(web.site)
    web.sign_in()
    pages = ["/admin", "/admin/repositories", f"/admin/repositories/{rows.synced.id}", "/admin/check"]
    pages += ["/admin/events", "/admin/quarantine", "/admin/repositories/resync", "/admin/repositories/reverify"]
    forms = [form for page in pages for form in re.findall(r"(?s)<form.*?</form>", web.client.get(page).text)]
    posting = [form for form in forms if 'method="post"' in form.lower()]

    # Then each that changes something holds the session's token
    assert len(posting) >= 5
    assert [form[:200] for form in posting if 'name="csrf_token"' not in form] == []


def test_nothing_is_changed_by_a_get(web: Face) -> None:
    # Given somebody who is signed in, and whose browser follows a link or an image that somebody else placed
    seed(web.site)
    web.sign_in()

    def rows() -> list[Any]:
        with connection():
            return [row for model in CHANGED for row in model.select().order_by(model.id).dicts()]

    before = rows()

    # When every address is asked for by GET
    for rule in web.app.url_map.iter_rules():
        if "GET" in (rule.methods or set()):
            path = re.sub(r"<int:\w+>", "1", re.sub(r"<(path:)?\w+>", "x", rule.rule))
            web.client.get(path, headers={"PRIVATE-TOKEN": ADMIN_TOKEN}).close()

    # Then everything is as it was, and no worker was woken
    assert rows() == before
    assert web.wake.woken == []


@pytest.mark.parametrize("path", ["/api/v4/geo_sites", "/metrics", "/openapi.json", "/-/health", "/jwt/auth"])
def test_no_other_site_s_script_reads_an_answer(web: Face, path: str) -> None:
    answer = web.client.get(path, headers={"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in answer.headers
    preflight = web.client.options(path, headers={"Origin": "https://evil.example"})
    assert not [name for name in preflight.headers.keys() if name.startswith("Access-Control")]  # noqa: SIM118


@pytest.mark.parametrize(
    "cookie",
    ["", "x", "eyJhZG1pbiI6IngifQ.aaaa.bbbb", "." * 3000, "eyJhZG1pbiI6IngifQ", "\\054", "é"],
    ids=["empty", "word", "unsigned", "long", "payload", "escape", "latin1"],
)
def test_a_made_up_cookie_is_nobody_s(web: Face, cookie: str) -> None:
    web.client.set_cookie("geo_session", cookie, path="/admin")
    assert web.client.get("/admin").status_code == 303


def test_a_cookie_signed_with_another_key_is_nobody_s(web: Face) -> None:
    # Given somebody who makes a cookie as ours are made, with a key of his own
    web.app.secret_key, kept = "a-key-of-his-own", web.app.secret_key
    signer = SecureCookieSessionInterface().get_signing_serializer(web.app)
    web.app.secret_key = kept
    assert signer is not None
    forged = signer.dumps({"admin": "0" * 64, "since": int(time.time()), "csrf": "x"})

    # When he comes with it, Then he is not in
    web.client.set_cookie("geo_session", forged, path="/admin")
    assert web.client.get("/admin").status_code == 303


def test_the_key_of_sessions_alone_signs_nobody_in(web: Face) -> None:
    # Given somebody who has the key by which cookies are signed, and not the admin token
    signer = SecureCookieSessionInterface().get_signing_serializer(web.app)
    assert signer is not None
    for admin in ("", "0" * 64, secret_keys.KEY_FILE, str(web.app.secret_key)):
        forged = signer.dumps({"admin": admin, "since": int(time.time()), "csrf": "x"})
        web.client.set_cookie("geo_session", forged, path="/admin")
        # Then it is no way in: the session names the token too
        assert web.client.get("/admin").status_code == 303


def test_a_cookie_is_not_good_for_the_api_nor_a_token_in_the_address(web: Face) -> None:
    web.sign_in()
    for address in (
        "/api/v4/geo_sites",
        f"/api/v4/geo_sites?private_token={ADMIN_TOKEN}",
        f"/api/v4/geo_sites?access_token={ADMIN_TOKEN}&token={ADMIN_TOKEN}",
    ):
        assert web.client.get(address).status_code == 401


def test_signing_in_twice_gives_two_sessions(web: Face) -> None:
    def cookie() -> str:
        found = web.client.get_cookie("geo_session", path="/admin")
        assert found is not None
        return found.value

    web.sign_in()
    web.client.get("/admin")
    first = cookie()
    page = web.client.get("/admin").text
    web.client.post("/admin/sign-out", data={"csrf_token": csrf(page)})
    assert web.client.get("/admin").status_code == 303
    web.sign_in()
    web.client.get("/admin")
    assert cookie() != first


def test_secrets_are_compared_in_the_same_time() -> None:
    # Given every comparison in the program
    found = []
    for path in sorted((ROOT / "app").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare) and any(isinstance(each, (ast.Eq, ast.NotEq)) for each in node.ops):
                found.append((path.name, ast.unparse(node)))
    assert len(found) > 300

    # Then none is of a secret and what somebody sent: those go by hmac.compare_digest, or are looked up by their hash
    secret = re.compile(r"secret|password|csrf|admin_token|(?<!key_)fingerprint\(|signature", re.IGNORECASE)
    assert {each for each in found if secret.search(each[1])} <= COMPARED
