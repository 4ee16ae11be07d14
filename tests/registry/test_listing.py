from __future__ import annotations

import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from app.registry import (
    Digest,
    InvalidReference,
    InvalidResponse,
    NotFound,
    Rejected,
    ServerError,
    TooLarge,
    Unreachable,
    listing,
)
from tests.registry.conftest import Connect, Serve
from tests.registry.scripted import Handler, Request

SUBJECT = Digest.of(b"subject")


def query(request: Request) -> dict[str, list[str]]:
    return parse_qs(urlsplit(request.path).query)


class Pages:
    """A registry of the tags t000, t001, ... in pages, each with a Link to the next."""

    def __init__(self, count: int, link: str, largest: int = 1000) -> None:
        self.tags = [f"t{number:03}" for number in range(count)]
        self.link = link
        self.largest = largest

    def __call__(self, handler: Handler, request: Request) -> None:
        asked = query(request)
        size = int(asked.get("n", [str(self.largest)])[0])
        if size > self.largest:
            handler.error(400, "PAGINATION_NUMBER_INVALID")
            return
        rest = [tag for tag in self.tags if tag > asked.get("last", [""])[0]]
        headers = {}
        if len(rest) > size:
            target = f"/v2/a/x/tags/list?last={rest[size - 1]}&n={size}&orderby="
            headers["Link"] = self.link.format(target=target, host=request.headers["Host"])
        handler.reply(200, {"name": "a/x", "tags": rest[:size]}, Content_Type="text/plain", **headers)


@pytest.mark.parametrize(
    "link",
    [
        '<{target}>; rel="next"',
        "<{target}>; rel=next",
        '<http://{host}{target}>;rel="next"',
        '{target}; rel="next"',
        "{target};rel=next",
        '</first>; rel="first", <{target}>; title="x"; rel="last next"',
    ],
)
def test_every_page_is_followed(serve: Serve, connect: Connect, link: str) -> None:
    pages = Pages(7, link)
    registry = serve(pages)

    assert connect(registry.url).list_tags("a/x", page_size=3) == pages.tags
    assert len(registry.seen) == 3
    assert len(registry.clients) == 1


def test_a_page_size_that_is_too_large_is_made_smaller(serve: Serve, connect: Connect) -> None:
    for largest, asked in ((1000, [1000]), (100, [1000, 100]), (50, [1000, 100, None])):
        pages = Pages(120, '<{target}>; rel="next"', largest)
        registry = serve(pages)

        assert connect(registry.url).list_tags("a/x") == pages.tags
        sizes = [int(query(request)["n"][0]) if "n" in query(request) else None for request in registry.seen]
        assert sizes[: len(asked)] == asked


def test_a_page_size_that_is_refused_in_every_size_is_an_error(serve: Serve, connect: Connect) -> None:
    registry = serve(lambda handler, _: handler.error(400, "PAGINATION_NUMBER_INVALID"))

    with pytest.raises(Rejected) as raised:
        connect(registry.url).list_tags("a/x", page_size=50)
    assert raised.value.reason == "pagination_number_invalid"
    assert len(registry.seen) == 2


@pytest.mark.parametrize("tags", [None, []])
def test_no_tags_is_a_listing(serve: Serve, connect: Connect, tags: object) -> None:
    registry = serve(lambda handler, _: handler.reply(200, {"name": "a/x", "tags": tags}))

    assert connect(registry.url).list_tags("a/x") == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"<html>Sign in</html>",
        b'{"tags": ["a", "b"',
        b"{}",
        b'{"name": "a/x"}',
        b'{"tags": {}}',
        b'{"tags": "a"}',
        b'{"tags": ["a", null]}',
        b'{"tags": ["a", 5]}',
        b'{"tags": ["a", ""]}',
        b'{"tags": ["../../etc"]}',
        b'{"errors": []}',
        b"[" * 50_000,
    ],
)
def test_what_is_no_listing_is_an_error(serve: Serve, connect: Connect, body: bytes) -> None:
    registry = serve(lambda handler, _: handler.reply(200, body))

    with pytest.raises(InvalidResponse, match="listing") as raised:
        connect(registry.url).list_tags("a/x")
    assert (raised.value.reason, raised.value.temporary) == ("invalid_listing", True)


@pytest.mark.parametrize("status", [202, 204, 206, 301])
def test_another_status_is_no_listing(serve: Serve, connect: Connect, status: int) -> None:
    registry = serve(lambda handler, _: handler.reply(status, b"" if status == 204 else {"tags": []}))

    with pytest.raises(InvalidResponse):
        connect(registry.url).list_tags("a/x")


def test_a_listing_that_breaks_off_is_an_error(serve: Serve, connect: Connect) -> None:
    def script(handler: Handler, request: Request) -> None:
        handler.reply(200, b'{"tags": []}', Content_Length="100")
        handler.close_connection = True

    with pytest.raises(Unreachable) as raised:
        connect(serve(script).url).list_tags("a/x")
    assert raised.value.reason == "connection_lost"


def test_an_error_in_the_middle_is_an_error_of_the_whole(serve: Serve, connect: Connect) -> None:
    pages = Pages(7, '<{target}>; rel="next"')

    def script(handler: Handler, request: Request) -> None:
        if "last" in query(request):
            handler.error(503)
        else:
            pages(handler, request)

    with pytest.raises(ServerError):
        connect(serve(script).url).list_tags("a/x", page_size=3)


@pytest.mark.parametrize(
    ("links", "words"),
    [
        (["/v2/a/x/tags/list?last=b", "/v2/a/x/tags/list?last=b"], "circles"),
        (["/v2/a/x/tags/list?last=b", "/v2/a/x/tags/list?last=c"], "repeats"),
        ([f"/v2/a/x/tags/list?token={number}" for number in range(9)], "repeats"),
    ],
)
def test_a_listing_that_does_not_get_on_is_an_error(
    serve: Serve, connect: Connect, links: list[str], words: str
) -> None:
    # Given a registry that ignores `last`, with the same link or another each time
    counted = iter(links * 50)

    def script(handler: Handler, request: Request) -> None:
        tags = ["a", "b"] if words == "repeats" else [f"t{len(registry.seen)}"]
        handler.reply(200, {"tags": tags}, Link=f'<{next(counted)}>; rel="next"')

    registry = serve(script)
    with pytest.raises(InvalidResponse, match=words):
        connect(registry.url).list_tags("a/x")
    assert len(registry.seen) <= 3


def test_the_number_of_pages_is_limited(serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "PAGES_LIMIT", 5)

    def script(handler: Handler, request: Request) -> None:
        number = len(registry.seen)
        handler.reply(200, {"tags": [f"t{number}"]}, Link=f'<?last=t{number}>; rel="next"')

    registry = serve(script)
    with pytest.raises(InvalidResponse, match="more than 5 pages"):
        connect(registry.url).list_tags("a/x")


def test_the_number_of_names_is_limited(serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given listings of more names than there may be, on several pages
    monkeypatch.setattr(listing, "NAMES_LIMIT", 5)

    def script(handler: Handler, request: Request) -> None:
        number = len(registry.seen)
        names = [f"t{number}", f"u{number}"]
        handler.reply(200, {"tags": names, "repositories": names}, Link=f'<?last=t{number}>; rel="next"')

    registry = serve(script)
    client = connect(registry.url)

    # When they are read, Then they end there
    for kind in ("tags", "repositories"):
        registry.seen.clear()
        with pytest.raises(InvalidResponse, match="more than 5 entries") as raised:
            client.list_tags("a/x") if kind == "tags" else list(client.list_repositories())
        assert raised.value.reason == "invalid_listing"
        assert len(registry.seen) == 3


def test_the_number_of_referrers_is_limited(serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "REFERRERS_LIMIT", 5)
    entries = [{"mediaType": "a/b", "digest": Digest.of(b"%d" % number), "size": 1} for number in range(6)]
    registry = serve(lambda handler, _: handler.reply(200, {"schemaVersion": 2, "manifests": entries}))

    with pytest.raises(InvalidResponse, match="more than 5 entries") as raised:
        connect(registry.url).referrers("a/x", SUBJECT)
    assert raised.value.reason == "invalid_listing"

    del entries[0]
    assert len(connect(registry.url).referrers("a/x", SUBJECT) or ()) == 5


def test_the_size_of_a_page_is_limited(serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "PAGE_BYTES", 1000)
    registry = serve(lambda handler, _: handler.reply(200, b" " * 2000))

    with pytest.raises(TooLarge):
        connect(registry.url).list_tags("a/x")


@pytest.mark.parametrize(
    "link", ["http://127.0.0.1:1/v2/a/x/tags/list", "//elsewhere.example/x", "ftp://x/", "http://[x"]
)
def test_a_listing_does_not_go_on_elsewhere(serve: Serve, connect: Connect, link: str) -> None:
    registry = serve(lambda handler, _: handler.reply(200, {"tags": ["a"]}, Link=f'<{link}>; rel="next"'))

    with pytest.raises(InvalidResponse):
        connect(registry.url).list_tags("a/x")


@pytest.mark.parametrize("link", ['</v2/a/x/tags/list?last=a; rel="next"', 'rel="next"', "rel=next; </v2/x"])
def test_a_link_to_the_next_page_that_cannot_be_read_is_not_the_end(serve: Serve, connect: Connect, link: str) -> None:
    registry = serve(lambda handler, _: handler.reply(200, {"tags": ["a"]}, Link=link))

    with pytest.raises(InvalidResponse, match="link"):
        connect(registry.url).list_tags("a/x")


@pytest.mark.parametrize("link", ['</v2/a/x/tags/list>; rel="first"', '</first>; rel="prev"; title="what is next"', ""])
def test_other_links_lead_nowhere(serve: Serve, connect: Connect, link: str) -> None:
    registry = serve(lambda handler, _: handler.reply(200, {"tags": ["a"]}, Link=link))

    assert connect(registry.url).list_tags("a/x") == ["a"]


def test_pages_that_change_places_are_a_repeated_page(serve: Serve, connect: Connect) -> None:
    # Given a registry that gives two pages in turn, each time with another link
    def script(handler: Handler, request: Request) -> None:
        number = len(registry.seen)
        handler.reply(200, {"tags": [["a"], ["b"]][number % 2]}, Link=f'<?token={number}>; rel="next"')

    registry = serve(script)
    with pytest.raises(InvalidResponse, match="repeats"):
        connect(registry.url).list_tags("a/x")
    assert len(registry.seen) == 3


def test_tags_that_come_twice_are_one(serve: Serve, connect: Connect) -> None:
    # Given a listing during which tags are pushed
    replies: list[tuple[Any, dict[str, str]]] = [
        ({"tags": ["b", "a"]}, {"Link": '<?last=a>; rel="next"'}),
        ({"tags": ["a", "c"]}, {}),
    ]
    registry = serve(lambda handler, _: handler.reply(200, replies[0][0], **replies.pop(0)[1]))

    assert connect(registry.url).list_tags("a/x") == ["b", "a", "c"]


def test_an_unknown_repository_is_witnessed(serve: Serve, connect: Connect) -> None:
    registry = serve(lambda handler, _: handler.error(404, "NAME_UNKNOWN"))

    with pytest.raises(NotFound) as raised:
        connect(registry.url).list_tags("a/x")
    assert raised.value.witnessed
    assert not raised.value.temporary


def test_repositories_come_page_by_page(serve: Serve, connect: Connect) -> None:
    replies: list[tuple[Any, dict[str, str]]] = [
        ({"repositories": ["a/x", "b"]}, {"Link": '</v2/_catalog?last=b&n=2>; rel="next"'}),
        ({"repositories": ["b", "c"]}, {}),
    ]
    registry = serve(lambda handler, _: handler.reply(200, replies[0][0], **replies.pop(0)[1]))

    names = connect(registry.url).list_repositories(page_size=2)

    assert next(names) == "a/x"
    assert [request.path for request in registry.seen] == ["/v2/_catalog?n=2"]
    assert list(names) == ["b", "c"]


def test_a_catalog_goes_on_from_where_a_page_led(serve: Serve, connect: Connect) -> None:
    # Given a page of the catalog whose link is absolute
    def script(handler: Handler, request: Request) -> None:
        if "token" in query(request):
            handler.reply(200, {"repositories": ["c"]})
        else:
            target = f"http://{request.headers['Host']}/v2/_catalog?token=x%2Fy&n=2"
            handler.reply(200, {"repositories": ["a", "b"]}, Link=f'<{target}>; rel="next"')

    registry = serve(script)
    (first, _) = connect(registry.url).catalog(2)
    assert first.following == "/v2/_catalog?token=x%2Fy&n=2"

    # When another client goes on there
    (last,) = connect(registry.url).catalog(2, first.following)

    # Then
    assert (last.repositories, last.following) == (("c",), None)
    assert registry.seen[-1].path == first.following


def test_a_catalog_does_not_go_on_elsewhere(serve: Serve, connect: Connect) -> None:
    registry = serve(lambda handler, _: handler.reply(200, {"repositories": []}))
    for after in ("http://elsewhere.example/v2/_catalog?last=x", "//elsewhere.example/"):
        with pytest.raises(InvalidReference):
            list(connect(registry.url).catalog(2, after))
    assert not registry.seen


def test_a_catalog_that_breaks_off_raises_in_the_middle(serve: Serve, connect: Connect) -> None:
    def script(handler: Handler, request: Request) -> None:
        if "last" in query(request):
            handler.reply(200, b"")
        else:
            handler.reply(200, {"repositories": ["a"]}, Link='<?last=a>; rel="next"')

    names = connect(serve(script).url).list_repositories()
    assert next(names) == "a"
    with pytest.raises(InvalidResponse):
        list(names)


def test_referrers_are_descriptors(serve: Serve, connect: Connect) -> None:
    entry = {"mediaType": "a/b", "digest": Digest.of(b"r"), "size": 5, "artifactType": "c/d"}
    replies: list[tuple[Any, dict[str, str]]] = [
        ({"schemaVersion": 2, "manifests": [entry]}, {"Link": '<?next=1>; rel="next"'}),
        ({"schemaVersion": 2, "manifests": [{**entry, "digest": Digest.of(b"s")}]}, {}),
    ]
    registry = serve(lambda handler, _: handler.reply(200, replies[0][0], **replies.pop(0)[1]))

    found = connect(registry.url).referrers("a/x", SUBJECT)

    assert found is not None
    assert [each.digest for each in found] == [Digest.of(b"r"), Digest.of(b"s")]
    assert (found[0].media_type, found[0].size, found[0].artifact_type) == ("a/b", 5, "c/d")
    assert registry.seen[0].path == f"/v2/a/x/referrers/{SUBJECT}"


def test_nothing_refers_to_it(serve: Serve, connect: Connect) -> None:
    for body in ({"schemaVersion": 2, "manifests": []}, {"schemaVersion": 2, "manifests": None}):
        registry = serve(lambda handler, _, body=body: handler.reply(200, body))  # type: ignore[misc]
        assert connect(registry.url).referrers("a/x", SUBJECT) == []


@pytest.mark.parametrize(
    ("status", "codes"), [(404, []), (404, ["NOT_FOUND"]), (405, []), (400, ["UNSUPPORTED"]), (400, [])]
)
def test_a_registry_without_referrers(serve: Serve, connect: Connect, status: int, codes: list[str]) -> None:
    registry = serve(lambda handler, _: handler.error(status, *codes))

    assert connect(registry.url).referrers("a/x", SUBJECT) is None


def test_a_registry_that_does_not_know_the_repository_leaves_open_whether_it_has_referrers(
    serve: Serve, connect: Connect
) -> None:
    registry = serve(lambda handler, _: handler.error(404, "NAME_UNKNOWN"))

    with pytest.raises(NotFound) as caught:
        connect(registry.url).referrers("a/x", SUBJECT)
    assert caught.value.witnessed


def test_a_registry_that_calls_the_subject_invalid_has_looked_for_its_referrers(serve: Serve, connect: Connect) -> None:
    registry = serve(lambda handler, _: handler.error(400, "MANIFEST_INVALID"))

    assert connect(registry.url).referrers("a/x", SUBJECT) == []


@pytest.mark.parametrize(
    "body", [b"<html>", b"{}", b'{"manifests": {}}', b'{"manifests": [{"digest": "x"}]}', b'{"manifests": [5]}']
)
def test_what_is_no_list_of_referrers_is_an_error(serve: Serve, connect: Connect, body: bytes) -> None:
    registry = serve(lambda handler, _: handler.reply(200, body))

    with pytest.raises(InvalidResponse):
        connect(registry.url).referrers("a/x", SUBJECT)


@pytest.mark.parametrize("piece", ["<", "rel=", 'rel="', ";rel=next", "<>;"])
def test_a_link_without_end_is_not_looked_through(serve: Serve, connect: Connect, piece: str) -> None:
    # Given a link that patterns would take minutes for
    link = piece * (60_000 // len(piece))
    registry = serve(lambda handler, _: handler.reply(200, {"tags": ["a"]}, Link=link))

    # When it is read, Then it is refused at once
    began = time.monotonic()
    with pytest.raises(InvalidResponse, match="too long"):
        connect(registry.url).list_tags("a/x")
    assert time.monotonic() - began < 2


def test_a_listing_of_things_by_the_million_is_none(serve: Serve, connect: Connect) -> None:
    body = b'{"tags":[' + b"{}," * 1_000_000 + b"{}]}"
    registry = serve(lambda handler, _: handler.reply(200, body))

    with pytest.raises(InvalidResponse, match="not JSON"):
        connect(registry.url).list_tags("a/x")
