from __future__ import annotations

import tracemalloc

import pytest

from app.registry.documents import PARTS_LIMIT, VALUES_LIMIT, read_json


def test_what_is_honest_is_read() -> None:
    # Given as long a listing of tags as one page may hold
    tags = ",".join(f'"v1.{number}"' for number in range(200_000))
    assert len(read_json(b'{"tags":[%s]}' % tags.encode())["tags"]) == 200_000


@pytest.mark.parametrize(
    "data",
    [
        b"[" + b"{}," * PARTS_LIMIT + b"{}]",
        b"[" + b"[]," * PARTS_LIMIT + b"[]]",
        b"[" + b"1000," * (VALUES_LIMIT + 1) + b"1]",
        b"[" * 100_000 + b"]" * 100_000,
        b"[" * 100_000,
        b"1" * 5000,
        b"\xff",
        b"",
    ],
    ids=["objects", "lists", "values", "deep", "deeper", "digits", "no text", "nothing"],
)
def test_what_means_ill_is_an_error_and_takes_no_memory(data: bytes) -> None:
    # When it is read
    tracemalloc.start()
    try:
        with pytest.raises(ValueError):
            read_json(data)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    # Then not much was made of it on the way
    assert most < 64 * 1024 * 1024
