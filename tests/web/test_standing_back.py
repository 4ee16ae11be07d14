"""Standing back: what the web does while the schema is another version's."""

from __future__ import annotations

from typing import Any

from tests.support.envelopes import envelope, push_event
from tests.support.face import Face, csrf
from tests.support.schema import migrated_further

DELIVERY: dict[str, Any] = {
    "path": "/api/v4/container_registry_event/events",
    "json": envelope(push_event()),
    "headers": {"Authorization": "tests-notification-secret"},
}


def test_nothing_is_taken_in_for_a_schema_of_a_newer_version(api: Face) -> None:
    # Given a database that a newer version has migrated further
    client = api.client
    with migrated_further() as later:
        # Then it is said by whom, and what is sent is to be sent again
        for answer in (client.get("/-/readiness"), client.post(**DELIVERY), client.get("/api/v4/geo_sites")):
            assert answer.status_code == 503
            assert later in answer.get_json()["detail"]
        assert client.post(**DELIVERY).headers["Retry-After"] == "5"
        assert client.get("/-/liveness").status_code == 200

    # And when the schema is ours again, it is taken
    assert client.post(**DELIVERY).get_json()["accepted"] == 1
    assert client.get("/-/readiness").status_code == 200


def test_pages_go_on_and_change_nothing(api: Face) -> None:
    # Given the same, and somebody who wants to know what is wrong
    with migrated_further() as later:
        # Then he gets in, looks at everything, and is told
        api.sign_in()
        page = api.client.get("/admin/check")
        looked = api.client.post("/admin/check", data={"csrf_token": csrf(page.text)})
        assert (page.status_code, looked.status_code) == (200, 200)
        assert later in looked.text

        # And he cannot ask for what would be written
        asked = api.client.post("/admin/repositories/resync", data={"csrf_token": csrf(page.text)})
        assert asked.status_code == 503

        # And he gets out
        assert api.client.post("/admin/sign-out", data={"csrf_token": csrf(page.text)}).status_code == 303
