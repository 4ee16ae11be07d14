"""The OpenAPI document says what there is: every route, and every field of every answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import jsonschema_rs
import pytest
from werkzeug.test import TestResponse

from app.api.openapi import document
from app.api.openapi.parts import DIGEST, PATH, TAG
from app.api.resources import waiting
from app.database import connection, now
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Cursor, Reference, Site
from app.registry import is_repository, is_tag
from app.registry.references import Digest
from app.replication import remote_sites, site_reports, site_tokens
from app.replication.remote_sites import Change, Declaration
from tests.api.asking import REPOSITORIES, Asking
from tests.support.deployment import SECRET
from tests.support.running import WEBHOOK
from tests.support.seed import Seeded, digest
from tests.support.site_report import REPORT

#: What the document is about; pages are for people.
DESCRIBED = ("/api/", "/-/", "/metrics", "/jwt/", "/openapi.json")

METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            yield path, method.upper(), operation


def validator(schema: dict[str, Any]) -> jsonschema_rs.Validator:
    """With the document's other schemas at hand."""
    return jsonschema_rs.validator_for({**schema, "components": document()["components"]}, validate_formats=True)


def conforms(response: TestResponse, path: str, method: str = "GET") -> Any:
    """What was answered, which is as the operation says."""
    operation = document()["paths"][path][method.lower()]
    told = operation["responses"][str(response.status_code)]
    if "$ref" in told:
        told = document()["components"]["responses"][told["$ref"].rpartition("/")[2]]
    schema = told["content"][response.mimetype]["schema"]
    shown = response.get_json()
    errors = [f"{error.instance_path}: {error.message}" for error in validator(schema).iter_errors(shown)]
    assert not errors, errors
    return shown


# --- routes -----------------------------------------------------------------------------------------------------------


def test_every_route_has_its_operation_and_the_reverse(asking: Asking) -> None:
    # Given the routes of the application, as OpenAPI writes them
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method)
        for rule in asking.face.app.url_map.iter_rules()
        for method in (rule.methods or set()) & METHODS
        if rule.rule.startswith(DESCRIBED)
    }
    # Then they are those of the document
    assert routes == {(path, method) for path, method, _ in operations()}


def test_parameters_in_paths_are_declared() -> None:
    for path, _, operation in operations():
        declared = {each["name"] for each in operation.get("parameters", []) if each["in"] == "path"}
        assert declared == set(re.findall(r"\{(\w+)\}", path)), path


def test_names_are_unique_and_references_lead_somewhere() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(names) == len(set(names))
    tags = {tag["name"] for tag in document()["tags"]}
    assert {tag for _, _, operation in operations() for tag in operation["tags"]} == tags
    for target in _references(document()):
        found: Any = document()
        for part in target.removeprefix("#/").split("/"):
            found = found[part]


def test_every_schema_is_one_and_used() -> None:
    schemas = document()["components"]["schemas"]
    used = {target.rpartition("/")[2] for target in _references(document()) if "/schemas/" in target}
    assert used == set(schemas)
    for schema in schemas.values():
        jsonschema_rs.meta.validate(schema)


def test_who_may_ask_is_said() -> None:
    for path, _, operation in operations():
        needed = {name for each in operation["security"] for name in each}
        assert needed <= set(document()["components"]["securitySchemes"])
        if path.startswith("/api/"):
            assert needed, path
            assert "401" in operation["responses"]


def test_it_is_served_without_a_token(asking: Asking) -> None:
    response = asking.face.client.get("/openapi.json")
    assert response.get_json() == document()
    assert document()["openapi"] == "3.1.0"


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from _references(each)


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["team/app", "a", "a.b_c__d-e---f/g", "A", "a//b", "/a", "a/", "a..b", "a___b", "-a", "", "a" * 256, "a\n", "é"],
)
def test_the_pattern_of_a_path_is_that_of_the_code(text: str) -> None:
    assert validator(PATH).is_valid(text) == is_repository(text)


@pytest.mark.parametrize("text", ["v1", "_", "-", ".", "a" * 128, "a" * 129, "", "a/b", "V1.0-rc_1", "v1\n"])
def test_the_pattern_of_a_tag_is_that_of_the_code(text: str) -> None:
    assert validator(TAG).is_valid(text) == is_tag(text)


@pytest.mark.parametrize(
    "text",
    [
        "sha256:" + "a" * 64,
        "sha256:" + "A" * 64,
        "sha256:a",
        "sha384:" + "0" * 96,
        "sha512:" + "0" * 128,
        "md5:" + "a" * 32,
        "",
        "v1",
    ],
)
def test_the_pattern_of_a_digest_is_that_of_the_code(text: str) -> None:
    assert validator(DIGEST).is_valid(text) == Digest.supported(text)


def test_limits_are_those_of_the_code() -> None:
    parameters = document()["paths"][f"{REPOSITORIES}/wait"]["get"]["parameters"]
    (timeout,) = [each["schema"] for each in parameters if each["name"] == "timeout"]
    assert (timeout["maximum"], timeout["default"]) == (waiting.MAX_TIMEOUT, waiting.DEFAULT_TIMEOUT)


# --- answers ----------------------------------------------------------------------------------------------------------


def test_sites_are_told_as_the_document_says(asking: Asking, rows: Seeded) -> None:
    # Given a site in the middle of a backfill that its primary limits, and one of a deployment of its own
    remote_sites.apply([Change(None, Declaration("berlin"))])
    with connection():
        limits = {"granted_repositories": "team/**", "granted_tags": "v*", "granted_capacity": 3}
        begun = now() - timedelta(minutes=1)
        Site.update(**limits, reconcile_started_at=begun).where(Site.id == asking.face.site.id).execute()
        Cursor.update(event_at=now()).execute()
        Registry.update(full_sync=True, full_sync_requested_at=now()).where(Registry.id == rows.synced.id).execute()
    _check_sites(asking)
    # When that one has reported
    with connection():
        berlin = Site.get(Site.name == "berlin")
    assert site_reports.keep(berlin, REPORT)
    # Then what it said is told, too
    shown = _check_sites(asking)
    assert all(shown[-1][member] is not None for member in ("reported", "backfill"))
    assert shown[1]["granted"] is not None


def _check_sites(asking: Asking) -> list[Any]:
    shown: list[Any] = conforms(asking.send("GET", "/api/v4/geo_sites"), "/api/v4/geo_sites")
    conforms(asking.send("GET", "/api/v4/geo_sites/status"), "/api/v4/geo_sites/status")
    for site in shown:
        one = conforms(asking.send("GET", site["_links"]["self"]), "/api/v4/geo_sites/{site_id}")
        assert one["id"] == site["id"]
        conforms(asking.send("GET", site["_links"]["status"]), "/api/v4/geo_sites/{site_id}/status")
    return shown


def test_repositories_are_told_as_the_document_says(asking: Asking, rows: Seeded) -> None:
    with connection():
        instant = now()
        seen = {"verified_at": instant, "fully_verified_at": instant, "verification_level": "blobs"}
        Registry.update(**seen, verification_checksum="a" * 64).where(Registry.id == rows.synced.id).execute()
        Reference.update(verified_at=instant, verified_digest=digest("1.1")).where(Reference.name == "1.1").execute()
    assert len(conforms(asking.send("GET", REPOSITORIES), REPOSITORIES)) == 8
    one = f"{REPOSITORIES}/{{registry_id}}"
    for row in (rows.synced, rows.failed, rows.hostile, rows.started):
        address = f"{REPOSITORIES}/{row.id}"
        conforms(asking.send("GET", address), one)
        for below in ("references", "attempts"):
            conforms(asking.send("GET", f"{address}/{below}"), f"{one}/{below}")
        conforms(asking.send("GET", f"{address}/wait?tag=1.1&timeout=0"), f"{one}/wait")
    for below in ("resync", "reverify"):
        conforms(asking.send("POST", f"{REPOSITORIES}/{rows.synced.id}/{below}"), f"{one}/{below}", "POST")
        conforms(asking.send("POST", f"{REPOSITORIES}/{below}?all=true"), f"{REPOSITORIES}/{below}", "POST")


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("path=library/nginx&tag=1.1&verified=false", 200),
        ("path=team/app&tag=latest", 504),
        ("path=team/unknown&tag=latest", 504),
        ("path=team/app&tag=latest&site=berlin", 409),
        ("path=team/app", 400),
        ("path=team/app&tag=v1&site=x", 404),
    ],
)
def test_waits_are_answered_as_the_document_says(asking: Asking, rows: Seeded, query: str, status: int) -> None:
    remote_sites.apply([Change(None, Declaration("berlin"))])
    response = asking.send("GET", f"{REPOSITORIES}/wait?{query}&timeout=0")
    assert response.status_code == status
    conforms(response, f"{REPOSITORIES}/wait")


def test_events_are_told_as_the_document_says(asking: Asking, rows: Seeded) -> None:
    log = "/api/v4/geo/event_log"
    for event in conforms(asking.send("GET", log), log):
        conforms(asking.send("GET", f"{log}/{event['id']}"), log + "/{event_id}")
    quarantined = "/api/v4/geo/quarantined_events"
    assert conforms(asking.send("GET", quarantined), quarantined)


def test_registries_and_sites_are_answered_as_the_document_says(asking: Asking, rows: Seeded) -> None:
    client = asking.face.client
    # Given a site of its own, and a push
    remote_sites.apply([Change(None, Declaration("berlin"))])
    with connection():
        token = site_tokens.issue(Site.get(Site.name == "berlin"))
    ours = {"Authorization": f"Bearer {token}"}
    feed = "/api/v4/geo/events"
    position = conforms(client.get(feed, headers=ours), feed)["position"]
    envelope = document()["paths"][WEBHOOK]["post"]["requestBody"]["content"]
    pushed = envelope["application/vnd.docker.distribution.events.v1+json"]["example"]
    taken = client.post(WEBHOOK, json=pushed, headers={"Authorization": SECRET})
    # Then what is said to each is in the document
    assert conforms(taken, WEBHOOK, "POST")["accepted"] == 1
    read = conforms(client.post(feed, data={"after": position}, headers=ours), feed, "POST")
    assert len(read["events"]) == 1
    lost = client.get(feed, query_string={"after": "x"}, headers=ours)
    assert (lost.status_code, conforms(lost, feed)["reset"]["reason"]) == (410, "unreadable")
    status = "/api/v4/geo/site_status"
    report = site_reports.dump(REPORT)
    assert validator({"$ref": "#/components/schemas/SiteReport"}).is_valid(report)
    assert conforms(client.post(status, json=report, headers=ours), status, "POST") == {"site": "berlin"}
    for path, headers in ((feed, {}), (status, ours), (WEBHOOK, {}), ("/jwt/auth", {})):
        method = "GET" if path in {feed, "/jwt/auth"} else "POST"
        conforms(client.open(path, method=method, headers=headers), path, method)


def test_a_report_has_the_members_of_the_document() -> None:
    schema = document()["components"]["schemas"]["SiteReport"]
    report = site_reports.dump(REPORT)
    assert set(schema["properties"]) == set(report)
    assert set(schema["properties"]["backfill"]["properties"]) == set(report["backfill"])
    # And so has the example, which is a good one
    content = document()["paths"]["/api/v4/geo/site_status"]["post"]["requestBody"]["content"]
    example = content["application/json"]["example"]
    assert set(example) == set(report)
    site_reports.load(example)


def test_probes_answer_as_the_document_says(asking: Asking) -> None:
    for path in ("/-/health", "/-/liveness", "/-/readiness", "/openapi.json"):
        conforms(asking.face.client.get(path), path)
    assert asking.face.client.get("/metrics").mimetype == "text/plain"
